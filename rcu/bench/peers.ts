/**
 * The same lookup in a table of 4096 integer keys, by each of the ways that JavaScript has: what `bench rcu` compares.
 * A peer is a class with one `run`, so that V8 compiles each loop for itself.
 */
import {
  RcuHashMap,
  RcuLockFreeMap,
  type Ref,
  rcuQuiescent,
  rcuReadLock,
  rcuReadUnlock,
  rcuRunCallbacks,
  rwlock,
  spinlock,
  struct,
  tryAlloc,
} from "../index.ts";

export const ENTRIES = 4096;
/** Keys are looked up in a random order of this length, which no branch predictor learns. */
const SEQUENCE = 1 << 16;

const Locks = struct("bench_locks", { lock: spinlock(), rw: rwlock() });
type LocksRef = Ref<"bench_locks">;

/** What the threads of a benchmark share: two maps that are looked at, two that change, locks. */
export interface Shared {
  map: number;
  free: number;
  changingMap: number;
  changingFree: number;
  locks: number;
}

export function makeShared(): Shared {
  const map = new RcuHashMap({ buckets: ENTRIES });
  const free = new RcuLockFreeMap({ buckets: ENTRIES });
  // With room for what comes and goes.
  const changingMap = new RcuHashMap({ buckets: 2 * ENTRIES });
  const changingFree = new RcuLockFreeMap({ buckets: 2 * ENTRIES });
  for (const each of [map, free, changingMap, changingFree])
    for (let n = 0; n < ENTRIES; n++) each.insert(keyOf(n), n + 1);
  return {
    map: map.ref,
    free: free.ref,
    changingMap: changingMap.ref,
    changingFree: changingFree.ref,
    locks: tryAlloc(Locks) as LocksRef,
  };
}

const keyOf = (n: number): number => Math.imul(n, 0x9e3779b1) | 0;

let sink = 0;

export abstract class Peer {
  protected readonly map: RcuHashMap;
  protected readonly locks: LocksRef;
  protected readonly keys: Int32Array;
  constructor(shared: Shared) {
    this.map = new RcuHashMap({ at: shared.map });
    this.locks = shared.locks as LocksRef;
    this.keys = Int32Array.from({ length: SEQUENCE }, () => keyOf(Math.floor(Math.random() * ENTRIES)));
  }
  #next = 0;
  /** Where in the sequence the next n lookups begin. */
  protected position(n: number): number {
    const at = this.#next;
    this.#next = (at + n) & (SEQUENCE - 1);
    return at;
  }
  /** n lookups, of which one in `writes` is an update instead (0: none). */
  abstract run(n: number, writes: number): void;
}

class Rcu extends Peer {
  run(n: number, writes: number): void {
    const { map, keys } = this;
    const at = this.position(n);
    let sum = 0;
    for (let i = 0; i < n; i++) {
      const key = keys[(at + i) & (SEQUENCE - 1)]!;
      if (writes !== 0 && i % writes === 0) map.tryInsert(key, i);
      else {
        const scope = rcuReadLock();
        sum += map.lookup(scope, key);
        rcuReadUnlock();
      }
      if ((i & 63) === 0) {
        rcuQuiescent();
        rcuRunCallbacks();
      }
    }
    sink += sum;
  }
}

class LockFree extends Peer {
  readonly #free: RcuLockFreeMap;
  constructor(shared: Shared) {
    super(shared);
    this.#free = new RcuLockFreeMap({ at: shared.free });
  }
  run(n: number, writes: number): void {
    const { keys } = this;
    const free = this.#free;
    const at = this.position(n);
    let sum = 0;
    for (let i = 0; i < n; i++) {
      const key = keys[(at + i) & (SEQUENCE - 1)]!;
      if (writes !== 0 && i % writes === 0) free.tryInsert(key, i);
      else {
        const scope = rcuReadLock();
        sum += free.lookup(scope, key);
        rcuReadUnlock();
      }
      if ((i & 63) === 0) {
        rcuQuiescent();
        rcuRunCallbacks();
      }
    }
    sink += sum;
  }
}

/** Inserts keys that are not there, and removes them again, in a map that holds ENTRIES others. */
class Changes extends Peer {
  readonly #changing: RcuHashMap;
  readonly #others: Int32Array;
  constructor(shared: Shared) {
    super(shared);
    this.#changing = new RcuHashMap({ at: shared.changingMap });
    this.#others = otherKeys();
  }
  run(n: number): void {
    const map = this.#changing;
    const keys = this.#others;
    const at = this.position(n);
    for (let i = 0; i < n; i++) {
      const key = keys[(at + i) & (SEQUENCE - 1)]!;
      map.tryInsert(key, i);
      map.delete(key);
      if ((i & 63) === 0) {
        rcuQuiescent();
        rcuRunCallbacks();
      }
    }
  }
}
class LockFreeChanges extends Peer {
  readonly #changing: RcuLockFreeMap;
  readonly #others: Int32Array;
  constructor(shared: Shared) {
    super(shared);
    this.#changing = new RcuLockFreeMap({ at: shared.changingFree });
    this.#others = otherKeys();
  }
  run(n: number): void {
    const map = this.#changing;
    const keys = this.#others;
    const at = this.position(n);
    for (let i = 0; i < n; i++) {
      const key = keys[(at + i) & (SEQUENCE - 1)]!;
      map.tryInsert(key, i);
      map.delete(key);
      if ((i & 63) === 0) {
        rcuQuiescent();
        rcuRunCallbacks();
      }
    }
  }
}
const otherKeys = (): Int32Array =>
  Int32Array.from({ length: SEQUENCE }, () => keyOf(ENTRIES + Math.floor(Math.random() * ENTRIES)));

class Mutexed extends Peer {
  run(n: number, writes: number): void {
    const { map, keys, locks } = this;
    const at = this.position(n);
    let sum = 0;
    for (let i = 0; i < n; i++) {
      const key = keys[(at + i) & (SEQUENCE - 1)]!;
      Locks.lock.lock(locks);
      if (writes !== 0 && i % writes === 0) map.tryInsert(key, i);
      else sum += map.lookup(1 as never, key);
      Locks.lock.unlock(locks);
      if ((i & 63) === 0) rcuQuiescent();
    }
    sink += sum;
  }
}

class Rwlocked extends Peer {
  run(n: number, writes: number): void {
    const { map, keys, locks } = this;
    const at = this.position(n);
    let sum = 0;
    for (let i = 0; i < n; i++) {
      const key = keys[(at + i) & (SEQUENCE - 1)]!;
      if (writes !== 0 && i % writes === 0) {
        Locks.rw.writeLock(locks);
        map.tryInsert(key, i);
        Locks.rw.writeUnlock(locks);
      } else {
        Locks.rw.readLock(locks);
        sum += map.lookup(1 as never, key);
        Locks.rw.readUnlock(locks);
      }
      if ((i & 63) === 0) rcuQuiescent();
    }
    sink += sum;
  }
}

/** A private Map in each thread: no sharing at all, so an update stays with the thread that made it. */
class PrivateMap extends Peer {
  readonly #own = new Map<number, number>();
  constructor(shared: Shared) {
    super(shared);
    for (let n = 0; n < ENTRIES; n++) this.#own.set(keyOf(n), n + 1);
  }
  run(n: number, writes: number): void {
    const own = this.#own;
    const { keys } = this;
    const at = this.position(n);
    let sum = 0;
    for (let i = 0; i < n; i++) {
      const key = keys[(at + i) & (SEQUENCE - 1)]!;
      if (writes !== 0 && i % writes === 0) own.set(key, i);
      else sum += own.get(key)!;
    }
    sink += sum;
  }
}

class Scope extends Peer {
  run(n: number): void {
    for (let i = 0; i < n; i++) {
      rcuReadLock();
      rcuReadUnlock();
    }
  }
}

class MutexPair extends Peer {
  run(n: number): void {
    const { locks } = this;
    for (let i = 0; i < n; i++) {
      Locks.lock.lock(locks);
      Locks.lock.unlock(locks);
    }
  }
}

export const PEERS: Record<string, new (shared: Shared) => Peer> = {
  rcu: Rcu,
  "lock-free": LockFree,
  changes: Changes,
  "lock-free changes": LockFreeChanges,
  mutex: Mutexed,
  rwlock: Rwlocked,
  map: PrivateMap,
  scope: Scope,
  "mutex pair": MutexPair,
};

/** Keeps the sums alive. */
export const checksum = (): number => sink;
