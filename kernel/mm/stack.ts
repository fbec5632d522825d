/** Stacks that grow: a touch below a MAP_GROWSDOWN area extends it. */
import type { Ref } from "../../rcu/index.ts";
import { Mm } from "./mm.ts";
import { PAGE_SIZE } from "./ram.ts";
import { VM_GROWSDOWN, vmaCount, vmaEndAt, vmaRef, vmaSearch, vmaSpec, vmasHeld } from "./vma.ts";
import { editVmas, freeRemoved, nothingRemoved } from "./vma-edit.ts";

/** Pages that stay free below a growing stack, so that it does not run into what lies there. */
export const STACK_GUARD_PAGES = 256;

/** Extends the growing area above `page` down to it. False when there is none, or the limit or a neighbour forbids it. */
export function growStack(mm: Ref<"mm">, page: number): boolean {
  const removed = nothingRemoved();
  const held = Mm.ptl.lock(mm);
  const vmas = vmasHeld(held, mm);
  const index = vmaSearch(vmas, page);
  let grown = false;
  if (index < vmaCount(vmas)) {
    const spec = vmaSpec(vmaRef(vmas as Ref<"array">, index));
    const below = index === 0 ? 0 : vmaEndAt(vmas as Ref<"array">, index - 1) + STACK_GUARD_PAGES;
    if (spec.start <= page)
      grown = true; // Another thread was faster.
    else if (
      (spec.flags & VM_GROWSDOWN) !== 0 &&
      (spec.end - page) * PAGE_SIZE <= Mm.stackLimit.get(mm) &&
      page >= Math.max(below, 16)
    ) {
      const added = { ...spec, start: page, end: spec.start };
      grown = editVmas(held, mm, page, spec.start, null, added, removed) === 0;
    }
  }
  Mm.ptl.unlock(mm);
  freeRemoved(removed);
  return grown;
}
