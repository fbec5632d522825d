/** Reaching threads that hold a grace period up. */
import { slot } from "./memory.ts";
import { rcuEvent, traceRcu } from "./trace.ts";

/** Asks the threads that hold a grace period up to pass a quiescent state soon; the kernel sets their needResched. */
export type ForceNotifier = (slot: number) => void;

const KICK = rcuEvent("rcu_fqs", "kick");
let forceNotifier: ForceNotifier | null = null;
/**
 * Sets this thread's way to reach lagging slots: called for each when a grace period is to be forced (expedited, a flood of
 * callbacks, a full heap, or 100 ms without an end). What a reader then does is leave its scope soon: the kernel sets
 * needResched, a worker may poll a word. (QEMU: rcu_add_force_rcu_notifier.)
 */
export function setForceNotifier(notify: ForceNotifier | null): void {
  forceNotifier = notify;
}
let lookForGone: () => void = () => {};
/** Sets what a thread that has waited long does about threads that ended without a word: heap.ts. */
export function setGoneLook(look: () => void): void {
  lookForGone = look;
}
/** Reaps threads that are seen to be gone. */
export const reapGone = (): void => lookForGone();

/** Calls the force notifier for each lagging slot (rcuLaggards) but one's own. */
export function forceQuiescentStates(laggards: number[]): void {
  for (const of of laggards) {
    if (of === slot) continue;
    traceRcu(KICK, of, 0);
    forceNotifier?.(of);
  }
}
