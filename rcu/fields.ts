/**
 * Accessors of struct fields, one class per access rule. The rule is in the methods that exist: a `fixed` field has
 * no set, an `rcu` field cannot be read without a scope.
 *
 * Each accessor holds its offset; `ref + offset` is the word. Accessors are constant objects, so TurboFan folds the
 * offset into the access.
 */
import { CorruptionError, RcuUsageError } from "./error.ts";
import * as layout from "./layout.ts";
import { locksHeld } from "./lock.ts";
import { derefWord, f64, i32, u8 } from "./memory.ts";
import { park } from "./park.ts";
import { PROVE_RCU, STRICT_RCU } from "./prove.ts";
import type { Held, Ptr, RcuScope, Ref } from "./ref.ts";
import { assertScope } from "./scope.ts";

const { ARRAY_ELEMENTS } = layout;

const deref = derefWord; // V8 folds a constant of this module, not an imported one.

const PROVE = PROVE_RCU;
const STRICT = STRICT_RCU;

/** What every accessor has. */
export abstract class Field {
  /** Word of the field in the struct: `ref + offset` is its heap address. */
  declare readonly offset: number;
  /** Name of the struct, for messages: set by its declaration. */
  readonly of: string = "";
  constructor(offset: number) {
    this.offset = offset;
  }
}

/** Written before publication, constant afterwards. A 32-bit integer or a reference. */
export class Fixed<N extends string, T extends number> extends Field {
  /** A plain load. */
  get(ref: Ref<N>): T {
    return i32[ref + this.offset] as T;
  }
  /** Before publication. */
  init(ref: Ref<N>, value: T): void {
    i32[ref + this.offset] = value;
  }
}

/** Touched only by its owner (the CPU on which the task is current; the creator before publication): plain access. */
export class Owned<N extends string, T extends number> extends Field {
  /** A plain load. */
  get(ref: Ref<N>): T {
    return i32[ref + this.offset] as T;
  }
  /** A plain store. */
  set(ref: Ref<N>, value: T): void {
    i32[ref + this.offset] = value;
  }
}

/** A number up to 2^53, not atomic: plain access by its owner, or under whatever rule the struct states. */
export class Wide<N extends string> extends Field {
  /** A plain load of a double. */
  get(ref: Ref<N>): number {
    return f64[(ref + this.offset) >> 1]!;
  }
  /** A plain store of a double. */
  set(ref: Ref<N>, value: number): void {
    f64[(ref + this.offset) >> 1] = value;
  }
}

/** Any CPU, any time: sequentially consistent operations on 32 bits. */
export class Atomic<N extends string, T extends number> extends Field {
  /** An atomic load. */
  load(ref: Ref<N>): T {
    return Atomics.load(i32, ref + this.offset) as T;
  }
  /** A plain load: may be stale, never torn. */
  peek(ref: Ref<N>): T {
    return i32[ref + this.offset] as T;
  }
  /** An atomic store: publishes what was written before. */
  store(ref: Ref<N>, value: T): void {
    Atomics.store(i32, ref + this.offset, value);
  }
  /** Before publication. */
  init(ref: Ref<N>, value: T): void {
    i32[ref + this.offset] = value;
  }
  /** Adds and returns the old value, like every read-modify-write here. */
  add(ref: Ref<N>, value: number): number {
    return Atomics.add(i32, ref + this.offset, value);
  }
  /** Sets bits and returns the old value. */
  or(ref: Ref<N>, bits: number): number {
    return Atomics.or(i32, ref + this.offset, bits);
  }
  /** Keeps only these bits and returns the old value. */
  and(ref: Ref<N>, bits: number): number {
    return Atomics.and(i32, ref + this.offset, bits);
  }
  /** Stores and returns the old value. */
  exchange(ref: Ref<N>, value: T): T {
    return Atomics.exchange(i32, ref + this.offset, value) as T;
  }
  /** Stores `next` when the field holds `expected`; says whether it did. */
  cas(ref: Ref<N>, expected: T, next: T): boolean {
    return Atomics.compareExchange(i32, ref + this.offset, expected, next) === expected;
  }
  /** Takes a count unless it is already zero: how a reader in a scope starts to own an object that may be dying. */
  incNotZero(ref: Ref<N>): boolean {
    const word = ref + this.offset;
    for (let count = i32[word]!; ; ) {
      if (count === 0) return false; // Stale or not: it was zero while the caller's scope was open.
      const seen = Atomics.compareExchange(i32, word, count, count + 1);
      if (seen === count) return true;
      count = seen;
    }
  }
  /** The same where a negative count means dead, and zero only that nobody uses the object now. */
  incUnlessNegative(ref: Ref<N>): boolean {
    const word = ref + this.offset;
    for (let count = i32[word]!; ; ) {
      if (count < 0) return false;
      const seen = Atomics.compareExchange(i32, word, count, count + 1);
      if (seen === count) return true;
      count = seen;
    }
  }
  /** Drops a count; true when it was the last one. */
  decAndTest(ref: Ref<N>): boolean {
    const old = Atomics.sub(i32, ref + this.offset, 1);
    if (old <= 0)
      throw new CorruptionError(
        "ERR_RCU_DOUBLE_FREE",
        `reference count underflow at ${ref}+${this.offset} (was ${old})`,
      );
    return old === 1;
  }
  /** Sleeps while the field holds `value`, at most `ms`; false on time-out. */
  wait(ref: Ref<N>, value: T, ms?: number): boolean {
    return park(i32, ref + this.offset, value, ms) !== "timed-out";
  }
  /** The same for the few who may hold locks meanwhile, since whoever waits for those does not keep them waiting. */
  waitWithLocks(ref: Ref<N>, value: T, ms: number): boolean {
    return park(i32, ref + this.offset, value, ms) !== "timed-out";
  }
  /** Wakes sleepers of wait(), all of them or `count`; returns how many. */
  notify(ref: Ref<N>, count?: number): number {
    return Atomics.notify(i32, ref + this.offset, count);
  }
}

/** A pointer that is replaced whole: readers hold a read scope, updaters the lock that the struct names. */
export class RcuField<N extends string, T extends string> extends Field {
  /** rcu_dereference: a plain load, ordered by the address dependency (rcu/design.md). */
  deref(_scope: RcuScope, ref: Ref<N>): Ptr<T> {
    if (PROVE) assertScope();
    return deref(ref + this.offset) as Ptr<T>;
  }
  /** rcu_dereference_check: for code that runs inside a read scope or with the updater's lock held, whichever it is. */
  check(_proof: RcuScope | Held, ref: Ref<N>): Ptr<T> {
    if (PROVE && locksHeld === 0) assertScope();
    return deref(ref + this.offset) as Ptr<T>;
  }
  /** rcu_dereference_raw: unchecked, for who knows better: a thread that passes no quiescent state, a dump of the heap. */
  raw(ref: Ref<N>): Ptr<T> {
    return deref(ref + this.offset) as Ptr<T>;
  }
  /** rcu_dereference_protected: for the updater, who holds the lock. */
  peek(_held: Held, ref: Ref<N>): Ptr<T> {
    return i32[ref + this.offset] as Ptr<T>;
  }
  /** rcu_assign_pointer: publishes with a sequentially consistent store. */
  assign(_held: Held, ref: Ref<N>, value: Ptr<T>): void {
    Atomics.store(i32, ref + this.offset, value);
  }
  /** RCU_INIT_POINTER: before publication of `ref` itself. */
  init(ref: Ref<N>, value: Ptr<T>): void {
    i32[ref + this.offset] = value;
  }
  /** Reads the pointer for comparison only: it must not be followed (rcu_access_pointer). */
  access(ref: Ref<N>): Ptr<T> {
    return i32[ref + this.offset] as Ptr<T>;
  }
  /** xchg: publishes the new pointer and returns the old one, for updaters that need no lock. */
  exchange(ref: Ref<N>, value: Ptr<T>): Ptr<T> {
    return Atomics.exchange(i32, ref + this.offset, value) as Ptr<T>;
  }
  /** cmpxchg: publishes `next` when the field holds `expected`; says whether it did. */
  cas(ref: Ref<N>, expected: Ptr<T>, next: Ptr<T>): boolean {
    return Atomics.compareExchange(i32, ref + this.offset, expected, next) === expected;
  }
}

/** Only with the named lock held; 32 bits. */
export class Locked<N extends string, L extends string, T extends number> extends Field {
  /** Reads it with the lock held. */
  get(_held: Held<L>, ref: Ref<N>): T {
    return i32[ref + this.offset] as T;
  }
  /** Changes it with the lock held. */
  set(_held: Held<L>, ref: Ref<N>, value: T): void {
    i32[ref + this.offset] = value;
  }
  /** Before publication. */
  init(ref: Ref<N>, value: T): void {
    i32[ref + this.offset] = value;
  }
  /** A racy look, where a stale value does no harm. */
  racy(ref: Ref<N>): T {
    return i32[ref + this.offset] as T;
  }
}

/** Only with the named lock held; a number up to 2^53. */
export class LockedWide<N extends string, L extends string> extends Field {
  /** Reads it with the lock held. */
  get(_held: Held<L>, ref: Ref<N>): number {
    return f64[(ref + this.offset) >> 1]!;
  }
  /** Changes it with the lock held. */
  set(_held: Held<L>, ref: Ref<N>, value: number): void {
    f64[(ref + this.offset) >> 1] = value;
  }
  /** Before publication. */
  init(ref: Ref<N>, value: number): void {
    f64[(ref + this.offset) >> 1] = value;
  }
  /** A racy look: doubles do not tear on the machines that Node runs on, and a stale value does no harm. */
  racy(ref: Ref<N>): number {
    return f64[(ref + this.offset) >> 1]!;
  }
}

/** An index that is none: a number that nobody bounded. The words beyond belong to other fields and other objects. */
function outOfBounds(field: { readonly of: string; readonly length: number }, index: number): never {
  throw new CorruptionError(
    "ERR_RCU_CORRUPTION",
    `struct ${field.of}: index ${index} of a field that has ${field.length} elements`,
  );
}

/**
 * A fixed number of 32-bit words inside the struct; the struct states the rule. Every index is checked: one that is out of bounds
 * throws, and nothing outside of the field is read or written.
 */
export class Words<N extends string> extends Field {
  /** Number of words. */
  declare readonly length: number;
  constructor(offset: number, length: number) {
    super(offset);
    this.length = length;
  }
  /** A plain load. */
  get(ref: Ref<N>, index: number): number {
    if (index >>> 0 !== index || index >= this.length) outOfBounds(this, index);
    return i32[ref + this.offset + index]!;
  }
  /** A plain store. */
  set(ref: Ref<N>, index: number, value: number): void {
    if (index >>> 0 !== index || index >= this.length) outOfBounds(this, index);
    i32[ref + this.offset + index] = value;
  }
  /** Adds one by a plain load and store: for counters that one thread writes. */
  increment(ref: Ref<N>, index: number): void {
    if (index >>> 0 !== index || index >= this.length) outOfBounds(this, index);
    const word = ref + this.offset + index;
    i32[word] = i32[word]! + 1;
  }
  /** An atomic load. */
  load(ref: Ref<N>, index: number): number {
    if (index >>> 0 !== index || index >= this.length) outOfBounds(this, index);
    return Atomics.load(i32, ref + this.offset + index);
  }
  /** An atomic store. */
  store(ref: Ref<N>, index: number, value: number): void {
    if (index >>> 0 !== index || index >= this.length) outOfBounds(this, index);
    Atomics.store(i32, ref + this.offset + index, value);
  }
  /** Adds atomically and returns the old value. */
  add(ref: Ref<N>, index: number, value: number): number {
    if (index >>> 0 !== index || index >= this.length) outOfBounds(this, index);
    return Atomics.add(i32, ref + this.offset + index, value);
  }
  /** Stores `next` when the word is `expected`; says whether it did. */
  cas(ref: Ref<N>, index: number, expected: number, next: number): boolean {
    if (index >>> 0 !== index || index >= this.length) outOfBounds(this, index);
    return Atomics.compareExchange(i32, ref + this.offset + index, expected, next) === expected;
  }
  /** Word index in the heap of element 0. */
  at(ref: Ref<N>): number {
    return ref + this.offset;
  }
  /**
   * A hash lookup: walks the chain that begins in table[bucket], through `next`, to an object whose first three words are
   * these; 0 when there is none.
   */
  find(
    _scope: RcuScope,
    table: Ref<"array">,
    bucket: number,
    next: RcuField<N, N>,
    word0: number,
    word1: number,
    word2: number,
  ): Ptr<N> {
    if (PROVE) assertScope();
    const view = i32; // Once for all of it: V8 would ask again what it is.
    const { offset } = this;
    for (let at = table + ARRAY_ELEMENTS + bucket; ; ) {
      const ref = STRICT ? deref(at) : view[at]!;
      if (ref === 0) return 0;
      const key = ref + offset;
      if (view[key] === word0 && view[key + 1] === word1 && view[key + 2] === word2) return ref as Ptr<N>;
      at = ref + next.offset;
    }
  }
  /** Goes on behind an object that find() returned: its pointer is like a table of one bucket. */
  findNext(
    scope: RcuScope,
    after: Ref<N>,
    next: RcuField<N, N>,
    word0: number,
    word1: number,
    word2: number,
  ): Ptr<N> {
    const bucket = (after + next.offset - ARRAY_ELEMENTS) as Ref<"array">;
    return this.find(scope, bucket, 0, next, word0, word1, word2);
  }
  /** Copies all words from one object to another. */
  copy(from: Ref<N>, to: Ref<N>): void {
    i32.copyWithin(to + this.offset, from + this.offset, from + this.offset + this.length);
  }
}

/** A fixed number of bytes inside the struct. An index that is out of bounds throws. */
export class Bytes<N extends string> extends Field {
  /** Number of bytes. */
  declare readonly length: number;
  constructor(offset: number, length: number) {
    super(offset);
    this.length = length;
  }
  /** A live view of the bytes: for immediate use, it allocates. */
  view(ref: Ref<N>): Uint8Array<SharedArrayBuffer> {
    const start = (ref + this.offset) * 4;
    return u8.subarray(start, start + this.length);
  }
  /** One byte. */
  get(ref: Ref<N>, index: number): number {
    if (index >>> 0 !== index || index >= this.length) outOfBounds(this, index);
    return u8[(ref + this.offset) * 4 + index]!;
  }
  /** Sets one byte. */
  set(ref: Ref<N>, index: number, value: number): void {
    if (index >>> 0 !== index || index >= this.length) outOfBounds(this, index);
    u8[(ref + this.offset) * 4 + index] = value;
  }
}

/** Throws when a lock is held where the thread is about to sleep or switch tasks. */
export function assertNoLocksHeld(where: string): void {
  if (locksHeld !== 0)
    throw new RcuUsageError("ERR_RCU_LOCK_HELD", `${where} with ${locksHeld} lock(s) held`);
}
