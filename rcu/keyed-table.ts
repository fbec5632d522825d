/**
 * A hash table whose keys and values are of declared kinds: the nodes, the lookup and the updates that RcuHashMap and
 * RcuCache share. A node keeps its value in one word, which an update exchanges in place: a reader that looks for a key
 * while it is being updated finds the old value or the new one, never none.
 */
import { kfreeCellRcu, makeRoom } from "./callback.ts";
import type { Handle } from "./collection.ts";
import { HeapFullError } from "./error.ts";
import { HashCore, HashTable, NODE_KEY, openHashTable } from "./hash-table.ts";
import { int, type KeyKind, type Kind, kindOr, show, type Value } from "./kind.ts";
import { derefWord, i32 } from "./memory.ts";
import type { RcuScope, Ref } from "./ref.ts";
import { atomic, fixed, free, listNode, type StructType, struct, tryAlloc, words } from "./struct.ts";

const deref = derefWord; // V8 folds a constant of this module, not an imported one.

/** Words 0 to 3 of every node. Links first: hash-table.ts. */
const common = {
  links: words(2),
  /** An integer or reference that is the key, or the hash of the key. Constant after publication. */
  key: fixed(),
  /** The value's word (kind.ts). Updated in place by one atomic exchange. */
  value: atomic(),
};
const Node = struct("rcu_hash_node", common);
const LongNode = struct("rcu_hash_long_node", { ...common, bytes: fixed() });
/** A node of a cache: also in a list, oldest first. */
export const CacheNode = struct("rcu_cache_node", { ...common, bytes: fixed(), order: listNode() });

/** Offsets that all nodes have in common. */
export const NODE_VALUE = Node.value.offset;
const BYTES = LongNode.bytes.offset;
const TABLE = HashTable.table.offset;

/** What an insertion did. */
export const FULL = 0;
/** The key was not there. */
export const INSERTED = 1;
/** The key was there: its value was replaced. */
export const UPDATED = 2;
/** The insertion made room by dropping the oldest entry. */
export const EVICTED = 3;

/** How a map or a cache is made or opened. */
export interface TableOptions<K, V> {
  /** How keys are kept. Default: 32-bit integers. */
  readonly key?: KeyKind<K>;
  /** How values are kept. Default: 32-bit integers. */
  readonly value?: Kind<V>;
  /** Opens the collection that another thread made with the same kinds. Default: make a new one. */
  readonly at?: number | Handle;
  /** Buckets to begin with, and to keep when the table shrinks. Default 16. */
  readonly buckets?: number;
  /**
   * Spreads keys over 32 bits; the same function in every thread. Default: the integers themselves, FNV-1a for strings and bytes.
   * Both are seeded by the heap, so that nobody who chooses keys can choose their buckets.
   */
  readonly hasher?: (key: K) => number;
}

/** "RcuHashMap<text, ref dentry>": what openers of the same collection must declare. */
export const signatureOf = <K, V>(what: string, options: TableOptions<K, V>): string =>
  `${what}<${options.key?.name ?? "int"}, ${options.value?.name ?? "int"}>`;

export abstract class KeyedTable<K extends Value, V extends Value> extends HashCore {
  protected readonly key: KeyKind<K>;
  protected readonly value: Kind<V>;
  /** "RcuHashMap<text, int>", for messages. */
  readonly signature: string;
  readonly #hasher: ((key: K) => number) | null;

  constructor(what: string, options: TableOptions<K, V>, node?: StructType) {
    const key = options.key ?? (int() as unknown as KeyKind<K>);
    const signature = signatureOf(what, options);
    const ref = openHashTable(options.at, signature, options.buckets ?? 16);
    const hasher = options.hasher ?? null;
    super(
      ref,
      node ?? (key.owns ? LongNode : Node),
      key.owns ? null : (hasher as ((key: number) => number) | null),
    );
    this.key = key;
    this.value = kindOr(options.value);
    this.signature = signature;
    this.#hasher = key.owns ? hasher : null;
  }

  /** What a node keeps in its key word. */
  protected hashOf(key: K): number {
    return this.#hasher === null ? this.key.hash(key, this.seed) : this.#hasher(key) | 0;
  }

  /** The node of a key, 0 when there is none. In a read scope, or with the lock held. */
  protected findNode(key: K, hash = this.hashOf(key)): number {
    const { owns } = this.key;
    const tagged = deref(this.ref + TABLE);
    const table = tagged & ~1;
    const link = tagged & 1;
    let node = deref(table + this.bucketOf(hash, i32[table]!));
    while (node !== 0) {
      if (i32[node + NODE_KEY] === hash && (!owns || this.key.equals(i32[node + BYTES]!, key))) break;
      node = deref(node + link);
    }
    return node;
  }

  protected readKey(node: number): K {
    return this.key.decode(i32[node + (this.key.owns ? BYTES : NODE_KEY)]!);
  }
  protected readValue(node: number): V {
    return this.value.decode(deref(node + NODE_VALUE));
  }

  /** The value of a key, or undefined. Lock-free. */
  get(_scope: RcuScope, key: K): V | undefined {
    this.beforeRead();
    const node = this.findNode(key);
    return node === 0 ? undefined : this.readValue(node);
  }

  /** Whether the key is there. Lock-free. */
  has(_scope: RcuScope, key: K): boolean {
    this.beforeRead();
    return this.findNode(key) !== 0;
  }

  /** Visits the entries. Those present throughout are visited once; concurrent changes may or may not be seen. */
  forEach(_scope: RcuScope, visit: (key: K, value: V) => void): void {
    this.beforeRead();
    this.eachNode((node) => visit(this.readKey(node), this.readValue(node)));
  }

  /** Inserts or updates: INSERTED, UPDATED, EVICTED (caches), or FULL when the heap is: nothing was changed then. */
  tryInsert(key: K, value: V): number {
    this.assertHeap();
    const hash = this.key.owns ? this.hashOf(key) : this.key.encode(key);
    const word = this.encodeValue(value);
    if (word === undefined) return FULL;
    let done = FULL;
    this.acquire();
    try {
      done = this.put(key, hash, word);
    } finally {
      this.release();
      if (done === FULL) this.value.drop(word);
    }
    return done;
  }

  /** tryInsert, which waits for what is to be freed when the heap is full. */
  protected insertOrWait(key: K, value: V): number {
    const done = this.tryInsert(key, value);
    return done === FULL && makeRoom() ? this.tryInsert(key, value) : done;
  }

  /** For insertions that throw. */
  protected inserted(key: K, done: number): number {
    if (done === FULL) throw new HeapFullError(`${this.signature}.insert(${show(key)})`);
    return done;
  }

  /** The value's word; undefined when the heap is full. Throws WrongTypeError. */
  protected encodeValue(value: V): number | undefined {
    const word = this.value.encode(value);
    return word === 0 && this.value.owns ? undefined : word;
  }

  /** Inserts or updates. The lock is held; on FULL the word is still the caller's. */
  protected put(key: K, hash: number, word: number): number {
    const found = this.findNode(key, hash);
    if (found !== 0) {
      const old = Atomics.exchange(i32, found + NODE_VALUE, word); // [A]
      if (old !== word) this.valueLeft(old);
      return UPDATED;
    }
    const node = this.makeNode(key, hash, word);
    if (node === 0) return FULL;
    this.linkNode(node);
    const done = this.added(node);
    this.fit();
    return done;
  }

  /** A node was linked, with the lock held: says what the insertion did. */
  protected added(_node: number): number {
    return INSERTED;
  }

  /** A node that nobody can reach yet; 0 when the heap is full. */
  protected makeNode(key: K, hash: number, word: number): number {
    const node = tryAlloc(this.node);
    if (node === 0) return 0;
    if (this.key.owns) {
      const bytes = this.key.encode(key);
      if (bytes === 0) {
        free(this.node, node);
        return 0;
      }
      i32[node + BYTES] = bytes;
    }
    i32[node + NODE_KEY] = hash;
    i32[node + NODE_VALUE] = word;
    return node;
  }

  /** A word is no longer in the table; readers may still look at it. */
  protected valueLeft(word: number): void {
    if (this.value.owns) this.value.retire(word);
  }

  /** Frees what an unlinked node holds and the node, after a grace period. */
  protected retireNode(node: number): void {
    this.valueLeft(i32[node + NODE_VALUE]!);
    if (this.key.owns) this.key.retire(i32[node + BYTES]!);
    kfreeCellRcu(node);
  }

  /** Removes a key; returns its value, undefined when it was not there. What the value refers to is the caller's. */
  remove(key: K): V | undefined {
    this.acquire();
    try {
      return this.removeLocked(key);
    } finally {
      this.release();
    }
  }

  /** Removes a key and says whether it was there, without decoding its value. */
  delete(key: K): boolean {
    this.acquire();
    try {
      const node = this.findNode(key);
      if (node === 0) return false;
      this.takeNode(node);
      this.fit();
      return true;
    } finally {
      this.release();
    }
  }

  protected removeLocked(key: K): V | undefined {
    const node = this.findNode(key);
    if (node === 0) return undefined;
    const value = this.readValue(node);
    this.takeNode(node);
    this.fit();
    return value;
  }

  /** Unlinks a node and retires it. The lock is held. */
  protected takeNode(node: number): void {
    this.unlinkNode(node);
    this.retireNode(node);
  }

  /** Frees the collection and what it holds. No thread may use it any more. */
  destroy(): void {
    this.acquire();
    this.eachNode((node) => {
      this.valueLeft(i32[node + NODE_VALUE]!);
      if (this.key.owns) this.key.drop(i32[node + BYTES]!);
      free(this.node, node as Ref<string>);
    });
    this.release();
    this.freeTable();
    this.destroyed();
  }
}
