/**
 * Single cells that readers look through: a pointer (RcuPtr), an owned object (RcuBox, RcuOptionBox), a string, a number.
 * Each lives at a heap reference (`ref`), so another thread opens it with `{ at: ref }` or `{ at: handle }`. Reading takes a
 * scope and no lock; replacing is one atomic exchange, and what was replaced is freed after a grace period.
 */
import { stringBytes, stringText } from "./array.ts";
import { kfreeRcu, kfreeStringRcu, makeRoom, withRoom } from "./callback.ts";
import { type At, Collection, checkKind, checkObject, isAt, kindWord } from "./collection.ts";
import { HeapFullError, StaleReferenceError } from "./error.ts";
import { whileActive } from "./grace-period.ts";
import { blob, double, type Kind, own, text } from "./kind.ts";
import { INNERMOST } from "./lock-order.ts";
import { derefWord } from "./memory.ts";
import type { Ptr, RcuScope, Ref } from "./ref.ts";
import { atomic, fixed, free, type StructType, spinlock, struct, TYPE, tryAlloc } from "./struct.ts";

const deref = derefWord; // V8 folds a constant of this module, not an imported one.

export const Cell = struct("rcu_cell", { value: atomic(), lock: spinlock(INNERMOST), kind: fixed() });
export type CellRef = Ref<"rcu_cell">;

/** What a poisoned pointer holds: odd, so never a reference. */
const POISONED = 1;

/** Opens a cell of that kind; null when the options ask for a new one. */
export function openCell(init: unknown, signature: string): CellRef | null {
  if (!isAt(init)) return null;
  const cell = checkObject(Cell, init.at, signature);
  checkKind(Cell.kind.get(cell), signature, cell);
  return cell;
}
/** A new cell that holds the word. Throws HeapFullError. */
export function makeCell(word: number, signature: string): CellRef {
  const cell = withRoom(() => tryAlloc(Cell));
  if (cell === 0) throw new HeapFullError(`new ${signature}`);
  Cell.value.init(cell, word);
  Cell.kind.init(cell, kindWord(signature));
  return cell;
}
/** A new cell that holds a value. Throws HeapFullError, WrongTypeError, and keeps nothing then. */
function makeCellOf<V>(kind: Kind<V>, value: V, signature: string): CellRef {
  const word = encode(kind, value, `new ${signature}`);
  try {
    return makeCell(word, signature);
  } catch (error) {
    kind.drop(word);
    throw error;
  }
}
/** The word for a value. Throws HeapFullError, WrongTypeError. */
export function encode<V>(kind: Kind<V>, value: V, what: string): number {
  let word = kind.encode(value);
  if (word === 0 && kind.owns && makeRoom()) word = kind.encode(value);
  if (word === 0 && kind.owns) throw new HeapFullError(what);
  return word;
}

/** A shared pointer that owns nothing: who replaces it decides what becomes of the old object. */
export class RcuPtr<N extends string> extends Collection<"rcu_cell"> {
  constructor(init: Ptr<N> | At = 0) {
    super(Cell, openCell(init, "RcuPtr") ?? makeCell(init as Ptr<N>, "RcuPtr"));
  }
  /** rcu_dereference. Throws StaleReferenceError after poison(). */
  get(_scope: RcuScope): Ptr<N> {
    this.beforeRead();
    const value = deref(this.ref);
    if (value === POISONED)
      throw new StaleReferenceError(
        "RcuPtr: read after poison(): whoever did it took the object away",
        "ERR_RCU_POISONED",
      );
    return value as Ptr<N>;
  }
  /** Publishes; the old object is forgotten. */
  assign(value: Ptr<N>): void {
    this.assertHeap();
    Cell.value.store(this.ref, value); // [A]
  }
  /** Publishes and returns the old object, which readers may hold for a grace period; 0 when it was poisoned. */
  replace(value: Ptr<N>): Ptr<N> {
    this.assertHeap();
    return unpoisoned(Cell.value.exchange(this.ref, value)); // [A]
  }
  /**
   * Exchanges two pointers. A reader may find the same object in both for a moment, never neither. Both locks are taken, lower
   * address first, so that swaps of the same pointers at once lose none; assign and replace do not wait for them.
   */
  swap(other: RcuPtr<N>): void {
    if (other.ref === this.ref) return;
    this.assertHeap();
    const [first, second] = this.ref < other.ref ? [this.ref, other.ref] : [other.ref, this.ref];
    Cell.lock.lock(first);
    Cell.lock.lockNested(second); // By address: see above.
    const theirs = Cell.value.load(other.ref);
    Cell.value.store(other.ref, Cell.value.exchange(this.ref, theirs)); // [A]
    Cell.lock.unlock(second);
    Cell.lock.unlock(first);
  }
  /** From here on, reading throws. Returns the last object. */
  poison(): Ptr<N> {
    this.assertHeap();
    return unpoisoned(Cell.value.exchange(this.ref, POISONED));
  }
  /** Frees the cell, not the object. Nobody may read it any more. */
  destroy(): void {
    this.assertHeap();
    free(Cell, this.ref);
    this.destroyed();
  }
}
const unpoisoned = <N extends string>(value: number): Ptr<N> => (value === POISONED ? 0 : value) as Ptr<N>;

/** Owns an object of a struct type: replacing it frees the old one after a grace period. Never NULL. */
export class RcuBox<N extends string> extends Collection<"rcu_cell"> {
  /** The struct type of what it owns. */
  readonly type: StructType<N>;
  readonly #kind: Kind<Ref<N>>;
  constructor(type: StructType<N>, init: Ref<NoInfer<N>> | At) {
    const signature = `RcuBox<${type[TYPE].name}>`;
    const kind = own(type);
    super(Cell, openCell(init, signature) ?? makeCellOf(kind, init as Ref<N>, signature));
    this.type = type;
    this.#kind = kind;
  }
  /** The object, good in the scope. */
  get(_scope: RcuScope): Ref<N> {
    this.beforeRead();
    return deref(this.ref) as Ref<N>;
  }
  /** Throws WrongTypeError or StaleReferenceError when `fresh` is no live object of the type. */
  update(fresh: Ref<N>): void {
    this.assertHeap();
    kfreeRcu(this.type, Cell.value.exchange(this.ref, this.#kind.encode(fresh)) as Ref<N>); // [A], then [B] inside
  }
  /** Frees the object and the box, both after a grace period. */
  destroy(): void {
    this.assertHeap();
    kfreeRcu(this.type, Cell.value.load(this.ref) as Ref<N>);
    kfreeRcu(Cell, this.ref);
    this.destroyed();
  }
}

/** RcuBox that may be empty. */
export class RcuOptionBox<N extends string> extends Collection<"rcu_cell"> {
  /** The struct type of what it owns. */
  readonly type: StructType<N>;
  readonly #kind: Kind<Ref<N>>;
  constructor(type: StructType<N>, init: Ptr<NoInfer<N>> | At = 0) {
    const signature = `RcuOptionBox<${type[TYPE].name}>`;
    const kind = own(type);
    super(
      Cell,
      openCell(init, signature) ?? makeCell(init === 0 ? 0 : kind.encode(init as Ref<N>), signature),
    );
    this.type = type;
    this.#kind = kind;
  }
  /** The object, good in the scope; 0 when it is empty. */
  get(_scope: RcuScope): Ptr<N> {
    this.beforeRead();
    return deref(this.ref) as Ptr<N>;
  }
  /** Puts an object in, or nothing; says whether there was one before. Throws like RcuBox.update. */
  update(fresh: Ptr<N>): boolean {
    this.assertHeap();
    const word = fresh === 0 ? 0 : this.#kind.encode(fresh);
    const old = Cell.value.exchange(this.ref, word) as Ptr<N>; // [A]
    if (old !== 0) kfreeRcu(this.type, old);
    return old !== 0;
  }
  /** Frees the object, if there is one, and the box, after a grace period. */
  destroy(): void {
    this.update(0);
    kfreeRcu(Cell, this.ref);
    this.destroyed();
  }
}

/** A string (or bytes) that is replaced whole. */
export class RcuString extends Collection<"rcu_cell"> {
  constructor(init: string | Uint8Array | At) {
    super(Cell, openCell(init, "RcuString") ?? makeCellOf(STRING, init as string | Uint8Array, "RcuString"));
  }
  /** The string's reference: good in the scope, for comparing without decoding. */
  peek(_scope: RcuScope): Ref<"string"> {
    this.beforeRead();
    return deref(this.ref) as Ref<"string">;
  }
  /** The text, decoded. */
  get(scope: RcuScope): string {
    return stringText(this.peek(scope));
  }
  /** A private copy of the bytes. */
  bytes(scope: RcuScope): Uint8Array {
    return stringBytes(this.peek(scope));
  }
  /** Throws HeapFullError, and changes nothing then. */
  set(text: string | Uint8Array): void {
    this.assertHeap();
    kfreeStringRcu(Cell.value.exchange(this.ref, encode(STRING, text, "RcuString.set")) as Ref<"string">); // [A]
  }
  /** Frees the string and the cell, after a grace period. */
  destroy(): void {
    this.assertHeap();
    kfreeStringRcu(Cell.value.load(this.ref) as Ref<"string">);
    kfreeRcu(Cell, this.ref);
    this.destroyed();
  }
}
const STRING: Kind<string | Uint8Array> = {
  ...(text() as unknown as Kind<string | Uint8Array>),
  encode: (value) => (typeof value === "string" ? text().encode(value) : blob().encode(value)),
};

const readDouble = (cell: number): number => double().decode(deref(cell));

/** A double (or any number) that readers see whole: two words are never from different updates. */
export class RcuAtomic extends Collection<"rcu_cell"> {
  constructor(init: number | At) {
    super(Cell, openCell(init, "RcuAtomic") ?? makeCellOf(double(), init as number, "RcuAtomic"));
  }
  /** The number. */
  get(_scope: RcuScope): number {
    this.beforeRead();
    return double().decode(deref(this.ref));
  }
  /** Throws HeapFullError, and changes nothing then. */
  set(value: number): void {
    this.assertHeap();
    double().retire(Cell.value.exchange(this.ref, encode(double(), value, "RcuAtomic.set"))); // [A]
  }
  /** Replaces the value by fn(value); concurrent updates are not lost. Returns the new value. */
  update(fn: (value: number) => number): number {
    this.assertHeap();
    Cell.lock.lock(this.ref);
    try {
      const value = fn(this.#now());
      this.set(value);
      return value;
    } finally {
      Cell.lock.unlock(this.ref);
    }
  }
  /**
   * The lock keeps out other calls of update, not set(): what that replaces is freed after a grace period, and only a thread that is
   * active holds one up.
   */
  #now(): number {
    return whileActive(readDouble, this.ref);
  }
  /** Frees the number and the cell, after a grace period. */
  destroy(): void {
    this.assertHeap();
    double().retire(Cell.value.load(this.ref));
    kfreeRcu(Cell, this.ref);
    this.destroyed();
  }
}
