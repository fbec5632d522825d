/**
 * RcuCache: a map of at most `capacity` integer keys that forgets the oldest (FIFO) when it is full. Reading is
 * lock-free and does not count as use: that would be a store on the read path.
 */

import { kfreeRcu } from "./callback.ts";
import { HeapFullError, StaleReferenceError, WrongTypeError } from "./error.ts";
import { listAddTail, listDelRcu, listFirst } from "./fields.ts";
import { FULL, INSERTED, RcuHashMap, UPDATED } from "./hashmap.ts";
import type { RcuScope, Ref } from "./ref.ts";
import { cellIsAlive } from "./slab.ts";
import { alloc, atomic, fixed, free, listNode, locked, spinlock, struct } from "./struct.ts";

const Cache = struct("rcu_cache", {
  map: fixed(),
  capacity: fixed(),
  lock: spinlock(),
  count: locked("lock"),
  /** Entries, oldest first. */
  order: listNode(),
});
const Entry = struct("rcu_cache_entry", { key: fixed(), value: atomic(), order: listNode() });
type EntryRef = Ref<"rcu_cache_entry">;

/** The insertion made room by dropping the oldest entry. */
export const EVICTED = 3;

export class RcuCache {
  readonly ref: Ref<"rcu_cache">;
  readonly #map: RcuHashMap<EntryRef>;
  readonly #drop: ((value: number) => void) | undefined;

  /**
   * `drop` is called for each value that leaves the cache (evicted, replaced, removed, destroyed), on the thread that made it
   * leave: for values that are references. Readers may still hold it: free it through RCU.
   */
  constructor(options: ({ capacity: number } | { at: number }) & { drop?: (value: number) => void }) {
    this.#drop = options.drop;
    if ("at" in options) {
      if (!cellIsAlive(options.at))
        throw new StaleReferenceError(`RcuCache: ${options.at} names no cache of this heap`);
      this.ref = options.at as Ref<"rcu_cache">;
      this.#map = new RcuHashMap<EntryRef>({ at: Cache.map.get(this.ref) });
      return;
    }
    const { capacity } = options;
    if (!Number.isInteger(capacity) || capacity < 1)
      throw new WrongTypeError(
        `RcuCache: capacity ${capacity} is not a positive integer`,
        "ERR_RCU_BAD_ARGUMENT",
      );
    const ref = alloc(Cache);
    if (ref === 0) throw new HeapFullError("new RcuCache");
    this.ref = ref;
    this.#map = new RcuHashMap<EntryRef>({ buckets: Math.min(capacity, 1 << 16) });
    Cache.map.init(ref, this.#map.ref);
    Cache.capacity.init(ref, capacity);
    Cache.order.init(ref);
  }

  get size(): number {
    return Cache.count.racy(this.ref);
  }

  get(scope: RcuScope, key: number): number | undefined {
    const entry = this.#map.lookup(scope, key);
    return entry === 0 ? undefined : Entry.value.peek(entry);
  }

  /** INSERTED, UPDATED (which does not make it younger), EVICTED, or FULL when the heap is. */
  tryInsert(key: number, value: number): number {
    const held = Cache.lock.lock(this.ref);
    try {
      const found = this.#map.getLocked(key);
      if (found !== undefined) {
        const old = Entry.value.exchange(found, value);
        if (old !== value) this.#drop?.(old);
        return UPDATED;
      }
      const entry = alloc(Entry);
      if (entry === 0) return FULL;
      Entry.key.init(entry, key | 0);
      Entry.value.init(entry, value);
      if (this.#map.tryInsert(key, entry) === FULL) {
        free(Entry, entry);
        return FULL;
      }
      listAddTail(held, Cache.order.at(this.ref), Entry.order.at(entry));
      const count = Cache.count.get(held, this.ref) + 1;
      Cache.count.set(held, this.ref, count);
      if (count <= Cache.capacity.get(this.ref)) return INSERTED;
      this.#dropLocked(held, Entry.order.owner(listFirst(Cache.order.at(this.ref))));
      return EVICTED;
    } finally {
      Cache.lock.unlock(this.ref);
    }
  }

  /** The same; throws HeapFullError instead of FULL. */
  insert(key: number, value: number): number {
    const done = this.tryInsert(key, value);
    if (done === FULL) throw new HeapFullError(`RcuCache.insert(${key})`);
    return done;
  }

  /** Says whether the key was there. */
  remove(key: number): boolean {
    const held = Cache.lock.lock(this.ref);
    const entry = this.#map.getLocked(key);
    if (entry !== undefined) this.#dropLocked(held, entry);
    Cache.lock.unlock(this.ref);
    return entry !== undefined;
  }

  #dropLocked(held: Parameters<typeof Cache.count.get>[0], entry: EntryRef): void {
    this.#map.remove(Entry.key.get(entry));
    listDelRcu(held, Entry.order.at(entry));
    Cache.count.set(held, this.ref, Cache.count.get(held, this.ref) - 1);
    this.#drop?.(Entry.value.peek(entry));
    kfreeRcu(Entry, entry);
  }

  /** Frees the cache and its entries. No thread may use it any more. */
  destroy(): void {
    const head = Cache.order.at(this.ref);
    for (let at = listFirst(head); at !== 0; at = listFirst(head))
      this.remove(Entry.key.get(Entry.order.owner(at)));
    this.#map.destroy();
    free(Cache, this.ref);
  }
}
