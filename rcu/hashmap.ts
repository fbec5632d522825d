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
import { KeyedTable, NODE_VALUE, signatureOf, type TableOptions } from "./keyed-table.ts";
import type { NeedsKey, NeedsValue, NoOptions, Value } from "./kind.ts";
import { heapIdentity, i32 } from "./memory.ts";
import { UPDATED } from "./outcome.ts";
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

  /** Inserts or updates; INSERTED or UPDATED. Throws HeapFullError, WrongTypeError. */
  insert(key: K, value: V): number {
    return this.inserted(key, this.insertOrWait(key, value));
  }

  /** Inserts unless the key is there: INSERTED, UPDATED when it was there (and nothing changed), FULL. */
  tryInsertNew(key: K, value: V): number {
    return this.locked((guard) => (guard.has(key) ? UPDATED : guard.insert(key, value)));
  }
}
