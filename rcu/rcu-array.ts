/**
 * RcuArray: a growable array. Length and elements are published together, since the length is part of what the pointer
 * points to: a reader that takes `view` once never sees a length that its elements do not have.
 *
 *   const names = new RcuArray<string>({ length: 4, value: text() }); // four empty elements
 *   names.set(0, "zero");
 */
import { arrayCopy, arrayLength, freeArray, tryAllocArray } from "./array.ts";
import { kfreeArrayRcu, kfreeRcu, withRoom } from "./callback.ts";
import { Collection, type Handle } from "./collection.ts";
import { HeapFullError, WrongTypeError } from "./error.ts";
import { type Kind, kindOr, type Value } from "./kind.ts";
import { derefWord, i32 } from "./memory.ts";
import { Cell, encode, makeCell, openCell } from "./ptr.ts";
import type { RcuScope, Ref } from "./ref.ts";

const deref = derefWord; // V8 folds a constant of this module, not an imported one.

/** How an RcuArray is made or opened. */
export interface ArrayOptions<V> {
  readonly length?: number;
  /** How elements are kept. Default: 32-bit integers, which begin as 0; others begin empty. */
  readonly value?: Kind<V>;
  /** Opens the array that another thread made. */
  readonly at?: number | Handle;
}
type Init<V> = [V] extends [number]
  ? number | ArrayOptions<V>
  : ArrayOptions<V> & { readonly value: Kind<V> };

/** A growable array whose length and elements are published together. */
export class RcuArray<V extends Value = number> extends Collection<"rcu_cell"> {
  readonly #value: Kind<V>;
  readonly #signature: string;
  /** Words are the values, 0 too. */
  readonly #direct: boolean;

  /** A length, or options. Throws HeapFullError, WrongTypeError. */
  constructor(init: Init<V> & (number | ArrayOptions<V>)) {
    const options: ArrayOptions<V> = typeof init === "number" ? { length: init } : init;
    const value = kindOr(options.value);
    const signature = `RcuArray<${value.name}>`;
    super(Cell, openCell(options, signature) ?? makeArrayCell(options.length ?? 0, signature));
    this.#value = value;
    this.#direct = value.name === "int";
    this.#signature = signature;
  }

  /** The array as it is now, for arrayGet and arrayLength: good in the scope. Elements are words (kind.ts). */
  view(_scope: RcuScope): Ref<"array"> {
    this.beforeRead();
    return deref(this.ref) as Ref<"array">;
  }
  /** Number of elements now. */
  length(scope: RcuScope): number {
    return arrayLength(this.view(scope));
  }
  /** An element; undefined beyond the end, or where an element that is no integer was never set. */
  get(_scope: RcuScope, index: number): V | undefined {
    this.beforeRead();
    const array = deref(this.ref);
    if (!(index >= 0 && index < i32[array]!)) return undefined;
    const word = deref(array + 1 + index);
    return this.#direct ? (word as V) : this.#decode(word);
  }
  #decode(word: number): V | undefined {
    if (this.#direct) return word as V;
    return word === 0 ? undefined : this.#value.decode(word);
  }

  /** Visits the elements of the array as it is now, the empty ones left out. */
  forEach(scope: RcuScope, visit: (value: V, index: number) => void): void {
    const array = this.view(scope);
    for (let n = 0; n < arrayLength(array); n++) {
      const value = this.#decode(deref(array + 1 + n));
      if (value !== undefined) visit(value, n);
    }
  }

  /** Changes one element in place; false beyond the end. Throws HeapFullError, WrongTypeError. */
  set(index: number, value: V): boolean {
    this.assertHeap();
    const word = encode(this.#value, value, `${this.#signature}.set`);
    Cell.lock.lock(this.ref); // Against a resize that has copied this element already.
    const array = i32[this.ref] as Ref<"array">;
    const inside = Number.isInteger(index) && index >= 0 && index < arrayLength(array);
    const old = inside ? Atomics.exchange(i32, array + 1 + index, word) : word; // [A]
    Cell.lock.unlock(this.ref);
    if (!inside) this.#value.drop(word);
    else if (old !== 0 && old !== word) this.#value.retire(old);
    return inside;
  }

  /** Changes the length; new elements are `fill`, or 0 or empty. Throws HeapFullError, WrongTypeError: nothing changes then. */
  resize(length: number, fill?: V): void {
    this.assertHeap();
    const what = `${this.#signature}.resize`;
    const fresh = makeArray(length, what);
    let old: Ref<"array">;
    Cell.lock.lock(this.ref);
    try {
      old = i32[this.ref] as Ref<"array">;
      const kept = Math.min(length, arrayLength(old));
      arrayCopy(old, fresh, kept);
      try {
        if (fill !== undefined)
          for (let n = kept; n < length; n++) i32[fresh + 1 + n] = encode(this.#value, fill, what);
      } catch (error) {
        for (let n = kept; n < length; n++)
          if (i32[fresh + 1 + n] !== 0) this.#value.drop(i32[fresh + 1 + n]!);
        freeArray(fresh);
        throw error;
      }
      Cell.value.store(this.ref, fresh); // [A]
      for (let n = kept; n < arrayLength(old); n++) this.#retire(i32[old + 1 + n]!);
    } finally {
      Cell.lock.unlock(this.ref);
    }
    kfreeArrayRcu(old);
  }

  #retire(word: number): void {
    if (word !== 0) this.#value.retire(word);
  }

  /** Frees the elements, the array and the cell, after a grace period. */
  destroy(): void {
    this.assertHeap();
    const array = Cell.value.load(this.ref) as Ref<"array">;
    for (let n = 0; n < arrayLength(array); n++) this.#retire(i32[array + 1 + n]!);
    kfreeArrayRcu(array);
    kfreeRcu(Cell, this.ref);
    this.destroyed();
  }
}

function makeArray(length: number, what: string): Ref<"array"> {
  if (!(Number.isInteger(length) && length >= 0))
    throw new WrongTypeError(`${what}: ${length} is no length of an array`, "ERR_RCU_BAD_ARGUMENT");
  const array = withRoom(() => tryAllocArray(length));
  if (array === 0) throw new HeapFullError(what);
  return array;
}

function makeArrayCell(length: number, signature: string): Ref<"rcu_cell"> {
  const array = makeArray(length, `new ${signature}`);
  try {
    return makeCell(array, signature);
  } catch (error) {
    freeArray(array);
    throw error;
  }
}
