/** mprotect(2): new permissions for a range; areas split and merge. */
import type { Ptr, Ref } from "../../rcu/index.ts";
import { releaseMm, takeMm, WHOLE_AREAS, yieldOwned } from "../sched/hold.ts";
import { partAlso, partDone } from "../sched/yield.ts";
import { EACCES, EINVAL, ENOMEM } from "../uapi/errno.ts";
import { PROT_EXEC, PROT_GROWSDOWN, PROT_GROWSUP, PROT_READ, PROT_SEM, PROT_WRITE } from "../uapi/mman.ts";
import { CODE_PROTECT } from "./codespace.ts";
import { Mm } from "./mm.ts";
import { END_PAGE, isLarge, pagesOf, settle } from "./mmap.ts";
import { PTE_EXEC, PTE_READ, PTE_WRITE, ptePart, pteTake, pteWalk } from "./pte.ts";
import { PAGE_SIZE } from "./ram.ts";
import {
  areasEnd,
  VM_EXEC,
  VM_GROWSDOWN,
  VM_MAYWRITE,
  VM_PROT,
  VM_SHARED,
  VM_SPECIAL,
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
import { editVmas, nothingRemoved } from "./vma-edit.ts";
import { type Zapped, zapBegin, zapNote } from "./zap.ts";

/** Changes the permissions of [addr, addr + length): 0, -errno or YIELD. mprotect(2). Other threads never see it half done. */
export function mprotect(mm: Ref<"mm">, addr: number, length: number, prot: number): number {
  const grows = prot & (PROT_GROWSDOWN | PROT_GROWSUP);
  const wanted = prot & ~(PROT_GROWSDOWN | PROT_GROWSUP | PROT_SEM);
  if (addr % PAGE_SIZE !== 0 || grows === (PROT_GROWSDOWN | PROT_GROWSUP) || (wanted & ~VM_PROT) !== 0)
    return -EINVAL;
  if (length === 0) return 0;
  const end = pagesOf(addr + length);
  if (end > END_PAGE) return -ENOMEM;
  const start = addr / PAGE_SIZE;
  if (partDone() !== 0) return protectParts(mm, partDone(), partAlso(), wanted);
  const large = isLarge(mm, start, end);
  const taken = large ? takeMm(mm) : 0;
  if (taken !== 0) return taken;
  Mm.mmapLock.lock(mm);
  const held = Mm.ptl.lock(mm);
  const found = examine(vmasHeld(held, mm), start, end, grows, wanted);
  Mm.ptl.unlock(mm);
  let error = found.error;
  if (error === 0 && found.start < found.stop) {
    if (large) {
      Mm.mmapLock.unlock(mm);
      const also = found.stop * 4 + (found.gap ? GAP : 0) + (found.addsExec ? ADDS_EXEC : 0);
      return protectParts(mm, found.start, also, wanted);
    }
    error = protectLocked(mm, found.start, found.stop, found.stop, wanted, found.addsExec);
  }
  Mm.mmapLock.unlock(mm);
  if (large) releaseMm(mm);
  return error !== 0 ? error : found.gap ? -ENOMEM : 0;
}

interface Examined {
  error: number;
  /** What is to be changed: up to the first hole. */
  start: number;
  stop: number;
  gap: boolean;
  /** Some of it becomes executable that was not. */
  addsExec: boolean;
}

/** Whether the areas may be changed like that. ptl is held. */
function examine(vmas: Ptr<"array">, first: number, end: number, grows: number, wanted: number): Examined {
  const result = { error: 0, start: first, stop: end, gap: false, addsExec: false };
  let at = first;
  let index = vmaSearch(vmas, first);
  if ((grows & PROT_GROWSDOWN) !== 0 && index < vmaCount(vmas)) {
    const vma = vmaRef(vmas as Ref<"array">, index);
    if (Vma.start.get(vma) > first || (Vma.flags.get(vma) & VM_GROWSDOWN) === 0) result.error = -EINVAL;
    else at = result.start = Vma.start.get(vma);
  }
  for (; result.error === 0 && at < end; index++) {
    if (index >= vmaCount(vmas) || vmaStartAt(vmas as Ref<"array">, index) > at) {
      // What lies before a hole is changed all the same.
      result.gap = true;
      result.stop = at;
      break;
    }
    const flags = Vma.flags.get(vmaRef(vmas as Ref<"array">, index));
    if ((flags & VM_SPECIAL) !== 0) result.error = -EACCES;
    if ((wanted & VM_WRITE) !== 0 && (flags & VM_SHARED) !== 0 && (flags & VM_MAYWRITE) === 0)
      result.error = -EACCES;
    if ((wanted & PROT_EXEC) !== 0 && (flags & VM_EXEC) === 0) result.addsExec = true;
    at = vmaEndAt(vmas as Ref<"array">, index);
  }
  return result;
}

/** partAlso() of protectParts: these, and four times the page where it stops. */
const GAP = 1;
const ADDS_EXEC = 2;

/** Changes what is left from page `at` on; the address space is the task's own until this is done. */
function protectParts(mm: Ref<"mm">, at: number, also: number, wanted: number): number {
  const stop = also >>> 2;
  let error = 0;
  while (at < stop && error === 0) {
    Mm.mmapLock.lock(mm);
    const vmas = Mm.vmas.access(mm) as Ref<"array">;
    const to = ptePart(Mm.pgd.get(mm), at, areasEnd(vmas, at, stop, WHOLE_AREAS));
    // No area is cut in two for it: what is changed twice is changed once.
    const whole = Math.min(stop, vmaEndAt(vmas, vmaSearch(vmas, to - 1)));
    error = protectLocked(mm, at, to, whole, wanted, (also & ADDS_EXEC) !== 0);
    Mm.mmapLock.unlock(mm);
    at = to;
    const yields = at < stop && error === 0 ? yieldOwned(at, also) : 0;
    if (yields !== 0) return yields;
  }
  releaseMm(mm);
  return error !== 0 ? error : (also & GAP) !== 0 ? -ENOMEM : 0;
}

/** Changes the areas of pages [start, whole), and takes rights from the entries of [start, end): 0 or -errno. mmapLock is held. */
function protectLocked(
  mm: Ref<"mm">,
  start: number,
  end: number,
  whole: number,
  wanted: number,
  addsExec: boolean,
): number {
  const removed = nothingRemoved();
  const zapped = zapBegin();
  const held = Mm.ptl.lock(mm);
  const change = (piece: VmaSpec): boolean => {
    piece.flags = (piece.flags & ~VM_PROT) | wanted;
    return true;
  };
  const error = editVmas(held, mm, start, whole, change, null, removed);
  if (error === 0) takeRights(mm, start, end, wanted, zapped);
  Mm.ptl.unlock(mm);
  if (error !== 0) return error;
  // What is made executable may be of the program's own making.
  if (addsExec) removed.exec = true;
  settle(mm, zapped, removed, addsExec ? null : [CODE_PROTECT, wanted, start, whole, 0]);
  return 0;
}

/** Removes from the entries what the new protection does not give; more rights come back by faults. ptl is held. */
function takeRights(mm: Ref<"mm">, start: number, end: number, prot: number, zapped: Zapped): void {
  let keep = ~(PTE_READ | PTE_WRITE | PTE_EXEC);
  if ((prot & (PROT_READ | PROT_WRITE)) !== 0) keep |= PTE_READ;
  if ((prot & PROT_WRITE) !== 0) keep |= PTE_WRITE;
  if ((prot & PROT_EXEC) !== 0) keep |= PTE_EXEC;
  pteWalk(Mm.pgd.get(mm), start, end, (table, page, pte) => {
    const fewer = pte & keep;
    if (fewer === pte) return;
    pteTake(table, page, fewer);
    zapNote(zapped, page, pte & ~keep);
  });
}
