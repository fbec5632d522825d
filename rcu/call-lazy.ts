/** Queueing lazy callbacks (lazy.ts says when they run). */
import { callUnrecorded, claimArgument, claimObject, giveAway, makeHead, wantLook } from "./callback.ts";
import { queueLazy } from "./lazy.ts";
import { offloadsRcu } from "./offloaded.ts";
import type { Reclaimer } from "./reclaim.ts";
import type { Ref } from "./ref.ts";
import type { StructType } from "./struct.ts";

/**
 * callRcu for what is in no hurry, since nothing but memory waits for it: starts no grace period, until 1024 such callbacks of this thread wait, the first
 * has waited for a second (setRcuLazyDelay), the heap is full, somebody calls rcuBarrier or this thread synchronizeRcu, or the thread leaves or dies.
 * On a thread that offloads its callbacks the helper takes it at once. Throws as callRcu does. (Linux: call_rcu with CONFIG_RCU_LAZY; callRcu is
 * call_rcu_hurry.)
 */
export function callRcuLazy<T extends number>(reclaimer: Reclaimer<T>, arg: T): void {
  claimArgument(reclaimer, arg, "callRcuLazy");
  const head = makeHead(reclaimer, arg);
  if (head === 0) callUnrecorded(reclaimer, arg);
  else put(head);
}

/** kfreeRcu, as lazily. Throws as kfreeRcu does. */
export function kfreeRcuLazy<N extends string>(type: StructType<N>, ref: Ref<NoInfer<N>>): void {
  claimObject(type, ref, "kfreeRcuLazy");
  put(ref);
}

function put(cell: number): void {
  if (offloadsRcu() && giveAway(cell)) return;
  if (queueLazy(cell)) wantLook();
}
