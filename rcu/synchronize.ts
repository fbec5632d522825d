/**
 * Waiting for grace periods: synchronize, polled grace periods, barrier. A waiting thread is in an extended quiescent
 * state and sleeps on gpSeq, so nothing hangs when threads outnumber cores; all callers that wait for the same
 * grace period share it.
 */

import { inCallback, pendingOwn, runSome } from "./callback.ts";
import { RcuUsageError } from "./error.ts";
import { forceQuiescentStates, reapGone } from "./force.ts";
import {
  goActive,
  goIdle,
  gpSeq,
  gpStamp,
  pollGp,
  rcuLaggards,
  requestGp,
  seqDone,
  slotBase,
  startNeeded,
  tryEndGp,
} from "./grace-period.ts";
import { rcuIdleEnter } from "./idle.ts";
import * as layout from "./layout.ts";
import { flushLazy } from "./lazy.ts";
import { locksHeld } from "./lock.ts";
import { i32, slot } from "./memory.ts";
import { orphansStuck } from "./orphan.ts";
import type { Brand } from "./ref.ts";
import { Rounds } from "./rounds.ts";
import { rcuNesting } from "./scope.ts";
import { takeShelves } from "./shelf.ts";
import { checkStall, stallTimeout } from "./stall.ts";
import { rcuEvent, traceRcu } from "./trace.ts";

const { CBLIST, RCU, SLOT_RCU } = layout;

const REQWAIT = rcuEvent("rcu_grace_period", "reqwait");
const EXPEDITED_START = rcuEvent("rcu_exp_grace_period", "startwait");
const EXPEDITED_END = rcuEvent("rcu_exp_grace_period", "endwait");
const BARRIER_BEGIN = rcuEvent("rcu_barrier", "Begin");
const BARRIER_ORPHANS = rcuEvent("rcu_barrier", "Inc1");
const BARRIER_END = rcuEvent("rcu_barrier", "Inc2");

/** Loads of gpSeq before the first sleep: about 2 us, the time in which a quick grace period ends. */
const SPINS = 200;
/** Who waits looks so often, so that stalls are noticed and reaped slots accounted. */
const CHECK_MS = 100;
/** Before that, who waits polls, each time after twice as long: the end of an announced scope may go unnoticed. Milliseconds. */
export const FIRST_POLL = 1;

/** A point in time: done when a full grace period has followed it. */
export type GpCookie = Brand<"grace period cookie">;

export function assertMayWait(what: string): void {
  if (rcuNesting() > 0)
    throw new RcuUsageError("ERR_RCU_INSIDE_SCOPE", `${what} inside a read scope would wait for itself`);
  if (inCallback())
    throw new RcuUsageError(
      "ERR_RCU_WAITS_FOR_ITSELF",
      `${what} inside an RCU callback would wait for itself`,
    );
  if (locksHeld !== 0) throw new RcuUsageError("ERR_RCU_LOCK_HELD", `${what} with ${locksHeld} lock(s) held`);
}

/** Milliseconds between two looks of a thread that waits. */
const checkMs = (): number => Math.min(CHECK_MS, stallTimeout());
/** The looks of a thread that waits: every 100 ms, whatever wakes it in between. */
export const newRounds = (): Rounds => new Rounds(checkMs());

/**
 * A look of who waits: the last slot that the grace period waited for may have been reaped, or who was to start
 * the next one may have died; others are asked.
 */
export function nudge(seq: number): void {
  reapGone();
  tryEndGp(seq);
  startNeeded();
  forceQuiescentStates(rcuLaggards());
  checkStall();
}

/** Sleeps until gpSeq has reached `stamp`, or, in a barrier, until callbacks have run. The thread is idle. */
function waitForGp(stamp: number, rounds: Rounds, event?: number, until = Number.POSITIVE_INFINITY): void {
  for (let spin = 0; spin < SPINS; spin++) if (seqDone(Atomics.load(i32, RCU.GP_SEQ), stamp)) return;
  Atomics.add(i32, RCU.GP_WAITERS, 1);
  try {
    for (let poll = FIRST_POLL; ; poll *= 2) {
      const seq = Atomics.load(i32, RCU.GP_SEQ);
      if (seqDone(seq, stamp)) return;
      if (event !== undefined && Atomics.load(i32, RCU.BARRIER_EVENT) !== event) return;
      const left = until - performance.now();
      if (left <= 0) return;
      rounds.sleep(RCU.GP_SEQ, seq, Math.min(left, poll));
      if (rounds.due()) nudge(seq);
      else pollGp();
    }
  } finally {
    Atomics.sub(i32, RCU.GP_WAITERS, 1);
  }
}

function waitIdle(stamp: number, expedited: boolean): void {
  const active = rcuNesting() === 0;
  if (active) goIdle();
  try {
    requestGp(stamp);
    if (expedited) forceQuiescentStates(rcuLaggards());
    traceRcu(expedited ? EXPEDITED_START : REQWAIT, stamp, 0);
    waitForGp(stamp, newRounds());
    if (expedited) traceRcu(EXPEDITED_END, stamp, 0);
  } finally {
    if (active) goActive();
  }
}

/**
 * Waits until every read scope that was open on any thread at the call has closed. All callers that wait at a time share
 * grace periods. Blocks this thread, which counts as quiescent meanwhile. Throws RcuUsageError inside a read scope, in a
 * callback, or with a lock held: it would wait for itself. (Linux: synchronize_rcu.)
 */
export function synchronizeRcu(): void {
  assertMayWait("synchronizeRcu");
  flushLazy();
  waitIdle(gpStamp(), Atomics.load(i32, RCU.EXPEDITED) > 0);
}

/**
 * Waits for an expedited grace period, but no longer than `ms` milliseconds: whether it was over then. For updaters that are to be held
 * back, not held up.
 */
export function synchronizeRcuAtMost(ms: number): boolean {
  assertMayWait("synchronizeRcuAtMost");
  const stamp = gpStamp();
  const active = rcuNesting() === 0;
  if (active) goIdle();
  try {
    requestGp(stamp);
    forceQuiescentStates(rcuLaggards());
    waitForGp(stamp, newRounds(), undefined, performance.now() + ms);
    return seqDone(gpSeq(), stamp);
  } finally {
    if (active) goActive();
  }
}

/**
 * From here on synchronizeRcu of every thread is expedited, until as many calls of rcuUnexpediteGp: while a machine boots or stops,
 * when waiting costs more than disturbing readers does. (Linux: rcu_expedite_gp.)
 */
export function rcuExpediteGp(): void {
  Atomics.add(i32, RCU.EXPEDITED, 1);
}
/** Ends one rcuExpediteGp, of whatever thread. Throws RcuUsageError without one. (Linux: rcu_unexpedite_gp.) */
export function rcuUnexpediteGp(): void {
  if (Atomics.sub(i32, RCU.EXPEDITED, 1) > 0) return;
  Atomics.add(i32, RCU.EXPEDITED, 1);
  throw new RcuUsageError("ERR_RCU_LOCK_PAIRING", "rcuUnexpediteGp without rcuExpediteGp");
}

/** The same, asking lagging threads (force notifier) to pass a quiescent state now. */
export function synchronizeRcuExpedited(): void {
  assertMayWait("synchronizeRcuExpedited");
  flushLazy();
  waitIdle(gpStamp(), true);
}

/**
 * Remembers now, without starting anything (get_state_synchronize_rcu). Cookies cover normal and expedited grace periods,
 * which share one sequence: Linux's _full variants are these same functions.
 */
export function getStateSynchronizeRcu(): GpCookie {
  return gpStamp() as GpCookie;
}
/** A cookie whose grace period is over already (get_completed_synchronize_rcu). */
export function getCompletedSynchronizeRcu(): GpCookie {
  return gpSeq() as GpCookie;
}
/** Whether two cookies stand for the same grace period, so that one will do (same_state_synchronize_rcu). */
export function sameStateSynchronizeRcu(one: GpCookie, other: GpCookie): boolean {
  return one === other;
}
/** Remembers now and makes sure that a grace period will follow (start_poll_synchronize_rcu). Does not wait. */
export function startPollSynchronizeRcu(): GpCookie {
  const stamp = gpStamp();
  requestGp(stamp);
  return stamp as GpCookie;
}
/** The same, asking lagging threads to hurry (start_poll_synchronize_rcu_expedited). */
export function startPollSynchronizeRcuExpedited(): GpCookie {
  const cookie = startPollSynchronizeRcu();
  forceQuiescentStates(rcuLaggards());
  return cookie;
}
/**
 * Whether a full grace period has followed the cookie (poll_state_synchronize_rcu). Right for 2^29 grace periods; a cookie
 * kept longer may read as not done again.
 */
export function pollStateSynchronizeRcu(cookie: GpCookie): boolean {
  return seqDone(gpSeq(), cookie);
}
/** Waits unless a grace period has followed the cookie already (cond_synchronize_rcu). Throws as synchronizeRcu does. */
export function condSynchronizeRcu(cookie: GpCookie): void {
  if (pollStateSynchronizeRcu(cookie)) return;
  assertMayWait("condSynchronizeRcu");
  waitIdle(cookie, false);
}
/** The same, expedited (cond_synchronize_rcu_expedited). */
export function condSynchronizeRcuExpedited(cookie: GpCookie): void {
  if (pollStateSynchronizeRcu(cookie)) return;
  assertMayWait("condSynchronizeRcuExpedited");
  waitIdle(cookie, true);
}

const queuedOf = (list: number): number => Atomics.load(i32, list + CBLIST.QUEUED);
const ranUpTo = (list: number, count: number): boolean =>
  ((Atomics.load(i32, list + CBLIST.RUN) - count) | 0) >= 0;

/**
 * Waits until every callback that was queued on any thread at the call has run: before a module that declares reclaimers
 * is unloaded, before counting what is left. Does not wait for closures of other threads (callRcuHere). Throws as
 * synchronizeRcu does, and what a callback throws that it runs itself. (Linux: rcu_barrier.)
 */
export function rcuBarrier(): void {
  assertMayWait("rcuBarrier");
  const base = slotBase(slot);
  const depth = rcuNesting() < 0 ? i32[base + SLOT_RCU.IDLE_DEPTH]! : 0;
  if (depth > 0) goActive(); // All others may be idle as well: somebody has to run the callbacks.
  try {
    barrier();
  } finally {
    if (depth > 0) {
      rcuIdleEnter();
      i32[base + SLOT_RCU.IDLE_DEPTH] = depth;
    }
  }
}

function barrier(): void {
  takeShelves(); // What is on a shelf is on no list yet.
  const high = Atomics.load(i32, RCU.SLOT_HIGH);
  const lists: number[] = [];
  const counts: number[] = [];
  for (let of = 0; of < high; of++) {
    const list = slotBase(of) + SLOT_RCU.LIST;
    const count = queuedOf(list);
    if (ranUpTo(list, count)) continue;
    lists.push(list);
    counts.push(count);
  }
  traceRcu(BARRIER_BEGIN, lists.length, 0);
  awaitRun(lists, counts);
  traceRcu(BARRIER_ORPHANS, i32[RCU.ORPHANS]!, 0);
  // What idle threads had was moved to the orphans before their own counter said so.
  awaitRun([RCU.ORPHAN_LIST], [queuedOf(RCU.ORPHAN_LIST)]);
  traceRcu(BARRIER_END, 0, 0);
}

/**
 * The same for an updater that holds a lock its callbacks need (QEMU's drain_call_rcu): the lock is released while waiting
 * and taken again before this returns, so what it protects must be looked at anew.
 */
export function drainCallRcu(lock?: { unlock(): void; lock(): void }): void {
  lock?.unlock();
  try {
    rcuBarrier();
  } finally {
    lock?.lock();
  }
}

/**
 * The heap is full and much of it may be waiting for a grace period: waits, asking everybody to hurry, until all that was
 * handed to kfreeRcu is free. Then an allocation that failed may be tried again. (Linux: kvfree_rcu_barrier.)
 */
export function kfreeRcuBarrier(): void {
  synchronizeRcuExpedited();
  rcuBarrier();
}

function awaitRun(lists: number[], counts: number[]): void {
  Atomics.add(i32, RCU.BARRIER_WAITERS, 1);
  const active = rcuNesting() === 0;
  const rounds = newRounds(); // Of all its sleeps: callbacks of other threads may end each of them early.
  try {
    for (;;) {
      const event = Atomics.load(i32, RCU.BARRIER_EVENT);
      const stamp = gpStamp();
      if (active) runSome(Infinity);
      if (lists.every((list, n) => ranUpTo(list, counts[n]!))) return;
      if (active) goIdle(); // From here the grace periods that the callbacks need do not wait for this thread.
      requestGp(stamp);
      // Own callbacks and orphans: this thread runs them as soon as their grace period is over.
      if (active && (pendingOwn() > 0 || (i32[RCU.ORPHANS]! > 0 && !orphansStuck())))
        waitForGp(stamp, rounds, event);
      else rounds.sleep(RCU.BARRIER_EVENT, event);
      if (rounds.due()) nudge(gpSeq());
      if (active) goActive();
    }
  } finally {
    Atomics.sub(i32, RCU.BARRIER_WAITERS, 1);
    if (active && rcuNesting() < 0) goActive();
  }
}
