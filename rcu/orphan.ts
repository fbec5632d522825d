/**
 * Orphans: callbacks whose thread sleeps, left, or died. They sit on one list in the header, under ORPHAN_LOCK, until a
 * thread that is active runs them at a safe point. One thread at a time (ORPHAN_OWNER) and in order: so barriers can
 * wait for a count.
 */
import { pageCache } from "./buddy.ts";
import { accelerate, advance, announceRun, append, linkedCells, mend, pop, SEGMENTS } from "./cblist.ts";
import type { Batch } from "./contain.ts";
import { slotBase } from "./grace-period.ts";
import * as layout from "./layout.ts";
import { lockWord, ownerIsDead, unlockWord } from "./lock.ts";
import { i32, ownerId, slot } from "./memory.ts";
import { countedHere, invoke, invokedText, RcuHead, runnable } from "./reclaim.ts";
import { clearShelves } from "./shelf.ts";
import { cacheOf } from "./struct.ts";

const { CBLIST, RCU, SLOT_RCU } = layout;

/** Splices all segments of `from` onto the orphans. ORPHAN_LOCK is held. */
function adopt(from: number, count: number): void {
  const to = RCU.ORPHAN_LIST;
  for (const segment of SEGMENTS) {
    append(to, CBLIST.NEXT, i32[from + segment]!, i32[from + segment + 1]!);
    i32[from + segment] = 0;
    i32[from + segment + 1] = 0;
  }
  Atomics.store(i32, to + CBLIST.QUEUED, (i32[to + CBLIST.QUEUED]! + count) | 0);
  Atomics.add(i32, RCU.ORPHANS, count);
  Atomics.store(i32, from + CBLIST.RUN, (i32[from + CBLIST.RUN]! + count) | 0);
}

/** Hands the callbacks and delayed releases of a slot to whoever is active: its owner sleeps, left, or died. */
export function orphanSlot(of: number, lost: boolean): void {
  const base = slotBase(of);
  const list = base + SLOT_RCU.LIST;
  lockWord(RCU.ORPHAN_LOCK);
  let count = (i32[list + CBLIST.QUEUED]! - i32[list + CBLIST.RUN]!) | 0;
  if (!lost) count -= countedHere();
  else count = mend(list);
  if (count > 0) adopt(list, count);
  if (lost) Atomics.store(i32, list + CBLIST.RUN, i32[list + CBLIST.QUEUED]!);
  const releases = base + SLOT_RCU.RELEASE_LIST;
  if (lost && i32[releases] !== 0) {
    append(RCU.ORPHAN_RELEASES, 0, i32[releases]!, i32[releases + 1]!);
    i32[releases] = 0;
    i32[releases + 1] = 0;
  }
  clearShelves(of);
  accelerate(RCU.ORPHAN_LIST);
  unlockWord(RCU.ORPHAN_LOCK);
  announceRun();
}

/**
 * Runs orphans, unless another thread is at it: they run one at a time and in order, so that barriers can count. `batch` is told what
 * they throw.
 */
export function runOrphans(limit: number, batch: Batch): number {
  const owner = Atomics.compareExchange(i32, RCU.ORPHAN_OWNER, 0, ownerId);
  if (owner !== 0) {
    if (!ownerIsDead(owner) || Atomics.compareExchange(i32, RCU.ORPHAN_OWNER, owner, ownerId) !== owner)
      return 0;
    // What the dead thread had taken is lost: say that it ran.
    lockWord(RCU.ORPHAN_LOCK);
    setOrphansRun((i32[RCU.ORPHAN_LIST + CBLIST.QUEUED]! - linkedCells(RCU.ORPHAN_LIST)) | 0);
    unlockWord(RCU.ORPHAN_LOCK);
  }
  const headCache = cacheOf(RcuHead);
  let ran = 0;
  try {
    while (ran < limit) {
      lockWord(RCU.ORPHAN_LOCK);
      advance(RCU.ORPHAN_LIST);
      accelerate(RCU.ORPHAN_LIST);
      const head = i32[RCU.ORPHAN_LIST + CBLIST.DONE]!;
      const cell = head !== 0 && runnable(head, headCache) ? pop(RCU.ORPHAN_LIST) : 0;
      unlockWord(RCU.ORPHAN_LOCK);
      if (cell === 0) break;
      ran++;
      try {
        invoke(cell, pageCache(cell), headCache);
      } catch (error) {
        batch.failed(error, invokedText());
      }
    }
  } finally {
    if (ran > 0) {
      setOrphansRun((i32[RCU.ORPHAN_LIST + CBLIST.RUN]! + ran) | 0);
      const base = slotBase(slot);
      i32[base + SLOT_RCU.CALLBACKS] = (i32[base + SLOT_RCU.CALLBACKS]! + ran) | 0;
    }
    Atomics.store(i32, RCU.ORPHAN_OWNER, 0);
    if (ran > 0) announceRun();
  }
  return ran;
}

/** ORPHAN_OWNER is held. */
function setOrphansRun(run: number): void {
  const before = i32[RCU.ORPHAN_LIST + CBLIST.RUN]!;
  Atomics.store(i32, RCU.ORPHAN_LIST + CBLIST.RUN, run);
  Atomics.sub(i32, RCU.ORPHANS, (run - before) | 0);
}

/** Whether the first orphan that may run needs a reclaimer that this thread has not loaded. */
export function orphansStuck(): boolean {
  lockWord(RCU.ORPHAN_LOCK);
  const head = i32[RCU.ORPHAN_LIST + CBLIST.DONE]!;
  const stuck = head !== 0 && !runnable(head, cacheOf(RcuHead));
  unlockWord(RCU.ORPHAN_LOCK);
  return stuck;
}
