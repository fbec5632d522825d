/**
 * RcuCache: a map of at most `capacity` keys that forgets the oldest (FIFO) when it is full. Reading is lock-free and
 * does not count as use: that would be a store on the read path.
 *
 *   const names = new RcuCache<string, number>({ capacity: 1000, key: text() });
 *   if (names.insert("etc", 7) === EVICTED) ...
 */
import { WrongTypeError } from "./error.ts";
import { HashTable } from "./hash-table.ts";
import { CacheNode, KeyedTable, type TableOptions } from "./keyed-table.ts";
import type { NeedsKey, NeedsValue, Value } from "./kind.ts";
import { listAddTail, listDelRcu, listFirst, listNext } from "./list-node.ts";
import { i32 } from "./memory.ts";
import { EVICTED, INSERTED } from "./outcome.ts";
import type { Held, Ref } from "./ref.ts";

type NodeRef = Ref<"rcu_cache_node">;
/** The table's lock is held: what the list functions ask for. */
const HELD = 1 as Held;

/** How an RcuCache is made or opened. */
export type RcuCacheOptions<K extends Value = number, V extends Value = number> = Omit<
  TableOptions<K, V>,
  "buckets"
> & {
  /** Entries at most, a positive integer; of a new cache. */
  readonly capacity?: number;
  /**
   * Called for each value that left the cache (evicted, replaced, removed, destroyed), on the thread that made it leave, after
   * the lock was dropped: for values that are references. Readers may still hold it: free it through RCU.
   */
  readonly drop?: (value: V) => void;
} & NeedsKey<K> &
  NeedsValue<V>;

/** A map of at most `capacity` keys that forgets the oldest when it is full. Reads are lock-free and do not count as use. */
export class RcuCache<K extends Value = number, V extends Value = number> extends KeyedTable<K, V> {
  readonly #drop: ((value: V) => void) | undefined;
  /** Words that left the cache since the lock was taken. */
  #left: number[] = [];

  /** Throws HeapFullError, WrongTypeError (capacity). */
  constructor(options: RcuCacheOptions<K, V>) {
    const { at, capacity = 0 } = options;
    if (at === undefined && !(Number.isInteger(capacity) && capacity > 0 && capacity < 2 ** 31))
      throw new WrongTypeError(
        `RcuCache: capacity ${capacity} is not a positive integer`,
        "ERR_RCU_BAD_ARGUMENT",
      );
    super("RcuCache", { ...options, buckets: Math.min(capacity, 1 << 16) }, CacheNode);
    this.#drop = options.drop;
    if (at === undefined) HashTable.capacity.init(this.ref, capacity);
  }

  /** Entries at most. */
  get capacity(): number {
    this.assertHeap();
    return HashTable.capacity.get(this.ref);
  }

  /** INSERTED, UPDATED (which does not make the entry younger) or EVICTED. Throws HeapFullError, WrongTypeError. */
  insert(key: K, value: V): number {
    return this.inserted(key, this.insertOrWait(key, value));
  }

  protected override added(node: number): number {
    const order = HashTable.order.at(this.ref);
    listAddTail(HELD, order, CacheNode.order.at(node as NodeRef));
    if (this.size <= this.capacity) return INSERTED;
    this.takeNode(CacheNode.order.owner(listFirst(order)));
    return EVICTED;
  }

  /** While the table is copied: nodes, and the copies that take their places in the order. */
  readonly #copies = new Map<number, number>();

  protected override nodeCopied(node: number, copy: number): void {
    this.#copies.set(node, copy);
  }
  protected override copiesDropped(): void {
    this.#copies.clear();
  }
  protected override copiesPublished(): void {
    const order = HashTable.order.at(this.ref);
    const copies: number[] = [];
    for (let at = listFirst(order); at !== 0; at = listNext(order, at)) {
      const node = CacheNode.order.owner(at);
      const copy = this.#copies.get(node);
      if (copy === undefined) continue;
      this.#copies.delete(node);
      copies.push(CacheNode.order.at(copy as NodeRef));
    }
    // What a thread linked that died before it came to the order is the oldest.
    const lost = [...this.#copies.values()].map((copy) => CacheNode.order.at(copy as NodeRef));
    this.#copies.clear();
    const ring = [order, ...lost, ...copies];
    // The head comes last: the ring is whole before and after.
    for (let n = ring.length - 1; n >= 0; n--) {
      i32[ring[n]!] = ring[(n + 1) % ring.length]!;
      i32[ring[n]! + 1] = ring.at(n - 1)!;
    }
  }

  /** For RcuTableGuard: oldest first. */
  override drainLocked(visit?: (key: K, value: V) => void): void {
    this.assertHeld();
    const order = HashTable.order.at(this.ref);
    for (let at = listFirst(order); at !== 0; at = listFirst(order)) {
      const node = CacheNode.order.owner(at);
      visit?.(this.readKey(node), this.readValue(node));
      this.takeNode(node);
    }
    super.drainLocked(visit); // What a thread linked that died before it came to the order; and the table is small again.
  }

  protected override takeNode(node: number): void {
    listDelRcu(HELD, CacheNode.order.at(node as NodeRef));
    super.takeNode(node);
  }

  protected override valueLeft(word: number): void {
    if (this.#drop === undefined) super.valueLeft(word);
    else this.#left.push(word);
  }

  protected override release(): void {
    const left = this.#left;
    super.release();
    if (left.length === 0) return;
    this.#left = [];
    const values = left.map((word) => this.value.decode(word));
    if (this.value.owns) for (const word of left) this.value.retire(word);
    for (const value of values) this.#drop?.(value);
  }
}
