/**
 * Safe points: where a CPU holds no reference into shared tables. System-call exit, before blocking, context switch, task
 * exit. Here it answers TLB requests, reports a quiescent state, runs RCU callbacks and delayed releases.
 */
import {
  assertNoLocksHeld,
  drainSomeReleases,
  type Ref,
  rcuPending,
  releasesPending,
} from "../../rcu/index.ts";
import { rcuCatchUp } from "../../rcu/kernel.ts";
import { serveTlbRequests } from "../mm/tlb.ts";

/** Callbacks that a CPU gathers before it asks for a grace period (setGathering); the tick and idling do not wait. */
export const CALLBACKS_GATHERED = 64;

/**
 * Releases at one safe point that follow from others, and of those that CPUs have handed over because there were more: a chain of any
 * length comes to its end, in pieces after which the task can be preempted and killed.
 */
const FOLLOWING_RELEASES = 256;
const HANDED_OVER = 64;

/** `task`: in whose context delayed releases run; 0 between tasks. */
export let safePoint = plainSafePoint;

/** In a debug heap a safe point with a lock held is reported: a handler left with it, or sleeps or switches with it. */
export function checkSafePoints(): void {
  const point = safePoint;
  safePoint = (task) => {
    assertNoLocksHeld("a safe point: a system call's end, a sleep or a switch of tasks");
    point(task);
  };
}

/** Has `hook` called at every safe point of this CPU: chosen at its boot, so that nobody asks at run time. */
export function setSafePointHook(hook: () => void): void {
  const point = safePoint;
  safePoint = (task) => {
    point(task);
    hook();
  };
}

function plainSafePoint(task: Ref<"task"> | 0): void {
  serveTlbRequests();
  if (releasesPending()) drainSomeReleases(task, FOLLOWING_RELEASES, HANDED_OVER);
  if (rcuPending()) rcuCatchUp();
}
