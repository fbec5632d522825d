/** Extended quiescent states: entering with callbacks pending, and leaving. */

import { inCallback, pendingOwn, runSome } from "./callback.ts";
import { accelerate } from "./cblist.ts";
import { RcuUsageError } from "./error.ts";
import { goActive, goIdle, gpSeq, othersActive, slotBase, startNeeded } from "./grace-period.ts";
import * as layout from "./layout.ts";
import { locksHeld } from "./lock.ts";
import { i32, slot } from "./memory.ts";
import { orphanSlot, orphansStuck } from "./orphan.ts";
import { closuresHere, countedHere } from "./reclaim.ts";
import { checkNesting, IDLE_NESTING, rcuNesting } from "./scope.ts";

const { RCU, SLOT_RCU } = layout;

/**
 * Enters the extended quiescent state: before Atomics.wait, a blocking host call, or the end of an event-loop turn.
 * No grace period waits for this thread until rcuIdleExit, and none wakes it. What it has queued is run first
 * when every other thread is idle too, else handed to those that are not.
 */
export function rcuIdleEnter(): void {
  if (rcuNesting() !== 0) {
    if (rcuNesting() > 0)
      throw new RcuUsageError(
        "ERR_RCU_INSIDE_SCOPE",
        `rcuIdleEnter inside a read scope (nesting ${rcuNesting()})`,
      );
    i32[slotBase(slot) + SLOT_RCU.IDLE_DEPTH]!++;
    return;
  }
  if (locksHeld !== 0)
    throw new RcuUsageError("ERR_RCU_LOCK_HELD", `rcuIdleEnter with ${locksHeld} lock(s) held`);
  for (;;) {
    goIdle();
    if (inCallback()) return; // A reclaimer blocks in the host: its callbacks go on afterwards.
    if (pendingOwn() === 0 && Atomics.load(i32, RCU.ORPHANS) === 0 && closuresHere() === 0) return;
    if (othersActive()) {
      if (pendingOwn() > countedHere()) orphanSlot(slot, false);
      if (othersActive()) return;
    }
    goActive();
    if (drainAlone()) continue;
    if (pendingOwn() > countedHere()) orphanSlot(slot, false);
    goIdle();
    // Stays in the loop only when trying again can help: nobody else will, and nothing is in the way.
    if (othersActive() || (gpSeq() & 3) !== 0 || orphansStuck()) return;
  }
}

/** Runs what can be run when every other thread is idle; false when that was nothing. */
function drainAlone(): boolean {
  const list = slotBase(slot) + SLOT_RCU.LIST;
  accelerate(list);
  startNeeded(); // What the orphans wait for, should who ended the last one be held up.
  goIdle(); // Ends the grace period asked for, if nobody else holds it up.
  goActive();
  return runSome(Infinity) > 0;
}

/** Leaves the extended quiescent state: before anything shared is read. */
export function rcuIdleExit(): void {
  const base = slotBase(slot);
  const depth = i32[base + SLOT_RCU.IDLE_DEPTH]!;
  if (depth === 0) throw new RcuUsageError("ERR_RCU_IDLE", "rcuIdleExit without rcuIdleEnter");
  if (rcuNesting() !== IDLE_NESTING) checkNesting();
  if (depth > 1) i32[base + SLOT_RCU.IDLE_DEPTH] = depth - 1;
  else goActive();
}
