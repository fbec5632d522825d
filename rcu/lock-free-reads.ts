/** What RcuLockFreeMap reads: its nodes, look-ups, walks. */
import { kfreeCellRcu } from "./callback.ts";
import { signatureOf, type TableOptions } from "./keyed-table.ts";
import { int, type KeyKind, type Kind, kindOr, type Value } from "./kind.ts";
import { derefWord, heapIdentity, i32 } from "./memory.ts";
import { openObject } from "./open.ts";
import { STRICT_RCU } from "./prove.ts";
import type { RcuScope, Ref } from "./ref.ts";
import { REMOVED, SPLIT_ORDER, SplitTable } from "./split-list.ts";
import { createSplitTable, SplitCore } from "./split-table.ts";
import { atomic, fixed, free, struct, tryAlloc } from "./struct.ts";
import { END, RcuWalk, walkNodes } from "./walk.ts";

const deref = derefWord; // V8 folds a constant of this module, not an imported one.

const Node = struct("rcu_lock_free_node", {
  next: atomic(),
  order: fixed(),
  /** An integer or reference that is the key, or the memory that holds it. */
  key: fixed(),
  /** The value's word (kind.ts): who changes a value replaces the node. */
  value: fixed(),
});
type NodeRef = Ref<"rcu_lock_free_node">;

const ORDER = SPLIT_ORDER;
const NODE_KEY = Node.key.offset;
const NODE_VALUE = Node.value.offset;

export abstract class LockFreeReads<K extends Value, V extends Value> extends SplitCore<K> {
  protected readonly key: KeyKind<K>;
  protected readonly value: Kind<V>;
  readonly #owns: boolean;
  readonly #hasher: ((key: K) => number) | null;
  /** "RcuLockFreeMap<text, int>", for messages. */
  protected readonly signature: string;
  /** Keys and values are the words themselves and nothing is checked: the short way. */
  protected readonly short: boolean;

  constructor(what: string, options: TableOptions<K, V>) {
    const signature = signatureOf(what, options);
    super(
      openObject(SplitTable, SplitTable.kind.offset, options.at, signature, () =>
        createSplitTable(signature, options.buckets ?? 16),
      ),
    );
    this.key = options.key ?? (int() as unknown as KeyKind<K>);
    this.value = kindOr(options.value);
    this.#owns = this.key.owns;
    this.#hasher = options.hasher ?? null;
    this.signature = signature;
    this.short = !this.#owns && this.value.direct && this.#hasher === null && !this.checked && !STRICT_RCU;
  }

  /** Odd, which tells the nodes of keys from those of buckets. */
  protected orderOf(key: K): number {
    const hash = this.#hasher === null ? this.key.hash(key, this.seed) : this.#hasher(key);
    return Math.imul(hash, this.seed) | 1;
  }
  protected override matches(node: number, key: K): boolean {
    const word = i32[node + NODE_KEY]!;
    return this.#owns ? this.key.equals(word, key) : word === key;
  }
  protected override retire(node: number): void {
    if (this.value.owns) this.value.retire(i32[node + NODE_VALUE]!);
    if (this.#owns) this.key.retire(i32[node + NODE_KEY]!);
    kfreeCellRcu(node);
  }
  protected readKey(node: number): K {
    return this.key.decode(i32[node + NODE_KEY]!);
  }
  protected readValue(node: number): V {
    return this.value.decode(i32[node + NODE_VALUE]!);
  }

  /** For updates: the value's word. */
  protected wordOf(node: number): number {
    return i32[node + NODE_VALUE]!;
  }

  /** The first node of a key that is not removed. In a scope. */
  #findLong(key: K): number {
    this.beforeRead();
    const order = this.orderOf(key);
    for (let node = deref(this.bucketOf(order)) & ~REMOVED; node !== 0; ) {
      const next = deref(node);
      const here = i32[node + ORDER]!;
      if (here >= order) {
        if (here > order) return 0;
        if ((next & REMOVED) === 0 && this.matches(node, key)) return node;
      }
      node = next & ~REMOVED;
    }
    return 0;
  }
  /** The same, the short way. */
  #find(key: number): number {
    const order = Math.imul(key, this.seed) | 1;
    for (let node = i32[this.bucketOf(order)]! & ~REMOVED; node !== 0; ) {
      const next = i32[node]!;
      const here = i32[node + ORDER]!;
      if (here >= order) {
        if (here > order) return 0;
        if (i32[node + NODE_KEY] === key && (next & REMOVED) === 0) return node;
      }
      node = next & ~REMOVED;
    }
    return 0;
  }

  /** The value of a key, or undefined; of several, the oldest. Lock-free. */
  get(_scope: RcuScope, key: K): V | undefined {
    if (!this.short || this.heapId !== heapIdentity) return this.#getLong(key);
    const node = this.#find(key as number);
    return node === 0 ? undefined : (i32[node + NODE_VALUE] as V);
  }
  #getLong(key: K): V | undefined {
    const node = this.#findLong(key);
    return node === 0 ? undefined : this.readValue(node);
  }
  /** The value of a key, 0 when there is none: for maps of references. Lock-free. */
  lookup(_scope: RcuScope, key: K): V | 0 {
    if (!this.short || this.heapId !== heapIdentity) return this.#getLong(key) ?? 0;
    const node = this.#find(key as number);
    return node === 0 ? 0 : (i32[node + NODE_VALUE] as V);
  }
  /** Whether the key is there. Lock-free. */
  has(_scope: RcuScope, key: K): boolean {
    return this.#findLong(key) !== 0;
  }

  /** Iterates over the values of a key that is there more than once, oldest first. */
  duplicates(scope: RcuScope, key: K): RcuWalk<V> {
    this.beforeRead();
    const order = this.orderOf(key);
    let next = deref(this.bucketOf(order));
    return new RcuWalk(scope, () => {
      for (;;) {
        const node = next & ~REMOVED;
        const here = node === 0 ? 0 : i32[node + ORDER]!;
        if (node === 0 || here > order) return END;
        next = deref(node); // Once: who takes the node's place is not another entry.
        if (here === order && (next & REMOVED) === 0 && this.matches(node, key)) return this.readValue(node);
      }
    });
  }

  /** Visits the entries. Those present throughout are visited once; concurrent changes may or may not be seen. */
  forEach(_scope: RcuScope, visit: (key: K, value: V) => void): void {
    this.beforeRead();
    const walk = this.nodeWalk();
    for (let node = walk(); node !== 0; node = walk()) visit(this.readKey(node), this.readValue(node));
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

  /** A node that nobody can reach yet; 0 when the heap is full: nothing is kept then. Throws WrongTypeError. */
  protected make(key: K, order: number, value: V): number {
    let name = this.#owns ? 0 : this.key.encode(key); // Keys with memory of their own were checked when they were hashed.
    const word = this.value.encode(value);
    if (word === 0 && this.value.owns) return 0;
    const node = tryAlloc(Node);
    if (node !== 0 && this.#owns) name = this.key.encode(key);
    if (node === 0 || (name === 0 && this.#owns)) {
      this.value.drop(word);
      if (node !== 0) free(Node, node);
      return 0;
    }
    i32[node + ORDER] = order;
    i32[node + NODE_KEY] = name;
    i32[node + NODE_VALUE] = word;
    return node;
  }
  /** Gives back a node that nobody could reach. */
  protected drop(node: number): void {
    this.value.drop(i32[node + NODE_VALUE]!);
    if (this.#owns) this.key.drop(i32[node + NODE_KEY]!);
    free(Node, node as NodeRef);
  }

  /** Frees the collection and what it holds. No thread may use it any more. */
  destroy(): void {
    this.assertHeap();
    let next = i32[this.head()]!;
    for (let node = next & ~REMOVED; node !== 0; node = next & ~REMOVED) {
      next = i32[node]!;
      if ((i32[node + ORDER]! & 1) === 0) continue;
      if (this.value.owns) this.value.retire(i32[node + NODE_VALUE]!);
      if (this.#owns) this.key.drop(i32[node + NODE_KEY]!);
      free(Node, node as NodeRef);
    }
    this.freeTable();
    this.destroyed();
  }
}
