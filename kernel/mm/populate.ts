/** Making the pages of areas present before they are touched: MAP_POPULATE, MADV_POPULATE_*, mlock(2). */
import type { Ref } from "../../rcu/index.ts";
import { partDone, yieldWhole } from "../sched/yield.ts";
import { PROT_READ, PROT_WRITE } from "../uapi/mman.ts";
import { ACCESS } from "../usermode.ts";
import { resolvePage } from "./fault.ts";
import { PAGE_SIZE } from "./ram.ts";
import { forEachVma, VM_PROT, VM_SHARED, VM_WRITE, Vma } from "./vma.ts";

/**
 * Faults pages [start, end) in, as far as that goes: 0, a FAULT_ number, or YIELD, after which the call in progress runs again and comes
 * back here (partDone() is not 0 then, and partAlso() is `also`).
 */
export function populate(mm: Ref<"mm">, start: number, end: number, also = 0): number {
  const resumed = start + partDone();
  let result = 0;
  forEachVma(
    mm,
    (vma) => {
      const from = Math.max(Vma.start.get(vma), resumed);
      const to = Math.min(Vma.end.get(vma), end);
      if (from >= end) return false;
      const flags = Vma.flags.get(vma);
      if ((flags & VM_PROT) === 0) return true;
      const write = (flags & (VM_WRITE | VM_SHARED)) === VM_WRITE;
      const access = write
        ? ACCESS.WRITE
        : (flags & (PROT_READ | PROT_WRITE)) !== 0
          ? ACCESS.READ
          : ACCESS.EXEC;
      result = populatePages(mm, from, to, access, start, also);
      return result >= 0;
    },
    resumed,
  );
  return Math.min(result, 0);
}

/** Faults pages [from, to) in: 0, a FAULT_ number, or what yieldWhole says; progress is counted from page `start`. */
export function populatePages(
  mm: Ref<"mm">,
  from: number,
  to: number,
  access: number,
  start: number,
  also = 0,
): number {
  for (let page = from; page < to; page++) {
    const result = resolvePage(mm, page * PAGE_SIZE, access);
    if (result < 0) return result;
    // After something was done, or a call that is asked for the CPU all the time would never end.
    const stop = yieldWhole(page + 1 - start, also);
    if (stop !== 0) return stop;
  }
  return 0;
}
