/**
 * RcuSync: lets readers skip what they would have to do only while somebody writes, for state that is hardly ever written. Readers
 * look at one word in their read scope; the first writer waits for a grace period before it writes, and the readers go back to the
 * short way a grace period after the last one. (Linux: rcu_sync, include/linux/rcu_sync.h.)
 *
 *   const scope = rcuReadLock();
 *   if (sync.isIdle(scope)) readWithoutLock(); else readWithLock();
 *   rcuReadUnlock();
 */
import { callRcu, kfreeRcu, withRoom } from "./callback.ts";
import { type At, Collection, checkObject, isAt } from "./collection.ts";
import { HeapFullError, RcuUsageError } from "./error.ts";
import { INNERMOST } from "./lock-order.ts";
import { derefWord } from "./memory.ts";
import { defineReclaimer } from "./reclaim.ts";
import type { RcuScope, Ref } from "./ref.ts";
import { atomic, locked, spinlock, struct, tryAlloc } from "./struct.ts";
import { assertMayWait, condSynchronizeRcu, type GpCookie, startPollSynchronizeRcu } from "./synchronize.ts";

const Sync = struct("rcu_sync", {
  state: atomic(),
  lock: spinlock(INNERMOST),
  /** Calls of enter() without their exit(). */
  writers: locked("lock"),
  /** The grace period after which no reader goes the short way, while the state is WRITING. */
  stamp: locked("lock"),
  /** Callbacks that will look whether readers may go the short way again. */
  leaving: locked("lock"),
});

const IDLE = 0;
const WRITING = 1;
/** The last writer has left; readers may not have seen all that it wrote. */
const LEAVING = 2;

const deref = derefWord; // V8 folds a constant of this module, not an imported one.
const STATE = Sync.state.offset;
/** For percpu-rwsem.ts, which looks at the state itself. */
export const SYNC_STATE = STATE;
export const SYNC_IDLE = IDLE;

/** Tells readers whether anybody writes, for the price of a load. */
export class RcuSync extends Collection<"rcu_sync"> {
  /** Throws HeapFullError; StaleReferenceError when `at` names nothing. */
  constructor(init?: At) {
    super(Sync, isAt(init) ? checkObject(Sync, init.at, "RcuSync") : create());
  }

  /**
   * Whether nobody writes until this scope closes, and all that was written is seen: then no lock is needed in it. When false, go the
   * long way, which must exclude writers by itself. (rcu_sync_is_idle.)
   */
  isIdle(_scope: RcuScope): boolean {
    this.beforeRead();
    return deref(this.ref + STATE) === IDLE;
  }

  /**
   * Before writing: when it returns every reader goes the long way, and those of the short way have left their scopes. Only the first
   * writer waits for a grace period. Does not exclude other writers. Throws as synchronizeRcu does. (rcu_sync_enter.)
   */
  enter(): void {
    this.assertHeap();
    assertMayWait("RcuSync.enter");
    const held = Sync.lock.lock(this.ref);
    const writers = Sync.writers.get(held, this.ref);
    Sync.writers.set(held, this.ref, writers + 1);
    if (Sync.state.load(this.ref) === IDLE) {
      Sync.state.store(this.ref, WRITING); // [A]
      Sync.stamp.set(held, this.ref, startPollSynchronizeRcu());
    } else Sync.state.store(this.ref, WRITING); // Nobody has gone the short way since the stamp was taken.
    const cookie = Sync.stamp.get(held, this.ref) as GpCookie;
    Sync.lock.unlock(this.ref);
    condSynchronizeRcu(cookie);
  }

  /** After writing. Does not wait: readers go the short way again a grace period after the last writer. (rcu_sync_exit.) */
  exit(): void {
    this.assertHeap();
    const held = Sync.lock.lock(this.ref);
    const writers = Sync.writers.get(held, this.ref) - 1;
    if (writers >= 0) Sync.writers.set(held, this.ref, writers);
    if (writers === 0) {
      Sync.state.store(this.ref, LEAVING);
      Sync.leaving.set(held, this.ref, Sync.leaving.get(held, this.ref) + 1);
    }
    Sync.lock.unlock(this.ref);
    if (writers < 0) throw new RcuUsageError("ERR_RCU_LOCK_PAIRING", "RcuSync.exit without enter");
    if (writers === 0) callRcu(becomeIdle, this.ref);
  }

  /** Frees it, after a grace period. Throws RcuUsageError when somebody writes, or has just written: rcuBarrier() comes first. */
  destroy(): void {
    this.assertHeap();
    const held = Sync.lock.lock(this.ref);
    const busy = Sync.writers.get(held, this.ref) + Sync.leaving.get(held, this.ref);
    Sync.lock.unlock(this.ref);
    if (busy !== 0)
      throw new RcuUsageError(
        "ERR_RCU_IN_USE",
        "RcuSync.destroy: exit() by all writers, then rcuBarrier(), come first",
      );
    kfreeRcu(Sync, this.ref);
    this.destroyed();
  }
}

/** Every thread has seen what was written before an exit(): of the last one, if no other callback is to come. */
const becomeIdle = defineReclaimer("rcu: sync", (arg) => {
  const ref = arg as Ref<"rcu_sync">;
  const held = Sync.lock.lock(ref);
  const leaving = Sync.leaving.get(held, ref) - 1;
  Sync.leaving.set(held, ref, leaving);
  if (leaving === 0 && Sync.state.load(ref) === LEAVING) Sync.state.store(ref, IDLE);
  Sync.lock.unlock(ref);
});

function create(): Ref<"rcu_sync"> {
  const ref = withRoom(() => tryAlloc(Sync));
  if (ref === 0) throw new HeapFullError("new RcuSync");
  return ref;
}
