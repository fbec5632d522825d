/** The public face of the RCU subsystem: `sternix/rcu`. What only a kernel needs is in kernel.ts. */
export { alloc, allocArray, allocString } from "./alloc.ts";
export * from "./arc.ts";
export {
  arrayAdd,
  arrayCas,
  arrayCopy,
  arrayGet,
  arrayLength,
  arrayLoad,
  arrayMove,
  arraySet,
  arrayStore,
  freeArray,
  freeString,
  stringBytes,
  stringEquals,
  stringHash,
  stringLength,
  stringText,
  tryAllocArray,
  tryAllocString,
} from "./array.ts";
export * from "./atomic.ts";
export { RcuCache, type RcuCacheOptions } from "./cache.ts";
export { callRcuLazy, kfreeRcuLazy } from "./call-lazy.ts";
export {
  callRcu,
  callRcuHere,
  kfreeArrayRcu,
  kfreeRcu,
  kfreeStringRcu,
  rcuDrop,
  rcuRunCallbacks,
} from "./callback.ts";
export { rcuPending } from "./catch-up.ts";
export type { At, Handle } from "./collection.ts";
export { type ErrorHandler, setErrorHandler } from "./contain.ts";
export { RcuDomain } from "./domain.ts";
export type { SynchronizeOptions } from "./domain-wait.ts";
export * from "./error.ts";
export * from "./fields.ts";
export { type ForceNotifier, forceQuiescentStates, setForceNotifier } from "./force.ts";
export { rcuLaggards, rcuQuiescent } from "./grace-period.ts";
export { RcuReadGuard, RcuReadScope, type RcuScopeOwner, rcuRead } from "./guard.ts";
export { RcuHashMap, type RcuHashMapOptions } from "./hashmap.ts";
export * from "./heap.ts";
export { rcuIdleEnter, rcuIdleExit } from "./idle.ts";
export { Idr, type IdrOptions, NO_ID } from "./idr.ts";
export { RcuIntrusiveList } from "./intrusive-list.ts";
export type { TableOptions } from "./keyed-table.ts";
export { blob, double, int, type KeyKind, type Kind, own, ref, text, type Value } from "./kind.ts";
export { setRcuLazyDelay } from "./lazy.ts";
export { type Cursor, RcuList, type RcuListOptions } from "./list.ts";
export * from "./list-node.ts";
export * from "./llist.ts";
export { brokenLocks } from "./lock.ts";
export * from "./lock-fields.ts";
export { RcuLockFreeMap, type RcuLockFreeMapOptions } from "./lock-free-map.ts";
export { RcuLockFreeQueue } from "./lock-free-queue.ts";
export { RcuLockFreeStack } from "./lock-free-stack.ts";
export { assertNoLocksHeld, type LockClass, lockClasses } from "./lock-order.ts";
export { type TakenLock, takenLocks } from "./lock-owners.ts";
export { endRcuHelp, helpRcu } from "./offload.ts";
export { keepRcu, type OffloadOptions, offloadRcu, offloadsRcu } from "./offloaded.ts";
export { EVICTED, FULL, INSERTED, UPDATED } from "./outcome.ts";
export { PercpuRef } from "./percpu-ref.ts";
export { PercpuRwSemaphore } from "./percpu-rwsem.ts";
export { RcuAtomic, RcuBox, RcuOptionBox, RcuPtr, RcuString } from "./ptr.ts";
export { type ArrayOptions, RcuArray } from "./rcu-array.ts";
export { defineReclaimer, type Reclaimer } from "./reclaim.ts";
export type { Brand, Held, Ptr, RcuScope, Ref } from "./ref.ts";
export {
  defineReleaser,
  drainReleases,
  drainSomeReleases,
  finalizeReleases,
  queueRelease,
  type Releasable,
  type ReleaseBackend,
  type Releaser,
  releasesPending,
  setReleaseBackend,
} from "./release.ts";
export { ObjectReleaser } from "./releaser.ts";
export { rcuIsWatching, rcuNesting, rcuReadLock, rcuReadLockHeld, rcuReadUnlock } from "./scope.ts";
export { heapPages } from "./shrink.ts";
export { cellGeneration, cellIsAlive } from "./slab.ts";
export { callSrcu, Srcu, type SrcuCookie, type SrcuScope, srcuBarrier } from "./srcu.ts";
export { type OpenSrcuScopes, openSrcuScopes } from "./srcu-domain.ts";
export {
  checkStall,
  type RcuStall,
  type RcuTaskNamer,
  rcuStallText,
  type StalledThread,
  setRcuStallHandler,
  setRcuTaskNamer,
} from "./stall.ts";
export { type RcuStats, rcuStats } from "./stats.ts";
export {
  atomic,
  bytes,
  fixed,
  free,
  listNode,
  liveObjects,
  locked,
  lockedWide,
  mutex,
  owned,
  rcu,
  rwlock,
  type Spec,
  type Struct,
  type StructType,
  spinlock,
  struct,
  tryAlloc,
  wide,
  words,
} from "./struct.ts";
export { RcuSync } from "./sync.ts";
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
  rcuExpediteGp,
  rcuUnexpediteGp,
  sameStateSynchronizeRcu,
  startPollSynchronizeRcu,
  startPollSynchronizeRcuExpedited,
  synchronizeRcu,
  synchronizeRcuExpedited,
} from "./synchronize.ts";
export { RcuEntry, RcuTableGuard } from "./table-guard.ts";
export { type TaggedRef, tagRef, tryUntagRef, untagRef } from "./tag.ts";
export {
  callRcuTasks,
  rcuBarrierTasks,
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
export type { LinkOptions, ValueLinksOptions } from "./value-links.ts";
export { WaitFreeQueue, WOULD_BLOCK } from "./wait-free-queue.ts";
export { RcuWalk } from "./walk.ts";
