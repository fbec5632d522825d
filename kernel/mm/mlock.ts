/** mlock(2) and its family. */
import type { Ref } from "../../rcu/index.ts";
import { YIELD } from "../sched/block.ts";
import { partAlso, partDone, resetPart } from "../sched/yield.ts";
import { EAGAIN, EINVAL, ENOMEM, EPERM } from "../uapi/errno.ts";
import { MADV_NORMAL } from "../uapi/mman.ts";
import { adviseFlags, changeFlags } from "./madvise.ts";
import { Mm } from "./mm.ts";
import { END_PAGE, pagesOf, WRAP_PAGES } from "./mmap.ts";
import { populate } from "./populate.ts";
import { PAGE_SIZE } from "./ram.ts";
import { VM_LOCKED } from "./vma.ts";

/** What partAlso() says when the areas are locked, and their pages are made present. */
const POPULATES = 4;

/** 0, -ENOMEM when there are holes, whose surroundings are locked all the same, or YIELD. */
function lockFlags(mm: Ref<"mm">, start: number, end: number, lock: boolean): number {
  return adviseFlags(mm, start, end, MADV_NORMAL, lock ? [VM_LOCKED, 0] : [0, VM_LOCKED]);
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
  const pages = pagesOf(length + (addr % PAGE_SIZE));
  const end = start + pages;
  if (length === 0 || pages === WRAP_PAGES) return 0; // Rounded to whole pages that is nothing.
  if (lock && limit === 0) return -EPERM;
  if (lock && partDone() === 0 && (Mm.lockedVm.racy(mm) + pages) * PAGE_SIZE > limit) return -ENOMEM;
  if (end > END_PAGE) return end >= WRAP_PAGES ? -EINVAL : -ENOMEM;
  if (partDone() === 0 || partAlso() !== POPULATES) {
    const result = lockFlags(mm, start, end, lock);
    if (result < 0 || !lock || onFault) return result;
    resetPart();
  }
  const result = populate(mm, start, end, POPULATES);
  return result < 0 && result !== YIELD ? -EAGAIN : result;
}

/** mlockall(2): `current` locks what is mapped, `future` what will be. munlockall: both false. */
export function mlockall(mm: Ref<"mm">, current: boolean, future: boolean, onFault: boolean): number {
  if (partDone() === 0) Mm.defFlags.store(mm, future ? VM_LOCKED : 0);
  const unlock = !current && !future;
  if ((current || unlock) && (partDone() === 0 || partAlso() !== POPULATES)) {
    const flags = current ? [VM_LOCKED, 0] : [0, VM_LOCKED];
    const result = changeFlags(mm, 0, END_PAGE, flags[0]!, flags[1]!);
    if (result < 0) return result;
    resetPart();
  }
  return current && !onFault ? populateAll(mm) : 0;
}

/** What cannot be had is no error of mlockall(2). */
const populateAll = (mm: Ref<"mm">): number => (populate(mm, 0, END_PAGE, POPULATES) === YIELD ? YIELD : 0);
