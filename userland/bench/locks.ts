/**
 * What protects a table during a benchmark. `rcu` is the table as the kernel has it; each of the others puts the same
 * table, same code, behind one lock: readers enter and leave around a lookup, writers around an update.
 */
import { atomic, type Ref, rwlock, spinlock, struct, tryAlloc, words } from "../../rcu/index.ts";
import { type WasmLocks, wasmLocks } from "./wasm-locks.ts";

export const PROTOCOLS = [
  "rcu",
  "rcu-strict",
  "mutex",
  "rwlock",
  "seqlock",
  "percpu-mutex",
  "wasm-mutex",
  "wasm-rwlock",
] as const;
export type Protocol = (typeof PROTOCOLS)[number];

/** Every lock on lines of its own. */
const BenchLocks = struct("bench_locks", {
  before: words(32),
  mutex: spinlock(),
  afterMutex: words(31),
  rwlock: rwlock(),
  afterRwlock: words(30),
  seqLock: spinlock(),
  /** Odd while a writer is at work. */
  sequence: atomic(),
  after: words(30),
});
type Locks = Ref<"bench_locks">;

/** What threads need to use the same locks. */
export interface LockSet {
  readonly locks: number;
  /** One for each thread: percpu-mutex. */
  readonly perThread: readonly number[];
  readonly wasm: WebAssembly.Memory;
}

export function createLocks(threads: number): LockSet {
  const make = (): Locks => {
    const locks = tryAlloc(BenchLocks);
    if (locks === 0) throw new Error("the benchmark's heap is too small");
    return locks;
  };
  return {
    locks: make(),
    perThread: Array.from({ length: threads }, make),
    wasm: new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true }),
  };
}

/** How one thread enters and leaves. `retry`: an optimistic reader; what it read counts if retry(begin()) is false. */
export interface Guard {
  readonly enterRead: (() => void) | null;
  readonly exitRead: (() => void) | null;
  readonly begin: (() => number) | null;
  readonly retry: ((seen: number) => boolean) | null;
  readonly enterWrite: (() => void) | null;
  readonly exitWrite: (() => void) | null;
}

const none: Guard = {
  enterRead: null,
  exitRead: null,
  begin: null,
  retry: null,
  enterWrite: null,
  exitWrite: null,
};

export function guardOf(protocol: Protocol, set: LockSet, thread: number): Guard {
  const locks = set.locks as Locks;
  switch (protocol) {
    case "rcu":
    case "rcu-strict":
      return none;
    case "mutex": {
      const enter = () => void BenchLocks.mutex.lock(locks);
      const exit = () => BenchLocks.mutex.unlock(locks);
      return { ...none, enterRead: enter, exitRead: exit, enterWrite: enter, exitWrite: exit };
    }
    case "rwlock":
      return {
        ...none,
        enterRead: () => void BenchLocks.rwlock.readLock(locks),
        exitRead: () => BenchLocks.rwlock.readUnlock(locks),
        enterWrite: () => void BenchLocks.rwlock.writeLock(locks),
        exitWrite: () => BenchLocks.rwlock.writeUnlock(locks),
      };
    case "seqlock":
      return {
        ...none,
        begin: () => {
          for (;;) {
            const seen = BenchLocks.sequence.load(locks);
            if ((seen & 1) === 0) return seen;
          }
        },
        retry: (seen) => BenchLocks.sequence.load(locks) !== seen,
        enterWrite: () => {
          BenchLocks.seqLock.lock(locks);
          BenchLocks.sequence.add(locks, 1);
        },
        exitWrite: () => {
          BenchLocks.sequence.add(locks, 1);
          BenchLocks.seqLock.unlock(locks);
        },
      };
    case "percpu-mutex": {
      const all = set.perThread as Locks[];
      const own = all[thread]!;
      return {
        ...none,
        enterRead: () => void BenchLocks.mutex.lock(own),
        exitRead: () => BenchLocks.mutex.unlock(own),
        enterWrite: () => {
          for (let n = 0; n < all.length; n++) BenchLocks.mutex.lock(all[n]!);
        },
        exitWrite: () => {
          for (let n = all.length - 1; n >= 0; n--) BenchLocks.mutex.unlock(all[n]!);
        },
      };
    }
    case "wasm-mutex": {
      const { lock, unlock } = openWasm(set);
      return { ...none, enterRead: lock, exitRead: unlock, enterWrite: lock, exitWrite: unlock };
    }
    case "wasm-rwlock": {
      const { readLock, readUnlock, writeLock, writeUnlock } = openWasm(set);
      return {
        ...none,
        enterRead: readLock,
        exitRead: readUnlock,
        enterWrite: writeLock,
        exitWrite: writeUnlock,
      };
    }
  }
}

let opened: { memory: WebAssembly.Memory; locks: WasmLocks } | null = null;
function openWasm(set: LockSet): WasmLocks {
  if (opened === null || opened.memory !== set.wasm)
    opened = { memory: set.wasm, locks: wasmLocks(set.wasm) };
  return opened.locks;
}
