/**
 * RcuLockFreeQueue: any thread puts values in at the end and takes them out at the front, and nobody waits (Michael and Scott, "Simple, Fast, and
 * Practical Non-Blocking and Blocking Concurrent Queue Algorithms", 1996). Its first node is a dummy whose value has been taken out. Every
 * update works in a read scope, and nodes are freed after a grace period. (liburcu: cds_lfq.)
 *
 *   const jobs = new RcuLockFreeQueue<string>({ value: text() });
 *   jobs.enqueue("first");
 *   jobs.dequeue(); // "first"
 */
import { kfreeCellRcu } from "./callback.ts";
import type { NoOptions, Value } from "./kind.ts";
import { derefWord, i32 } from "./memory.ts";
import type { RcuScope } from "./ref.ts";
import { atomic, fixed, free, struct, tryAlloc, words } from "./struct.ts";
import { beginUpdate, endUpdate } from "./update-scope.ts";
import {
  LinkNode,
  type LinkNodeRef,
  type LinkOptions,
  ValueLinks,
  type ValueLinksOptions,
} from "./value-links.ts";
import { type RcuWalk, walkLinks } from "./walk.ts";

const deref = derefWord; // V8 folds a constant of this module, not an imported one.

/** The two ends in cache lines of their own. */
const Ends = struct("rcu_lock_free_queue", {
  head: atomic(),
  kind: fixed(),
  apart: words(14),
  tail: atomic(),
});
const KIND = Ends.kind.offset;
const TAIL = Ends.tail.offset;

/** A queue without a lock. Objects that it owns (`own(Struct)`) belong to whoever takes them out. */
export class RcuLockFreeQueue<V extends Value = number> extends ValueLinks<"rcu_lock_free_queue", V> {
  /** Throws HeapFullError. */
  constructor(...none: NoOptions<V>);
  constructor(options: ValueLinksOptions<V>);
  constructor(options: LinkOptions<V> = {}) {
    super(Ends, KIND, "RcuLockFreeQueue", options, create);
  }

  /** Puts a value in at the end. Throws HeapFullError, WrongTypeError: nothing was changed then. */
  enqueue(value: V): void {
    this.append(this.make(value));
  }
  /** The same; false when the heap is full. */
  tryEnqueue(value: V): boolean {
    return this.tryAdd(value);
  }
  protected override append(node: number): void {
    const tail = this.ref + TAIL;
    const idle = beginUpdate();
    for (;;) {
      const last = Atomics.load(i32, tail);
      const next = Atomics.compareExchange(i32, last, 0, node);
      // Whoever finds the end behind its last node moves it on: who linked that may be stopped, or have died.
      Atomics.compareExchange(i32, tail, last, next === 0 ? node : next);
      if (next === 0) break;
    }
    endUpdate(idle);
  }

  /** Takes the oldest value out; undefined when there is none. */
  dequeue(): V | undefined {
    this.assertHeap();
    const idle = beginUpdate();
    try {
      for (;;) {
        const first = Atomics.load(i32, this.ref);
        const tail = Atomics.load(i32, this.ref + TAIL); // After the head: it is not behind that then.
        const next = deref(first);
        if (next === 0) return undefined;
        if (first === tail) {
          Atomics.compareExchange(i32, this.ref + TAIL, tail, next); // Nobody may find the end at a node that is gone.
          continue;
        }
        if (Atomics.compareExchange(i32, this.ref, first, next) !== first) continue; // [A]
        const value = this.taken(next); // It is the dummy now.
        kfreeCellRcu(first); // [B] inside
        return value;
      }
    } finally {
      endUpdate(idle);
    }
  }

  /** Whether nothing is in it; a racy look. */
  isEmpty(): boolean {
    this.assertHeap();
    const idle = beginUpdate();
    const empty = deref(deref(this.ref)) === 0;
    endUpdate(idle);
    return empty;
  }
  /** Iterates over the values, the oldest first: those that are taken out meanwhile may be seen or not. */
  values(scope: RcuScope): RcuWalk<V> {
    this.beforeRead();
    return walkLinks<number, V>(
      scope,
      () => deref(deref(this.ref)),
      (node) => deref(node),
      (node) => this.lookAt(node),
    );
  }

  /** Frees it and what is in it. No thread may use it any more. */
  destroy(): void {
    this.assertHeap();
    const dummy = i32[this.ref]!;
    this.dropNodes(i32[dummy]!);
    free(LinkNode, dummy as LinkNodeRef);
    free(Ends, this.ref);
    this.destroyed();
  }
}

function create(): ReturnType<typeof tryAlloc<"rcu_lock_free_queue">> {
  const ends = tryAlloc(Ends);
  const dummy = ends === 0 ? 0 : tryAlloc(LinkNode);
  if (ends === 0) return 0;
  if (dummy === 0) {
    free(Ends, ends);
    return 0;
  }
  Ends.head.init(ends, dummy);
  Ends.tail.init(ends, dummy);
  return ends;
}
