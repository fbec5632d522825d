/** mmap(2) and munmap(2). Addresses and lengths are bytes. */
import type { Ref } from "../../rcu/index.ts";
import { YIELD } from "../sched/block.ts";
import { hasMm, releaseMm, takeMm, WHOLE_AREAS, yieldOwned } from "../sched/hold.ts";
import { partAlso, partDone, resetPart, yieldWhole } from "../sched/yield.ts";
import { EEXIST, EINVAL, ENOMEM, EOPNOTSUPP, EOVERFLOW, EPERM } from "../uapi/errno.ts";
import {
  MAP_ANONYMOUS,
  MAP_FIXED,
  MAP_FIXED_NOREPLACE,
  MAP_GROWSDOWN,
  MAP_LOCKED,
  MAP_NONBLOCK,
  MAP_NORESERVE,
  MAP_POPULATE,
  MAP_PRIVATE,
  MAP_SHARED,
  MAP_SHARED_VALIDATE,
  MAP_STACK,
  MAP_SYNC,
  MAP_TYPE,
} from "../uapi/mman.ts";
import {
  CODE_MAP,
  CODE_UNMAP,
  type CodeChange,
  changeCodeSpace,
  fileMark,
  newCodeSpace,
} from "./codespace.ts";
import { fileBacking } from "./filemap.ts";
import { frameTotal } from "./frame.ts";
import { Mapping, MOPS, mappingCreate, mappingPut } from "./mapping.ts";
import { MMAP_MIN_ADDR, Mm, TASK_SIZE } from "./mm.ts";
import { populate } from "./populate.ts";
import { ptePart } from "./pte.ts";
import { PAGE_SIZE } from "./ram.ts";
import { STACK_GUARD_PAGES } from "./stack.ts";
import {
  areasEnd,
  VM_EXEC,
  VM_GROWSDOWN,
  VM_LOCKED,
  VM_MAYWRITE,
  VM_NORESERVE,
  VM_PROT,
  VM_SHARED,
  VM_WRITE,
  Vma,
  type VmaSpec,
  vmaCount,
  vmaEndAt,
  vmaRef,
  vmaSearch,
  vmaStartAt,
  vmasHeld,
} from "./vma.ts";
import { editVmas, freeRemoved, nothingRemoved, type Removed } from "./vma-edit.ts";
import { type Zapped, zapBegin, zapFinish, zapRange } from "./zap.ts";

const FIRST_PAGE = MMAP_MIN_ADDR / PAGE_SIZE;
export const END_PAGE = TASK_SIZE / PAGE_SIZE;
/** Flags that MAP_SHARED_VALIDATE knows. */
const KNOWN_FLAGS =
  MAP_TYPE |
  MAP_FIXED |
  MAP_FIXED_NOREPLACE |
  MAP_ANONYMOUS |
  MAP_GROWSDOWN |
  MAP_LOCKED |
  MAP_NORESERVE |
  MAP_POPULATE |
  MAP_NONBLOCK |
  MAP_STACK |
  0x0800 |
  0x1000 |
  0x4_0000;

/** Pages of the largest file: the number of one is 31 bits wide. */
export const FILE_PAGES = 2 ** 31 - 1;
/** Pages of 64-bit addresses: a range that ends there or beyond is one that wraps. */
export const WRAP_PAGES = 2 ** 64 / PAGE_SIZE;
export const pagesOf = (bytes: number): number => Math.ceil(bytes / PAGE_SIZE);

/**
 * The start of a free range of that many pages, at or below mmapBase and as high as possible; 0 when there is none.
 * ptl is held, or the caller does not mind a stale answer.
 */
function findGap(vmas: Ref<"array"> | 0, pages: number, top: number): number {
  const count = vmaCount(vmas);
  let high = top;
  for (let index = Math.min(vmaSearch(vmas, top - 1), count - 1); index >= 0; index--) {
    const start = vmaStartAt(vmas as Ref<"array">, index);
    const end = vmaEndAt(vmas as Ref<"array">, index);
    if (high - end >= pages && end <= high) {
      // Areas are looked at only where there is a gap: there may be tens of thousands.
      const usable = high - guardAbove(vmas as Ref<"array">, index, count, high);
      if (usable - end >= pages) return usable - pages;
    }
    high = Math.min(high, start);
  }
  const usable = count === 0 ? high : high - guardAbove(vmas as Ref<"array">, -1, count, high);
  return usable - FIRST_PAGE >= pages ? usable - pages : 0;
}

/** Guard pages that the area above the one at `index` needs below it, if that area begins at `high`. */
function guardAbove(vmas: Ref<"array">, index: number, count: number, high: number): number {
  if (index + 1 >= count || vmaStartAt(vmas, index + 1) !== high) return 0;
  return (Vma.flags.get(vmaRef(vmas, index + 1)) & VM_GROWSDOWN) !== 0 ? STACK_GUARD_PAGES : 0;
}

/** Whether pages [start, end) are free, with the guard of a stack above them. */
export function isFree(vmas: Ref<"array"> | 0, start: number, end: number): boolean {
  const index = vmaSearch(vmas, start);
  if (index >= vmaCount(vmas)) return true;
  const growing = (Vma.flags.get(vmaRef(vmas as Ref<"array">, index)) & VM_GROWSDOWN) !== 0;
  return vmaStartAt(vmas as Ref<"array">, index) - (growing ? STACK_GUARD_PAGES : 0) >= end;
}

/** Chooses where a mapping of that many pages goes; ptl held. First page, or -ENOMEM. */
export function chooseAddress(mm: Ref<"mm">, vmas: Ref<"array"> | 0, hint: number, pages: number): number {
  const page = hint < TASK_SIZE ? Math.floor(hint / PAGE_SIZE) : 0;
  if (page >= FIRST_PAGE && page + pages <= END_PAGE && isFree(vmas, page, page + pages)) return page;
  const base = Math.floor(Mm.mmapBase.get(mm) / PAGE_SIZE);
  const known = Mm.gapBelow.get(mm);
  const found = findGap(
    vmas,
    pages,
    known !== 0 && pages >= Mm.gapPages.get(mm) ? Math.min(known, base) : base,
  );
  if (found === 0) return findGap(vmas, pages, END_PAGE) || -ENOMEM;
  // The caller fills it; if it does not, the next search begins a little low, and misses nothing but this gap.
  Mm.gapBelow.set(mm, found);
  Mm.gapPages.set(mm, pages);
  return found;
}

/**
 * Maps `length` bytes at `addr` (a hint unless MAP_FIXED): the address, or -errno. `file` is 0 for anonymous memory;
 * `pgoff` the page of the file at the start. mmap(2).
 */
export function mmap(
  mm: Ref<"mm">,
  addr: number,
  length: number,
  prot: number,
  flags: number,
  file: Ref<"file"> | 0,
  pgoff: number,
): number {
  const type = flags & MAP_TYPE;
  const shared = type === MAP_SHARED || type === MAP_SHARED_VALIDATE;
  if (!shared && type !== MAP_PRIVATE) return -EINVAL;
  if (type === MAP_SHARED_VALIDATE && file === 0) return -EINVAL;
  if (type === MAP_SHARED_VALIDATE && (flags & (~KNOWN_FLAGS | MAP_SYNC)) !== 0) return -EOPNOTSUPP;
  if (length === 0) return -EINVAL;
  const pages = pagesOf(length);
  // The area is there since an earlier run of this call, which does no longer make room for it.
  if (partDone() !== 0 && !hasMm(mm)) return populateMapped(mm, partAlso(), pages);
  const fixed = (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) !== 0;
  if (fixed && addr % PAGE_SIZE !== 0) return -EINVAL;
  if (pages > END_PAGE - FIRST_PAGE) return -ENOMEM;
  if (fixed && addr + pages * PAGE_SIZE > TASK_SIZE) return -ENOMEM;
  if (fixed && addr < MMAP_MIN_ADDR) return -EPERM;
  let vmFlags = (prot & VM_PROT) | (shared ? VM_SHARED : 0) | VM_MAYWRITE;
  if ((flags & MAP_NORESERVE) !== 0) vmFlags |= VM_NORESERVE;
  if ((flags & MAP_LOCKED) !== 0) vmFlags |= VM_LOCKED;
  vmFlags |= Mm.defFlags.peek(mm);
  let mapping: Ref<"mapping"> | 0 = 0;
  let own = false;
  let backed = file;
  if (file !== 0) {
    if (!(pgoff >= 0 && pgoff + pages <= FILE_PAGES)) return -EOVERFLOW;
    const found = fileBacking().mapping(file, prot, shared);
    if (found < 0) return found;
    mapping = found as Ref<"mapping"> | 0;
    if (mapping === 0) backed = 0;
    if (shared && !fileBacking().mayWrite(file)) vmFlags &= ~VM_MAYWRITE;
  }
  if (mapping === 0) {
    pgoff = 0;
    if ((flags & MAP_GROWSDOWN) !== 0 && !shared) vmFlags |= VM_GROWSDOWN;
    // What can never fit is refused; anything else is granted until it is touched (overcommit_memory 0).
    if ((vmFlags & (VM_WRITE | VM_NORESERVE)) === VM_WRITE && pages > frameTotal()) return -ENOMEM;
  }
  if ((flags & MAP_FIXED) !== 0 && (flags & MAP_FIXED_NOREPLACE) === 0) {
    const cleared = clearParts(mm, addr / PAGE_SIZE, addr / PAGE_SIZE + pages);
    if (cleared !== 0) return cleared;
  }
  if (mapping === 0) {
    if (shared) {
      const shmem = mappingCreate(MOPS.SHMEM);
      if (shmem === 0) {
        releaseMm(mm);
        return -ENOMEM;
      }
      mapping = shmem;
      own = true;
    }
  }
  const result = mapPages(mm, addr, pages, vmFlags, mapping, backed, pgoff, flags);
  releaseMm(mm);
  if (own) mappingPut(mapping as Ref<"mapping">); // The VMA has its own count.
  if (result >= 0 && (flags & (MAP_POPULATE | MAP_LOCKED)) !== 0 && (flags & MAP_NONBLOCK) === 0)
    return populateMapped(mm, result / PAGE_SIZE, pages);
  return result;
}

/**
 * Unmaps pages [start, end) for a mapping that comes in their place, if they are many: 0, -errno or what takeMm says. The address space is the
 * task's own then, until releaseMm, and no other thread sees the hole.
 */
export function clearParts(mm: Ref<"mm">, start: number, end: number): number {
  if (!hasMm(mm) && !isLarge(mm, start, end)) return 0;
  const taken = takeMm(mm);
  if (taken !== 0) return taken;
  for (let at = start + partDone(); at < end; ) {
    const to = unmapPart(mm, at, end);
    if (to < 0) {
      releaseMm(mm);
      return to;
    }
    at = to;
    const stop = at < end ? yieldOwned(at - start) : 0;
    if (stop !== 0) return stop;
  }
  resetPart();
  return 0;
}

/** Whether there is so much in pages [start, end) that it takes long to change it. */
export function isLarge(mm: Ref<"mm">, start: number, end: number): boolean {
  if (end - start <= WHOLE_AREAS) return false;
  const vmas = Mm.vmas.access(mm);
  return (
    vmaSearch(vmas, end) - vmaSearch(vmas, start) > WHOLE_AREAS || ptePart(Mm.pgd.get(mm), start, end) < end
  );
}

/** MAP_POPULATE: the address of the area, with as many pages present as can be had, or YIELD. */
function populateMapped(mm: Ref<"mm">, start: number, pages: number): number {
  const stop = populate(mm, start, start + pages, start);
  return stop === YIELD ? stop : start * PAGE_SIZE;
}

/** Puts an area into the address space, replacing what MAP_FIXED covers. Address or -errno. */
export function mapPages(
  mm: Ref<"mm">,
  addr: number,
  pages: number,
  vmFlags: number,
  mapping: Ref<"mapping"> | 0,
  file: Ref<"file"> | 0,
  pgoff: number,
  flags: number,
): number {
  const removed = nothingRemoved();
  const zapped = zapBegin();
  Mm.mmapLock.lock(mm);
  const held = Mm.ptl.lock(mm);
  const vmas = vmasHeld(held, mm);
  let start = Math.floor(addr / PAGE_SIZE);
  let error = 0;
  if ((flags & MAP_FIXED_NOREPLACE) !== 0) {
    const index = vmaSearch(vmas, start);
    if (index < vmaCount(vmas) && vmaStartAt(vmas as Ref<"array">, index) < start + pages) error = -EEXIST;
  } else if ((flags & MAP_FIXED) === 0) {
    start = chooseAddress(mm, vmas, addr, pages);
    if (start < 0) error = start;
  }
  if (error === 0) {
    const spec: VmaSpec = { start, end: start + pages, flags: vmFlags, mapping, file, pgoff };
    error = editVmas(held, mm, start, start + pages, null, spec, removed);
    // Where clearParts has been, nothing is left.
    if (error === 0 && !hasMm(mm)) zapRange(held, mm, start, start + pages, zapped);
  }
  Mm.ptl.unlock(mm);
  if (error === 0) {
    if ((vmFlags & VM_EXEC) !== 0) removed.exec = true;
    settle(mm, zapped, removed, mapChange(start, start + pages, vmFlags, mapping, pgoff));
  }
  Mm.mmapLock.unlock(mm);
  return error === 0 ? start * PAGE_SIZE : error;
}

/** A mapping as a change of code that others can follow, or null when they cannot. */
function mapChange(
  start: number,
  end: number,
  vmFlags: number,
  mapping: Ref<"mapping"> | 0,
  pgoff: number,
): CodeChange | null {
  if ((vmFlags & VM_EXEC) === 0) return [CODE_UNMAP, 0, start, end, 0];
  if ((vmFlags & VM_WRITE) !== 0 || mapping === 0 || isShmemAnon(mapping)) return null;
  return [CODE_MAP, fileMark(mapping), start, end, pgoff];
}

const isShmemAnon = (mapping: Ref<"mapping">): boolean => Mapping.ops.get(mapping) === MOPS.SHMEM;

/** Executable areas changed: others that have the same code number must not be affected. */
function codeChanged(mm: Ref<"mm">, zapped: Zapped, removed: Removed, change: CodeChange | null): void {
  const shared = Mm.spaceShared.peek(mm) !== 0;
  if (shared && (removed.exec || zapped.code)) {
    if (change !== null) changeCodeSpace(mm, change);
    else newCodeSpace(mm);
  } else if (zapped.code) newCodeSpace(mm);
  zapped.code = false;
}

/** After ptl is released: other CPUs forget, frames and VMAs go. mmapLock is still held. */
export function settle(
  mm: Ref<"mm">,
  zapped: Zapped,
  removed: Removed,
  change: CodeChange | null = null,
): void {
  codeChanged(mm, zapped, removed, change);
  zapFinish(mm, zapped);
  freeRemoved(removed);
}

/** Unmaps [addr, addr + length): 0, -errno or YIELD. munmap(2). */
export function munmap(mm: Ref<"mm">, addr: number, length: number): number {
  if (addr % PAGE_SIZE !== 0 || length === 0 || addr + length > TASK_SIZE) return -EINVAL;
  return unmapParts(mm, addr / PAGE_SIZE, addr / PAGE_SIZE + pagesOf(length));
}

/**
 * Unmaps pages [start, end) from below, in parts: 0, -errno or YIELD. Other threads may see it half done, and may map something new
 * where it is done, which later runs leave alone.
 */
export function unmapParts(mm: Ref<"mm">, start: number, end: number): number {
  for (let at = start + partDone(); at < end; ) {
    const to = unmapPart(mm, at, end);
    if (to < 0) return to;
    at = to;
    const stop = at < end ? yieldWhole(at - start) : 0;
    if (stop !== 0) return stop;
  }
  return 0;
}

/** Unmaps a part of pages [start, end), no more pages and areas than take about a millisecond: where the next part begins, or -errno. */
export function unmapPart(mm: Ref<"mm">, start: number, end: number): number {
  Mm.mmapLock.lock(mm);
  const stop = areasEnd(Mm.vmas.access(mm), start, end, WHOLE_AREAS);
  const to = ptePart(Mm.pgd.get(mm), start, stop);
  const result = unmapLocked(mm, start, to);
  Mm.mmapLock.unlock(mm);
  return result < 0 ? result : to;
}

/** Unmaps pages [start, end); mmapLock is held. */
export function unmapLocked(mm: Ref<"mm">, start: number, end: number): number {
  const removed = nothingRemoved();
  const zapped = zapBegin();
  const held = Mm.ptl.lock(mm);
  const vmas = vmasHeld(held, mm);
  const index = vmaSearch(vmas, start);
  let result = 0;
  if (index < vmaCount(vmas) && vmaStartAt(vmas as Ref<"array">, index) < end) {
    result = editVmas(held, mm, start, end, null, null, removed);
    if (result === 0) zapRange(held, mm, start, end, zapped);
  }
  Mm.ptl.unlock(mm);
  if (result === 0) settle(mm, zapped, removed, [CODE_UNMAP, 0, start, end, 0]);
  return result;
}
