/** madvise(2), msync(2), mincore(2), mlock(2) and its family. */
import type { Ref } from "../../rcu/index.ts";
import { YIELD } from "../sched/block.ts";
import { partDone, yieldWhole } from "../sched/yield.ts";
import { EAGAIN, EBUSY, EFAULT, EINVAL, EIO, ENOMEM, EPERM } from "../uapi/errno.ts";
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
import { END_PAGE, pagesOf, populate, populatePages, settle } from "./mmap.ts";
import { mappingFind, mappingInvalidate, mappingWriteback } from "./pagecache.ts";
import { pteGet, ptePart } from "./pte.ts";
import { PAGE_SIZE } from "./ram.ts";
import {
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

/** Calls `visit(vma, from, to)` for the mapped parts of pages [start, end) until it answers < 0; -ENOMEM if there were holes. */
function eachPart(
  mm: Ref<"mm">,
  start: number,
  end: number,
  visit: (vma: Ref<"vma">, from: number, to: number) => number,
): number {
  const parts: [Ref<"vma">, number, number][] = [];
  const held = Mm.ptl.lock(mm);
  const vmas = vmasHeld(held, mm);
  let at = start;
  let hole = false;
  for (let index = vmaSearch(vmas, start); index < vmaCount(vmas) && at < end; index++) {
    const from = vmaStartAt(vmas as Ref<"array">, index);
    if (from >= end) break;
    if (from > at) hole = true;
    const to = Math.min(end, vmaEndAt(vmas as Ref<"array">, index));
    parts.push([vmaRef(vmas as Ref<"array">, index), Math.max(from, start), to]);
    at = to;
  }
  Mm.ptl.unlock(mm);
  for (const [vma, from, to] of parts) {
    const result = visit(vma, from, to);
    if (result < 0) return result;
  }
  return hole || at < end ? -ENOMEM : 0;
}

/** Sets and clears VMA flags over pages [start, end): 0 or -errno. mmapLock is held. */
function changeFlags(mm: Ref<"mm">, start: number, end: number, set: number, clear: number): number {
  const removed = nothingRemoved();
  const held = Mm.ptl.lock(mm);
  const change = (piece: VmaSpec): boolean => {
    piece.flags = (piece.flags & ~clear) | set;
    return true;
  };
  const result = editVmas(held, mm, start, end, change, null, removed);
  Mm.ptl.unlock(mm);
  settle(mm, zapBegin(), removed);
  return result;
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
  const end = pagesOf(addr + length);
  if (length === 0) return 0;
  if (end > END_PAGE) return -ENOMEM;
  if (HARMLESS.has(advice)) return eachPart(mm, start, end, () => 0);
  if (advice === MADV_POPULATE_READ || advice === MADV_POPULATE_WRITE)
    return eachPart(mm, start, end, (_vma, from, to) =>
      populateStrict(mm, Math.max(from, start + partDone()), to, advice, start),
    );
  Mm.mmapLock.lock(mm);
  const result = adviseLocked(mm, start, end, advice);
  Mm.mmapLock.unlock(mm);
  return result;
}

function adviseLocked(mm: Ref<"mm">, start: number, end: number, advice: number): number {
  const change = ADVICE_FLAGS.get(advice);
  if (change !== undefined) {
    const hole = eachPart(mm, start, end, (vma) =>
      advice === MADV_WIPEONFORK && (Vma.mapping.get(vma) !== 0 || (Vma.flags.get(vma) & VM_SHARED) !== 0)
        ? -EINVAL
        : 0,
    );
    if (hole < 0 && hole !== -ENOMEM) return hole;
    return changeFlags(mm, start, end, change[0], change[1]) || hole;
  }
  return eachPart(mm, start, end, (vma, from, to) => {
    const flags = Vma.flags.get(vma);
    if ((flags & VM_SPECIAL) !== 0) return -EINVAL;
    if ((flags & VM_LOCKED) !== 0 && advice !== MADV_DONTNEED_LOCKED) return -EINVAL;
    const mapping = Vma.mapping.get(vma);
    if (advice === MADV_FREE && (mapping !== 0 || (flags & VM_SHARED) !== 0)) return -EINVAL;
    if (advice === MADV_REMOVE) {
      if (mapping === 0 || (flags & VM_SHARED) === 0 || !isShmem(mapping)) return -EINVAL;
      const first = Vma.pgoff.get(vma) + (from - Vma.start.get(vma));
      mappingInvalidate(mapping, first, first + (to - from));
      return 0;
    }
    return zapParts(mm, Math.max(from, start + partDone()), to, start);
  });
}

/** Takes pages [from, to) out in parts: 0, or what yieldWhole says; progress is counted from page `start`. mmapLock is held. */
function zapParts(mm: Ref<"mm">, from: number, to: number, start: number): number {
  for (let at = from; at < to; ) {
    const end = ptePart(Mm.pgd.get(mm), at, to);
    const zapped = zapBegin();
    const held = Mm.ptl.lock(mm);
    zapRange(held, mm, at, end, zapped);
    Mm.ptl.unlock(mm);
    zapFinish(mm, zapped);
    at = end;
    const stop = yieldWhole(at - start);
    if (stop !== 0) return stop;
  }
  return 0;
}

function populateStrict(mm: Ref<"mm">, from: number, to: number, advice: number, start: number): number {
  const access = advice === MADV_POPULATE_WRITE ? ACCESS.WRITE : ACCESS.READ;
  const result = populatePages(mm, from, to, access, start);
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
  const end = pagesOf(addr + length);
  if (end > END_PAGE) return -ENOMEM;
  return eachPart(mm, addr / PAGE_SIZE, end, (vma, from, to) => {
    if ((flags & MS_INVALIDATE) !== 0 && (Vma.flags.get(vma) & VM_LOCKED) !== 0) return -EBUSY;
    const mapping = Vma.mapping.get(vma);
    if (mapping === 0 || (Vma.flags.get(vma) & VM_SHARED) === 0) return 0;
    const first = Vma.pgoff.get(vma) + (from - Vma.start.get(vma));
    return mappingWriteback(mapping, first, first + (to - from)) < 0 ? -EIO : 0;
  });
}

/** One byte for each page, 1 when it is in memory; -ENOMEM when something in the range is not mapped. */
export function mincore(mm: Ref<"mm">, addr: number, length: number): Uint8Array | number {
  if (addr % PAGE_SIZE !== 0) return -EINVAL;
  const start = addr / PAGE_SIZE;
  const end = pagesOf(addr + length);
  if (end > END_PAGE) return -ENOMEM;
  const result = new Uint8Array(end - start);
  const error = eachPart(mm, start, end, (vma, from, to) => {
    const mapping = Vma.mapping.get(vma);
    const shift = Vma.pgoff.get(vma) - Vma.start.get(vma);
    for (let page = from; page < to; page++) {
      const here =
        pteGet(Mm.pgd.get(mm), page) !== 0 || (mapping !== 0 && mappingFind(mapping, page + shift) !== 0);
      result[page - start] = here ? 1 : 0;
    }
    return 0;
  });
  return error < 0 ? error : result;
}

/**
 * mlock(2), munlock(2): nothing is ever paged out, so locking only makes the pages present and is accounted (VmLck).
 * `limit`: bytes that may be locked (RLIMIT_MEMLOCK), Infinity for the privileged.
 */
export function mlock(
  mm: Ref<"mm">,
  addr: number,
  length: number,
  lock: boolean,
  onFault: boolean,
  limit: number,
): number {
  const start = Math.floor(addr / PAGE_SIZE);
  const end = pagesOf(addr + length);
  if (end > END_PAGE) return lock ? -ENOMEM : -EINVAL;
  if (length === 0) return 0;
  if (lock && limit === 0) return -EPERM;
  if (lock && partDone() === 0 && (Mm.lockedVm.racy(mm) + (end - start)) * PAGE_SIZE > limit) return -ENOMEM;
  if (partDone() === 0) {
    Mm.mmapLock.lock(mm);
    const hole = eachPart(mm, start, end, () => 0);
    const result = changeFlags(mm, start, end, lock ? VM_LOCKED : 0, lock ? 0 : VM_LOCKED) || hole;
    Mm.mmapLock.unlock(mm);
    if (result < 0 || !lock || onFault) return result;
  }
  const result = populate(mm, start, end);
  return result < 0 && result !== YIELD ? -EAGAIN : result;
}

/** mlockall(2): `current` locks what is mapped, `future` what will be. munlockall: both false. */
export function mlockall(mm: Ref<"mm">, current: boolean, future: boolean, onFault: boolean): number {
  if (partDone() !== 0) return populateAll(mm);
  Mm.defFlags.store(mm, future ? VM_LOCKED : 0);
  Mm.mmapLock.lock(mm);
  const unlock = !current && !future;
  const result =
    current || unlock ? changeFlags(mm, 0, END_PAGE, current ? VM_LOCKED : 0, current ? 0 : VM_LOCKED) : 0;
  Mm.mmapLock.unlock(mm);
  return result === 0 && current && !onFault ? populateAll(mm) : result;
}

/** What cannot be had is no error of mlockall(2). */
const populateAll = (mm: Ref<"mm">): number => (populate(mm, 0, END_PAGE) === YIELD ? YIELD : 0);
