/**
 * The chained hash table under RcuHashMap and RcuCache: buckets, growth, and the updater's side.
 *
 * Readers take no lock: they load the table pointer once, then follow one chain with plain loads. Every node has two
 * link words. A table uses one of them (the low bit of the pointer says which); a resize threads all nodes through
 * the other one into new buckets and publishes the new table by one store, so that no node moves, nothing is copied,
 * and readers of the old table find every node on the old chains. The links of the old table may be reused after a
 * grace period: until then the next resize is put off, which costs longer chains and nothing else.
 */

import { allocArray, arrayLength, freeArray } from "./array.ts";
import { kfreeArrayRcu } from "./callback.ts";
import { Collection, checkKind, checkObject, type Handle, kindWord } from "./collection.ts";
import { CorruptionError, HeapFullError } from "./error.ts";
import { gpSeq, gpStamp, requestGp, seqDone } from "./grace-period.ts";
import { lockFree, lockWord, unlockWord } from "./lock.ts";
import { derefWord, i32 } from "./memory.ts";
import type { Ref } from "./ref.ts";
import { alloc, atomic, fixed, free, listNode, locked, spinlock, struct } from "./struct.ts";

const deref = derefWord; // V8 folds a constant of this module, not an imported one.

/** What all threads share of a map; its address is the map's name. */
export const HashTable = struct("rcu_hash_table", {
  /** Buckets, an array whose length is a power of two, plus 0 or 1: the link word that its chains use. */
  table: atomic(),
  /** Kinds of the keys and values, which openers must declare too (collection.ts). */
  kind: fixed(),
  lock: spinlock(),
  count: locked("lock"),
  /** Buckets that a shrinking table keeps. */
  floor: locked("lock"),
  /** Grace period after which the unused link words may be rewritten; -1 means at once. */
  relinkAfter: locked("lock"),
  /** RcuCache: entries that it keeps, and their order, oldest first (under the lock). 0 in a map. */
  capacity: fixed(),
  order: listNode(),
});
export type HashTableRef = Ref<"rcu_hash_table">;

/** Words of a node: two links, the key (or its hash), then what the table keeps. */
export const NODE_KEY = 2;

const TABLE = HashTable.table.offset;
const LOCK = HashTable.lock.offset;
const COUNT = HashTable.count.offset;
const FLOOR = HashTable.floor.offset;
const RELINK = HashTable.relinkAfter.offset;

const MIN_BUCKETS = 4;
const MAX_BUCKETS = 1 << 23;

export abstract class HashCore extends Collection<"rcu_hash_table"> {
  readonly #hasher: ((key: number) => number) | null;

  /** `hasher` spreads the key words of nodes; null where they are hashes or spread well enough. */
  constructor(ref: HashTableRef, hasher: ((key: number) => number) | null) {
    super(HashTable, ref);
    this.#hasher = hasher;
  }

  /** Number of entries; a racy look unless the lock is held. */
  get size(): number {
    return i32[this.ref + COUNT]!;
  }
  /** Number of buckets now. */
  get buckets(): number {
    return arrayLength((i32[this.ref + TABLE]! & ~1) as Ref<"array">);
  }

  /** Word of the bucket of a key in a table with `length` buckets, relative to the table. */
  protected bucketOf(key: number, length: number): number {
    const hash = this.#hasher === null ? key : this.#hasher(key);
    return (Math.imul(hash, GOLDEN) >>> (Math.clz32(length) + 1)) + 1;
  }

  protected acquire(): void {
    this.assertHeap();
    lockFree();
    lockWord(this.ref + LOCK);
  }
  protected release(): void {
    unlockWord(this.ref + LOCK);
  }

  /** Publishes a node at the head of its chain. The lock is held. */
  protected linkNode(node: number): void {
    const tagged = i32[this.ref + TABLE]!;
    const table = tagged & ~1;
    const bucket = table + this.bucketOf(i32[node + NODE_KEY]!, i32[table]!);
    i32[node + (tagged & 1)] = i32[bucket]!;
    Atomics.store(i32, bucket, node); // [A]
    const count = i32[this.ref + COUNT]! + 1;
    i32[this.ref + COUNT] = count;
    if (count > i32[table]!) this.#resize(i32[table]! * 2);
  }

  /** The word that points to the node: a bucket or the link of the node before it. The lock is held. */
  protected pointerTo(node: number): number {
    const tagged = i32[this.ref + TABLE]!;
    const table = tagged & ~1;
    let pointer = table + this.bucketOf(i32[node + NODE_KEY]!, i32[table]!);
    for (;;) {
      const next = i32[pointer]!;
      if (next === node) return pointer;
      if (next === 0)
        throw new CorruptionError(
          "ERR_RCU_CORRUPTION",
          `hash table ${this.ref}: node ${node} is not on its chain`,
        );
      pointer = next + (tagged & 1);
    }
  }

  /** Takes a node off its chain. Readers may stand on it for a grace period. The lock is held. */
  protected unlinkNode(node: number): void {
    const tagged = i32[this.ref + TABLE]!;
    Atomics.store(i32, this.pointerTo(node), i32[node + (tagged & 1)]!); // [A]
    const count = i32[this.ref + COUNT]! - 1;
    i32[this.ref + COUNT] = count;
    const buckets = i32[tagged & ~1]!;
    if (count < buckets >> 3 && buckets > i32[this.ref + FLOOR]!) this.#resize(buckets >> 1);
  }

  /** Puts `fresh` in the place of `old` by one store: a reader finds one of them, never neither. The lock is held. */
  protected replaceNode(old: number, fresh: number): void {
    const link = i32[this.ref + TABLE]! & 1;
    i32[fresh + link] = i32[old + link]!;
    Atomics.store(i32, this.pointerTo(old), fresh); // [A]
  }

  /** Threads all nodes into new buckets. Without memory, or too soon after the last time, the table stays. */
  #resize(buckets: number): void {
    if (buckets > MAX_BUCKETS) return;
    const relinkAfter = i32[this.ref + RELINK]!;
    if (relinkAfter !== -1 && !seqDone(gpSeq(), relinkAfter)) return;
    const fresh = allocArray(buckets);
    if (fresh === 0) return;
    const tagged = i32[this.ref + TABLE]!;
    const from = tagged & ~1;
    const oldLink = tagged & 1;
    const newLink = oldLink ^ 1;
    for (let n = 1; n <= i32[from]!; n++) {
      for (let node = i32[from + n]!; node !== 0; node = i32[node + oldLink]!) {
        const bucket = fresh + this.bucketOf(i32[node + NODE_KEY]!, buckets);
        i32[node + newLink] = i32[bucket]!;
        i32[bucket] = node;
      }
    }
    Atomics.store(i32, this.ref + TABLE, fresh | newLink); // [A]
    const stamp = gpStamp(); // [B]
    i32[this.ref + RELINK] = stamp;
    requestGp(stamp);
    kfreeArrayRcu(from as Ref<"array">);
  }

  /** Calls `visit` for the nodes of the table as it is now. In a read scope, or with the lock held. */
  protected eachNode(visit: (node: number) => void): void {
    const tagged = deref(this.ref + TABLE);
    const table = tagged & ~1;
    const link = tagged & 1;
    const length = i32[table]!;
    for (let n = 1; n <= length; n++)
      for (let node = deref(table + n); node !== 0; ) {
        const next = deref(node + link); // Read first: with the lock held, `visit` may remove the node.
        visit(node);
        node = next;
      }
  }

  /** Takes all nodes out at once. The lock is held. */
  protected drainNodes(visit: (node: number) => void): void {
    const tagged = i32[this.ref + TABLE]!;
    const fresh = allocArray(i32[this.ref + FLOOR]!);
    if (fresh === 0) {
      this.eachNode((node) => {
        this.unlinkNode(node);
        visit(node);
      });
      return;
    }
    Atomics.store(i32, this.ref + TABLE, fresh | (tagged & 1)); // [A]
    i32[this.ref + COUNT] = 0;
    const table = tagged & ~1;
    for (let n = 1; n <= i32[table]!; n++)
      for (let node = i32[table + n]!; node !== 0; node = i32[node + (tagged & 1)]!) visit(node);
    kfreeArrayRcu(table as Ref<"array">);
  }

  /** Frees an empty map that nobody reads any more. */
  protected freeTable(): void {
    freeArray((i32[this.ref + TABLE]! & ~1) as Ref<"array">);
    free(HashTable, this.ref);
  }
}

/** 2^32 over the golden ratio: neighbouring keys land far apart, and the high bits depend on all bits of the key. */
export const GOLDEN = 0x9e3779b1 | 0;

/** Allocates an empty table; 0 when the heap is full. */
export function createHashTable(signature: string, buckets: number): HashTableRef | 0 {
  let size = MIN_BUCKETS;
  while (size < buckets && size < MAX_BUCKETS) size *= 2;
  const table = allocArray(size);
  if (table === 0) return 0;
  const ref = alloc(HashTable);
  if (ref === 0) {
    freeArray(table);
    return 0;
  }
  HashTable.table.init(ref, table);
  HashTable.kind.init(ref, kindWord(signature));
  HashTable.floor.init(ref, size);
  HashTable.relinkAfter.init(ref, -1);
  HashTable.order.init(ref);
  return ref;
}

/** Opens the table at `at`, or makes a new one. Throws HeapFullError, StaleReferenceError, WrongTypeError. */
export function openHashTable(
  at: number | Handle | undefined,
  signature: string,
  buckets: number,
): HashTableRef {
  if (at === undefined) {
    const ref = createHashTable(signature, buckets);
    if (ref === 0) throw new HeapFullError(`new ${signature}`);
    return ref;
  }
  const ref = checkObject(HashTable, at, signature);
  checkKind(HashTable.kind.get(ref), signature, ref);
  return ref;
}
