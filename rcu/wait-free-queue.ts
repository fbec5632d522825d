/**
 * WaitFreeQueue: any thread puts values in, in two stores and without a loop; those who take values out do so one at a time, under a lock. What is
 * in it can be taken out, or moved to the end of another queue, in one step. It needs no grace period. (liburcu: cds_wfcq, whose documentation
 * describes the algorithm; the exchange of the tail is that of Mellor-Crummey's queue, 1987.)
 *
 *   const inbox = new WaitFreeQueue<string>({ value: text() });
 *   inbox.enqueue("first");
 *   inbox.dequeue(); // "first"
 *
 * Who puts a value in first makes its node the last one, by an exchange, then links it behind the node that was the last. In between the queue is
 * in two pieces, and whoever comes to the gap waits for the link. The two steps stand side by side without a call or a loop between
 * them, where engines end threads, so a thread that is terminated leaves no gap behind. The same goes for all pairs of stores here.
 */
import type { NoOptions, Value } from "./kind.ts";
import { lockFree, lockWord, tryLockWord, unlockWord } from "./lock.ts";
import { INNERMOST } from "./lock-order.ts";
import { i32 } from "./memory.ts";
import { park } from "./park.ts";
import { atomic, fixed, free, spinlock, struct, tryAlloc, words } from "./struct.ts";
import {
  LinkNode,
  type LinkNodeRef,
  type LinkOptions,
  ValueLinks,
  type ValueLinksOptions,
} from "./value-links.ts";

/** The two ends in cache lines of their own. The queue itself is the node before the first. */
const Ends = struct("wait_free_queue", {
  first: atomic(),
  kind: fixed(),
  lock: spinlock(INNERMOST),
  apart: words(14),
  tail: atomic(),
});
const KIND = Ends.kind.offset;
const LOCK = Ends.lock.offset;
const TAIL = Ends.tail.offset;

/** Looks at a link before sleeping: far longer than it takes to write it. */
const SPINS = 100;
/** What a link is while somebody sleeps until it comes. */
const AWAITED = 1;

/** What tryDequeue answers when it would have to wait. */
export const WOULD_BLOCK: unique symbol = Symbol("would block");

/** A queue into which any thread puts values without waiting. Objects that it owns (`own(Struct)`) belong to whoever takes them out. */
export class WaitFreeQueue<V extends Value = number> extends ValueLinks<"wait_free_queue", V> {
  /** Throws HeapFullError. */
  constructor(...none: NoOptions<V>);
  constructor(options: ValueLinksOptions<V>);
  constructor(options: LinkOptions<V> = {}) {
    super(Ends, KIND, "WaitFreeQueue", options, create);
  }

  /** Puts a value in at the end; whether something was in before. Throws HeapFullError, WrongTypeError: nothing was changed then. */
  enqueue(value: V): boolean {
    return this.append(this.make(value));
  }
  /** The same; false when the heap is full. */
  tryEnqueue(value: V): boolean {
    return this.tryAdd(value);
  }
  protected override append(node: number): boolean {
    const tail = this.ref + TAIL;
    const last = Atomics.exchange(i32, tail, node);
    const awaited = Atomics.exchange(i32, last, node);
    if (awaited !== 0) Atomics.notify(i32, last);
    return last !== this.ref;
  }

  /** Takes the oldest value out; undefined when there is none. Waits for others who do so, and for the link of a value that is just coming. */
  dequeue(): V | undefined {
    this.#lock();
    let node: number;
    try {
      node = this.#takeFirst(true);
    } finally {
      unlockWord(this.ref + LOCK);
    }
    return node === 0 ? undefined : this.#release(node);
  }
  /** The same without waiting: WOULD_BLOCK instead. */
  tryDequeue(): V | undefined | typeof WOULD_BLOCK {
    this.assertHeap();
    lockFree();
    if (!tryLockWord(this.ref + LOCK)) return WOULD_BLOCK;
    let node: number;
    try {
      node = this.#takeFirst(false);
    } finally {
      unlockWord(this.ref + LOCK);
    }
    return node < 0 ? WOULD_BLOCK : node === 0 ? undefined : this.#release(node);
  }
  /** Takes all values out in one step, the oldest first. */
  dequeueAll(): V[] {
    this.#lock();
    let first = 0;
    let last = 0;
    try {
      first = this.#first(true);
      if (first !== 0) {
        Atomics.store(i32, this.ref, 0);
        last = Atomics.exchange(i32, this.ref + TAIL, this.ref);
      }
    } finally {
      unlockWord(this.ref + LOCK);
    }
    const values: V[] = [];
    for (let node = first; node !== 0; ) {
      const next = node === last ? 0 : this.#linked(node);
      values.push(this.#release(node));
      node = next;
    }
    return values;
  }
  /** Moves all that is in another queue of the same kind to the end of this one, in one step; whether there was anything. Throws WrongTypeError. */
  splice(from: WaitFreeQueue<V>): boolean {
    this.assertHeap();
    this.assertSame(from);
    from.#lock();
    try {
      const first = from.#first(true);
      if (first === 0) return false;
      const theirs = from.ref;
      const ours = this.ref + TAIL;
      Atomics.store(i32, theirs, 0);
      const last = Atomics.exchange(i32, theirs + TAIL, theirs);
      const before = Atomics.exchange(i32, ours, last);
      const awaited = Atomics.exchange(i32, before, first);
      if (awaited !== 0) Atomics.notify(i32, before);
      return true;
    } finally {
      unlockWord(from.ref + LOCK);
    }
  }

  #lock(): void {
    this.assertHeap();
    lockFree();
    lockWord(this.ref + LOCK);
  }

  /** The first node, 0 when there is none, -1 when its link is not there yet and this may not wait for it. The lock is held. */
  #first(waits: boolean): number {
    const first = Atomics.load(i32, this.ref);
    if (first > AWAITED) return first;
    if (Atomics.load(i32, this.ref + TAIL) === this.ref) return 0;
    return waits ? this.#linked(this.ref) : -1;
  }
  #takeFirst(waits: boolean): number {
    const node = this.#first(waits);
    if (node <= 0) return node;
    let next = Atomics.load(i32, node);
    if (next <= AWAITED) {
      Atomics.store(i32, this.ref, 0);
      if (Atomics.compareExchange(i32, this.ref + TAIL, node, this.ref) === node) return node;
      Atomics.store(i32, this.ref, node);
      if (!waits) return -1;
      next = this.#linked(node);
    }
    Atomics.store(i32, this.ref, next);
    return node;
  }

  /** The node behind one that is not the last: its link is there, or is just coming. */
  #linked(node: number): number {
    for (let spin = 0; spin < SPINS; spin++) {
      const next = Atomics.load(i32, node);
      if (next > AWAITED) return next;
    }
    for (;;) {
      const next = Atomics.compareExchange(i32, node, 0, AWAITED);
      if (next > AWAITED) return next;
      park(i32, node, AWAITED);
    }
  }

  /** A node that was taken out: no other thread knows it. */
  #release(node: number): V {
    const value = this.taken(node);
    free(LinkNode, node as LinkNodeRef);
    return value;
  }

  /** Whether nothing is in it; a racy look. */
  isEmpty(): boolean {
    this.assertHeap();
    return i32[this.ref + TAIL] === this.ref;
  }

  /** Frees it and what is in it. No thread may use it any more. */
  destroy(): void {
    this.assertHeap();
    this.dropNodes(i32[this.ref]!);
    free(Ends, this.ref);
    this.destroyed();
  }
}

function create(): ReturnType<typeof tryAlloc<"wait_free_queue">> {
  const ends = tryAlloc(Ends);
  if (ends !== 0) Ends.tail.init(ends, ends);
  return ends;
}
