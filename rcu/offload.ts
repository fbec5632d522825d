/**
 * Offloading: the callbacks of threads that are too busy to run them are run by a helper, a thread of the same heap that does nothing else. What
 * is offloaded is data: an object to be freed, or the name of a reclaimer and its argument. Closures stay where they were made.
 *
 * Nobody depends on the helper. Without one, their thread runs them when it comes by; when it falls behind, they are queued as if nothing were
 * offloaded; when one leaves or dies, what it had not run becomes the orphans of whoever is active, but for the one that it was just running. (Linux: rcu_nocbs; liburcu: call_rcu threads.)
 */
import { pendingOwn, runSome } from "./callback.ts";
import { goActive, goIdle, gpSeq, slotBase, startNeeded } from "./grace-period.ts";
import * as layout from "./layout.ts";
import { flushAllInTime } from "./lazy.ts";
import { i32, slot } from "./memory.ts";
import { leaveHelping } from "./offloaded.ts";
import { orphansStuck } from "./orphan.ts";
import { warn } from "./platform.ts";
import { closuresHere } from "./reclaim.ts";
import { rcuNesting } from "./scope.ts";
import { takeShelves } from "./shelf.ts";
import { assertMayWait, FIRST_POLL, newRounds, nudge } from "./synchronize.ts";

const { RCU, SLOT_RCU } = layout;

/**
 * Runs the callbacks that other threads offload, orphans among them, and sleeps while there are none, until somebody calls `endRcuHelp`. Blocks this
 * thread, which must have loaded the modules that declare the reclaimers. Several threads may help. Returns how many callbacks
 * it ran. What they throw goes to the heap's error handler, else it ends this call, and nothing is lost. Throws RcuUsageError inside a scope,
 * in a callback, or with a lock held.
 */
export function helpRcu(): number {
  assertMayWait("helpRcu");
  const wasIdle = rcuNesting() < 0;
  if (wasIdle) goActive();
  const end = Atomics.load(i32, RCU.HELP_END);
  const rounds = newRounds();
  let ran = 0;
  let warned = false;
  i32[slotBase(slot) + SLOT_RCU.HELPS] = 1;
  Atomics.add(i32, RCU.HELPERS, 1);
  try {
    for (let poll = FIRST_POLL; Atomics.load(i32, RCU.HELP_END) === end; ) {
      const event = Atomics.load(i32, RCU.HELP_EVENT);
      const seq = gpSeq();
      takeShelves([SLOT_RCU.OFFLOADED]);
      const now = runSome(Number.POSITIVE_INFINITY);
      ran += now;
      if (now > 0) continue;
      const stuck = orphansStuck();
      if (stuck && !warned) warn("a helper has not loaded the reclaimer of a callback", "RcuHelper");
      warned ||= stuck;
      const own = pendingOwn() > 0 || closuresHere() > 0;
      const waits = own || (Atomics.load(i32, RCU.ORPHANS) > 0 && !stuck);
      goIdle();
      startNeeded();
      if (waits) {
        // For the end of a grace period; what is offloaded meanwhile waits for the next one anyway.
        Atomics.add(i32, RCU.GP_WAITERS, 1);
        rounds.sleep(RCU.GP_SEQ, seq, poll);
        Atomics.sub(i32, RCU.GP_WAITERS, 1);
        poll = gpSeq() === seq ? poll * 2 : FIRST_POLL;
      } else rounds.sleep(RCU.HELP_EVENT, event);
      if (rounds.due()) {
        nudge(gpSeq());
        flushAllInTime();
      }
      goActive();
    }
  } finally {
    if (rcuNesting() < 0) goActive();
    leaveHelping(slot);
    if (wasIdle) goIdle();
  }
  return ran;
}

/** Ends the calls of `helpRcu` that are under way on any thread; what they have not run is handed on. */
export function endRcuHelp(): void {
  Atomics.add(i32, RCU.HELP_END, 1);
  Atomics.add(i32, RCU.HELP_EVENT, 1);
  Atomics.notify(i32, RCU.HELP_EVENT);
  Atomics.notify(i32, RCU.GP_SEQ);
}

/** Threads that help now. */
export const rcuHelpers = (): number => Atomics.load(i32, RCU.HELPERS);
