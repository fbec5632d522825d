/**
 * A hash table whose keys and values are of declared kinds: the nodes, the lookup and the updates that RcuHashMap and
 * RcuCache share. A node keeps its value in one word, which an update exchanges in place: a reader that looks for a key
 * while it is being updated finds the old value or the new one, never none.
 */
import { kfreeCellRcu, makeRoom } from "./callback.ts";
import type { Handle } from "./collection.ts";
import { HeapFullError, WrongTypeError } from "./error.ts";
import { HashCore, HashTable, NODE_KEY, openHashTable } from "./hash-table.ts";
import { int, type KeyKind, type Kind, kindOr, show, type Value } from "./kind.ts";
import { derefWord, i32 } from "./memory.ts";
import { FULL, INSERTED, UPDATED } from "./outcome.ts";
import type { RcuScope, Ref } from "./ref.ts";
import { atomic, fixed, free, listNode, type StructType, struct, tryAlloc, words } from "./struct.ts";
import { RcuTableGuard } from "./table-guard.ts";
import { type RcuWalk, walkNodes } from "./walk.ts";

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
  readonly #guard: RcuTableGuard<K, V>;

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
    this.#guard = new RcuTableGuard(this);
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

  /** Visits entries until `test` returns true: whether it did. Like forEach otherwise. */
  some(_scope: RcuScope, test: (key: K, value: V) => boolean): boolean {
    this.beforeRead();
    const walk = this.nodeWalk();
    for (let node = walk(); node !== 0; node = walk())
      if (test(this.readKey(node), this.readValue(node))) return true;
    return false;
  }

  /** Iterates over [key, value]: `for (const [key, value] of map.entries(scope))`. */
  entries(scope: RcuScope): RcuWalk<[K, V]> {
    return this.#walk(scope, (node) => [this.readKey(node), this.readValue(node)]);
  }
  /** Iterates over the keys. */
  keys(scope: RcuScope): RcuWalk<K> {
    return this.#walk(scope, (node) => this.readKey(node));
  }
  /** Iterates over the values. */
  values(scope: RcuScope): RcuWalk<V> {
    return this.#walk(scope, (node) => this.readValue(node));
  }
  #walk<T>(scope: RcuScope, read: (node: number) => T): RcuWalk<T> {
    this.beforeRead();
    return walkNodes(scope, this.nodeWalk(), read);
  }

  /** Takes the lock for several updates: `const guard = map.lock(); ... guard.unlock()`. */
  lock(): RcuTableGuard<K, V> {
    this.acquire();
    return this.#guard;
  }
  /** What `use` returns, with the lock held. */
  protected locked<T>(use: (guard: RcuTableGuard<K, V>) => T): T {
    const guard = this.lock();
    try {
      return use(guard);
    } finally {
      guard.unlock();
    }
  }

  /**
   * Inserts or updates, and returns the value that the key had, undefined when it had none. An object that the table owned is good in
   * the scope only. Throws HeapFullError, WrongTypeError.
   */
  exchange(key: K, value: V): V | undefined {
    return this.#retried(() => this.locked((guard) => guard.exchange(key, value)));
  }
  /**
   * Replaces the value of a key by change(value), which runs with the lock held; returns the new value, undefined when the key is not
   * there. Throws HeapFullError, WrongTypeError.
   */
  update(key: K, change: (value: V) => V): V | undefined {
    return this.#retried(() => this.locked((guard) => guard.update(key, change)));
  }
  /** RcuTableGuard.updateCopy: changes an object that the table owns in a copy, which takes its place in one step. */
  updateCopy(key: K, change: (copy: V) => void): boolean {
    return this.#retried(() => this.locked((guard) => guard.updateCopy(key, change)));
  }
  /** Tries it again after a wait, where the heap was full and that helps. */
  #retried<T>(attempt: () => T): T {
    try {
      return attempt();
    } catch (error) {
      if (!(error instanceof HeapFullError && makeRoom())) throw error;
      return attempt();
    }
  }
  /** Removes everything. */
  clear(): void {
    this.locked((guard) => guard.drain());
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
      return this.#take(key);
    } finally {
      this.release();
    }
  }

  /** Removes a key and says whether it was there, without decoding its value. */
  delete(key: K): boolean {
    this.acquire();
    try {
      return this.#drop(key);
    } finally {
      this.release();
    }
  }
  #drop(key: K): boolean {
    const node = this.findNode(key);
    if (node === 0) return false;
    this.takeNode(node);
    this.fit();
    return true;
  }

  /** For RcuTableGuard, as all that follow: the lock is held. */
  getLocked(key: K): V | undefined {
    this.assertHeld();
    const node = this.findNode(key);
    return node === 0 ? undefined : this.readValue(node);
  }
  /** For RcuTableGuard. */
  hasLocked(key: K): boolean {
    this.assertHeld();
    return this.findNode(key) !== 0;
  }
  /** For RcuTableGuard. */
  insertLocked(key: K, value: V): number {
    this.assertHeld();
    const hash = this.key.owns ? this.hashOf(key) : this.key.encode(key);
    const word = this.encodeValue(value);
    if (word === undefined) return FULL;
    const done = this.put(key, hash, word);
    if (done === FULL) this.value.drop(word);
    return done;
  }
  /** For RcuTableGuard. */
  updateCopyLocked(key: K, change: (copy: V) => void): boolean {
    this.assertHeld();
    const { copy, discard } = this.value;
    if (copy === undefined || discard === undefined)
      throw new WrongTypeError(
        `${this.signature}.updateCopy: its values are no objects that it owns: use update()`,
      );
    const node = this.findNode(key);
    if (node === 0) return false;
    const fresh = copy(i32[node + NODE_VALUE]!);
    if (fresh === 0) throw new HeapFullError(`${this.signature}.updateCopy(${show(key)})`);
    try {
      change(this.value.decode(fresh));
    } catch (error) {
      discard(fresh);
      throw error;
    }
    const now = this.findNode(key); // `change` may have used the guard.
    if (now === 0) discard(fresh);
    else this.valueLeft(Atomics.exchange(i32, now + NODE_VALUE, fresh)); // [A]
    return now !== 0;
  }
  /** For RcuTableGuard. */
  removeLocked(key: K): V | undefined {
    this.assertHeld();
    return this.#take(key);
  }
  /** For RcuTableGuard. */
  deleteLocked(key: K): boolean {
    this.assertHeld();
    return this.#drop(key);
  }
  /** For RcuTableGuard. */
  drainLocked(visit?: (key: K, value: V) => void): void {
    this.assertHeld();
    this.drainNodes((node) => {
      visit?.(this.readKey(node), this.readValue(node));
      this.retireNode(node);
    });
  }
  /** For RcuTableGuard: gives the lock back. */
  unlockTable(): void {
    this.assertHeld();
    this.release();
  }

  #take(key: K): V | undefined {
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
