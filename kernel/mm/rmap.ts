/** From a page of a mapping to the address spaces that show it. */
import { listFirst, listNext, type Ref } from "../../rcu/index.ts";
import { mmGetNotZero, mmPut } from "./mm.ts";
import { Mapping, Mm, Vma } from "./mm-types.ts";
import { PTE_FILE } from "./pte.ts";
import { vmaCount, vmaRef, vmaSearch, vmasHeld } from "./vma.ts";
import { zapBegin, zapFinish, zapRange } from "./zap.ts";

/** Pages [first, end) of the mapping as `mm` sees them: what forEachMapper reports. */
export type MapperVisit = (mm: Ref<"mm">, startPage: number, endPage: number) => void;

/** Calls `visit` for every address space range that maps pages [first, end). No lock is held during the calls. */
export function forEachMapper(mapping: Ref<"mapping">, first: number, end: number, visit: MapperVisit): void {
  const head = Mapping.vmas.at(mapping);
  const found: { mm: Ref<"mm">; start: number; end: number }[] = [];
  Mapping.vmaLock.lock(mapping);
  for (let node = listFirst(head); node !== 0; node = listNext(head, node)) {
    const vma = Vma.share.owner(node);
    const base = Vma.start.get(vma) - Vma.pgoff.get(vma);
    const from = Math.max(Vma.start.get(vma), base + first);
    const to = Math.min(Vma.end.get(vma), base + end);
    if (from < to && mmGetNotZero(Vma.mm.get(vma))) found.push({ mm: Vma.mm.get(vma), start: from, end: to });
  }
  Mapping.vmaLock.unlock(mapping);
  for (const at of found) {
    visit(at.mm, at.start, at.end);
    mmPut(at.mm);
  }
}

/** Takes pages [first, end) of a mapping out of every address space, private copies too (truncation) unless `sharedOnly`. */
export function unmapMapping(mapping: Ref<"mapping">, first: number, end: number, sharedOnly = false): void {
  forEachMapper(mapping, first, end, (mm, from, to) => {
    const zapped = zapBegin();
    const held = Mm.ptl.lock(mm);
    const vmas = vmasHeld(held, mm);
    for (let index = vmaSearch(vmas, from); index < vmaCount(vmas); index++) {
      const vma = vmaRef(vmas as Ref<"array">, index);
      if (Vma.start.get(vma) >= to) break;
      if (Vma.mapping.get(vma) !== mapping) continue;
      const [low, high] = [Math.max(from, Vma.start.get(vma)), Math.min(to, Vma.end.get(vma))];
      zapRange(held, mm, low, high, zapped, sharedOnly ? PTE_FILE : -1);
    }
    Mm.ptl.unlock(mm);
    zapFinish(mm, zapped);
  });
}
