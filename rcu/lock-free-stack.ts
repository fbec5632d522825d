/**
 * RcuLockFreeStack: any thread pushes and pops, and nobody waits (Treiber, "Systems Programming: Coping with Parallelism", 1986). A popper works in a
 * read scope, and nodes are freed after a grace period, so the compare-and-swap of one that was delayed finds no node that went and came
 * back. (liburcu: cds_lfs.)
 *
 *   const free = new RcuLockFreeStack<string>({ value: text() });
 *   free.push("last in");
 *   free.pop(); // "last in"
 */
import { kfreeCellRcu } from "./callback.ts";
import type { NoOptions, Value } from "./kind.ts";
import { derefWord, i32 } from "./memory.ts";
import type { RcuScope } from "./ref.ts";
import { atomic, fixed, free, struct, tryAlloc } from "./struct.ts";
import { beginUpdate, endUpdate } from "./update-scope.ts";
import { type LinkOptions, ValueLinks, type ValueLinksOptions } from "./value-links.ts";
import { type RcuWalk, walkLinks } from "./walk.ts";

const deref = derefWord; // V8 folds a constant of this module, not an imported one.

const Head = struct("rcu_lock_free_stack", { top: atomic(), kind: fixed() });
const KIND = Head.kind.offset;

/** A stack without a lock. Objects that it owns (`own(Struct)`) belong to whoever pops them. */
export class RcuLockFreeStack<V extends Value = number> extends ValueLinks<"rcu_lock_free_stack", V> {
  /** Throws HeapFullError. */
  constructor(...none: NoOptions<V>);
  constructor(options: ValueLinksOptions<V>);
  constructor(options: LinkOptions<V> = {}) {
    super(Head, KIND, "RcuLockFreeStack", options, () => tryAlloc(Head));
  }

  /** Puts a value on it. Throws HeapFullError, WrongTypeError: nothing was changed then. */
  push(value: V): void {
    this.append(this.make(value));
  }
  /** The same; false when the heap is full. */
  tryPush(value: V): boolean {
    return this.tryAdd(value);
  }
  protected override append(node: number): void {
    for (let top = i32[this.ref]!; ; ) {
      i32[node] = top;
      const seen = Atomics.compareExchange(i32, this.ref, top, node);
      if (seen === top) return;
      top = seen;
    }
  }

  /** Takes the value that was pushed last; undefined when there is none. */
  pop(): V | undefined {
    this.assertHeap();
    const idle = beginUpdate();
    try {
      for (let top = Atomics.load(i32, this.ref); top !== 0; ) {
        const seen = Atomics.compareExchange(i32, this.ref, top, i32[top]!); // [A]
        if (seen === top) {
          const value = this.taken(top);
          kfreeCellRcu(top); // [B] inside
          return value;
        }
        top = seen;
      }
      return undefined;
    } finally {
      endUpdate(idle);
    }
  }
  /** Takes all values in one step: those that were pushed last come first. */
  popAll(): V[] {
    this.assertHeap();
    const values: V[] = [];
    const idle = beginUpdate();
    try {
      let next = 0;
      for (let node = Atomics.exchange(i32, this.ref, 0); node !== 0; node = next) {
        next = i32[node]!; // Read first.
        values.push(this.taken(node));
        kfreeCellRcu(node);
      }
    } finally {
      endUpdate(idle);
    }
    return values;
  }

  /** Whether nothing is on it; a racy look. */
  isEmpty(): boolean {
    this.assertHeap();
    return i32[this.ref] === 0;
  }
  /** Iterates over the values, the last one first, as they were when the loop began. */
  values(scope: RcuScope): RcuWalk<V> {
    this.beforeRead();
    return walkLinks<number, V>(
      scope,
      () => deref(this.ref),
      (node) => deref(node),
      (node) => this.lookAt(node),
    );
  }

  /** Frees it and what is on it. No thread may use it any more. */
  destroy(): void {
    this.assertHeap();
    this.dropNodes(i32[this.ref]!);
    free(Head, this.ref);
    this.destroyed();
  }
}
