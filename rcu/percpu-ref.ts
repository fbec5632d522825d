/**
 * PercpuRef: a reference count that many threads take and drop all the time, and that ends once. While it lives each thread counts in
 * a word of its own, without atomic operations; nobody knows the sum, and nobody needs to. Once killed it is one atomic count, whose
 * last drop releases what it guards. (Linux: percpu_ref, include/linux/percpu-refcount.h.)
 *
 * The switch takes a grace period: when that is over every thread has seen that the words are not used any more, and all that was counted
 * in them is seen here. Until then the atomic count holds BIAS, so that it cannot reach zero before the words are added to it.
 */
import { freeArray, tryAllocArray } from "./array.ts";
import { callRcu, enqueueHead, kfreeArrayRcu, kfreeRcu, makeHead, withRoom } from "./callback.ts";
import { type At, Collection, checkObject, isAt } from "./collection.ts";
import { HeapFullError, RcuUsageError } from "./error.ts";
import * as layout from "./layout.ts";
import { INNERMOST } from "./lock-order.ts";
import { heapIdentity, i32, slot } from "./memory.ts";
import { defineReclaimer, RcuHead, type Reclaimer } from "./reclaim.ts";
import type { Ref } from "./ref.ts";
import { rcuNesting } from "./scope.ts";
import { atomic, fixed, free, spinlock, struct, tryAlloc } from "./struct.ts";

const { ARRAY_ELEMENTS, MAX_SLOTS, RCU } = layout;

const Counts = struct("percpu_ref", {
  /** A word for each slot, a cache line apart: its thread's alone, and no more once the mode says so. */
  counts: fixed<Ref<"array">>(),
  mode: atomic(),
  /** All that is not in the words, and BIAS while they count. */
  count: atomic(),
  /** The callback of the release, made beforehand: the last drop must not need memory. 0 once it is queued. */
  release: atomic(),
  /** What reinit makes another one of. */
  reclaimer: fixed(),
  arg: fixed(),
  /** kill and reinit. */
  lock: spinlock(INNERMOST),
});
type CountsRef = Ref<"percpu_ref">;

const MODE = Counts.mode.offset;
const PERCPU = 0;
/** Killed, the words may still be in use. */
const DYING = 1;
/** Killed, and the words have been added up. */
const DEAD = 2;
const STRIDE = 16;
const BIAS = 0x4000_0000;

const countsOf = (ref: CountsRef): number => Counts.counts.get(ref) + ARRAY_ELEMENTS;

/** A count of its own for each thread, until it is killed. Takes 4 KiB of the heap. */
export class PercpuRef extends Collection<"percpu_ref"> {
  readonly #counts: number;

  /**
   * Makes it, with one count, which kill() drops: `reclaimer` runs with `arg` a grace period after the last count is dropped, at a
   * safe point of some thread. Or opens the one at `at`. Throws HeapFullError; StaleReferenceError when `at` names nothing.
   */
  constructor(init: { reclaimer: Reclaimer; arg: number } | At) {
    super(Counts, isAt(init) ? checkObject(Counts, init.at, "PercpuRef") : create(init.reclaimer, init.arg));
    this.#counts = countsOf(this.ref);
  }

  /** Takes a count: by who holds one, or knows that it was not killed. (percpu_ref_get.) */
  get(): void {
    if (this.checked || this.heapId !== heapIdentity) this.assertHeap();
    // No grace period ends between the look and the count; an idle thread, for which none waits, counts atomically.
    if (i32[this.ref + MODE] === PERCPU && rcuNesting() >= 0) i32[this.#counts + slot * STRIDE]!++;
    else Counts.count.add(this.ref, 1);
  }

  /** Takes a count unless the last one was dropped; in a read scope, or with what else keeps it allocated. (percpu_ref_tryget.) */
  tryGet(): boolean {
    if (this.checked || this.heapId !== heapIdentity) this.assertHeap();
    if (i32[this.ref + MODE] !== PERCPU || rcuNesting() < 0) return Counts.count.incNotZero(this.ref);
    i32[this.#counts + slot * STRIDE]!++;
    return true;
  }

  /** The same, unless it was killed: for what shall not begin any more. (percpu_ref_tryget_live.) */
  tryGetLive(): boolean {
    this.assertHeap();
    return Counts.mode.load(this.ref) === PERCPU && this.tryGet();
  }

  /** Drops a count, on whatever thread. (percpu_ref_put.) */
  put(): void {
    if (this.checked || this.heapId !== heapIdentity) this.assertHeap();
    if (i32[this.ref + MODE] === PERCPU && rcuNesting() >= 0) i32[this.#counts + slot * STRIDE]!--;
    else if (Counts.count.decAndTest(this.ref)) released(this.ref);
  }

  /**
   * Drops the first count and lets the others run out: tryGetLive fails from here on, everywhere a grace period later. Does not wait.
   * Throws RcuUsageError when it was killed before. (percpu_ref_kill.)
   */
  kill(): void {
    this.assertHeap();
    Counts.lock.lock(this.ref);
    const alive = Counts.mode.cas(this.ref, PERCPU, DYING); // [A]
    Counts.lock.unlock(this.ref);
    if (!alive) throw new RcuUsageError("ERR_RCU_IN_USE", "PercpuRef.kill: it was killed already");
    callRcu(sumUp, this.ref);
  }

  /** Whether kill() was called. (percpu_ref_is_dying.) */
  get dying(): boolean {
    this.assertHeap();
    return Counts.mode.load(this.ref) !== PERCPU;
  }

  /** Whether the last count was dropped: known only once it was killed. (percpu_ref_is_zero.) */
  get isZero(): boolean {
    this.assertHeap();
    return Counts.mode.load(this.ref) === DEAD && Counts.count.load(this.ref) === 0;
  }

  /** Begins anew with one count, when the last one was dropped. Throws RcuUsageError before that, HeapFullError. (percpu_ref_reinit.) */
  reinit(): void {
    this.#assertZero("reinit");
    const head = makeHead({ hash: Counts.reclaimer.get(this.ref) }, Counts.arg.get(this.ref));
    if (head === 0) throw new HeapFullError("PercpuRef.reinit");
    Counts.lock.lock(this.ref);
    for (let of = 0; of < MAX_SLOTS; of++) i32[this.#counts + of * STRIDE] = 0;
    Counts.release.store(this.ref, head);
    Counts.count.store(this.ref, BIAS + 1);
    Counts.mode.store(this.ref, PERCPU); // Who sees this sees the words empty.
    Counts.lock.unlock(this.ref);
  }

  /** Frees it, after a grace period. Throws RcuUsageError when counts are left. (percpu_ref_exit.) */
  destroy(): void {
    this.assertHeap();
    this.#assertZero("destroy");
    kfreeArrayRcu(Counts.counts.get(this.ref));
    kfreeRcu(Counts, this.ref);
    this.destroyed();
  }

  #assertZero(what: string): void {
    if (this.isZero) return;
    const why = this.dying ? "counts are left, or a grace period is to come" : "it is alive: kill() first";
    throw new RcuUsageError("ERR_RCU_IN_USE", `PercpuRef.${what}: ${why}`);
  }
}

/** Every thread has seen that it is dying: what they counted is added up, and the first count dropped. */
const sumUp = defineReclaimer("rcu: percpu_ref", (arg) => {
  const ref = arg as CountsRef;
  const counts = countsOf(ref);
  const high = Atomics.load(i32, RCU.SLOT_HIGH);
  let sum = 0;
  for (let of = 0; of < high; of++) sum += i32[counts + of * STRIDE]!;
  Counts.mode.store(ref, DEAD);
  const change = (sum - BIAS - 1) | 0;
  if (((Counts.count.add(ref, change) + change) | 0) === 0) released(ref);
});

/** The last count was dropped. */
function released(ref: CountsRef): void {
  enqueueHead(Counts.release.exchange(ref, 0));
}

function create(reclaimer: Reclaimer, arg: number): CountsRef {
  const counts = withRoom(() => tryAllocArray(MAX_SLOTS * STRIDE));
  const head = counts === 0 ? 0 : makeHead(reclaimer, arg);
  const ref = head === 0 ? 0 : tryAlloc(Counts);
  if (counts === 0 || head === 0 || ref === 0) {
    if (counts !== 0) freeArray(counts);
    if (head !== 0) free(RcuHead, head);
    throw new HeapFullError("new PercpuRef");
  }
  Counts.counts.init(ref, counts);
  Counts.count.init(ref, BIAS + 1);
  Counts.release.init(ref, head);
  Counts.reclaimer.init(ref, reclaimer.hash);
  Counts.arg.init(ref, arg);
  return ref;
}
