/**
 * Single cells that readers look through: a pointer (RcuPtr), an owned object (RcuBox, RcuOptionBox), a string, a number, an
 * array. Each lives at a heap reference (`ref`), so another thread opens it with `{ at: ref }`. Reading takes a scope
 * and no lock; replacing is one atomic exchange, and what was replaced is freed after a grace period.
 */

import {
  allocArray,
  allocString,
  arrayCopy,
  arrayLength,
  arraySet,
  freeArray,
  freeString,
  stringBytes,
  stringText,
} from "./array.ts";
import { kfreeArrayRcu, kfreeRcu, kfreeStringRcu } from "./callback.ts";
import { HeapFullError, StaleReferenceError } from "./error.ts";
import { f64, i32 } from "./memory.ts";
import type { Ptr, RcuScope, Ref } from "./ref.ts";
import { cellIsAlive } from "./slab.ts";
import { alloc, atomic, free, type StructType, spinlock, struct, wide } from "./struct.ts";

const Cell = struct("rcu_cell", { value: atomic(), lock: spinlock() });
type CellRef = Ref<"rcu_cell">;

/** What a poisoned pointer holds: odd, so never a reference. */
const POISONED = 1;

/** Opens the cell that another thread made. */
export interface At {
  at: number;
}
const isAt = (init: unknown): init is At => typeof init === "object" && init !== null && "at" in init;

function openCell(init: number | At, what: string): CellRef {
  if (isAt(init)) {
    if (!cellIsAlive(init.at))
      throw new StaleReferenceError(`${what}: ${init.at} names no cell of this heap`);
    return init.at as CellRef;
  }
  const cell = alloc(Cell);
  if (cell === 0) throw new HeapFullError(`new ${what}`);
  Cell.value.init(cell, init);
  return cell;
}

/** A shared pointer that owns nothing: who replaces it decides what becomes of the old object. */
export class RcuPtr<N extends string> {
  readonly ref: CellRef;
  constructor(init: Ptr<N> | At = 0) {
    this.ref = openCell(init, "RcuPtr");
  }
  /** rcu_dereference. */
  get(_scope: RcuScope): Ptr<N> {
    const value = i32[this.ref]!;
    if (value === POISONED) throw new StaleReferenceError("RcuPtr: read after poison()");
    return value as Ptr<N>;
  }
  /** Publishes; the old object is forgotten. */
  assign(value: Ptr<N>): void {
    Cell.value.store(this.ref, value); // [A]
  }
  /** Publishes and returns the old object, which readers may hold for a grace period. */
  replace(value: Ptr<N>): Ptr<N> {
    return Cell.value.exchange(this.ref, value) as Ptr<N>; // [A]
  }
  /** Exchanges two pointers. A reader may find the same object in both for a moment, never neither. */
  swap(other: RcuPtr<N>): void {
    other.assign(this.replace(Cell.value.load(other.ref) as Ptr<N>));
  }
  /** From here on, reading throws. Returns the last object. */
  poison(): Ptr<N> {
    return Cell.value.exchange(this.ref, POISONED) as Ptr<N>;
  }
  destroy(): void {
    free(Cell, this.ref);
  }
}

/** Owns an object of a struct type: replacing it frees the old one after a grace period. Never NULL. */
export class RcuBox<N extends string> {
  readonly type: StructType<N>;
  readonly ref: CellRef;
  constructor(type: StructType<N>, init: Ref<N> | At) {
    this.type = type;
    this.ref = openCell(init, "RcuBox");
  }
  get(_scope: RcuScope): Ref<N> {
    return i32[this.ref] as Ref<N>;
  }
  update(fresh: Ref<N>): void {
    kfreeRcu(this.type, Cell.value.exchange(this.ref, fresh) as Ref<N>); // [A], then [B] inside
  }
  /** Frees the object and the box, both after a grace period. */
  destroy(): void {
    kfreeRcu(this.type, Cell.value.load(this.ref) as Ref<N>);
    kfreeRcu(Cell, this.ref);
  }
}

/** RcuBox that may be empty. */
export class RcuOptionBox<N extends string> {
  readonly type: StructType<N>;
  readonly ref: CellRef;
  constructor(type: StructType<N>, init: Ptr<N> | At = 0) {
    this.type = type;
    this.ref = openCell(init, "RcuOptionBox");
  }
  get(_scope: RcuScope): Ptr<N> {
    return i32[this.ref] as Ptr<N>;
  }
  /** Puts an object in, or nothing; says whether there was one before. */
  update(fresh: Ptr<N>): boolean {
    const old = Cell.value.exchange(this.ref, fresh) as Ptr<N>;
    if (old !== 0) kfreeRcu(this.type, old);
    return old !== 0;
  }
  destroy(): void {
    this.update(0);
    kfreeRcu(Cell, this.ref);
  }
}

/** A string (or bytes) that is replaced whole. */
export class RcuString {
  readonly ref: CellRef;
  constructor(init: string | Uint8Array | At) {
    if (isAt(init)) this.ref = openCell(init, "RcuString");
    else {
      const text = allocString(init);
      if (text === 0) throw new HeapFullError("new RcuString");
      try {
        this.ref = openCell(text, "RcuString");
      } catch (error) {
        freeString(text);
        throw error;
      }
    }
  }
  /** The string's reference: good in the scope, for comparing without decoding. */
  peek(_scope: RcuScope): Ref<"string"> {
    return i32[this.ref] as Ref<"string">;
  }
  get(scope: RcuScope): string {
    return stringText(this.peek(scope));
  }
  bytes(scope: RcuScope): Uint8Array {
    return stringBytes(this.peek(scope));
  }
  /** Throws HeapFullError, and changes nothing then. */
  set(text: string | Uint8Array): void {
    const fresh = allocString(text);
    if (fresh === 0) throw new HeapFullError("RcuString.set");
    kfreeStringRcu(Cell.value.exchange(this.ref, fresh) as Ref<"string">);
  }
  destroy(): void {
    kfreeStringRcu(Cell.value.load(this.ref) as Ref<"string">);
    kfreeRcu(Cell, this.ref);
  }
}

const Double = struct("rcu_double", { value: wide() });

/** A double (or any number) that readers see whole: two words are never from different updates. */
export class RcuAtomic {
  readonly ref: CellRef;
  constructor(init: number | At) {
    this.ref = openCell(isAt(init) ? init : makeDouble(init), "RcuAtomic");
  }
  get(_scope: RcuScope): number {
    return f64[i32[this.ref]! >> 1]!;
  }
  set(value: number): void {
    kfreeRcu(Double, Cell.value.exchange(this.ref, makeDouble(value)) as Ref<"rcu_double">);
  }
  /** Replaces the value by fn(value); concurrent updates are not lost. Returns the new value. */
  update(fn: (value: number) => number): number {
    Cell.lock.lock(this.ref);
    try {
      const value = fn(f64[i32[this.ref]! >> 1]!);
      this.set(value);
      return value;
    } finally {
      Cell.lock.unlock(this.ref);
    }
  }
  destroy(): void {
    kfreeRcu(Double, Cell.value.load(this.ref) as Ref<"rcu_double">);
    kfreeRcu(Cell, this.ref);
  }
}

function makeDouble(value: number): Ref<"rcu_double"> {
  const cell = alloc(Double);
  if (cell === 0) throw new HeapFullError("RcuAtomic");
  Double.value.set(cell, value);
  return cell;
}

/**
 * A growable array of integers. Length and elements are published together, since the length is part of what the pointer
 * points to: a reader that takes `view` once never sees a length that its elements do not have.
 */
export class RcuArray {
  readonly ref: CellRef;
  constructor(init: number | At) {
    if (isAt(init)) this.ref = openCell(init, "RcuArray");
    else {
      const array = allocArray(init);
      if (array === 0) throw new HeapFullError("new RcuArray");
      try {
        this.ref = openCell(array, "RcuArray");
      } catch (error) {
        freeArray(array);
        throw error;
      }
    }
  }
  /** The array as it is now, for arrayGet and arrayLength: good in the scope. */
  view(_scope: RcuScope): Ref<"array"> {
    return i32[this.ref] as Ref<"array">;
  }
  length(scope: RcuScope): number {
    return arrayLength(this.view(scope));
  }
  /** An element; undefined beyond the end. */
  get(scope: RcuScope, index: number): number | undefined {
    const array = this.view(scope);
    return index >= 0 && index < arrayLength(array) ? i32[array + 1 + index] : undefined;
  }
  /** Changes one element in place; false beyond the end. */
  set(index: number, value: number): boolean {
    Cell.lock.lock(this.ref); // Against a resize that has copied this element already.
    const array = i32[this.ref] as Ref<"array">;
    const inside = index >= 0 && index < arrayLength(array);
    if (inside) Atomics.store(i32, array + 1 + index, value);
    Cell.lock.unlock(this.ref);
    return inside;
  }
  /** Changes the length; new elements are `fill`. Throws HeapFullError. */
  resize(length: number, fill = 0): void {
    const fresh = allocArray(length);
    if (fresh === 0) throw new HeapFullError("RcuArray.resize");
    Cell.lock.lock(this.ref);
    const old = i32[this.ref] as Ref<"array">;
    const kept = Math.min(length, arrayLength(old));
    arrayCopy(old, fresh, kept);
    for (let n = kept; n < length; n++) arraySet(fresh, n, fill);
    Cell.value.store(this.ref, fresh); // [A]
    Cell.lock.unlock(this.ref);
    kfreeArrayRcu(old);
  }
  destroy(): void {
    kfreeArrayRcu(Cell.value.load(this.ref) as Ref<"array">);
    kfreeRcu(Cell, this.ref);
  }
}
