/**
 * PercpuRwSemaphore: a reader-writer lock for state that is hardly ever written, whose readers may sleep. While nobody writes a reader
 * counts itself in a word of its own thread, without atomic operations; a writer waits for a grace period first, and for the readers
 * then. (Linux: percpu_rw_semaphore, include/linux/percpu-rwsem.h.)
 *
 * The short way is RcuSync's: between the look at its state and the count lies no quiescent state, so when the grace period is over, every
 * count of the short way is seen, and every thread goes the long way: it counts itself atomically, then looks for a writer, and
 * gives way if there is one. The writer has said that it is there before, and looks at the counts after: one of the two sees the other.
 * An idle thread always goes the long way, since no grace period waits for it.
 */
import { allocArray } from "./alloc.ts";
import { freeArray } from "./array.ts";
import { withRoom } from "./callback.ts";
import { type At, Collection, checkObject, isAt } from "./collection.ts";
import { HeapFullError, RcuUsageError } from "./error.ts";
import { goActive, goIdle } from "./grace-period.ts";
import * as layout from "./layout.ts";
import { noticeGone } from "./liveness.ts";
import { ownerIsDead, ownerSlot } from "./lock.ts";
import { heapIdentity, i32, ownerId, slot } from "./memory.ts";
import type { Ref } from "./ref.ts";
import { rcuNesting } from "./scope.ts";
import { cellIsAlive } from "./slab.ts";
import { atomic, fixed, free, mutex, struct, tryAlloc } from "./struct.ts";
import { RcuSync, SYNC_IDLE, SYNC_STATE } from "./sync.ts";
import { assertMayWait, newRounds } from "./synchronize.ts";

const { ARRAY_ELEMENTS, MAX_SLOTS, RCU } = layout;

const Sem = struct("percpu_rwsem", {
  /** For each slot, a cache line apart: scopes that its thread has open, and who that thread is. */
  counts: fixed<Ref<"array">>(),
  sync: fixed<Ref<"rcu_sync">>(),
  /** Writers, one at a time. */
  lock: mutex(),
  /** The writer that is in, or waits for the readers: readers wait for it to be 0. */
  writer: atomic(),
  /** Moves when a reader leaves while there is a writer. */
  event: atomic(),
});
type SemRef = Ref<"percpu_rwsem">;

const STRIDE = 16;
/** Of a slot's words: the thread whose count it is. */
const OWNER = 1;
const STATE = SYNC_STATE; // V8 folds a constant of this module, not an imported one.
const IDLE = SYNC_IDLE;
const alive = cellIsAlive;

/** The word of slot 0. In the stride before it the owner is no thread: where one would look that has no slot. */
const countsOf = (ref: SemRef): number => Sem.counts.get(ref) + ARRAY_ELEMENTS + STRIDE;

/** A reader-writer lock for what is hardly ever written: readers may sleep, and do no atomic operation while nobody writes. Takes 16 KiB of the heap. */
export class PercpuRwSemaphore extends Collection<"percpu_rwsem"> {
  readonly #counts: number;
  readonly #state: number;
  readonly #sync: RcuSync;

  /** Makes it, or opens the one at `at`. Throws HeapFullError; StaleReferenceError when `at` names nothing. */
  constructor(init?: At) {
    super(Sem, isAt(init) ? checkObject(Sem, init.at, "PercpuRwSemaphore") : create());
    this.#counts = countsOf(this.ref);
    this.#sync = new RcuSync({ at: Sem.sync.get(this.ref) });
    this.#state = this.#sync.ref + STATE;
  }

  /**
   * Enters as a reader, when no writer is in or waits. Given back on the same thread, by readUnlock, after an await too. Nests. Must it wait, it
   * throws as synchronizeRcu does inside a scope, a callback, or with a lock held. (percpu_down_read.)
   */
  readLock(): void {
    if (this.checked || this.heapId !== heapIdentity) this.assertHeap();
    const word = this.#counts + slot * STRIDE;
    if (i32[this.#state] === IDLE && rcuNesting() >= 0 && i32[word + OWNER] === ownerId && alive(this.ref))
      i32[word]!++;
    else this.#enter(word, true);
  }

  /** The same, unless it would have to wait: whether it is in. (percpu_down_read_trylock.) */
  tryReadLock(): boolean {
    if (this.checked || this.heapId !== heapIdentity) this.assertHeap();
    const word = this.#counts + slot * STRIDE;
    if (i32[this.#state] !== IDLE || rcuNesting() < 0 || i32[word + OWNER] !== ownerId)
      return this.#enter(word, false);
    i32[word]!++;
    return true;
  }

  /** The long way in. */
  #enter(word: number, wait: boolean): boolean {
    this.assertHeap();
    if (slot < 0)
      throw new RcuUsageError(
        "ERR_RCU_NOT_ATTACHED",
        "PercpuRwSemaphore.readLock: this thread is not attached",
      );
    if (i32[word + OWNER] !== ownerId) {
      Atomics.store(i32, word, 0); // What the slot's last thread had open ended with it.
      Atomics.store(i32, word + OWNER, ownerId);
    }
    for (;;) {
      const open = Atomics.add(i32, word, 1);
      const writer = Sem.writer.load(this.ref); // [P]
      if (writer === 0 || open > 0) return true; // In it already: no writer is.
      this.#leave(word);
      if (!wait) return false;
      this.#awaitWriter(writer);
    }
  }

  #leave(word: number): void {
    Atomics.sub(i32, word, 1);
    if (Sem.writer.load(this.ref) === 0) return;
    Sem.event.add(this.ref, 1);
    Sem.event.notify(this.ref);
  }

  #awaitWriter(writer: number): void {
    assertMayWait("PercpuRwSemaphore.readLock");
    const rounds = newRounds();
    asleep(() => rounds.sleep(this.ref + Sem.writer.offset, writer));
    if (!ownerIsDead(writer) && !noticeGone(ownerSlot(writer))) return;
    // It died: what it wrote may be half-changed, as with every lock. Readers stay on the long way.
    if (Sem.writer.cas(this.ref, writer, 0)) Sem.writer.notify(this.ref);
  }

  /** Leaves as a reader. Throws RcuUsageError when this thread is not in. (percpu_up_read.) */
  readUnlock(): void {
    if (this.checked || this.heapId !== heapIdentity) this.assertHeap();
    const word = this.#counts + slot * STRIDE;
    if (i32[word + OWNER] !== ownerId || i32[word]! <= 0) this.#notIn("readUnlock");
    if (i32[this.#state] === IDLE && rcuNesting() >= 0) i32[word]!--;
    else this.#leave(word);
  }

  #notIn(what: string): never {
    this.assertHeap();
    throw new RcuUsageError("ERR_RCU_LOCK_PAIRING", `PercpuRwSemaphore.${what}: this thread is not in`);
  }

  /**
   * Enters as the only writer: when it returns, all readers have left, and later ones wait. Waits for a grace period. Throws as
   * synchronizeRcu does, and RcuUsageError when this thread is in as a reader. (percpu_down_write.)
   */
  writeLock(): void {
    this.assertHeap();
    assertMayWait("PercpuRwSemaphore.writeLock");
    const word = this.#counts + slot * STRIDE;
    if (i32[word + OWNER] === ownerId && i32[word]! > 0)
      throw new RcuUsageError(
        "ERR_RCU_WAITS_FOR_ITSELF",
        "PercpuRwSemaphore.writeLock: this thread is in as a reader",
      );
    Sem.lock.lock(this.ref);
    Sem.writer.store(this.ref, ownerId);
    this.#sync.enter(); // From here on every reader goes the long way.
    const rounds = newRounds();
    for (let event = Sem.event.load(this.ref); this.#readers(rounds.due()); event = Sem.event.load(this.ref))
      asleep(() => rounds.sleep(this.ref + Sem.event.offset, event));
  }

  /** Whether a reader is in, of a thread that lives. `look` at whether it does. */
  #readers(look: boolean): boolean {
    const high = Atomics.load(i32, RCU.SLOT_HIGH);
    for (let of = 0; of < high; of++) {
      const word = this.#counts + of * STRIDE;
      if (Atomics.load(i32, word) === 0) continue;
      const owner = Atomics.load(i32, word + OWNER);
      if (!ownerIsDead(owner) && !(look && noticeGone(ownerSlot(owner)))) return true;
    }
    return false;
  }

  /** Leaves as the writer. Readers go the short way again a grace period later. Throws RcuUsageError when it is not in. (percpu_up_write.) */
  writeUnlock(): void {
    this.assertHeap();
    if (!Sem.writer.cas(this.ref, ownerId, 0)) this.#notIn("writeUnlock");
    Sem.writer.notify(this.ref);
    this.#sync.exit();
    Sem.lock.unlock(this.ref);
  }

  /** Frees it, after a grace period. Throws RcuUsageError when somebody is in, or has just written: rcuBarrier() comes first. */
  destroy(): void {
    this.assertHeap();
    if (this.#readers(true))
      throw new RcuUsageError("ERR_RCU_IN_USE", "PercpuRwSemaphore.destroy: readers are in");
    this.#sync.destroy();
    freeArray(Sem.counts.get(this.ref));
    free(Sem, this.ref);
    this.destroyed();
  }
}

/** Does what sleeps, for which no grace period waits for this thread. */
function asleep(sleep: () => void): void {
  const active = rcuNesting() === 0;
  if (active) goIdle();
  try {
    sleep();
  } finally {
    if (active) goActive();
  }
}

function create(): SemRef {
  const counts = allocArray((MAX_SLOTS + 1) * STRIDE);
  i32[counts + ARRAY_ELEMENTS + OWNER] = -1;
  let sync: RcuSync | null = null;
  try {
    sync = new RcuSync();
    const ref = withRoom(() => tryAlloc(Sem));
    if (ref === 0) throw new HeapFullError("new PercpuRwSemaphore");
    Sem.counts.init(ref, counts);
    Sem.sync.init(ref, sync.ref);
    return ref;
  } catch (error) {
    freeArray(counts);
    sync?.destroy();
    throw error;
  }
}
