/**
 * The end of large address spaces, in parts: pages first, then areas; what is left then is little, and goes in one piece. Whoever drops the
 * last count does it when his call is over (sched/later.ts).
 */
import type { Ref } from "../../rcu/index.ts";
import { defineLater, LATER_MM } from "../sched/later.ts";
import { Mm, mmFree } from "./mm.ts";
import { unmapLocked } from "./mmap.ts";
import { vmaCount, vmaStartAt, vmasHeld } from "./vma.ts";
import { PAGES_END, zapPart } from "./zap.ts";

/** Areas that are freed in one part. */
const PART_AREAS = 2048;
/** What shedPart answers when nothing is left that would take long. */
export const SHED_END = 2 * PAGES_END;

/**
 * Takes a part of what is mapped away, about a millisecond's work; the caller is the last who uses the address space. `at` is 0 at first,
 * then what the last part answered, until that is SHED_END.
 */
export function shedPart(mm: Ref<"mm">, at: number): number {
  if (at < PAGES_END) return zapPart(mm, at);
  Mm.mmapLock.lock(mm);
  const held = Mm.ptl.lock(mm);
  const vmas = vmasHeld(held, mm);
  const many = vmaCount(vmas) > PART_AREAS;
  const start = many ? vmaStartAt(vmas as Ref<"array">, 0) : 0;
  const end = many ? vmaStartAt(vmas as Ref<"array">, PART_AREAS) : 0;
  Mm.ptl.unlock(mm);
  // Without memory for a shorter array they go in one piece.
  const more = many && unmapLocked(mm, start, end) === 0;
  Mm.mmapLock.unlock(mm);
  return more ? at : SHED_END;
}

defineLater(LATER_MM, (mm, at) => {
  const next = shedPart(mm as Ref<"mm">, at);
  if (next !== SHED_END) return next;
  mmFree(mm as Ref<"mm">);
  return 0;
});
