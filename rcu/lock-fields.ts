/** Accessors of the locks in a struct: each gives out the proof that the fields behind it ask for. */
import { Field } from "./fields.ts";
import {
  lockFree,
  lockWord,
  readLockWord,
  readUnlockWord,
  tryLockWord,
  unlockWord,
  writeLockWord,
  writeUnlockWord,
} from "./lock.ts";
import { mutexLock, mutexTryLock, mutexUnlock } from "./mutex.ts";
import type { Held, Ref } from "./ref.ts";

/** A lock for short critical sections. Nothing may sleep or switch tasks with it held. */
export class Spinlock<N extends string, L extends string> extends Field {
  /** Takes the lock, spinning and then sleeping; from a dead owner, too. The result is the proof that locked fields ask for. */
  lock(ref: Ref<N>): Held<L> {
    lockFree();
    lockWord(ref + this.offset);
    return 1 as Held<L>;
  }
  /**
   * The same, when this thread holds another lock of the same class already, and all who take several take them in one order: parents before
   * children, or by address (lockBoth).
   */
  lockNested(ref: Ref<N>): Held<L> {
    lockWord(ref + this.offset);
    return 1 as Held<L>;
  }
  /** Takes the locks of two objects, that of the lower address first; one lock if they are one object. */
  lockBoth(one: Ref<N>, other: Ref<N>): Held<L> {
    const held = this.lock(one < other ? one : other);
    if (one !== other) this.lockNested(one < other ? other : one);
    return held;
  }
  /** Gives back what lockBoth took. */
  unlockBoth(one: Ref<N>, other: Ref<N>): void {
    this.unlock(one);
    if (one !== other) this.unlock(other);
  }
  /** Takes it if it is free; else 0. */
  tryLock(ref: Ref<N>): Held<L> | 0 {
    return tryLockWord(ref + this.offset) ? (1 as Held<L>) : 0;
  }
  /** Gives it back. Throws RcuUsageError when this thread does not hold it. */
  unlock(ref: Ref<N>): void {
    unlockWord(ref + this.offset);
  }
  /** For tests and slow paths: `using held = S.lock.acquire(ref)`. */
  acquire(ref: Ref<N>): Disposable & { readonly held: Held<L> } {
    return { held: this.lock(ref), [Symbol.dispose]: () => this.unlock(ref) };
  }
}

/**
 * A lock that may be held across sleeps and quiescent states. Waiting for it is an extended quiescent state, so it may
 * not be taken inside a read scope; it breaks like the others when its owner dies.
 */
export class Mutex<N extends string, L extends string> extends Field {
  /** Takes it, sleeping if it must. Throws RcuUsageError inside a read scope or with a spinlock held. */
  lock(ref: Ref<N>): Held<L> {
    mutexLock(ref + this.offset);
    return 1 as Held<L>;
  }
  /** Takes it if it is free; else 0. */
  tryLock(ref: Ref<N>): Held<L> | 0 {
    return mutexTryLock(ref + this.offset) ? (1 as Held<L>) : 0;
  }
  /** Gives it back. Throws RcuUsageError when this thread does not hold it. */
  unlock(ref: Ref<N>): void {
    mutexUnlock(ref + this.offset);
  }
}

/** A reader-writer lock, writers preferred. Neither side may sleep or switch tasks with it held. */
export class Rwlock<N extends string, L extends string> extends Field {
  /** Takes it for reading, with others who read. A thread holds at most eight. */
  readLock(ref: Ref<N>): Held<L> {
    readLockWord(ref + this.offset);
    return 1 as Held<L>;
  }
  /** Gives back what readLock took. */
  readUnlock(ref: Ref<N>): void {
    readUnlockWord(ref + this.offset);
  }
  /** Takes it alone. */
  writeLock(ref: Ref<N>): Held<L> {
    writeLockWord(ref + this.offset);
    return 1 as Held<L>;
  }
  /** Gives back what writeLock took. */
  writeUnlock(ref: Ref<N>): void {
    writeUnlockWord(ref + this.offset);
  }
}
