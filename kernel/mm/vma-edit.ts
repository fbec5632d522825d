/**
 * The one operation that changes the set of VMAs: replace what lies in a range. mmap, munmap, mprotect, brk and mremap
 * are all calls of it.
 */
import {
  arrayCopy,
  arraySet,
  freeArray,
  type Held,
  kfreeArrayRcu,
  type Ptr,
  type Ref,
  tryAllocArray,
} from "../../rcu/index.ts";
import { ENOMEM } from "../uapi/errno.ts";
import { refuseHolder } from "./heap.ts";
import { MAX_MAP_COUNT, Mm } from "./mm.ts";
import {
  mayMerge,
  VM_EXEC,
  VM_LOCKED,
  VMA_BYTES,
  type VmaSpec,
  vmaCount,
  vmaEndAt,
  vmaFree,
  vmaNew,
  vmaRef,
  vmaSearch,
  vmaSpec,
  vmaStartAt,
  vmasHeld,
} from "./vma.ts";

/** What becomes of the part of a VMA inside the range: changed in place and true, or false to drop it. */
export type VmaEdit = (piece: VmaSpec) => boolean;

/** What an edit took out. */
export interface Removed {
  /** To be freed (freeRemoved) once ptl is released. */
  readonly vmas: Ref<"vma">[];
  /** Executable areas lie in the range, or did. */
  exec: boolean;
}
export const nothingRemoved = (): Removed => ({ vmas: [], exec: false });

export function freeRemoved(removed: Removed): void {
  for (const vma of removed.vmas) vmaFree(vma);
}

const drop: VmaEdit = () => false;

/**
 * Splits the VMAs at the borders of pages [start, end), applies `edit` to what lies inside, adds `added`, merges
 * neighbours and publishes the result. ptl is held. 0, or -ENOMEM with nothing changed. `removed` collects VMAs
 * that are no longer reachable.
 */
export function editVmas(
  held: Held<"ptl">,
  mm: Ref<"mm">,
  start: number,
  end: number,
  edit: VmaEdit | null,
  added: VmaSpec | null,
  removed: Removed,
): number {
  const change = edit ?? drop;
  const vmas = vmasHeld(held, mm);
  const count = vmaCount(vmas);
  // The neighbours that touch the range take part: they may merge.
  const low = vmaSearch(vmas, Math.max(0, start - 1));
  let high = low;
  const pieces: (VmaSpec & { from?: Ref<"vma"> })[] = [];
  let placed = added === null;
  const push = (piece: VmaSpec): void => {
    const last = pieces.at(-1);
    if (last !== undefined && mayMerge(last, piece)) last.end = piece.end;
    else pieces.push({ ...piece });
  };
  const place = (): void => {
    if (placed) return;
    placed = true;
    push(added!);
  };
  let sizeBefore = 0;
  let lockedBefore = 0;
  let holes = false;
  for (; high < count && vmaStartAt(vmas as Ref<"array">, high) <= end; high++) {
    const whole = vmaSpec(vmaRef(vmas as Ref<"array">, high));
    sizeBefore += whole.end - whole.start;
    if ((whole.flags & VM_LOCKED) !== 0) lockedBefore += whole.end - whole.start;
    const from = Math.max(whole.start, start);
    const to = Math.min(whole.end, end);
    if (from >= to) {
      if (whole.start >= end) place();
      push(whole);
      continue;
    }
    if (whole.start < from) push({ ...whole, end: from });
    const inside = { ...whole, start: from, end: to, pgoff: whole.pgoff + (from - whole.start) };
    if ((whole.flags & VM_EXEC) !== 0) removed.exec = true;
    if (change(inside)) push(inside);
    else holes = true;
    if (to < whole.end) {
      place();
      push({ ...whole, start: to, pgoff: whole.pgoff + (to - whole.start) });
    }
  }
  place();
  const result = publish(held, mm, vmas, low, high, pieces, sizeBefore, lockedBefore, removed);
  // A gap came to be where the search for one would not look any more (mmap.ts).
  const filled = added !== null && added.start === start && added.end === end;
  if (result < 0 || (holes && !filled && end > Mm.gapBelow.get(mm))) Mm.gapBelow.set(mm, 0);
  return result;
}

function publish(
  held: Held<"ptl">,
  mm: Ref<"mm">,
  old: Ptr<"array">,
  low: number,
  high: number,
  pieces: readonly VmaSpec[],
  sizeBefore: number,
  lockedBefore: number,
  removed: Removed,
): number {
  const count = vmaCount(old);
  const total = count - (high - low) + pieces.length;
  if (total > count && (total > MAX_MAP_COUNT || refuseHolder(count * VMA_BYTES, VMA_BYTES))) return -ENOMEM;
  const growth = pieces.reduce((sum, piece) => sum + piece.end - piece.start, -sizeBefore);
  if (growth > 0 && Mm.totalVm.get(held, mm) + growth > Mm.asLimit.get(mm)) return -ENOMEM;
  const array = total === 0 ? 0 : tryAllocArray(total * 3);
  if (array === 0 && total !== 0) return -ENOMEM;
  const fresh: Ref<"vma">[] = [];
  const kept = new Set<number>();
  let at = 0;
  const put = (start: number, end: number, vma: number): void => {
    arraySet(array as Ref<"array">, at++, start);
    arraySet(array as Ref<"array">, at++, end);
    arraySet(array as Ref<"array">, at++, vma);
  };
  // The untouched ones are copied as memory: one call of thousands of areas must not take a time that is felt.
  if (low > 0) arrayCopy(old as Ref<"array">, array as Ref<"array">, 3 * low);
  at = 3 * low;
  let size = 0;
  let locked = 0;
  const same = { at: low };
  for (const piece of pieces) {
    size += piece.end - piece.start;
    if ((piece.flags & VM_LOCKED) !== 0) locked += piece.end - piece.start;
    let vma: Ref<"vma"> | 0 = unchanged(old, same, high, piece);
    if (vma !== 0) kept.add(vma);
    else {
      vma = vmaNew(mm, piece);
      if (vma === 0) {
        for (const made of fresh) vmaFree(made);
        freeArray(array as Ref<"array">);
        return -ENOMEM;
      }
      fresh.push(vma);
    }
    put(piece.start, piece.end, vma);
  }
  if (high < count) arrayCopy(old as Ref<"array">, array as Ref<"array">, 3 * (count - high), 3 * high, at);
  for (let index = low; index < high; index++) {
    const vma = vmaRef(old as Ref<"array">, index);
    if (!kept.has(vma)) removed.vmas.push(vma);
  }
  Mm.vmas.assign(held, mm, array);
  Mm.seq.add(mm, 1);
  if (old !== 0) kfreeArrayRcu(old);
  const totalVm = Mm.totalVm.get(held, mm) + size - sizeBefore;
  Mm.totalVm.set(held, mm, totalVm);
  if (totalVm > Mm.hiwaterVm.get(held, mm)) Mm.hiwaterVm.set(held, mm, totalVm);
  Mm.lockedVm.set(held, mm, Mm.lockedVm.get(held, mm) + locked - lockedBefore);
  return 0;
}

/** The VMA in the old array that is exactly this piece, or 0. Pieces come in order: `from.at` goes along with them. */
function unchanged(old: Ptr<"array">, from: { at: number }, high: number, piece: VmaSpec): Ptr<"vma"> {
  while (from.at < high && vmaStartAt(old as Ref<"array">, from.at) < piece.start) from.at++;
  const index = from.at;
  if (index >= high || vmaStartAt(old as Ref<"array">, index) !== piece.start) return 0;
  if (vmaEndAt(old as Ref<"array">, index) !== piece.end) return 0;
  const vma = vmaRef(old as Ref<"array">, index);
  const spec = vmaSpec(vma);
  return spec.flags === piece.flags &&
    spec.mapping === piece.mapping &&
    spec.file === piece.file &&
    (spec.mapping === 0 || spec.pgoff === piece.pgoff)
    ? vma
    : 0;
}
