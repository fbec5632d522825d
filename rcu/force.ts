/** Reaching threads that hold a grace period up. */
import { slot } from "./memory.ts";

/** Asks the threads that hold a grace period up to pass a quiescent state soon; the kernel sets their needResched. */
export type ForceNotifier = (slot: number) => void;
let forceNotifier: ForceNotifier | null = null;
/** Sets this thread's way to reach lagging slots. */
export function setForceNotifier(notify: ForceNotifier | null): void {
  forceNotifier = notify;
}
/** Calls the force notifier for each lagging slot. */
export function forceQuiescentStates(laggards: number[]): void {
  if (forceNotifier !== null) for (const of of laggards) if (of !== slot) forceNotifier(of);
}
