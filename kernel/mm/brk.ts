/** brk(2): the heap that grows behind the program's data. */
import type { Ref } from "../../rcu/index.ts";
import { YIELD } from "../sched/block.ts";
import { MAP_FIXED_NOREPLACE } from "../uapi/mman.ts";
import { frameTotal } from "./frame.ts";
import { Mm, TASK_SIZE } from "./mm.ts";
import { mapPages, pagesOf, unmapParts } from "./mmap.ts";
import { VM_MAYWRITE, VM_READ, VM_WRITE } from "./vma.ts";

/** Moves the end of the heap to `end` and returns it; where that cannot be done, the end as it is. Never an error; YIELD when much is given back. */
export function brk(mm: Ref<"mm">, end: number): number {
  const old = Mm.brk.get(mm);
  if (end < Mm.brkStart.get(mm) || end >= TASK_SIZE) return old;
  const from = pagesOf(old);
  const to = pagesOf(end);
  if (to < from) {
    const result = unmapParts(mm, to, from);
    if (result < 0) return result === YIELD ? result : old;
  } else if (to > from) {
    if (to - from > frameTotal()) return old;
    const flags = VM_READ | VM_WRITE | VM_MAYWRITE | Mm.defFlags.peek(mm);
    if (mapPages(mm, from * 4096, to - from, flags, 0, 0, 0, MAP_FIXED_NOREPLACE) < 0) return old;
  }
  Mm.brk.set(mm, end);
  return end;
}
