/** madvise(2), msync(2), mincore(2). */
import type { Ref } from "../../rcu/index.ts";
import { WHOLE_AREAS } from "../sched/hold.ts";
import { partAlso, partDone, resetPart, yieldWhole } from "../sched/yield.ts";
import { EBUSY, EFAULT, EINVAL, EIO, ENOMEM } from "../uapi/errno.ts";
import {
  MADV_COLD,
  MADV_COLLAPSE,
  MADV_DODUMP,
  MADV_DOFORK,
  MADV_DONTDUMP,
  MADV_DONTFORK,
  MADV_DONTNEED,
  MADV_DONTNEED_LOCKED,
  MADV_FREE,
  MADV_HUGEPAGE,
  MADV_KEEPONFORK,
  MADV_MERGEABLE,
  MADV_NOHUGEPAGE,
  MADV_NORMAL,
  MADV_PAGEOUT,
  MADV_POPULATE_READ,
  MADV_POPULATE_WRITE,
  MADV_RANDOM,
  MADV_REMOVE,
  MADV_SEQUENTIAL,
  MADV_UNMERGEABLE,
  MADV_WILLNEED,
  MADV_WIPEONFORK,
  MS_ASYNC,
  MS_INVALIDATE,
  MS_SYNC,
} from "../uapi/mman.ts";
import { ACCESS } from "../usermode.ts";
import { FAULT_ACCERR, FAULT_BUS, FAULT_MAPERR, FAULT_NOMEM } from "./fault.ts";
import { isShmem } from "./mapping.ts";
import { Mm } from "./mm.ts";
import { END_PAGE, pagesOf, settle, WRAP_PAGES } from "./mmap.ts";
import { invalidatePart, mappingFind, writebackError, writebackPart } from "./pagecache.ts";
import { populatePages } from "./populate.ts";
import { pteGet, ptePart } from "./pte.ts";
import { PAGE_SIZE } from "./ram.ts";
import { copyToUser } from "./uaccess.ts";
import {
  areasEnd,
  VM_DONTDUMP,
  VM_DONTFORK,
  VM_LOCKED,
  VM_SHARED,
  VM_SPECIAL,
  VM_WIPEONFORK,
  Vma,
  type VmaSpec,
  vmaCount,
  vmaEndAt,
  vmaRef,
  vmaSearch,
  vmaStartAt,
  vmasHeld,
} from "./vma.ts";
import { editVmas, nothingRemoved } from "./vma-edit.ts";
import { zapBegin, zapFinish, zapRange } from "./zap.ts";

/** What partAlso() says when a call has seen a hole. */
const HOLE = 1;

/**
 * Calls `visit(vma, from, to, also)` for the mapped parts of pages [start, end) until it answers < 0; -ENOMEM if there were holes. Goes on
 * where an earlier run of the call was, so that whoever visits yields with (the next page - start, also); between areas this function does.
 */
function eachPart(
  mm: Ref<"mm">,
  start: number,
  end: number,
  visit: (vma: Ref<"vma">, from: number, to: number, also: number) => number,
): number {
  let at = start + partDone();
  let also = at === start ? 0 : partAlso();
  const parts: [Ref<"vma">, number, number][] = [];
  for (;;) {
    parts.length = 0;
    const held = Mm.ptl.lock(mm);
    const vmas = vmasHeld(held, mm);
    const count = vmaCount(vmas);
    const first = vmaSearch(vmas, at);
    for (let index = first; index < count && index < first + WHOLE_AREAS; index++) {
      const from = vmaStartAt(vmas as Ref<"array">, index);
      if (from >= end) break;
      const to = Math.min(end, vmaEndAt(vmas as Ref<"array">, index));
      parts.push([vmaRef(vmas as Ref<"array">, index), Math.max(from, start), to]);
    }
    Mm.ptl.unlock(mm);
    for (const [vma, from, to] of parts) {
      if (from > at) also = HOLE;
      const result = visit(vma, Math.max(from, at), to, also);
      if (result < 0) return result;
      at = to;
    }
    if (parts.length < WHOLE_AREAS || at >= end) return also === HOLE || at < end ? -ENOMEM : 0;
    const stop = yieldWhole(at - start, also);
    if (stop !== 0) return stop;
  }
}

/** Sets and clears VMA flags over pages [start, end), a part of the areas: where the next part begins, `end` after the last one, or -errno. */
function changePart(mm: Ref<"mm">, start: number, end: number, set: number, clear: number): number {
  const removed = nothingRemoved();
  Mm.mmapLock.lock(mm);
  const held = Mm.ptl.lock(mm);
  const to = areasEnd(vmasHeld(held, mm), start, end, WHOLE_AREAS);
  const change = (piece: VmaSpec): boolean => {
    piece.flags = (piece.flags & ~clear) | set;
    return true;
  };
  const result = editVmas(held, mm, start, to, change, null, removed);
  Mm.ptl.unlock(mm);
  settle(mm, zapBegin(), removed);
  Mm.mmapLock.unlock(mm);
  return result < 0 ? result : to;
}

/** The same for all of them, in parts: 0, -errno or what yieldWhole says; progress is counted from page `start`. Others may see it half done. */
export function changeFlags(
  mm: Ref<"mm">,
  start: number,
  end: number,
  set: number,
  clear: number,
  also = 0,
): number {
  for (let at = start + partDone(); at < end; ) {
    at = changePart(mm, at, end, set, clear);
    if (at < 0) return at;
    const stop = at < end ? yieldWhole(at - start, also) : 0;
    if (stop !== 0) return stop;
  }
  return 0;
}

/** Flags that an advice sets and clears. */
const ADVICE_FLAGS = new Map<number, readonly [number, number]>([
  [MADV_DONTFORK, [VM_DONTFORK, 0]],
  [MADV_DOFORK, [0, VM_DONTFORK]],
  [MADV_WIPEONFORK, [VM_WIPEONFORK, 0]],
  [MADV_KEEPONFORK, [0, VM_WIPEONFORK]],
  [MADV_DONTDUMP, [VM_DONTDUMP, 0]],
  [MADV_DODUMP, [0, VM_DONTDUMP]],
]);
/** Hints that change nothing here. */
const HARMLESS = new Set([
  MADV_NORMAL,
  MADV_RANDOM,
  MADV_SEQUENTIAL,
  MADV_WILLNEED,
  MADV_MERGEABLE,
  MADV_UNMERGEABLE,
  MADV_HUGEPAGE,
  MADV_NOHUGEPAGE,
  MADV_COLD,
  MADV_PAGEOUT,
  MADV_COLLAPSE,
]);

/** 0 or -errno. */
export function madvise(mm: Ref<"mm">, addr: number, length: number, advice: number): number {
  const known =
    HARMLESS.has(advice) ||
    ADVICE_FLAGS.has(advice) ||
    [
      MADV_DONTNEED,
      MADV_DONTNEED_LOCKED,
      MADV_FREE,
      MADV_REMOVE,
      MADV_POPULATE_READ,
      MADV_POPULATE_WRITE,
    ].includes(advice);
  if (!known || addr % PAGE_SIZE !== 0) return -EINVAL;
  const start = addr / PAGE_SIZE;
  const end = start + pagesOf(length);
  if (length === 0) return 0;
  if (end >= WRAP_PAGES) return -EINVAL;
  if (end > END_PAGE) return -ENOMEM;
  if (HARMLESS.has(advice)) return eachPart(mm, start, end, () => 0);
  if (advice === MADV_POPULATE_READ || advice === MADV_POPULATE_WRITE)
    return eachPart(mm, start, end, (_vma, from, to, also) =>
      populateStrict(mm, from, to, advice, start, also),
    );
  const flags = ADVICE_FLAGS.get(advice);
  if (flags !== undefined) return adviseFlags(mm, start, end, advice, flags);
  Mm.mmapLock.lock(mm);
  const result = adviseLocked(mm, start, end, advice);
  Mm.mmapLock.unlock(mm);
  return result;
}

/** What partAlso() says while flags are changed: HOLE or not, and that all areas have been looked at before. */
const LOOKED = 2;

/** Changes what is mapped as an advice says, in parts: 0, -ENOMEM when there are holes, whose surroundings are changed all the same, or YIELD. */
export function adviseFlags(
  mm: Ref<"mm">,
  start: number,
  end: number,
  advice: number,
  [set, clear]: readonly [number, number],
): number {
  let also = partDone() === 0 ? 0 : partAlso();
  if ((also & LOOKED) === 0) {
    const seen = eachPart(mm, start, end, (vma) =>
      advice === MADV_WIPEONFORK && (Vma.mapping.get(vma) !== 0 || (Vma.flags.get(vma) & VM_SHARED) !== 0)
        ? -EINVAL
        : 0,
    );
    if (seen < 0 && seen !== -ENOMEM) return seen;
    also = LOOKED | (seen < 0 ? HOLE : 0);
    resetPart();
  }
  return changeFlags(mm, start, end, set, clear, also) || ((also & HOLE) !== 0 ? -ENOMEM : 0);
}

function adviseLocked(mm: Ref<"mm">, start: number, end: number, advice: number): number {
  return eachPart(mm, start, end, (vma, from, to, also) => {
    const flags = Vma.flags.get(vma);
    if ((flags & VM_SPECIAL) !== 0) return -EINVAL;
    if ((flags & VM_LOCKED) !== 0 && advice !== MADV_DONTNEED_LOCKED) return -EINVAL;
    const mapping = Vma.mapping.get(vma);
    if (advice === MADV_FREE && (mapping !== 0 || (flags & VM_SHARED) !== 0)) return -EINVAL;
    if (advice === MADV_REMOVE) {
      if (mapping === 0 || (flags & VM_SHARED) === 0 || !isShmem(mapping)) return -EINVAL;
      return removeParts(vma, mapping, from, to, start, also);
    }
    return zapParts(mm, from, to, start, also);
  });
}

/** Makes a hole where pages [from, to) of the area are in its file, in parts: as zapParts. */
function removeParts(
  vma: Ref<"vma">,
  mapping: Ref<"mapping">,
  from: number,
  to: number,
  start: number,
  also: number,
): number {
  const shift = Vma.pgoff.get(vma) - Vma.start.get(vma);
  for (let at = from; at < to; ) {
    at = invalidatePart(mapping, at + shift, to + shift) - shift;
    const stop = yieldWhole(at - start, also);
    if (stop !== 0) return stop;
  }
  return 0;
}

/** Takes pages [from, to) out in parts: 0, or what yieldWhole says; progress is counted from page `start`. mmapLock is held. */
function zapParts(mm: Ref<"mm">, from: number, to: number, start: number, also: number): number {
  for (let at = from; at < to; ) {
    const end = ptePart(Mm.pgd.get(mm), at, to);
    const zapped = zapBegin();
    const held = Mm.ptl.lock(mm);
    zapRange(held, mm, at, end, zapped);
    Mm.ptl.unlock(mm);
    zapFinish(mm, zapped);
    at = end;
    const stop = yieldWhole(at - start, also);
    if (stop !== 0) return stop;
  }
  return 0;
}

function populateStrict(
  mm: Ref<"mm">,
  from: number,
  to: number,
  advice: number,
  start: number,
  also: number,
): number {
  const access = advice === MADV_POPULATE_WRITE ? ACCESS.WRITE : ACCESS.READ;
  const result = populatePages(mm, from, to, access, start, also);
  switch (result) {
    case FAULT_BUS:
      return -EFAULT;
    case FAULT_ACCERR:
      return -EINVAL;
    case FAULT_NOMEM:
    case FAULT_MAPERR:
      return -ENOMEM;
    default:
      return result; // 0, YIELD, -EINTR.
  }
}

/** Writes dirty pages of shared file mappings back: 0 or -errno. */
export function msync(mm: Ref<"mm">, addr: number, length: number, flags: number): number {
  if ((flags & ~(MS_ASYNC | MS_INVALIDATE | MS_SYNC)) !== 0 || addr % PAGE_SIZE !== 0) return -EINVAL;
  if ((flags & MS_ASYNC) !== 0 && (flags & MS_SYNC) !== 0) return -EINVAL;
  if (pagesOf(length) === WRAP_PAGES) return 0; // Rounded to whole pages that is nothing.
  const end = pagesOf(addr + length);
  if (end > END_PAGE) return -ENOMEM;
  const start = addr / PAGE_SIZE;
  return eachPart(mm, start, end, (vma, from, to, also) => {
    if ((flags & MS_INVALIDATE) !== 0 && (Vma.flags.get(vma) & VM_LOCKED) !== 0) return -EBUSY;
    const mapping = Vma.mapping.get(vma);
    if (mapping === 0 || (Vma.flags.get(vma) & VM_SHARED) === 0) return 0;
    const shift = Vma.pgoff.get(vma) - Vma.start.get(vma);
    for (let at = from; at < to; ) {
      at = writebackPart(mapping, at + shift, to + shift) - shift;
      if (writebackError < 0) return -EIO;
      const stop = yieldWhole(at - start, also);
      if (stop !== 0) return stop;
    }
    return 0;
  });
}

/** Pages that mincore(2) looks at in one part. */
const PART_SEEN = 8192;

/**
 * mincore(2): one byte for each page goes to `vec`, 1 when it is in memory. 0, -ENOMEM when something in the range is not mapped, -EFAULT, or
 * YIELD.
 */
export function mincore(mm: Ref<"mm">, addr: number, length: number, vec: number): number {
  if (addr % PAGE_SIZE !== 0) return -EINVAL;
  const start = addr / PAGE_SIZE;
  const end = pagesOf(addr + length);
  if (end > END_PAGE) return -ENOMEM;
  const pgd = Mm.pgd.get(mm);
  const error = eachPart(mm, start, end, (vma, from, to, also) => {
    if (also === HOLE) return -ENOMEM;
    const mapping = Vma.mapping.get(vma);
    const shift = Vma.pgoff.get(vma) - Vma.start.get(vma);
    for (let at = from; at < to; ) {
      const part = new Uint8Array(Math.min(to - at, PART_SEEN));
      for (let n = 0; n < part.length; n++) {
        const here =
          pteGet(pgd, at + n) !== 0 || (mapping !== 0 && mappingFind(mapping, at + n + shift) !== 0);
        part[n] = here ? 1 : 0;
      }
      if (copyToUser(vec + at - start, part) < 0) return -EFAULT;
      at += part.length;
      const stop = yieldWhole(at - start, also);
      if (stop !== 0) return stop;
    }
    return 0;
  });
  return error;
}
