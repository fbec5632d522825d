/**
 * Reference counts that begin inside a read scope and outlive it. An Arc names a counted object; RcuArc is a shared
 * cell that owns one count of the Arc in it; RcuOptionArc may be empty; weak counts keep the name, not the object.
 *
 * When the last strong count goes, the object's memory is freed a grace period later, since readers in a scope may
 * look at it without a count.
 */

import { callRcu, kfreeCellRcu, kfreeRcu, withRoom } from "./callback.ts";
import { type At, Collection, checkObject, isAt } from "./collection.ts";
import { HeapFullError } from "./error.ts";
import type { Atomic } from "./fields.ts";
import { derefWord } from "./memory.ts";
import { defineReclaimer } from "./reclaim.ts";
import type { RcuScope, Ref } from "./ref.ts";
import { atomic, fixed, type StructType, struct, tryAlloc } from "./struct.ts";

const deref = derefWord; // V8 folds a constant of this module, not an imported one.

const Counts = struct("rcu_arc", {
  value: fixed(),
  strong: atomic(),
  /** Weak counts, plus 1 for all the strong ones. */
  weak: atomic(),
});
const Slot = struct("rcu_arc_slot", { arc: atomic() });

/** A counted object of type N: one strong count, which the holder must drop. */
export type Arc<N extends string> = Ref<"rcu_arc"> & { readonly of?: N };
/** A weak count of it. */
export type Weak<N extends string> = number & { readonly weak?: N };

/** Takes over an object; the result is its first count. 0 when the heap is full: the object is still the caller's. */
export function arcNew<N extends string>(_type: StructType<N>, value: Ref<NoInfer<N>>): Arc<N> | 0 {
  const arc = tryAlloc(Counts);
  if (arc === 0) return 0;
  Counts.value.init(arc, value);
  Counts.strong.init(arc, 1);
  Counts.weak.init(arc, 1);
  return arc;
}
/** The object, while a count is held or a scope is open. */
export const arcGet = <N extends string>(arc: Arc<N>): Ref<N> => Counts.value.get(arc) as Ref<N>;
/** Another strong count, by who holds one. */
export function arcClone<N extends string>(arc: Arc<N>): Arc<N> {
  Counts.strong.add(arc, 1);
  return arc;
}
/** Drops a strong count; the last one drops the object. */
export function arcDrop<N extends string>(arc: Arc<N>): void {
  if (!Counts.strong.decAndTest(arc)) return;
  const value = Counts.value.get(arc);
  kfreeCellRcu(value);
  weakDrop(arc as unknown as Weak<N>);
}
/** A weak count, by who holds a strong one. */
export function arcDowngrade<N extends string>(arc: Arc<N>): Weak<N> {
  Counts.weak.add(arc, 1);
  return arc as unknown as Weak<N>;
}
/** A strong count from a weak one; 0 when the object is gone. */
export function weakUpgrade<N extends string>(weak: Weak<N>): Arc<N> | 0 {
  const arc = weak as unknown as Arc<N>;
  return Counts.strong.incNotZero(arc) ? arc : 0;
}
/** Drops a weak count. */
export function weakDrop<N extends string>(weak: Weak<N>): void {
  const arc = weak as unknown as Arc<N>;
  if (Counts.weak.decAndTest(arc)) kfreeRcu(Counts, arc);
}
/** Strong counts now: a racy look. */
export const arcCount = <N extends string>(arc: Arc<N>): number => Counts.strong.load(arc);

const dropLater = defineReclaimer("rcu: arc drop", (arc) => arcDrop(arc as Arc<string>));

/** What update does with the count of the Arc that was replaced. */
export type ArcUpdate =
  /** Dropped after a grace period: until then every reader that found it can still take a count. */
  | "later"
  /** Dropped at once, only the memory waits: the object may die now, and a reader's clone looks again. */
  | "now";

/** A shared cell that owns a count, or is empty. */
export class RcuOptionArc<N extends string> extends Collection<"rcu_arc_slot"> {
  /** Takes over the caller's count. Throws HeapFullError: the count is still the caller's then. */
  constructor(init: Arc<N> | 0 | At = 0) {
    super(Slot, isAt(init) ? checkObject(Slot, init.at, "RcuArc") : makeSlot(Slot, init as number, "RcuArc"));
  }
  /** The object, good in the scope; 0 when empty. */
  get(_scope: RcuScope): Ref<N> | 0 {
    this.beforeRead();
    const arc = deref(this.ref) as Arc<N> | 0;
    return arc === 0 ? 0 : arcGet(arc);
  }
  /** A count that outlives the scope; 0 when empty. */
  clone(_scope: RcuScope): Arc<N> | 0 {
    this.beforeRead();
    for (;;) {
      const arc = Slot.arc.load(this.ref) as Arc<N> | 0;
      if (arc === 0 || Counts.strong.incNotZero(arc)) return arc;
    }
  }
  /** Puts an Arc in (its count goes to the cell), or nothing. */
  update(fresh: Arc<N> | 0, when: ArcUpdate = "later"): void {
    this.assertHeap();
    const old = Slot.arc.exchange(this.ref, fresh) as Arc<N> | 0; // [A]
    if (old === 0) return;
    if (when === "now") arcDrop(old);
    else callRcu(dropLater, old);
  }
  /** Drops the count in the cell and frees the cell, after a grace period. */
  destroy(): void {
    this.update(0);
    kfreeRcu(Slot, this.ref);
    this.destroyed();
  }
}

/** A cell of either kind, with the count that it takes over. */
function makeSlot<N extends "rcu_arc_slot" | "rcu_weak_slot">(
  type: StructType<N> & { readonly arc: Atomic<N, number> },
  init: number,
  what: string,
): Ref<N> {
  if (init !== 0) checkObject(Counts, init, what);
  const ref = withRoom(() => tryAlloc(type));
  if (ref === 0) throw new HeapFullError(`new ${what}`);
  type.arc.init(ref, init);
  return ref;
}

/** A shared cell that always owns a count. */
export class RcuArc<N extends string> extends RcuOptionArc<N> {
  constructor(init: Arc<N> | At) {
    super(init);
  }
  override get(scope: RcuScope): Ref<N> {
    return super.get(scope) as Ref<N>;
  }
  override clone(scope: RcuScope): Arc<N> {
    return super.clone(scope) as Arc<N>;
  }
}

const WeakSlot = struct("rcu_weak_slot", { arc: atomic() });

/**
 * A shared cell that owns a weak count, or is empty: it does not keep the object alive, and readers see whether it lives. (Starnix: RcuWeak.)
 */
export class RcuWeak<N extends string> extends Collection<"rcu_weak_slot"> {
  /** Takes over the caller's weak count. Throws HeapFullError: the count is still the caller's then. */
  constructor(init: Weak<N> | 0 | At = 0) {
    super(
      WeakSlot,
      isAt(init) ? checkObject(WeakSlot, init.at, "RcuWeak") : makeSlot(WeakSlot, init as number, "RcuWeak"),
    );
  }
  /** The object, good in the scope; 0 when it is gone or the cell is empty. */
  get(_scope: RcuScope): Ref<N> | 0 {
    this.beforeRead();
    const arc = WeakSlot.arc.load(this.ref) as Arc<N> | 0;
    return arc === 0 || Counts.strong.load(arc) === 0 ? 0 : arcGet(arc);
  }
  /** A strong count, which keeps the object alive beyond the scope; 0 when it is gone or the cell is empty. */
  upgrade(_scope: RcuScope): Arc<N> | 0 {
    this.beforeRead();
    for (;;) {
      const arc = WeakSlot.arc.load(this.ref) as Arc<N> | 0;
      if (arc === 0 || Counts.strong.incNotZero(arc)) return arc;
      if (WeakSlot.arc.load(this.ref) === arc) return 0; // Else another one was put in meanwhile.
    }
  }
  /** Puts a weak count in (it goes to the cell), or nothing. The old one is dropped. */
  update(fresh: Weak<N> | 0): void {
    this.assertHeap();
    const old = WeakSlot.arc.exchange(this.ref, fresh) as Weak<N> | 0; // [A]
    if (old !== 0) weakDrop(old); // Its memory waits for a grace period, when this was the last count.
  }
  /** Drops the count in the cell and frees the cell, after a grace period. */
  destroy(): void {
    this.update(0);
    kfreeRcu(WeakSlot, this.ref);
    this.destroyed();
  }
}
