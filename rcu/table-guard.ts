/**
 * The lock of a map or a cache, held for several updates: `const guard = map.lock(); ... guard.unlock()`. Readers go on meanwhile, and
 * see each update as it is made.
 */
import { HeapFullError } from "./error.ts";
import { show, type Value } from "./kind.ts";
import { FULL } from "./outcome.ts";

/** What a guard needs of its table: every call checks that this thread has the lock. */
export interface LockedTable<K extends Value, V extends Value> {
  readonly signature: string;
  readonly size: number;
  getLocked(key: K): V | undefined;
  hasLocked(key: K): boolean;
  insertLocked(key: K, value: V): number;
  updateCopyLocked(key: K, change: (copy: V) => void): boolean;
  removeLocked(key: K): V | undefined;
  deleteLocked(key: K): boolean;
  drainLocked(visit?: (key: K, value: V) => void): void;
  unlockTable(): void;
}

/**
 * A map or a cache with its lock held. Every method throws RcuUsageError after unlock(), and on other threads. Callbacks run with the lock
 * held: they may use this guard, and must not wait.
 */
export class RcuTableGuard<K extends Value = number, V extends Value = number> {
  readonly #table: LockedTable<K, V>;
  constructor(table: LockedTable<K, V>) {
    this.#table = table;
  }
  /** Number of entries. */
  get size(): number {
    return this.#table.size;
  }
  /** The value of a key, or undefined. */
  get(key: K): V | undefined {
    return this.#table.getLocked(key);
  }
  /** Whether the key is there. */
  has(key: K): boolean {
    return this.#table.hasLocked(key);
  }
  /** INSERTED, UPDATED, EVICTED (caches), or FULL. */
  insert(key: K, value: V): number {
    return this.#table.insertLocked(key, value);
  }
  /** Inserts or updates, and returns the value that the key had, if any. Throws HeapFullError. */
  exchange(key: K, value: V): V | undefined {
    const old = this.#table.getLocked(key);
    this.#put(key, value);
    return old;
  }
  /** Replaces the value of a key by change(value); returns the new one, undefined when the key is not there. Throws HeapFullError. */
  update(key: K, change: (value: V) => V): V | undefined {
    const old = this.#table.getLocked(key);
    if (old === undefined) return undefined;
    const value = change(old);
    this.#put(key, value);
    return value;
  }
  /**
   * Changes an object that the table owns (`own(Struct)`) in a copy: `change` gets the copy, which then takes the object's place in one
   * step, so that readers see all of the change or nothing. False when the key is not there. Throws HeapFullError; WrongTypeError for
   * other kinds, and for structs with locks or list nodes. When `change` throws, nothing has changed.
   */
  updateCopy(key: K, change: (copy: V) => void): boolean {
    return this.#table.updateCopyLocked(key, change);
  }
  /** What is there under the key, to be looked at and changed in steps. */
  entry(key: K): RcuEntry<K, V>;
  /** The value of the key, inserting what `make` returns when it is absent; undefined when the heap is full. */
  entry(key: K, make: () => V): V | undefined;
  entry(key: K, make?: () => V): RcuEntry<K, V> | V | undefined {
    if (make === undefined) return new RcuEntry(this, key);
    const value = this.#table.getLocked(key);
    if (value !== undefined) return value;
    const made = make();
    return this.#table.insertLocked(key, made) === FULL ? undefined : made;
  }
  /** Removes a key; returns what remove() of the table does. */
  remove(key: K): V | undefined {
    return this.#table.removeLocked(key);
  }
  /** Removes a key and says whether it was there. */
  delete(key: K): boolean {
    return this.#table.deleteLocked(key);
  }
  /** Removes everything; `visit` sees each entry once. */
  drain(visit?: (key: K, value: V) => void): void {
    this.#table.drainLocked(visit);
  }
  /** Gives the lock back: the guard may not be used any more. */
  unlock(): void {
    this.#table.unlockTable();
  }

  #put(key: K, value: V): void {
    if (this.#table.insertLocked(key, value) === FULL)
      throw new HeapFullError(`${this.#table.signature}: ${show(key)}`);
  }
}

/** A key of a table whose lock is held, there or not. Good until the guard's unlock(): then its methods throw RcuUsageError. */
export class RcuEntry<K extends Value = number, V extends Value = number> {
  readonly #guard: RcuTableGuard<K, V>;
  /** The key that was asked for. */
  readonly key: K;
  constructor(guard: RcuTableGuard<K, V>, key: K) {
    this.#guard = guard;
    this.key = key;
  }
  /** Whether the key is there now. */
  get present(): boolean {
    return this.#guard.has(this.key);
  }
  /** Its value now, or undefined. */
  get value(): V | undefined {
    return this.#guard.get(this.key);
  }
  /** The value; when the key is not there, `value` is inserted first. Throws HeapFullError. */
  orInsert(value: V): V {
    return this.orInsertWith(() => value);
  }
  /** The same, with a value that is made only when it is needed. */
  orInsertWith(make: () => V): V {
    return this.value ?? this.set(make());
  }
  /** Inserts or updates; returns the value. Throws HeapFullError. */
  set(value: V): V {
    this.#guard.exchange(this.key, value);
    return value;
  }
  /** Replaces the value by change(value), when the key is there; the entry again, for `orInsert`. Throws HeapFullError. */
  andModify(change: (value: V) => V): this {
    this.#guard.update(this.key, change);
    return this;
  }
  /** Removes the key; its value, undefined when it was not there. */
  remove(): V | undefined {
    return this.#guard.remove(this.key);
  }
}
