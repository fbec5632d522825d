/**
 * RcuHashMap: integer keys, integer values (or references), shared by all threads of a heap. `get` takes no lock
 * and does no atomic operation. Updates take the map's lock, one by one or batched behind `lock()`.
 *
 *   const pids = new RcuHashMap();             // one thread makes it, and hands pids.ref to the others,
 *   const same = new RcuHashMap({ at: ref });  // which open it
 *   const scope = rcuReadLock();
 *   const task = pids.get(scope, 42);
 *   rcuReadUnlock();
 */

import { pageCache } from "./buddy.ts";
import { kfreeRcu } from "./callback.ts";
import { HeapFullError, StaleReferenceError } from "./error.ts";
import { createHashTable, GOLDEN, HashCore, HashTable, type HashTableRef } from "./hash-table.ts";
import { HEADER } from "./layout.ts";
import { i32 } from "./memory.ts";
import { PROVE_RCU } from "./prove.ts";
import type { RcuScope, Ref } from "./ref.ts";
import { assertScope } from "./scope.ts";
import { cellIsAlive } from "./slab.ts";
import { alloc, atomic, cacheOf, fixed, free, struct, words } from "./struct.ts";

const Node = struct("rcu_hash_node", {
  links: words(2),
  // Written before publication, constant afterwards.
  key: fixed(),
  // Updated in place by one atomic store: a reader of this key sees the old value or the new one.
  value: atomic(),
});
type NodeRef = Ref<"rcu_hash_node">;

const PROVE = PROVE_RCU;
const TABLE = HashTable.table.offset;
const KEY = Node.key.offset;
const VALUE = Node.value.offset;
const KIND = 1;

/** What an insertion did. */
export const FULL = 0;
export const INSERTED = 1;
export const UPDATED = 2;

export interface RcuHashMapOptions {
  /** Opens the map that another thread made. Default: make a new one. */
  at?: number;
  /** Buckets to begin with, and to keep when the map shrinks. Default 16. */
  buckets?: number;
  /** Spreads keys over 32 bits; the same in every thread. Default: multiplication by the golden ratio only. */
  hasher?: (key: number) => number;
}

export class RcuHashMap<V extends number = number> extends HashCore {
  readonly #guard: RcuHashMapGuard<V>;
  readonly #plain: boolean;

  /** Throws HeapFullError when a new map finds no room; kernel code uses tryCreate. */
  constructor(options: RcuHashMapOptions = {}) {
    super(openTable(options), options.hasher ?? null);
    this.#plain = options.hasher === undefined;
    this.#guard = new RcuHashMapGuard<V>(this);
  }

  /** A new map; null when the heap is full. */
  static tryCreate<V extends number = number>(options: RcuHashMapOptions = {}): RcuHashMap<V> | null {
    const ref = createHashTable(KIND, options.buckets ?? 16);
    return ref === 0 ? null : new RcuHashMap<V>({ ...options, at: ref });
  }

  #find(key: number): NodeRef | 0 {
    const tagged = i32[this.ref + TABLE]!;
    const table = tagged & ~1;
    const link = tagged & 1;
    const bucket = this.#plain
      ? (Math.imul(key, GOLDEN) >>> (Math.clz32(i32[table]!) + 1)) + 1
      : this.bucketOf(key, i32[table]!);
    let node = i32[table + bucket]!;
    while (node !== 0 && i32[node + KEY] !== key) node = i32[node + link]!;
    return node as NodeRef | 0;
  }

  /** The value of a key, or undefined. Lock-free. */
  get(_scope: RcuScope, key: number): V | undefined {
    if (PROVE) assertScope();
    const node = this.#find(key);
    return node === 0 ? undefined : (i32[node + VALUE] as V);
  }

  /** The value of a key, 0 when there is none: for maps of references. Lock-free. */
  lookup(_scope: RcuScope, key: number): V | 0 {
    if (PROVE) assertScope();
    const node = this.#find(key);
    return node === 0 ? 0 : (i32[node + VALUE] as V);
  }

  has(_scope: RcuScope, key: number): boolean {
    return this.#find(key) !== 0;
  }

  /** Visits the entries. Those present throughout are visited once; concurrent changes may or may not be seen. */
  forEach(_scope: RcuScope, visit: (key: number, value: V) => void): void {
    this.eachNode((node) => visit(i32[node + KEY]!, i32[node + VALUE] as V));
  }

  /** Takes the lock for several updates: `const guard = map.lock(); ... guard.unlock()`. */
  lock(): RcuHashMapGuard<V> {
    this.acquire();
    return this.#guard;
  }

  /** Inserts or updates. INSERTED, UPDATED, or FULL when the heap is. */
  tryInsert(key: number, value: V): number {
    this.acquire();
    const done = this.insertLocked(key, value);
    this.release();
    return done;
  }

  /** Inserts or updates; INSERTED or UPDATED. Throws HeapFullError. */
  insert(key: number, value: V): number {
    const done = this.tryInsert(key, value);
    if (done === FULL) throw new HeapFullError(`RcuHashMap.insert(${key})`);
    return done;
  }

  /** Inserts unless the key is there: INSERTED, UPDATED when it was there (and nothing changed), FULL. */
  tryInsertNew(key: number, value: V): number {
    this.acquire();
    const done = this.#find(key) === 0 ? this.insertLocked(key, value) : UPDATED;
    this.release();
    return done;
  }

  /** Removes a key; returns its value, undefined when it was not there. What the value refers to is the caller's. */
  remove(key: number): V | undefined {
    this.acquire();
    const value = this.removeLocked(key);
    this.release();
    return value;
  }

  /** Frees the map and its nodes. No thread may use it any more. */
  destroy(): void {
    this.acquire();
    this.eachNode((node) => free(Node, node as NodeRef));
    this.release();
    this.freeTable();
  }

  /** The lock is held (RcuHashMapGuard). */
  getLocked(key: number): V | undefined {
    const node = this.#find(key);
    return node === 0 ? undefined : (i32[node + VALUE] as V);
  }
  insertLocked(key: number, value: V): number {
    const found = this.#find(key);
    if (found !== 0) {
      Node.value.store(found, value); // [A]
      return UPDATED;
    }
    const node = alloc(Node);
    if (node === 0) return FULL;
    Node.key.init(node, key | 0);
    Node.value.init(node, value);
    this.linkNode(node);
    return INSERTED;
  }
  removeLocked(key: number): V | undefined {
    const node = this.#find(key);
    if (node === 0) return undefined;
    const value = Node.value.peek(node) as V;
    this.unlinkNode(node);
    kfreeRcu(Node, node);
    return value;
  }
  drainLocked(visit?: (key: number, value: V) => void): void {
    this.drainNodes((node) => {
      visit?.(i32[node + KEY]!, i32[node + VALUE] as V);
      kfreeRcu(Node, node as NodeRef);
    });
  }
  unlockMap(): void {
    this.release();
  }
}

function openTable(options: RcuHashMapOptions): HashTableRef {
  if (options.at === undefined) {
    const ref = createHashTable(KIND, options.buckets ?? 16);
    if (ref === 0) throw new HeapFullError("new RcuHashMap");
    return ref;
  }
  return checkTable(options.at, KIND, "RcuHashMap");
}

/** Checks that a reference names a table of that kind in the current heap. */
export function checkTable(at: number, kind: number, what: string): HashTableRef {
  if (
    !Number.isInteger(at) ||
    at < i32[HEADER.FIRST_PAGE]! ||
    at >= i32.length ||
    pageCache(at) !== cacheOf(HashTable)
  )
    throw new StaleReferenceError(
      `${what}: ${at} names no map of this heap: pass the ref of one that lives in it`,
    );
  if (!cellIsAlive(at)) throw new StaleReferenceError(`${what}: the map at ${at} was freed`);
  const ref = at as HashTableRef;
  if (HashTable.kind.peek(ref) !== kind)
    throw new StaleReferenceError(`${what}: the map at ${at} has keys or values of another kind`);
  return ref;
}

/** The map with its lock held: several updates, one acquisition. Readers go on meanwhile, and see each as it is made. */
export class RcuHashMapGuard<V extends number = number> {
  readonly #map: RcuHashMap<V>;
  constructor(map: RcuHashMap<V>) {
    this.#map = map;
  }
  get(key: number): V | undefined {
    return this.#map.getLocked(key);
  }
  /** INSERTED, UPDATED, or FULL. */
  insert(key: number, value: V): number {
    return this.#map.insertLocked(key, value);
  }
  /** The value of the key, inserting what `make` returns when it is absent; undefined when the heap is full. */
  entry(key: number, make: () => V): V | undefined {
    const value = this.#map.getLocked(key);
    if (value !== undefined) return value;
    const made = make();
    return this.#map.insertLocked(key, made) === FULL ? undefined : made;
  }
  remove(key: number): V | undefined {
    return this.#map.removeLocked(key);
  }
  /** Removes everything; `visit` sees each entry once. */
  drain(visit?: (key: number, value: V) => void): void {
    this.#map.drainLocked(visit);
  }
  unlock(): void {
    this.#map.unlockMap();
  }
}
