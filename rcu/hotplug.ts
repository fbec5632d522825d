/**
 * Threads that come and go, as RCU sees them. A leaving thread is in an extended quiescent state for good; what it had
 * queued goes to the orphans. heap.ts calls these.
 */

import { RcuUsageError } from "./error.ts";
import { goIdle, gpSeq, slotBase, tryEndGp } from "./grace-period.ts";
import { LINE_IDLE, SLOT_RCU } from "./layout.ts";
import { dropReadLocks, locksHeld } from "./lock.ts";
import { i32, slot } from "./memory.ts";
import { orphanSlot } from "./orphan.ts";
import { orphanReleases } from "./release.ts";
import { rcuNesting } from "./scope.ts";

/** This thread leaves the heap. */
export function leaveRcu(): void {
  if (rcuNesting() > 0)
    throw new RcuUsageError("ERR_RCU_INSIDE_SCOPE", `detach inside a read scope (nesting ${rcuNesting()})`);
  if (locksHeld !== 0) throw new RcuUsageError("ERR_RCU_LOCK_HELD", `detach with ${locksHeld} lock(s) held`);
  orphanSlot(slot, false);
  orphanReleases(slot);
  goIdle();
}

/** The owner of slot `of` is dead: it reads no more. */
export function reapRcu(of: number): void {
  Atomics.store(i32, slotBase(of) + SLOT_RCU.LINE, LINE_IDLE);
  i32[slotBase(of) + SLOT_RCU.IDLE_DEPTH] = 0;
  dropReadLocks(of);
  orphanSlot(of, true);
  orphanReleases(of);
  tryEndGp(gpSeq());
}
