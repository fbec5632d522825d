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
import { whileActive } from "./grace-period.ts";
import { type Kind, kindOr, type Value } from "./kind.ts";
import { derefWord, i32 } from "./memory.ts";
import { Cell, encode, makeCell, openCell } from "./ptr.ts";
import type { RcuScope, Ref } from "./ref.ts";
import { END, RcuWalk } from "./walk.ts";

/** Of a thread that may be idle: the array must not be freed between two loads. */
const lengthNow = (cell: number): number => arrayLength(i32[cell] as Ref<"array">);

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

  /** Visits elements until `test` returns true: whether it did. Like forEach otherwise. */
  some(scope: RcuScope, test: (value: V, index: number) => boolean): boolean {
    const array = this.view(scope);
    for (let n = 0; n < arrayLength(array); n++) {
      const value = this.#decode(deref(array + 1 + n));
      if (value !== undefined && test(value, n)) return true;
    }
    return false;
  }
  /** Iterates over [index, value] of the array as it is now, the empty elements left out. */
  entries(scope: RcuScope): RcuWalk<[number, V]> {
    return this.#walk(scope, (index, value) => [index, value]);
  }
  /** Iterates over the values, the empty elements left out: `for (const name of names.values(scope))`. */
  values(scope: RcuScope): RcuWalk<V> {
    return this.#walk(scope, (_index, value) => value);
  }
  #walk<T>(scope: RcuScope, read: (index: number, value: V) => T): RcuWalk<T> {
    const array = this.view(scope);
    let at = 0;
    return new RcuWalk(scope, () => {
      while (at < arrayLength(array)) {
        const index = at++;
        const value = this.#decode(deref(array + 1 + index));
        if (value !== undefined) return read(index, value);
      }
      return END;
    });
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
    this.#grow(length, fill, `${this.#signature}.resize`, false);
  }

  /**
   * Makes it at least that long, and never shorter: whether it had to grow. Threads that ask for different lengths at once get the largest.
   * New elements and errors as in resize.
   */
  ensureAtLeast(length: number, fill?: V): boolean {
    this.assertHeap();
    if (whileActive(lengthNow, this.ref) >= length) return false;
    return this.#grow(length, fill, `${this.#signature}.ensureAtLeast`, true);
  }

  /** False when it is long enough and may not become shorter. */
  #grow(length: number, fill: V | undefined, what: string, only: boolean): boolean {
    this.assertHeap();
    const fresh = makeArray(length, what);
    return this.#publish(fresh, (old) => {
      const before = arrayLength(old);
      if (only && before >= length) return false;
      const kept = Math.min(length, before);
      arrayCopy(old, fresh, kept);
      try {
        if (fill !== undefined)
          for (let n = kept; n < length; n++) i32[fresh + 1 + n] = encode(this.#value, fill, what);
      } catch (error) {
        this.#drop(fresh, kept);
        throw error;
      }
      return true;
    });
  }

  /**
   * Replaces all elements in one step: readers with a `view`, or a loop, see all of the old ones or all of the new ones. `change` gets each
   * value (undefined where there is none) and its index, and returns the new one; it runs with the array's lock held. Throws HeapFullError,
   * WrongTypeError, and what `change` throws: nothing changes then.
   */
  updateAll(change: (value: V | undefined, index: number) => V): void {
    this.assertHeap();
    const what = `${this.#signature}.updateAll`;
    for (;;) {
      const length = whileActive(lengthNow, this.ref);
      const fresh = makeArray(length, what);
      const done = this.#publish(fresh, (old) => {
        if (arrayLength(old) !== length) return false; // It was resized: again.
        let n = 0;
        try {
          for (; n < length; n++)
            i32[fresh + 1 + n] = encode(this.#value, change(this.#decode(i32[old + 1 + n]!), n), what);
        } catch (error) {
          this.#drop(fresh, 0);
          throw error;
        }
        return true;
      });
      if (done) return;
    }
  }

  /** Puts `fresh` in the place of the array if `fill` says so; the elements that are not in it are retired. */
  #publish(fresh: Ref<"array">, fill: (old: Ref<"array">) => boolean): boolean {
    let old = 0 as Ref<"array"> | 0;
    Cell.lock.lock(this.ref);
    try {
      const now = i32[this.ref] as Ref<"array">;
      if (fill(now)) {
        Cell.value.store(this.ref, fresh); // [A]
        old = now;
        // What was copied lives on; all else was replaced.
        for (let n = 0; n < arrayLength(now); n++)
          if (n >= arrayLength(fresh) || i32[fresh + 1 + n] !== i32[now + 1 + n])
            this.#retire(i32[now + 1 + n]!);
      }
    } finally {
      Cell.lock.unlock(this.ref);
      if (old === 0) freeArray(fresh);
    }
    if (old !== 0) kfreeArrayRcu(old);
    return old !== 0;
  }

  /** Gives back what was made for an array that was not published, from element `from` on. */
  #drop(fresh: Ref<"array">, from: number): void {
    for (let n = from; n < arrayLength(fresh); n++)
      if (i32[fresh + 1 + n] !== 0) this.#value.drop(i32[fresh + 1 + n]!);
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
