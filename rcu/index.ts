/** The public face of the RCU subsystem: `sternix/rcu`. */
export * from "./array.ts";
export * from "./atomic.ts";
export {
  callRcu,
  defineReclaimer,
  type ForceNotifier,
  forceQuiescentStates,
  kfreeArrayRcu,
  kfreeRcu,
  kfreeStringRcu,
  type Reclaimer,
  rcuIdleEnter,
  rcuIdleExit,
  rcuRunCallbacks,
  setForceNotifier,
} from "./callback.ts";
export * from "./fields.ts";
export { rcuLaggards, rcuPending, rcuQuiescent } from "./grace-period.ts";
export * from "./heap.ts";
export { brokenLocks, locksHeld, ownerIsDead } from "./lock.ts";
export * from "./ref.ts";
export { defineReleaser, drainReleases, queueRelease, type Releaser, releasesPending } from "./release.ts";
export { rcuReadLock, rcuReadLockHeld, rcuReadUnlock } from "./scope.ts";
export { cellGeneration, cellIsAlive } from "./slab.ts";
export { checkStall, type RcuStall, setRcuStallHandler } from "./stall.ts";
export { type RcuStats, rcuStats } from "./stats.ts";
export * from "./struct.ts";
export {
  condSynchronizeRcu,
  type GpCookie,
  getStateSynchronizeRcu,
  pollStateSynchronizeRcu,
  rcuBarrier,
  startPollSynchronizeRcu,
  synchronizeRcu,
  synchronizeRcuExpedited,
} from "./synchronize.ts";
