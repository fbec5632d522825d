/**
 * Gathering callbacks: a thread that passes safe points all the time need not ask for a grace period for each callback.
 * Every grace period costs every CPU some cache misses, so one for each close(2) makes CPUs slow each other down.
 * (Linux: lazy callbacks, rcu_segcblist's one batch for each grace period.)
 */

/** Callbacks that this thread gathers before it asks for a grace period: 1 asks for each at once. */
export let gathered = 1;
/** Safe points with something gathered after which it waits no longer. */
const LOOKS = 64;
let looks = 0;
let overdue = false;

/**
 * For threads that call rcuPending at their safe points, rcuHurry when much time has passed, and rcuIdleEnter before they
 * sleep. Whoever calls rcuRunCallbacks or rcuBarrier waits for nothing that is gathered.
 */
export function setGathering(callbacks: number): void {
  gathered = callbacks;
}

/** What this thread has gathered waits no longer than until its next rcuPending. */
export function rcuHurry(): void {
  looks = LOOKS;
}

/** A safe point with something gathered: whether that has waited for long enough. */
export function gatheredLong(): boolean {
  if (++looks < LOOKS) return false;
  looks = 0;
  overdue = true;
  return true;
}

/** In rcuCatchUp: callbacks are left alone until there are enough of them. */
export let gathering = false;
export function beginGathering(): void {
  gathering = gathered > 1 && !overdue;
  overdue = false;
}
export function endGathering(): void {
  gathering = false;
}
