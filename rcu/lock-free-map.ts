/**
 * RcuLockFreeMap: a map shared by all threads of a heap, whose updates do not wait for each other either. It may hold a key more than once.
 * Look-ups take no lock and do no atomic operation; updates are compare-and-swaps (split-list.ts).
 *
 *   const sessions = new RcuLockFreeMap<string, number>({ key: text() });
 *   const same = new RcuLockFreeMap({ key: text(), at: sessions.handle() }); // in another thread
 *   sessions.addUnique("anna", 1); // undefined: it was not there
 *
 * Where RcuHashMap changes a value in place, this one puts a new entry in the place of the old one, so it needs memory for each update. An update
 * that runs a function of the caller's may run it more than once. (liburcu: cds_lfht.)
 */
import { makeRoom } from "./callback.ts";
import { HeapFullError, WrongTypeError } from "./error.ts";
import { signatureOf, type TableOptions } from "./keyed-table.ts";
import { type NeedsKey, type NeedsValue, type NoOptions, show, type Value } from "./kind.ts";
import { LockFreeReads } from "./lock-free-reads.ts";
import { FULL, INSERTED, UPDATED } from "./outcome.ts";
import { FIRST_ORDER, KEY, PLACE } from "./split-list.ts";
import { createSplitTable } from "./split-table.ts";
import { beginUpdate, endUpdate } from "./update-scope.ts";

const NAME = "RcuLockFreeMap";
/** An update found no entry that it was to change. */
const ABSENT = -1;
/** Entries that clear() removes in one scope. */
const BATCH = 1024;

/** How an RcuLockFreeMap is made or opened. */
export type RcuLockFreeMapOptions<K extends Value = number, V extends Value = number> = TableOptions<K, V> &
  NeedsKey<K> &
  NeedsValue<V>;

/** A map shared by all threads of a heap: lock-free reads, lock-free updates, duplicates of keys. A key that is updated is never missed by a reader. */
export class RcuLockFreeMap<K extends Value = number, V extends Value = number> extends LockFreeReads<K, V> {
  /** Throws HeapFullError when a new map finds no room; kernel code uses tryCreate. */
  constructor(...none: NoOptions<K | V>);
  constructor(options: RcuLockFreeMapOptions<K, V>);
  constructor(options: TableOptions<K, V> = {}) {
    super(NAME, options);
  }

  /** A new map; null when the heap is full. */
  static tryCreate<K extends Value = number, V extends Value = number>(
    options?: RcuLockFreeMapOptions<K, V>,
  ): RcuLockFreeMap<K, V> | null {
    const given = (options ?? {}) as RcuLockFreeMapOptions<K, V>;
    const ref = createSplitTable(signatureOf(NAME, given), given.buckets ?? 16);
    return ref === 0 ? null : new RcuLockFreeMap<K, V>({ ...given, at: ref });
  }

  /** What the last update found under its key. */
  #found: V | undefined;

  /** Inserts or replaces: INSERTED, UPDATED, or FULL when the heap is: nothing was changed then. Throws WrongTypeError. */
  tryInsert(key: K, value: V): number {
    return this.#put(key, value, false);
  }
  #put(key: K, value: V, remember: boolean): number {
    this.assertHeap();
    const order = this.orderOf(key);
    const node = this.make(key, order, value);
    if (node === 0) return FULL;
    const idle = beginUpdate();
    try {
      for (;;) {
        const old = this.seek(order, key, KEY);
        if (old === 0) {
          if (!this.linkAt(node)) continue;
          this.counted(1);
          return INSERTED;
        }
        if (!this.supersede(old, node)) continue;
        if (remember) this.#found = this.readValue(old);
        this.unlink(old, order);
        return UPDATED;
      }
    } finally {
      endUpdate(idle);
    }
  }
  /** Inserts or replaces; INSERTED or UPDATED. Throws HeapFullError, WrongTypeError: nothing was changed then. */
  insert(key: K, value: V): number {
    const done = this.#put(key, value, false);
    return done === FULL ? this.#again("insert", key, () => this.#put(key, value, false)) : done;
  }
  /**
   * Inserts or replaces, and returns the value that the key had, undefined when it had none. An object that the map owned is good in the scope
   * only. Throws HeapFullError, WrongTypeError.
   */
  exchange(key: K, value: V): V | undefined {
    return this.#retried("exchange", key, () => this.#put(key, value, true));
  }

  /** Inserts unless the key is there: INSERTED, UPDATED when it was there (and nothing changed), FULL. */
  tryInsertNew(key: K, value: V): number {
    this.assertHeap();
    const order = this.orderOf(key);
    const idle = beginUpdate();
    let node = 0;
    try {
      for (;;) {
        const there = this.seek(order, key, KEY);
        if (there !== 0) {
          if (node !== 0) this.drop(node);
          this.#found = this.readValue(there);
          return UPDATED;
        }
        if (node === 0) node = this.make(key, order, value);
        if (node === 0) return FULL;
        if (!this.linkAt(node)) continue;
        this.counted(1);
        return INSERTED;
      }
    } finally {
      endUpdate(idle);
    }
  }
  /** Inserts unless the key is there: the value that is there, undefined when there was none. Throws HeapFullError, WrongTypeError. */
  addUnique(key: K, value: V): V | undefined {
    return this.#retried("addUnique", key, () => this.tryInsertNew(key, value));
  }

  /** Adds an entry, whether or not the key is there: INSERTED, or FULL. */
  tryAddDuplicate(key: K, value: V): number {
    this.assertHeap();
    const order = this.orderOf(key);
    const node = this.make(key, order, value);
    if (node === 0) return FULL;
    const idle = beginUpdate();
    try {
      do this.seek(order, key, PLACE);
      while (!this.linkAt(node));
      this.counted(1);
      return INSERTED;
    } finally {
      endUpdate(idle);
    }
  }
  /** Adds an entry, whether or not the key is there, behind those of the key (`duplicates`). Throws HeapFullError, WrongTypeError. */
  addDuplicate(key: K, value: V): void {
    if (this.tryAddDuplicate(key, value) === FULL)
      this.#again("addDuplicate", key, () => this.tryAddDuplicate(key, value));
  }

  /** Replaces the value of a key that is there; returns the old one, undefined when it is not. Throws HeapFullError, WrongTypeError. */
  replace(key: K, value: V): V | undefined {
    let before: V | undefined;
    this.update(key, (old) => {
      before = old;
      return value;
    });
    return before;
  }
  /**
   * Replaces the value of a key by change(value), unless somebody else changes it meanwhile: then `change` runs again, on the value that is there.
   * Returns the new value, undefined when the key is not there. Throws HeapFullError, WrongTypeError.
   */
  update(key: K, change: (value: V) => V): V | undefined {
    return this.#retried("update", key, () => this.#change(key, null, change));
  }
  /** Replaces the first value of the key that `test` accepts: whether there was one. Throws HeapFullError, WrongTypeError. */
  replaceIf(key: K, test: (value: V) => boolean, value: V): boolean {
    return this.#retried("replaceIf", key, () => this.#change(key, test, () => value)) !== undefined;
  }
  /** UPDATED, ABSENT or FULL. */
  #change(key: K, test: ((value: V) => boolean) | null, change: (value: V) => V): number {
    this.assertHeap();
    const order = this.orderOf(key);
    const accept = test === null ? null : (node: number): boolean => test(this.readValue(node));
    this.#found = undefined;
    const idle = beginUpdate();
    try {
      for (;;) {
        const old = this.seek(order, key, KEY, accept);
        if (old === 0) return ABSENT;
        const value = change(this.readValue(old));
        const node = this.make(key, order, value);
        if (node === 0) return FULL;
        if (this.supersede(old, node)) {
          this.#found = value;
          this.unlink(old, order);
          return UPDATED;
        }
        this.drop(node);
      }
    } finally {
      endUpdate(idle);
    }
  }

  /**
   * Changes an object that the map owns (`own(Struct)`) in a copy: `change` gets the copy, which then takes the object's place in one step,
   * unless somebody else has replaced it: then it begins again with a copy of what is there. False when the key is not there. Throws
   * HeapFullError; WrongTypeError for other kinds, and for structs with locks or list nodes. When `change` throws, nothing has changed.
   */
  updateCopy(key: K, change: (copy: V) => void): boolean {
    return this.#retried("updateCopy", key, () => this.#changeCopy(key, change)) !== undefined;
  }
  #changeCopy(key: K, change: (copy: V) => void): number {
    this.assertHeap();
    const { copy, discard } = this.value;
    if (copy === undefined || discard === undefined)
      throw new WrongTypeError(
        `${this.signature}.updateCopy: its values are no objects that it owns: use update()`,
      );
    const order = this.orderOf(key);
    this.#found = undefined;
    const idle = beginUpdate();
    let word = 0;
    try {
      for (;;) {
        const old = this.seek(order, key, KEY);
        if (old === 0) return ABSENT;
        word = copy(this.wordOf(old));
        if (word === 0) return FULL;
        const value = this.value.decode(word);
        change(value);
        const node = this.make(key, order, value);
        if (node === 0) return FULL;
        if (this.supersede(old, node)) {
          word = 0;
          this.#found = value;
          this.unlink(old, order);
          return UPDATED;
        }
        this.drop(node);
        discard(word);
        word = 0;
      }
    } finally {
      if (word !== 0) discard(word);
      endUpdate(idle);
    }
  }

  /** Removes a key; of several, the oldest. Returns its value, undefined when it was not there. What the value refers to is the caller's. */
  remove(key: K): V | undefined {
    return this.#remove(key, null, true) ? this.#found : undefined;
  }
  /** Removes the first entry of the key whose value `test` accepts, and returns the value; undefined when there is none. */
  removeIf(key: K, test: (value: V) => boolean): V | undefined {
    return this.#remove(key, (node) => test(this.readValue(node)), true) ? this.#found : undefined;
  }
  /** Removes a key, of several the oldest, and says whether it was there. */
  delete(key: K): boolean {
    return this.#remove(key, null, false);
  }
  /** Removes entries of a key, one by one, until none is left; says how many. */
  removeAll(key: K): number {
    let removed = 0;
    while (this.#remove(key, null, false)) removed++;
    return removed;
  }
  #remove(key: K, accept: ((node: number) => boolean) | null, remember: boolean): boolean {
    this.assertHeap();
    const order = this.orderOf(key);
    const idle = beginUpdate();
    try {
      let node: number;
      do {
        node = this.seek(order, key, KEY, accept);
        if (node === 0) return false;
      } while (!this.mark(node));
      if (remember) this.#found = this.readValue(node);
      this.unlink(node, order);
      this.counted(-1);
      return true;
    } finally {
      endUpdate(idle);
    }
  }

  /** Removes the entries that are there when it begins; what others insert meanwhile may stay. */
  clear(): void {
    this.assertHeap();
    for (let order: number | null = FIRST_ORDER; order !== null; ) {
      const idle = beginUpdate();
      try {
        order = this.takeFrom(order, BATCH);
      } finally {
        endUpdate(idle);
      }
    }
  }

  /**
   * Keeps at least so many buckets from now on, and no more than the entries need beyond that. True when that is so already; false when it goes on:
   * links or unlinks buckets with the updates that come, or when this is called again. A grace period has to go by before a table
   * shrinks, which this does not wait for: `while (!map.resize(64)) await domain.synchronize()`. Throws HeapFullError.
   */
  resize(buckets: number): boolean {
    this.assertHeap();
    const idle = beginUpdate();
    try {
      return this.resizeTo(buckets);
    } finally {
      endUpdate(idle);
    }
  }

  /** What `attempt` found under the key, when it updated; tried again after a wait, where the heap was full and that helps. */
  #retried(what: string, key: K, attempt: () => number): V | undefined {
    this.#found = undefined;
    const done = attempt() || this.#again(what, key, attempt);
    return done === UPDATED ? this.#found : undefined;
  }
  #again(what: string, key: K, attempt: () => number): number {
    const done = makeRoom() ? attempt() : FULL;
    if (done === FULL) throw new HeapFullError(`${this.signature}.${what}(${show(key)})`);
    return done;
  }
}
