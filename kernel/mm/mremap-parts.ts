/**
 * mremap(2) of many pages, in parts: the address space is the task's own until it is done (sched/hold.ts). [1] What is at the target goes;
 * [2] the new area comes, and the pages move into it; [3] the old area goes, with the pages that have no place in the new one.
 */
import type { Ref } from "../../rcu/index.ts";
import { releaseMm, takeMm, yieldOwned } from "../sched/hold.ts";
import { partAlso, partDone } from "../sched/yield.ts";
import { ENOMEM } from "../uapi/errno.ts";
import { Mm } from "./mm.ts";
import { chooseAddress, settle, unmapPart } from "./mmap.ts";
import { PTE_ANON, PTE_EXEC, pteFrame, pteGet, ptePart, pteSet, pteTable, pteWalk } from "./pte.ts";
import { type VmaSpec, vmaAt, vmaSpec, vmasHeld } from "./vma.ts";
import { editVmas, nothingRemoved } from "./vma-edit.ts";
import { countRss, zapBegin, zapNote } from "./zap.ts";

const CLEARS = 0;
const MOVES = 1;
const LEAVES = 2;
/** Task.partial is 1 + pages done in this phase + PHASE for each phase before; Task.partialAlso is the target. */
const PHASE = 2 ** 21;

export interface Move {
  readonly mm: Ref<"mm">;
  /** Pages, and the first ones. `target` -1: wherever there is room. */
  readonly start: number;
  readonly oldPages: number;
  readonly newPages: number;
  readonly target: number;
  /** The old area stays, empty. */
  readonly dontUnmap: boolean;
}

/** The first page where it is now, -errno, or YIELD. The caller has looked that it may move. */
export function moveInParts(move: Move): number {
  const { mm } = move;
  const taken = takeMm(mm);
  if (taken !== 0) return taken;
  const done = partDone();
  let phase = done === 0 ? CLEARS : Math.floor((done - 1) / PHASE);
  let pos = done === 0 ? 0 : (done - 1) % PHASE;
  let to = done === 0 ? move.target : partAlso();
  for (; phase <= LEAVES; phase++, pos = 0) {
    if (phase === MOVES && pos === 0) to = makeTarget(move, to);
    if (to < 0 && phase !== CLEARS) break;
    const pages =
      phase === MOVES
        ? Math.min(move.oldPages, move.newPages)
        : phase === CLEARS
          ? clears(move)
          : leaves(move);
    while (pos < pages) {
      const next = STEPS[phase]!(move, to, pos, pages);
      if (next < 0) {
        releaseMm(mm);
        return next;
      }
      pos = next;
      const stop = yieldOwned(phase * PHASE + pos + 1, to);
      if (stop !== 0) return stop;
    }
  }
  releaseMm(mm);
  return to;
}

const clears = (move: Move): number => (move.target < 0 ? 0 : move.newPages);
const leaves = (move: Move): number => (move.dontUnmap ? 0 : move.oldPages);

/** Does a part of a phase behind `pos` pages of it, of `pages`: how many are done then, or -errno. */
type Step = (move: Move, to: number, pos: number, pages: number) => number;

const clear: Step = ({ mm }, to, pos, pages) => {
  const end = unmapPart(mm, to + pos, to + pages);
  return end < 0 ? end : end - to;
};

const moveEntries: Step = ({ mm, start }, to, pos, pages) => {
  const pgd = Mm.pgd.get(mm);
  const end = ptePart(pgd, start + pos, start + pages);
  const zapped = zapBegin();
  const held = Mm.ptl.lock(mm);
  pteWalk(pgd, start + pos, end, (table, page, pte) => {
    const at = to + (page - start);
    const target = pteTable(pgd, at) as Ref<"pagetable">; // makeTarget made it.
    const other = pteGet(pgd, at);
    if (other !== 0) {
      // Who reads memory of other processes has touched it.
      zapped.frames.push(pteFrame(other));
      countRss(held, mm, (other & PTE_ANON) !== 0 ? -1 : 0, (other & PTE_ANON) !== 0 ? 0 : -1);
      zapNote(zapped, at, other);
    }
    pteSet(table, page, 0);
    // Executed pages are fetched anew at their new place.
    pteSet(target, at, pte & ~PTE_EXEC);
    zapNote(zapped, page, pte);
  });
  Mm.ptl.unlock(mm);
  settle(mm, zapped, nothingRemoved());
  return end - start;
};

const leave: Step = ({ mm, start }, _to, pos, pages) => {
  const end = unmapPart(mm, start + pos, start + pages);
  return end < 0 ? end : end - start;
};

const STEPS: readonly Step[] = [clear, moveEntries, leave];

/** The area at the target, with all the tables that the pages need: its first page, or -ENOMEM with nothing done. */
function makeTarget({ mm, start, oldPages, newPages }: Move, target: number): number {
  const spec: VmaSpec = vmaSpec(vmaAt(mm, start) as Ref<"vma">);
  const removed = nothingRemoved();
  const pgd = Mm.pgd.get(mm);
  Mm.mmapLock.lock(mm);
  const held = Mm.ptl.lock(mm);
  const to = target >= 0 ? target : chooseAddress(mm, vmasHeld(held, mm), 0, newPages);
  let error = Math.min(to, 0);
  if (error === 0) {
    const added = { ...spec, start: to, end: to + newPages, pgoff: spec.pgoff + (start - spec.start) };
    error = editVmas(held, mm, to, to + newPages, null, added, removed);
  }
  if (error === 0 && !makeTables(pgd, start, to, Math.min(oldPages, newPages))) {
    editVmas(held, mm, to, to + newPages, null, null, removed);
    error = -ENOMEM;
  }
  Mm.ptl.unlock(mm);
  settle(mm, zapBegin(), removed);
  Mm.mmapLock.unlock(mm);
  return error < 0 ? error : to;
}

/** Tables for what is present in `pages` pages from `start` on, at `to`; false when memory is short. ptl is held. */
function makeTables(pgd: Ref<"pagetable">, start: number, to: number, pages: number): boolean {
  let last = -1;
  let made = true;
  pteWalk(pgd, start, start + pages, (_table, page) => {
    const at = (to + (page - start)) >>> 10;
    if (at === last || !made) return;
    last = at;
    made = pteTable(pgd, to + (page - start)) !== 0;
  });
  return made;
}
