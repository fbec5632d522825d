/**
 * What a kernel needs of RCU beside the public face: `sternix/rcu/kernel`. For code that schedules tasks of its own on threads, puts an end
 * to others' code in the middle, and answers for all memory of a heap. It is not held stable between versions, and its misuse is not
 * noticed; what ordinary programs need is in `sternix/rcu`.
 */

// Memory of the whole heap: arrays without a type, who owns what, what happens when it fills up.
export { arrayCacheHashes, FNV_BASIS, hashBytes } from "./array.ts";
// Callbacks: handing over a cell whose type only the heap knows, how many wait.
export { kfreeCellRcu, pendingOwn } from "./callback.ts";
// Safe points of threads that pass very many of them.
export { rcuCatchUp } from "./catch-up.ts";
// Boundaries that give back what code has left behind that was ended in the middle.
export { balanced, contain, type Unwound, unwind } from "./contain.ts";
export { rcuHurry, setGathering } from "./gather.ts";
export {
  locksHeld,
  ownerIsDead,
  releaseLocks,
  setLockPatience,
  setLockSleepHooks,
} from "./lock.ts";
export { INNERMOST } from "./lock-order.ts";
export { placeName } from "./lock-owners.ts";
export { mutexesHeld, releaseMutexes } from "./mutex.ts";
export { allocOwner, setAllocOwner } from "./owner.ts";
export { type OwnedCells, ownedCells } from "./owner-scan.ts";
// Tasks that are switched out inside a read scope.
export { PREEMPT_WORDS, rcuBlockedTasks } from "./preempt.ts";
export { hashName } from "./ref.ts";
export { limitCaches, setHeapWatch, shrinkCaches } from "./shrink.ts";
export { abandonSrcuScopes } from "./srcu-gp.ts";
export { cacheOf, declaredStructs, TYPE } from "./struct.ts";
export { rcuSwitchIn, rcuSwitchOut, rcuTaskGone } from "./switch.ts";
