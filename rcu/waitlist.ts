/**
 * Callbacks that wait for a grace period of another flavour first (SRCU, Tasks RCU): a CBLIST of which the segments NEXT (not stamped
 * yet) and WAIT are used, and the counters. All of it under a lock of the flavour, but for looks at the counters. When their grace
 * period is over they go to the RCU list of whoever found out, and run a grace period of RCU later, at a safe point, as all do.
 */
import { claimArgument, enqueueHead, makeHead } from "./callback.ts";
import { append, mend, move } from "./cblist.ts";
import { HeapFullError } from "./error.ts";
import { seqDone } from "./grace-period.ts";
import * as layout from "./layout.ts";
import { i32 } from "./memory.ts";
import { RcuHead, type Reclaimer } from "./reclaim.ts";
import type { Ref } from "./ref.ts";
import { free } from "./struct.ts";

const { CBLIST, CELL_LINK } = layout;

/** A record of the call, for `queueBehind`. Throws HeapFullError, and what callRcu throws for an argument that is none: nothing is done then. */
export function makeCall<T extends number>(reclaimer: Reclaimer<T>, arg: T, what: string): Ref<"rcu_head"> {
  const head = makeHead(reclaimer, arg);
  if (head === 0) throw new HeapFullError(what);
  try {
    claimArgument(reclaimer, arg, what);
  } catch (error) {
    free(RcuHead, head);
    throw error;
  }
  return head;
}

/** Puts a record at the end, not stamped. The lock is held. */
export function queueBehind(list: number, head: number): void {
  i32[head + CELL_LINK] = 0;
  append(list, CBLIST.NEXT, head, head);
  Atomics.add(i32, list + CBLIST.QUEUED, 1);
}

/** Stamps what is not stamped. The lock is held, and nothing waits or all that waits has this stamp. */
export function stampBehind(list: number, stamp: number): void {
  i32[list + CBLIST.WAIT_STAMP] = stamp;
  move(list, CBLIST.NEXT, CBLIST.WAIT);
}

/** Gives what waits to this thread's RCU list: its grace period is over. The lock is held, the thread is not idle. Returns how many. */
export function handOver(list: number): number {
  let count = 0;
  for (let cell = i32[list + CBLIST.WAIT]!; cell !== 0; cell = i32[list + CBLIST.WAIT]!, count++) {
    i32[list + CBLIST.WAIT] = i32[cell + CELL_LINK]!;
    if (i32[list + CBLIST.WAIT] === 0) i32[list + CBLIST.WAIT + 1] = 0;
    enqueueHead(cell);
    Atomics.add(i32, list + CBLIST.RUN, 1); // After it is on the other list: barriers look at both, in this order.
  }
  return count;
}

/** How many have been queued so far: for `handedOver`. */
export const queuedBehind = (list: number): number => Atomics.load(i32, list + CBLIST.QUEUED);
/** Whether all that were queued then have left the list. */
export const handedOver = (list: number, queued: number): boolean =>
  seqDone(Atomics.load(i32, list + CBLIST.RUN), queued);
/** How many are on it. */
export const waitingBehind = (list: number): number =>
  (queuedBehind(list) - Atomics.load(i32, list + CBLIST.RUN)) | 0;

/**
 * A thread has died, perhaps with a change of the list half made: makes it whole, all of it unstamped. What that thread had in its
 * hands is lost, and counts as run, so that barriers do not wait for it. The lock is held.
 */
export function mendBehind(list: number): void {
  if (handedOver(list, queuedBehind(list)) && i32[list + CBLIST.NEXT] === 0 && i32[list + CBLIST.WAIT] === 0)
    return;
  const left = mend(list);
  Atomics.store(i32, list + CBLIST.RUN, (i32[list + CBLIST.QUEUED]! - left) | 0);
}
