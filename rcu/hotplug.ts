/**
 * Threads that come and go, as RCU sees them. A leaving thread is in an extended quiescent state for good; what it had
 * queued goes to the orphans. heap.ts calls these.
 */

import { runSome } from "./callback.ts";
import { RcuUsageError } from "./error.ts";
import { goActive, goIdle, gpSeq, slotBase, startNeeded, tryEndGp } from "./grace-period.ts";
import * as layout from "./layout.ts";
import { dropReadLocks, locksHeld } from "./lock.ts";
import { i32, slot } from "./memory.ts";
import { keepRcu, leaveHelping } from "./offloaded.ts";
import { orphanSlot } from "./orphan.ts";
import { dropPreempted } from "./preempt.ts";
import { closuresHere } from "./reclaim.ts";
import { assertNoLocalReleases, orphanReleases } from "./release.ts";
import { rcuNesting } from "./scope.ts";
import { assertNoSrcuScopes } from "./srcu-domain.ts";
import { dropSrcuScopes } from "./srcu-gp.ts";
import { synchronizeRcu } from "./synchronize.ts";
import { assertNoTasks, reapTasks } from "./tasks.ts";
import { rcuEvent, traceRcu } from "./trace.ts";

const { CBLIST, GP_SEQ_START, LINE_IDLE, MAX_SLOTS, RCU, SEQ_START, SLOT_RCU } = layout;

const ONLINE = rcuEvent("rcu_grace_period", "cpuonl");
const OFFLINE = rcuEvent("rcu_grace_period", "cpuofl");

/** Sets the counters of a new heap, before its first thread attaches. */
export function initRcu(words: Int32Array): void {
  words[RCU.GP_SEQ] = GP_SEQ_START;
  words[RCU.GP_NEEDED] = GP_SEQ_START;
  words[RCU.TASKS_SEQ] = SEQ_START;
  const lists = Array.from({ length: MAX_SLOTS }, (_, of) => slotBase(of) + SLOT_RCU.LIST);
  for (const list of [...lists, RCU.ORPHAN_LIST, RCU.TASKS_LIST]) {
    words[list + CBLIST.QUEUED] = SEQ_START;
    words[list + CBLIST.RUN] = SEQ_START;
  }
}

/** This thread has attached. */
export function joinRcu(): void {
  goActive();
  traceRcu(ONLINE, gpSeq(), 0);
}

/** This thread leaves the heap. */
export function leaveRcu(): void {
  if (rcuNesting() > 0)
    throw new RcuUsageError("ERR_RCU_INSIDE_SCOPE", `detach inside a read scope (nesting ${rcuNesting()})`);
  if (locksHeld !== 0) throw new RcuUsageError("ERR_RCU_LOCK_HELD", `detach with ${locksHeld} lock(s) held`);
  assertNoSrcuScopes();
  assertNoTasks();
  assertNoLocalReleases();
  drainClosures();
  traceRcu(OFFLINE, gpSeq(), 0);
  orphanSlot(slot, false);
  orphanReleases(slot);
  keepRcu();
  leaveHelping(slot);
  goIdle();
}

/** No other thread can run the closures of this one. */
function drainClosures(): void {
  if (closuresHere() === 0) return;
  if (rcuNesting() < 0) goActive();
  while (closuresHere() > 0) {
    synchronizeRcu();
    runSome(Infinity);
  }
}

/** The owner of slot `of` is dead: it reads no more. */
export function reapRcu(of: number): void {
  Atomics.store(i32, slotBase(of) + SLOT_RCU.LINE, LINE_IDLE);
  i32[slotBase(of) + SLOT_RCU.IDLE_DEPTH] = 0;
  dropReadLocks(of);
  dropPreempted(of);
  dropSrcuScopes(of);
  orphanSlot(of, true);
  orphanReleases(of);
  i32[slotBase(of) + SLOT_RCU.OFFLOADS] = 0;
  leaveHelping(of);
  reapTasks();
  tryEndGp(gpSeq());
  startNeeded(); // It may have died between two.
}
