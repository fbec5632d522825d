/**
 * The page cache: pages of mappings, filled and cleaned by their file systems, found by whoever reads, writes or maps.
 *
 * A frame address that a function here returns may be used until this CPU's next safe point without a count. Locks:
 * Mapping.lock, taken inside ptl or alone; never held across readPage and writePage.
 */
import type { Ref } from "../../rcu/index.ts";
import { defineLater, LATER_TRUNCATE, laterByTask } from "../sched/later.ts";
import { ENOMEM, ENOSPC } from "../uapi/errno.ts";
import { dropFileMark } from "./codespace.ts";
import { allocFrames, putFrame } from "./frame.ts";
import { isShmem, Mapping, mappingCreate, mappingGet, mappingOps, mappingPut } from "./mapping.ts";
import { chargePage } from "./page-quota.ts";
import { countDirty, countPages, frameWord, movePages, removePages, removePart, wordFrame } from "./pages.ts";
import { PAGE_DIRTY, PageNode, treeGet, treeLeaf, treeWalk } from "./pagetree.ts";
import { BLOCK_FRAMES, PAGE_MASK, PAGE_SIZE, RamState, ram, ramRef } from "./ram.ts";
import { allocPage, allocZeroedPage, onlyReserve } from "./reclaim.ts";
import { unmapMapping } from "./rmap.ts";

/** Pages read at once when a file is read through readPages. */
const READ_AHEAD = 32;

/** Byte address of the frame of page `index` if it is cached, else 0. Reads nothing, waits for nothing. */
export function mappingFind(mapping: Ref<"mapping">, index: number): number {
  return wordFrame(treeGet(mapping, index));
}

/**
 * Byte address of the frame of page `index`, read from the file system when it is not cached. Where nothing is
 * (a hole of a memory file), `create` decides: a fresh zeroed page, or 0. -ENOMEM, -ENOSPC (the quota is used up), or what readPage answered.
 * May block on the host; no lock may be held.
 */
export function mappingPage(mapping: Ref<"mapping">, index: number, create: boolean): number {
  const word = treeGet(mapping, index);
  if (word !== 0) return wordFrame(word);
  const ops = mappingOps(mapping);
  if (ops.readPage === undefined) {
    if (!create) return 0;
    const fresh = allocZeroedPage(nearPage(mapping, index));
    return fresh === 0 ? -ENOMEM : insertPage(mapping, index, fresh);
  }
  if (ops.readPages !== undefined) {
    const read = readAhead(mapping, index);
    if (read !== 0) return read;
  }
  const frame = allocPage(nearPage(mapping, index));
  if (frame === 0) return -ENOMEM;
  const error = ops.readPage(mapping, index, frame);
  if (error < 0) {
    putFrame(frame);
    return error;
  }
  return insertPage(mapping, index, frame);
}

/** Pages of a file follow each other in RAM where that is possible. */
function nearPage(mapping: Ref<"mapping">, index: number): number {
  const before = index === 0 ? 0 : treeGet(mapping, index - 1);
  if (before !== 0) return wordFrame(before) + PAGE_SIZE;
  return index === 0 ? 0 : ram.base + (index % BLOCK_FRAMES) * PAGE_SIZE;
}

/** Reads a run of pages that starts at `index`; the frame of `index`, 0 when single pages must do, or -errno. */
function readAhead(mapping: Ref<"mapping">, index: number): number {
  const ops = mappingOps(mapping);
  const end = Math.ceil(ops.size(mapping) / PAGE_SIZE);
  let count = 1;
  while (count < READ_AHEAD && index + count < end && treeGet(mapping, index + count) === 0) count++;
  if (count === 1 || index >= end) return 0;
  const frame = onlyReserve() ? 0 : allocFrames(count);
  if (frame === 0) return 0;
  const filled = ops.readPages!(mapping, index, frame, count);
  for (let n = Math.max(0, filled); n < count; n++) putFrame(frame + n * PAGE_SIZE);
  if (filled < 0) return filled;
  let result = 0;
  for (let n = 0; n < filled; n++) {
    const at = insertPage(mapping, index + n, frame + n * PAGE_SIZE);
    if (n === 0) result = at;
  }
  return result;
}

/**
 * Pages that files in memory may have together: they belong to no process whose end would bring them back, so programs keep an
 * eighth of RAM.
 */
const shmemMost = (): number => RamState.frames.get(ramRef) - (RamState.frames.get(ramRef) >> 3);

/** Publishes a page, taking over the frame's count. If another CPU was faster, its page is the result. */
function insertPage(mapping: Ref<"mapping">, index: number, frame: number): number {
  const held = Mapping.lock.lock(mapping);
  const leaf = treeLeaf(held, mapping, index, true);
  const word = leaf === 0 ? 0 : PageNode.slots.get(leaf, index & 63);
  const quota = Mapping.quota.get(mapping);
  const room = quota === 0 || RamState.shmem.peek(ramRef) < shmemMost();
  const fits = leaf !== 0 && word === 0 && room && (quota === 0 || chargePage(quota));
  if (fits) {
    PageNode.slots.store(leaf, index & 63, frameWord(frame));
    countPages(mapping, 1);
  }
  Mapping.lock.unlock(mapping);
  if (fits) return frame;
  putFrame(frame);
  return leaf === 0 ? -ENOMEM : word === 0 ? -ENOSPC : wordFrame(word);
}

/** The page differs from what the file system has now (write(2), a store through a shared mapping). */
export function mappingDirty(mapping: Ref<"mapping">, index: number): void {
  dropFileMark(mapping);
  if (isShmem(mapping) || (treeGet(mapping, index) & PAGE_DIRTY) !== 0) return;
  const held = Mapping.lock.lock(mapping);
  const leaf = treeLeaf(held, mapping, index, false);
  const word = leaf === 0 ? 0 : PageNode.slots.get(leaf, index & 63);
  if (leaf !== 0 && word !== 0 && (word & PAGE_DIRTY) === 0) {
    PageNode.slots.store(leaf, index & 63, word | PAGE_DIRTY);
    countDirty(mapping, 1);
  }
  Mapping.lock.unlock(mapping);
}

/** Writes all dirty pages of the file back: 0, or the first error. */
export function mappingWriteback(mapping: Ref<"mapping">): number {
  let result = 0;
  for (let at = 0; at < Infinity; result ||= writebackError) at = writebackPart(mapping, at, Infinity);
  return result;
}

/** Dirty pages that are written, and pages that are looked at, in one part of a write-back. */
const PART_WRITTEN = 128;
const PART_SEEN = 16384;

/** Result of writebackPart: the first error, or 0. */
export let writebackError = 0;

/**
 * Writes a part of the dirty pages [first, end) back; returns where the next part begins, `end` when it was the last one, and sets
 * writebackError. Pages stay dirty while somebody can still store through a shared mapping, since such stores are not seen.
 */
export function writebackPart(mapping: Ref<"mapping">, first: number, end: number): number {
  writebackError = 0;
  const ops = mappingOps(mapping);
  if (Mapping.nrDirty.load(mapping) === 0 || ops.writePage === undefined) return end;
  const dirty: number[] = [];
  let next = end;
  let left = PART_SEEN;
  Mapping.lock.lock(mapping);
  const keep = Mapping.writers.load(mapping) !== 0;
  treeWalk(mapping, first, (index, word, leaf, slot) => {
    if (index >= end) return false;
    if (left-- === 0 || dirty.length === PART_WRITTEN) {
      next = index;
      return false;
    }
    if ((word & PAGE_DIRTY) === 0) return true;
    dirty.push(index);
    // Clean from here: a write(2) during the write-back makes it dirty again.
    if (!keep) PageNode.slots.store(leaf, slot, word & ~PAGE_DIRTY);
    return true;
  });
  if (!keep) countDirty(mapping, -dirty.length);
  Mapping.lock.unlock(mapping);
  for (const index of dirty) {
    const word = treeGet(mapping, index);
    if (word === 0) continue; // Truncated meanwhile.
    const error = ops.writePage(mapping, index, wordFrame(word));
    if (error >= 0) continue;
    if (!keep) mappingDirty(mapping, index);
    if (writebackError === 0) writebackError = error;
  }
  return next;
}

/** A mapping of fewer pages loses them in one piece. */
const WHOLE_PAGES = 4096;

/**
 * The file now ends at `bytes`: pages beyond go, also out of every address space, and the rest of the last page is
 * zeroed. Set the size that MappingOps.size answers first. Pages that were grown into read as zero. Of a large file nobody finds them from
 * now on; they go, and leave the address spaces, in parts before the current task goes back to user mode.
 */
export function mappingTruncate(mapping: Ref<"mapping">, bytes: number): void {
  dropFileMark(mapping);
  const first = Math.ceil(bytes / PAGE_SIZE);
  const cut = Mapping.nrPages.load(mapping) < WHOLE_PAGES ? 0 : cutOff(mapping, first);
  if (cut === 0) removePages(mapping, first, Infinity);
  zeroTail(mapping, bytes);
  // After the removal: a fault that installed one of the pages before is undone here, a later one finds none.
  if (cut === 0) unmapMapping(mapping, first, Infinity);
  else laterByTask(LATER_TRUNCATE, cut);
}

/** The rest of the page in which the file ends is zeroed: programs that map it may have written there. */
function zeroTail(mapping: Ref<"mapping">, bytes: number): void {
  const tail = bytes & PAGE_MASK;
  if (tail === 0) return;
  const frame = wordFrame(treeGet(mapping, Math.floor(bytes / PAGE_SIZE)));
  if (frame !== 0) ram.u8.fill(0, frame + tail, frame + PAGE_SIZE);
}

/**
 * The file ended at `bytes`, and now ends later: what was grown into reads as zero. Pages of shared memory that lie there are zero, since
 * nobody but fallocate(2) has taken any: they stay.
 */
export function mappingGrow(mapping: Ref<"mapping">, bytes: number): void {
  if (!isShmem(mapping)) mappingTruncate(mapping, bytes);
  else {
    dropFileMark(mapping);
    zeroTail(mapping, bytes);
  }
}

/** Moves the pages from `first` on to a mapping of their own, which counts the one that they come from and knows `first`; 0 when memory is short. */
function cutOff(mapping: Ref<"mapping">, first: number): Ref<"mapping"> | 0 {
  const cut = mappingCreate(Mapping.ops.get(mapping), mapping, Mapping.quota.get(mapping));
  if (cut === 0) return 0;
  mappingGet(mapping);
  Mapping.private.set(cut, first);
  if (movePages(mapping, cut, first)) return cut;
  mappingPut(cut);
  mappingPut(mapping);
  return 0;
}

defineLater(LATER_TRUNCATE, (arg, at) => {
  const cut = arg as Ref<"mapping">;
  const mapping = Mapping.host.get(cut) as Ref<"mapping">;
  const from = at === 0 ? Mapping.private.get(cut) : at;
  const next = removePart(cut, from, Infinity, partOf(mapping));
  // The file may have grown again: private copies below its end may be new.
  const orphan = Mapping.orphan.load(mapping) !== 0;
  const size = orphan ? 0 : Math.ceil(mappingOps(mapping).size(mapping) / PAGE_SIZE);
  if (from < size) unmapMapping(mapping, from, Math.min(next, size), true);
  if (next > size) unmapMapping(mapping, Math.max(from, size), next);
  if (next !== Infinity) return next;
  mappingPut(cut);
  mappingPut(mapping);
  return 0;
});

/** Pages that are taken out of a mapping in one part: fewer when many areas show them. */
const partOf = (mapping: Ref<"mapping">): number =>
  Math.max(256, Math.floor(WHOLE_PAGES / Mapping.refcount.load(mapping)));

/**
 * Removes a part of pages [first, end): punched holes (zero when read again), or contents that the host has changed. Where the next part
 * begins, `end` when it was the last one.
 */
export function invalidatePart(mapping: Ref<"mapping">, first: number, end: number): number {
  dropFileMark(mapping);
  const next = removePart(mapping, first, end, partOf(mapping));
  unmapMapping(mapping, first, next);
  return next;
}

/** Removes all of pages [first, end). */
export function mappingInvalidate(mapping: Ref<"mapping">, first = 0, end = Infinity): void {
  for (let at = first; at < end; ) at = invalidatePart(mapping, at, end);
}

/**
 * Bytes [pos, pos + length) of a mapping, page by page: calls `visit(frame address + offset, bytes)`; frame 0 where
 * a hole is read. Stops at the first answer that is not the number of bytes offered. Returns bytes visited, or
 * -errno when that is 0. `create` as for mappingPage. Does not look at the file's size.
 */
export function mappingEach(
  mapping: Ref<"mapping">,
  pos: number,
  length: number,
  create: boolean,
  visit: (address: number, bytes: number) => number,
): number {
  let done = 0;
  while (done < length) {
    const at = pos + done;
    const frame = mappingPage(mapping, Math.floor(at / PAGE_SIZE), create);
    if (frame < 0) return done === 0 ? frame : done;
    const offset = at % PAGE_SIZE;
    const bytes = Math.min(PAGE_SIZE - offset, length - done);
    const moved = visit(frame === 0 ? 0 : frame + offset, bytes);
    if (moved < 0) return done === 0 ? moved : done;
    done += moved;
    if (moved < bytes) break;
  }
  return done;
}

/** Pages cached, of them shared memory, and dirty: for /proc/meminfo. */
export const cachedPages = (): number => RamState.cached.load(ramRef);
export const shmemPages = (): number => RamState.shmem.load(ramRef);
export const dirtyPages = (): number => RamState.dirty.load(ramRef);
