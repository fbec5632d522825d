/** The public face of the RCU subsystem: `sternix/rcu`. */
export * from "./arc.ts";
export * from "./array.ts";
export * from "./atomic.ts";
export { EVICTED, RcuCache } from "./cache.ts";
export {
  callRcu,
  callRcuHere,
  kfreeArrayRcu,
  kfreeCellRcu,
  kfreeRcu,
  kfreeStringRcu,
  rcuDrop,
  rcuRunCallbacks,
} from "./callback.ts";
export { RcuDomain, RcuDomainError, type SynchronizeOptions } from "./domain.ts";
export * from "./error.ts";
export * from "./fields.ts";
export { type ForceNotifier, forceQuiescentStates, setForceNotifier } from "./force.ts";
export { rcuLaggards, rcuPending, rcuQuiescent } from "./grace-period.ts";
export { RcuReadGuard, RcuReadScope, type RcuScopeOwner, rcuRead } from "./guard.ts";
export {
  FULL,
  INSERTED,
  RcuHashMap,
  RcuHashMapGuard,
  type RcuHashMapOptions,
  UPDATED,
} from "./hashmap.ts";
export * from "./heap.ts";
export { rcuIdleEnter, rcuIdleExit } from "./idle.ts";
export { Idr, NO_ID } from "./idr.ts";
export { type Cursor, RcuList } from "./list.ts";
export { brokenLocks, locksHeld, ownerIsDead, releaseLocks, setLockSleepHooks } from "./lock.ts";
export { type KeyKind, RcuMap, type RcuMapOptions, type ValueKind } from "./map.ts";
export { PREEMPT_WORDS, rcuBlockedTasks, rcuSwitchIn, rcuSwitchOut, rcuTaskGone } from "./preempt.ts";
export { type At, RcuArray, RcuAtomic, RcuBox, RcuOptionBox, RcuPtr, RcuString } from "./ptr.ts";
export { defineReclaimer, type Reclaimer } from "./reclaim.ts";
export * from "./ref.ts";
export {
  defineReleaser,
  drainReleases,
  finalizeReleases,
  queueRelease,
  type Releasable,
  type ReleaseBackend,
  type Releaser,
  releasesPending,
  setReleaseBackend,
} from "./release.ts";
export { ObjectReleaser } from "./releaser.ts";
export { rcuNesting, rcuReadLock, rcuReadLockHeld, rcuReadUnlock } from "./scope.ts";
export { cellGeneration, cellIsAlive } from "./slab.ts";
export { callSrcu, Srcu, type SrcuCookie, type SrcuScope, srcuBarrier } from "./srcu.ts";
export {
  checkStall,
  type RcuStall,
  type RcuTaskNamer,
  rcuStallText,
  setRcuStallHandler,
  setRcuTaskNamer,
} from "./stall.ts";
export { type RcuStats, rcuStats } from "./stats.ts";
export * from "./struct.ts";
export {
  condSynchronizeRcu,
  condSynchronizeRcuExpedited,
  drainCallRcu,
  type GpCookie,
  getCompletedSynchronizeRcu,
  getStateSynchronizeRcu,
  kfreeRcuBarrier,
  pollStateSynchronizeRcu,
  rcuBarrier,
  sameStateSynchronizeRcu,
  startPollSynchronizeRcu,
  startPollSynchronizeRcuExpedited,
  synchronizeRcu,
  synchronizeRcuExpedited,
} from "./synchronize.ts";
export {
  rcuTasksQuiescent,
  rcuTasksRegister,
  rcuTasksSleep,
  rcuTasksUnregister,
  rcuTasksWake,
  synchronizeRcuTasks,
  type TasksMember,
} from "./tasks.ts";
export {
  type RcuTraceEvent,
  type RcuTraceName,
  readRcuTrace,
  startRcuTrace,
  stopRcuTrace,
} from "./trace.ts";
