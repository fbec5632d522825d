/** mprotect(2): new permissions for a range; areas split and merge. */
import type { Ref } from "../../rcu/index.ts";
import { EACCES, EINVAL, ENOMEM } from "../uapi/errno.ts";
import { PROT_EXEC, PROT_GROWSDOWN, PROT_GROWSUP, PROT_READ, PROT_SEM, PROT_WRITE } from "../uapi/mman.ts";
import { CODE_PROTECT } from "./codespace.ts";
import { Mm } from "./mm.ts";
import { END_PAGE, pagesOf, settle } from "./mmap.ts";
import { PTE_EXEC, PTE_READ, PTE_WRITE, pteTake, pteWalk } from "./pte.ts";
import { PAGE_SIZE } from "./ram.ts";
import {
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

/** Changes the permissions of [addr, addr + length): 0 or -errno. mprotect(2). */
export function mprotect(mm: Ref<"mm">, addr: number, length: number, prot: number): number {
  const grows = prot & (PROT_GROWSDOWN | PROT_GROWSUP);
  const wanted = prot & ~(PROT_GROWSDOWN | PROT_GROWSUP | PROT_SEM);
  if (addr % PAGE_SIZE !== 0 || grows === (PROT_GROWSDOWN | PROT_GROWSUP) || (wanted & ~VM_PROT) !== 0)
    return -EINVAL;
  if (length === 0) return 0;
  const end = pagesOf(addr + length);
  if (end > END_PAGE) return -ENOMEM;
  let start = addr / PAGE_SIZE;
  const removed = nothingRemoved();
  const zapped = zapBegin();
  Mm.mmapLock.lock(mm);
  const held = Mm.ptl.lock(mm);
  const vmas = vmasHeld(held, mm);
  let error = 0;
  let gap = false;
  let at = start;
  let index = vmaSearch(vmas, start);
  if ((grows & PROT_GROWSDOWN) !== 0 && index < vmaCount(vmas)) {
    const vma = vmaRef(vmas as Ref<"array">, index);
    if (Vma.start.get(vma) > start || (Vma.flags.get(vma) & VM_GROWSDOWN) === 0) error = -EINVAL;
    else at = start = Vma.start.get(vma);
  }
  let addsExec = false;
  for (; error === 0 && at < end; index++) {
    if (index >= vmaCount(vmas) || vmaStartAt(vmas as Ref<"array">, index) > at) {
      gap = true;
      break;
    }
    const flags = Vma.flags.get(vmaRef(vmas as Ref<"array">, index));
    if ((flags & VM_SPECIAL) !== 0) error = -EACCES;
    if ((wanted & VM_WRITE) !== 0 && (flags & VM_SHARED) !== 0 && (flags & VM_MAYWRITE) === 0)
      error = -EACCES;
    if ((wanted & PROT_EXEC) !== 0 && (flags & VM_EXEC) === 0) addsExec = true;
    at = vmaEndAt(vmas as Ref<"array">, index);
  }
  // What lies before a hole is changed all the same.
  const stop = gap ? at : end;
  if (error === 0 && start < stop) {
    const change = (piece: VmaSpec): boolean => {
      piece.flags = (piece.flags & ~VM_PROT) | wanted;
      return true;
    };
    error = editVmas(held, mm, start, stop, change, null, removed);
    if (error === 0) takeRights(mm, start, stop, wanted, zapped);
  }
  Mm.ptl.unlock(mm);
  if (error === 0) {
    // What is made executable may be of the program's own making.
    if (addsExec) removed.exec = true;
    settle(mm, zapped, removed, addsExec ? null : [CODE_PROTECT, wanted, start, stop, 0]);
  }
  Mm.mmapLock.unlock(mm);
  return error !== 0 ? error : gap ? -ENOMEM : 0;
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
