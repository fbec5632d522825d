/**
 * The chained hash table under RcuHashMap and RcuCache: buckets, growth, and the updater's side.
 *
 * Readers take no lock: they load the table pointer once, then follow one chain with plain loads. A resize leaves all
 * that they may stand on as it is, and publishes the new table by one store. Every node has two link words, and a table
 * uses one of them: the low bit of its pointer says which. There are two ways to resize.
 *
 * - _Relinking_ threads all nodes through their other link word into new buckets. No node moves. The other words must be
 *   free: readers of the table before the last one may follow them until a grace period is over.
 * - _Copying_ makes new nodes with the same words, and frees the old ones after a grace period. It needs no grace period
 *   before it, so a table grows within one turn too. The other words of the new nodes are free at once.
 */

import { arrayLength, freeArray, tryAllocArray } from "./array.ts";
import { kfreeArrayRcu, kfreeCellRcu } from "./callback.ts";
import { Collection, type Handle, kindWord } from "./collection.ts";
import { CorruptionError, RcuUsageError } from "./error.ts";
import { gpSeq, gpStamp, requestGp, seqDone } from "./grace-period.ts";
import * as layout from "./layout.ts";
import { holdsWord, lockFree, lockWord, unlockWord } from "./lock.ts";
import { INNERMOST } from "./lock-order.ts";
import { derefWord, i32 } from "./memory.ts";
import { openObject } from "./open.ts";
import type { Ref } from "./ref.ts";
import {
  atomic,
  fixed,
  free,
  listNode,
  locked,
  type StructType,
  spinlock,
  struct,
  TYPE,
  tryAlloc,
} from "./struct.ts";

const { CELL_HEADER, HEADER, PAGE_SHIFT } = layout;

const deref = derefWord; // V8 folds a constant of this module, not an imported one.

/** What all threads share of a map; its address is the map's name. */
export const HashTable = struct("rcu_hash_table", {
  /** Buckets, an array whose length is a power of two, plus 0 or 1: the link word that its chains use. */
  table: atomic(),
  /** Kinds of the keys and values, which openers must declare too (collection.ts). */
  kind: fixed(),
  lock: spinlock(INNERMOST),
  count: locked("lock"),
  /** Buckets that a shrinking table keeps. */
  floor: locked("lock"),
  /** Grace period after which the unused link words may be rewritten; -1 means at once. */
  relinkAfter: locked("lock"),
  /** Entries when a resize found no memory: it is not tried again before their number has changed by an eighth. -1: none failed. */
  failedAt: locked("lock"),
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
const FAILED = HashTable.failedAt.offset;

const MIN_BUCKETS = 4;
const MAX_BUCKETS = 1 << 23;

export abstract class HashCore extends Collection<"rcu_hash_table"> {
  readonly #hasher: ((key: number) => number) | null;
  /** Struct type of the nodes. */
  protected readonly node: StructType;
  /** Hashes are multiplied by it: the heap's (hash-seed.ts). */
  protected readonly seed: number;

  /** `hasher` spreads the key words of nodes; null where they are hashes or spread well enough. */
  constructor(ref: HashTableRef, node: StructType, hasher: ((key: number) => number) | null) {
    super(HashTable, ref);
    this.node = node;
    this.#hasher = hasher;
    this.seed = i32[HEADER.HASH_SEED]!;
  }

  /** Number of entries; a racy look unless the lock is held. */
  get size(): number {
    this.assertHeap();
    return i32[this.ref + COUNT]!;
  }
  /** Number of buckets now. */
  get buckets(): number {
    this.assertHeap();
    return arrayLength((i32[this.ref + TABLE]! & ~1) as Ref<"array">);
  }

  /** Word of the bucket of a key in a table with `length` buckets, relative to the table. */
  protected bucketOf(key: number, length: number): number {
    const hash = this.#hasher === null ? key : this.#hasher(key);
    return (Math.imul(hash, this.seed) >>> (Math.clz32(length) + 1)) + 1;
  }

  protected acquire(): void {
    this.assertHeap();
    lockFree();
    lockWord(this.ref + LOCK);
  }
  protected release(): void {
    unlockWord(this.ref + LOCK);
  }
  /** For guards: this thread has the lock of the table, in the heap that it uses now. */
  protected assertHeld(): void {
    this.assertHeap();
    if (!holdsWord(this.ref + LOCK))
      throw new RcuUsageError(
        "ERR_RCU_LOCK_PAIRING",
        `${this.constructor.name}: its guard is used after unlock(), or on another thread: call lock() again`,
      );
  }

  /** Publishes a node at the head of its chain. The lock is held; `fit` comes when nobody has the node's address any more. */
  protected linkNode(node: number): void {
    const tagged = i32[this.ref + TABLE]!;
    const table = tagged & ~1;
    const bucket = table + this.bucketOf(i32[node + NODE_KEY]!, i32[table]!);
    i32[node + (tagged & 1)] = i32[bucket]!;
    Atomics.store(i32, bucket, node); // [A]
    i32[this.ref + COUNT] = i32[this.ref + COUNT]! + 1;
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
    i32[this.ref + COUNT] = i32[this.ref + COUNT]! - 1;
  }

  /** Puts `fresh` in the place of `old` by one store: a reader finds one of them, never neither. The lock is held. */
  protected replaceNode(old: number, fresh: number): void {
    const link = i32[this.ref + TABLE]! & 1;
    i32[fresh + link] = i32[old + link]!;
    Atomics.store(i32, this.pointerTo(old), fresh); // [A]
  }

  /** After entries came or went: the table grows or shrinks to what fits. The lock is held, and nodes may move. */
  protected fit(): void {
    const count = i32[this.ref + COUNT]!;
    const buckets = i32[i32[this.ref + TABLE]! & ~1]!;
    if (count > buckets || (count < buckets >> 3 && buckets > i32[this.ref + FLOOR]!))
      this.#resize(count, buckets);
  }

  /** Without memory the table stays as it is: chains are longer, and nothing else. */
  #resize(count: number, buckets: number): void {
    const failedAt = i32[this.ref + FAILED]!;
    if (failedAt !== -1 && Math.abs(count - failedAt) <= failedAt >> 3) return;
    const relinkAfter = i32[this.ref + RELINK]!;
    const relinks = relinkAfter === -1 || seqDone(gpSeq(), relinkAfter);
    let size = i32[this.ref + FLOOR]!;
    // With room for as many again, so that the next one is far off; copying costs more, so it goes twice as far.
    const room = count > buckets ? (relinks ? count : 2 * count) : 2 * count;
    while (size < room && size < MAX_BUCKETS) size *= 2;
    if (size === buckets) return;
    const done = relinks ? this.#relink(size) : this.#copy(size, count);
    i32[this.ref + FAILED] = done ? -1 : count;
  }

  /** Threads all nodes into new buckets through the links that nobody follows. */
  #relink(buckets: number): boolean {
    const fresh = tryAllocArray(buckets);
    if (fresh === 0) return false;
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
    return true;
  }

  /** Puts copies of all nodes into new buckets. What the nodes own goes with the copies; the old nodes are freed later. */
  #copy(buckets: number, count: number): boolean {
    const words = this.node[TYPE].words;
    const left = (i32[HEADER.PAGES]! - i32[HEADER.PAGES_USED]!) << PAGE_SHIFT;
    // Slabs that it took and gave back would be its type's for a while: not from the last memory that others may need.
    if (count * (words + CELL_HEADER + 1) + buckets > left >> 1) return false;
    const fresh = tryAllocArray(buckets);
    if (fresh === 0) return false;
    const tagged = i32[this.ref + TABLE]!;
    const from = tagged & ~1;
    const link = tagged & 1;
    for (let n = 1; n <= i32[from]!; n++)
      for (let node = i32[from + n]!; node !== 0; node = i32[node + link]!) {
        const copy = tryAlloc(this.node);
        if (copy === 0) {
          this.#dropCopies(fresh);
          return false;
        }
        for (let word = NODE_KEY; word < words; word++) i32[copy + word] = i32[node + word]!;
        const bucket = fresh + this.bucketOf(i32[node + NODE_KEY]!, buckets);
        i32[copy] = i32[bucket]!;
        i32[bucket] = copy;
        this.nodeCopied(node, copy);
      }
    Atomics.store(i32, this.ref + TABLE, fresh); // [A]
    i32[this.ref + RELINK] = -1; // Nobody has ever followed the other link of a copy.
    this.copiesPublished();
    for (let n = 1; n <= i32[from]!; n++)
      for (let node = i32[from + n]!; node !== 0; ) {
        const next = i32[node + link]!; // Read first: others may free the node, if this thread is idle.
        kfreeCellRcu(node); // [B]
        node = next;
      }
    kfreeArrayRcu(from as Ref<"array">);
    return true;
  }

  /** There was no room for all of them. */
  #dropCopies(fresh: Ref<"array">): void {
    for (let n = 1; n <= i32[fresh]!; n++)
      for (let node = i32[fresh + n]!; node !== 0; ) {
        const next = i32[node]!;
        free(this.node, node as Ref<string>);
        node = next;
      }
    freeArray(fresh);
    this.copiesDropped();
  }

  /** A node has a copy, which nobody can reach yet. */
  protected nodeCopied(_node: number, _copy: number): void {}
  /** The copies stand for the nodes from now on: for tables whose nodes are on other lists too. The lock is held. */
  protected copiesPublished(): void {}
  /** The copies are gone; the nodes stay. */
  protected copiesDropped(): void {}

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

  /** A function that answers the nodes of the table as it is now, one at each call, then 0. In a read scope. */
  protected nodeWalk(): () => number {
    const tagged = deref(this.ref + TABLE);
    const table = tagged & ~1;
    const link = tagged & 1;
    const length = i32[table]!;
    let bucket = 0;
    let next = 0;
    return () => {
      while (next === 0) {
        if (bucket === length) return 0;
        next = deref(table + ++bucket);
      }
      const node = next;
      next = deref(node + link);
      return node;
    };
  }

  /** Takes all nodes out at once. The lock is held. */
  protected drainNodes(visit: (node: number) => void): void {
    const tagged = i32[this.ref + TABLE]!;
    const fresh = tryAllocArray(i32[this.ref + FLOOR]!);
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

/** Allocates an empty table; 0 when the heap is full. */
export function createHashTable(signature: string, buckets: number): HashTableRef | 0 {
  let size = MIN_BUCKETS;
  while (size < buckets && size < MAX_BUCKETS) size *= 2;
  const table = tryAllocArray(size);
  if (table === 0) return 0;
  const ref = tryAlloc(HashTable);
  if (ref === 0) {
    freeArray(table);
    return 0;
  }
  HashTable.table.init(ref, table);
  HashTable.kind.init(ref, kindWord(signature));
  HashTable.floor.init(ref, size);
  HashTable.relinkAfter.init(ref, -1);
  HashTable.failedAt.init(ref, -1);
  HashTable.order.init(ref);
  return ref;
}

/** Opens the table at `at`, or makes a new one. Throws HeapFullError, StaleReferenceError, WrongTypeError. */
export const openHashTable = (
  at: number | Handle | undefined,
  signature: string,
  buckets: number,
): HashTableRef =>
  openObject(HashTable, HashTable.kind.offset, at, signature, () => createHashTable(signature, buckets));
