/**
 * RcuHashMap: a map shared by all threads of a heap. `get` takes no lock and does no atomic operation. Updates take the
 * map's lock, one by one or batched behind `lock()`.
 *
 *   const names = new RcuHashMap<string, Ref<"dentry">>({ key: text(), value: ref(Dentry) });
 *   const same = new RcuHashMap({ key: text(), value: ref(Dentry), at: names.handle() }); // in another thread
 *   const scope = rcuReadLock();
 *   const dentry = names.get(scope, "etc"); // Ref<"dentry"> | undefined
 *   rcuReadUnlock();
 *
 * Without kinds it maps integers to integers (or to references that nobody checks), which is also the fastest.
 */
import { createHashTable, HashTable, NODE_KEY } from "./hash-table.ts";
import { FULL, KeyedTable, NODE_VALUE, signatureOf, type TableOptions, UPDATED } from "./keyed-table.ts";
import type { NeedsKey, NeedsValue, NoOptions, Value } from "./kind.ts";
import { heapIdentity, i32 } from "./memory.ts";
import { STRICT_RCU } from "./prove.ts";
import type { RcuScope } from "./ref.ts";

const NAME = "RcuHashMap";
const TABLE = HashTable.table.offset;

/** How an RcuHashMap is made or opened. */
export type RcuHashMapOptions<K extends Value = number, V extends Value = number> = TableOptions<K, V> &
  NeedsKey<K> &
  NeedsValue<V>;

/** A map shared by all threads of a heap: lock-free reads, updates under its lock. A key that is updated is never missed by a reader. */
export class RcuHashMap<K extends Value = number, V extends Value = number> extends KeyedTable<K, V> {
  readonly #guard: RcuHashMapGuard<K, V>;
  /** Keys and values are the words themselves and nothing is checked: the short way. */
  readonly #short: boolean;
  /** Besides, both are integers. */
  readonly #ints: boolean;

  /** Throws HeapFullError when a new map finds no room; kernel code uses tryCreate. */
  constructor(...none: NoOptions<K | V>);
  constructor(options: RcuHashMapOptions<K, V>);
  constructor(options: TableOptions<K, V> = {}) {
    super(NAME, options);
    this.#short =
      !this.key.owns && this.value.direct && options.hasher === undefined && !this.checked && !STRICT_RCU;
    this.#ints = this.#short && this.key.name === "int" && this.value.name === "int";
    this.#guard = new RcuHashMapGuard<K, V>(this);
  }

  /** A new map; null when the heap is full. */
  static tryCreate<K extends Value = number, V extends Value = number>(
    options?: RcuHashMapOptions<K, V>,
  ): RcuHashMap<K, V> | null {
    const given = (options ?? {}) as RcuHashMapOptions<K, V>;
    const ref = createHashTable(signatureOf(NAME, given), given.buckets ?? 16);
    return ref === 0 ? null : new RcuHashMap<K, V>({ ...given, at: ref });
  }

  /** The node of a key, the short way. */
  #find(key: number): number {
    const tagged = i32[this.ref + TABLE]!;
    const table = tagged & ~1;
    const link = tagged & 1;
    let node = i32[table + (Math.imul(key, this.seed) >>> (Math.clz32(i32[table]!) + 1)) + 1]!;
    while (node !== 0 && i32[node + NODE_KEY] !== key) node = i32[node + link]!;
    return node;
  }

  protected override findNode(key: K, hash?: number): number {
    return this.#short ? this.#find(key as number) : super.findNode(key, hash);
  }

  /** The value of a key, or undefined. Lock-free. */
  override get(scope: RcuScope, key: K): V | undefined {
    if (!this.#short || this.heapId !== heapIdentity) return super.get(scope, key);
    const node = this.#find(key as number);
    return node === 0 ? undefined : (i32[node + NODE_VALUE] as V);
  }

  /** The value of a key, 0 when there is none: for maps of references. Lock-free. */
  lookup(scope: RcuScope, key: K): V | 0 {
    if (!this.#short || this.heapId !== heapIdentity) return this.#lookupLong(scope, key);
    const node = this.#find(key as number);
    return node === 0 ? 0 : (i32[node + NODE_VALUE] as V);
  }

  #lookupLong(scope: RcuScope, key: K): V | 0 {
    return super.get(scope, key) ?? 0;
  }

  override tryInsert(key: K, value: V): number {
    if (!this.#ints || ((key as number) | 0) !== key || ((value as number) | 0) !== value)
      return super.tryInsert(key, value);
    this.acquire();
    const done = this.put(key, key, value);
    this.release();
    return done;
  }

  /** Takes the lock for several updates: `const guard = map.lock(); ... guard.unlock()`. */
  lock(): RcuHashMapGuard<K, V> {
    this.acquire();
    return this.#guard;
  }

  /** Inserts or updates; INSERTED or UPDATED. Throws HeapFullError, WrongTypeError. */
  insert(key: K, value: V): number {
    return this.inserted(key, this.insertOrWait(key, value));
  }

  /** Inserts unless the key is there: INSERTED, UPDATED when it was there (and nothing changed), FULL. */
  tryInsertNew(key: K, value: V): number {
    const guard = this.lock();
    try {
      return this.findNode(key) === 0 ? guard.insert(key, value) : UPDATED;
    } finally {
      guard.unlock();
    }
  }

  /** Removes everything. */
  clear(): void {
    const guard = this.lock();
    try {
      guard.drain();
    } finally {
      guard.unlock();
    }
  }

  /** The lock is held (RcuHashMapGuard). */
  getLocked(key: K): V | undefined {
    this.assertHeld();
    const node = this.findNode(key);
    return node === 0 ? undefined : this.readValue(node);
  }
  /** For RcuHashMapGuard: the lock is held. */
  insertLocked(key: K, value: V): number {
    this.assertHeld();
    const hash = this.key.owns ? this.hashOf(key) : this.key.encode(key);
    const word = this.encodeValue(value);
    if (word === undefined) return FULL;
    const done = this.put(key, hash, word);
    if (done === FULL) this.value.drop(word);
    return done;
  }
  override removeLocked(key: K): V | undefined {
    this.assertHeld();
    return super.removeLocked(key);
  }
  /** For RcuHashMapGuard: the lock is held. */
  drainLocked(visit?: (key: K, value: V) => void): void {
    this.assertHeld();
    this.drainNodes((node) => {
      visit?.(this.readKey(node), this.readValue(node));
      this.retireNode(node);
    });
  }
  /** For RcuHashMapGuard: gives the lock back. */
  unlockMap(): void {
    this.assertHeld();
    this.release();
  }
}

/** The map with its lock held: several updates, one acquisition. Readers go on meanwhile, and see each as it is made. */
export class RcuHashMapGuard<K extends Value = number, V extends Value = number> {
  readonly #map: RcuHashMap<K, V>;
  constructor(map: RcuHashMap<K, V>) {
    this.#map = map;
  }
  /** The value of a key, or undefined. */
  get(key: K): V | undefined {
    return this.#map.getLocked(key);
  }
  /** INSERTED, UPDATED, or FULL. */
  insert(key: K, value: V): number {
    return this.#map.insertLocked(key, value);
  }
  /** The value of the key, inserting what `make` returns when it is absent; undefined when the heap is full. */
  entry(key: K, make: () => V): V | undefined {
    const value = this.#map.getLocked(key);
    if (value !== undefined) return value;
    const made = make();
    return this.#map.insertLocked(key, made) === FULL ? undefined : made;
  }
  /** Removes a key; returns what remove() of the map does. */
  remove(key: K): V | undefined {
    return this.#map.removeLocked(key);
  }
  /** Removes everything; `visit` sees each entry once. */
  drain(visit?: (key: K, value: V) => void): void {
    this.#map.drainLocked(visit);
  }
  /** Gives the lock back: the guard may not be used any more. */
  unlock(): void {
    this.#map.unlockMap();
  }
}
