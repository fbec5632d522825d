/** mremap(2): resizes a mapping where it is, or moves its pages elsewhere without copying them. */
import type { Ref } from "../../rcu/index.ts";
import { YIELD } from "../sched/block.ts";
import { hasMm } from "../sched/hold.ts";
import { partAlso, partDone, resetPart } from "../sched/yield.ts";
import { EFAULT, EINVAL, ENOMEM } from "../uapi/errno.ts";
import { MREMAP_DONTUNMAP, MREMAP_FIXED, MREMAP_MAYMOVE } from "../uapi/mman.ts";
import { MMAP_MIN_ADDR, Mm } from "./mm.ts";
import {
  chooseAddress,
  END_PAGE,
  FILE_PAGES,
  isFree,
  isLarge,
  pagesOf,
  settle,
  unmapLocked,
  unmapParts,
} from "./mmap.ts";
import { moveInParts } from "./mremap-parts.ts";
import { populate } from "./populate.ts";
import { pteSet, pteTable, pteWalk } from "./pte.ts";
import { PAGE_SIZE } from "./ram.ts";
import { VM_LOCKED, VM_SHARED, VM_SPECIAL, Vma, type VmaSpec, vmaAt, vmaSpec, vmasHeld } from "./vma.ts";
import { editVmas, nothingRemoved } from "./vma-edit.ts";
import { zapBegin, zapNote, zapRange } from "./zap.ts";

/** The new address, or -errno. `newAddr` counts with MREMAP_FIXED (and as a hint with MREMAP_DONTUNMAP). */
export function mremap(
  mm: Ref<"mm">,
  addr: number,
  oldLength: number,
  newLength: number,
  flags: number,
  newAddr: number,
): number {
  const fixed = (flags & MREMAP_FIXED) !== 0;
  const dontUnmap = (flags & MREMAP_DONTUNMAP) !== 0;
  if ((flags & ~(MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP)) !== 0) return -EINVAL;
  if ((fixed || dontUnmap) && (flags & MREMAP_MAYMOVE) === 0) return -EINVAL;
  const oldPages = pagesOf(oldLength);
  const newPages = pagesOf(newLength);
  if (addr % PAGE_SIZE !== 0 || newPages === 0 || (dontUnmap && oldPages !== newPages)) return -EINVAL;
  const start = addr / PAGE_SIZE;
  // Pages beyond the address space have no entries: neither a length that wraps nor one that is merely wild gets further.
  if (start >= END_PAGE) return -EFAULT;
  if (start + oldPages > END_PAGE || newPages > END_PAGE) return -EINVAL;
  if (fixed) {
    if (newAddr % PAGE_SIZE !== 0 || newAddr < MMAP_MIN_ADDR) return -EINVAL;
    const to = newAddr / PAGE_SIZE;
    if (to + newPages > END_PAGE) return -EINVAL;
    if (to < start + oldPages && start < to + newPages) return -EINVAL;
  }
  if (!fixed && !dontUnmap && newPages < oldPages) {
    const error = mayRemap(mm, start);
    return error < 0 ? error : unmapParts(mm, start + newPages, start + oldPages) || addr;
  }
  // It was moved in an earlier run of this call.
  if (partDone() !== 0 && !hasMm(mm)) return populateGrown(mm, partAlso(), oldPages, newPages);
  const target = fixed ? newAddr / PAGE_SIZE : -1;
  const large = isLarge(mm, start, start + oldPages) || (fixed && isLarge(mm, target, target + newPages));
  let result = BIG;
  if (!hasMm(mm)) {
    Mm.mmapLock.lock(mm);
    result = remapLocked(mm, start, oldPages, newPages, flags, target, large);
    Mm.mmapLock.unlock(mm);
  }
  if (result === BIG) result = moveInParts({ mm, start, oldPages, newPages, target, dontUnmap });
  if (result < 0) return result;
  resetPart();
  const locked = vmaAt(mm, result);
  if (newPages > oldPages && locked !== 0 && (Vma.flags.get(locked) & VM_LOCKED) !== 0)
    return populateGrown(mm, result, oldPages, newPages);
  return result * PAGE_SIZE;
}

/** A locked area grew: its new pages are made present as far as that goes. Its address, or YIELD. */
function populateGrown(mm: Ref<"mm">, start: number, oldPages: number, newPages: number): number {
  const stop = populate(mm, start + oldPages, start + newPages, start);
  return stop === YIELD ? stop : start * PAGE_SIZE;
}

/** What remapLocked answers when all is well, and there is more to move than it should. */
const BIG = -(2 ** 60);

/** Whether there is an area at page `start` that may be changed: 0 or -errno. */
function mayRemap(mm: Ref<"mm">, start: number): number {
  const vma = vmaAt(mm, start);
  if (vma === 0) return -EFAULT;
  return (Vma.flags.get(vma) & VM_SPECIAL) !== 0 ? -EINVAL : 0;
}

/** First page of the result, or -errno; BIG if it has to move and is `large`. mmapLock is held. */
function remapLocked(
  mm: Ref<"mm">,
  start: number,
  oldPages: number,
  newPages: number,
  flags: number,
  target: number,
  large: boolean,
): number {
  const error = mayRemap(mm, start);
  if (error < 0) return error;
  const spec = vmaSpec(vmaAt(mm, start) as Ref<"vma">);
  const fixed = (flags & MREMAP_FIXED) !== 0;
  const dontUnmap = (flags & MREMAP_DONTUNMAP) !== 0;
  // Old size 0 duplicates a shared mapping.
  if (oldPages === 0 && (spec.flags & VM_SHARED) === 0) return -EINVAL;
  if (!fixed && !dontUnmap && newPages === oldPages) return start;
  if (start + oldPages > spec.end) return -EFAULT;
  if (spec.mapping !== 0 && spec.pgoff + (start - spec.start) + newPages > FILE_PAGES) return -EINVAL;
  if (!fixed && !dontUnmap && oldPages !== 0 && start + oldPages === spec.end) {
    const grown = growInPlace(mm, spec, start + oldPages, start + newPages);
    if (grown) return start;
  }
  if ((flags & MREMAP_MAYMOVE) === 0) return -ENOMEM;
  return large ? BIG : move(mm, spec, start, oldPages, newPages, target, dontUnmap);
}

function growInPlace(mm: Ref<"mm">, spec: VmaSpec, end: number, newEnd: number): boolean {
  const removed = nothingRemoved();
  const held = Mm.ptl.lock(mm);
  let grown = false;
  if (newEnd <= END_PAGE && isFree(vmasHeld(held, mm), end, newEnd)) {
    const added = { ...spec, start: end, end: newEnd, pgoff: spec.pgoff + (end - spec.start) };
    grown = editVmas(held, mm, end, newEnd, null, added, removed) === 0;
  }
  Mm.ptl.unlock(mm);
  settle(mm, zapBegin(), removed);
  return grown;
}

function move(
  mm: Ref<"mm">,
  spec: VmaSpec,
  start: number,
  oldPages: number,
  newPages: number,
  fixedAt: number,
  dontUnmap: boolean,
): number {
  if (fixedAt >= 0) {
    // What is there goes first; if it fails, nothing has happened.
    const error = unmapLocked(mm, fixedAt, fixedAt + newPages);
    if (error < 0) return error;
  }
  const removed = nothingRemoved();
  const zapped = zapBegin();
  const held = Mm.ptl.lock(mm);
  const to = fixedAt >= 0 ? fixedAt : chooseAddress(mm, vmasHeld(held, mm), 0, newPages);
  let error = Math.min(to, 0);
  if (error === 0) {
    const added = { ...spec, start: to, end: to + newPages, pgoff: spec.pgoff + (start - spec.start) };
    error = editVmas(held, mm, to, to + newPages, null, added, removed);
  }
  if (error === 0 && oldPages !== 0) {
    const pgd = Mm.pgd.get(mm);
    const moved = Math.min(oldPages, newPages);
    let short = false;
    pteWalk(pgd, start, start + moved, (table, page, pte) => {
      const target = pteTable(pgd, to + (page - start));
      if (target === 0) {
        short = true;
        return;
      }
      pteSet(table, page, 0);
      // Executed pages are fetched anew at their new place.
      pteSet(target, to + (page - start), pte & ~4);
      zapNote(zapped, page, pte);
    });
    if (short) {
      // No memory for a table: put back what was moved.
      pteWalk(pgd, to, to + moved, (table, page, pte) => {
        pteSet(table, page, 0);
        pteSet(pteTable(pgd, start + (page - to)) as Ref<"pagetable">, start + (page - to), pte);
      });
      editVmas(held, mm, to, to + newPages, null, null, removed);
      error = -ENOMEM;
    } else if (!dontUnmap) {
      error = editVmas(held, mm, start, start + oldPages, null, null, removed);
      zapRange(held, mm, start, start + oldPages, zapped);
    }
  }
  Mm.ptl.unlock(mm);
  settle(mm, zapped, removed);
  return error === 0 ? to : error;
}
