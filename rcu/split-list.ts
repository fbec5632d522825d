/**
 * The split-ordered list under RcuLockFreeMap (Shalev and Shavit, "Split-Ordered Lists: Lock-Free Extensible Hash Tables", 2006), on the
 * lock-free list of Michael ("High Performance Dynamic Lock-Free Hash Tables and List-Based Sets", 2002). Updates do not wait for each other.
 *
 * All nodes are on one list, in the order of their hashes. A bucket is a node of its own in it, without a key, that stands before those of
 * its hashes: to have twice as many buckets is to put one more into the middle of each, and no other node moves. A node leaves in two steps. Its
 * `next` is marked, which takes it out for everybody and also freezes the word; then the node before it is led past it, by whoever
 * comes by first, and who does that retires it. So a thread may die between the steps. In place of a mark alone, `next` may be led to a node that
 * takes this one's place: a reader who stands here goes on to it, so a key that is replaced is never missed.
 *
 * Nodes are reused only after a grace period, and every update runs in a read scope: a compare-and-swap cannot take a new node for the one
 * that it has read (no ABA).
 */
import { Collection } from "./collection.ts";
import * as layout from "./layout.ts";
import { derefWord, i32 } from "./memory.ts";
import type { Ref } from "./ref.ts";
import { atomic, fixed, owned, type StructType, struct, words } from "./struct.ts";

const { HEADER } = layout;

const deref = derefWord; // V8 folds a constant of this module, not an imported one.

/** What all threads share of a table; its address is the table's name. */
export const SplitTable = struct("rcu_lock_free_map", {
  /** What buckets are found by: a SplitView, replaced whole. */
  view: atomic(),
  /** Kinds of the keys and values, which openers must declare too (collection.ts). */
  kind: fixed(),
  /** Counters of entries, an array (split-table.ts). */
  counts: fixed(),
  /** The buckets that stay: an array, and its highest level. */
  block: fixed(),
  blockTop: fixed(),
  /** Buckets that the table keeps however few its entries are. */
  floor: atomic(),

  // Who resizes the table: the owner's id, of which the rest is.
  resizer: atomic(),
  phase: owned(),
  /** Highest level that is, or is being, linked; the one to shrink to; what of `top` is done; the grace period that is waited for. */
  top: owned(),
  goal: owned(),
  cursor: owned(),
  stamp: owned(),
  /** Entries when a resize found no memory; -1: none failed. */
  failedAt: owned(),
  levels: words(32),
});

/**
 * Where the buckets are, as readers see it. `mask` keeps the bits of an order that say which bucket it belongs to. Level n has the buckets whose
 * order ends in a one at bit 31 - n: 2^n of them, an array each. Word 32 is for the bucket of order 0.
 */
export const SplitView = struct("rcu_split_view", { mask: fixed(), levels: words(33) });

/** A node begins with two words: the next node, plus 1 once it was removed, and its order. Those of buckets are even, all others odd. */
export const SPLIT_NEXT = 0;
export const SPLIT_ORDER = 1;
export const REMOVED = 1;

const VIEW = SplitTable.view.offset;
const MASK = SplitView.mask.offset;
const LEVELS = SplitView.levels.offset;
const ORDER = SPLIT_ORDER;

/** That of the head, which nothing stands before. */
export const FIRST_ORDER = 0x8000_0000 | 0;

/** What seek looks for beside the place of an order: the first node of the key, or nothing. A bucket is found by its order. */
export const KEY = 0;
export const PLACE = 1;

export abstract class SplitList<K> extends Collection<"rcu_lock_free_map"> {
  /** Hashes are multiplied by it: the heap's (hash-seed.ts). The order of a node is the product. */
  protected readonly seed: number;
  /** Where seek ended: the word that leads on from there, and where to. */
  protected at = 0;
  protected next = 0;

  constructor(type: StructType<"rcu_lock_free_map">, ref: Ref<"rcu_lock_free_map">) {
    super(type, ref);
    this.seed = i32[HEADER.HASH_SEED]!;
  }

  /** Whether a node has this key. */
  protected abstract matches(node: number, key: K): boolean;
  /** So many entries came or, below 0, went. In the scope of the update. */
  protected abstract counted(by: number): void;
  /** A node of a key was unlinked, by this thread: frees it and what it holds, after a grace period. */
  protected abstract retire(node: number): void;

  /** The node of the bucket that an order belongs to. In a scope: buckets that a table gives up stay for those who were there before. */
  protected bucketOf(order: number): number {
    const view = deref(this.ref + VIEW);
    const bucket = order & i32[view + MASK]!;
    const level = Math.clz32(bucket & -bucket); // 32 for bucket 0, whose shift below is then 31.
    return i32[view + LEVELS + level]! + (bucket >>> (31 - level));
  }

  /** The first node of the list: a bucket, which stays. */
  protected head(): number {
    return i32[deref(this.ref + VIEW) + LEVELS]! + 1;
  }

  /**
   * The first node of the key (or the bucket) of this order that `accept` accepts; 0 when there is none: then `at` is the word behind the last node
   * whose order is not larger. Unlinks removed nodes on its way. In a scope.
   */
  protected seek(
    order: number,
    key: K | undefined,
    wanted: number,
    accept: ((node: number) => boolean) | null = null,
  ): number {
    again: for (;;) {
      let at = this.bucketOf(order);
      let node = deref(at);
      while (node !== 0) {
        const next = deref(node);
        if ((next & REMOVED) !== 0) {
          if (Atomics.compareExchange(i32, at, node, next - REMOVED) !== node) continue again; // [A]
          if ((i32[node + ORDER]! & 1) !== 0) this.retire(node); // [B] in kfreeRcu
          node = next - REMOVED;
          continue;
        }
        const here = i32[node + ORDER]!;
        if (here >= order) {
          if (here > order) break;
          if (
            wanted === KEY &&
            ((order & 1) === 0 || this.matches(node, key as K)) &&
            (accept === null || accept(node))
          ) {
            this.at = at;
            this.next = next;
            return node;
          }
        }
        at = node;
        node = next;
      }
      this.at = at;
      this.next = node;
      return 0;
    }
  }

  /** Links a node in behind `at`, where seek ended: false when that has changed. Publishes the node. */
  protected linkAt(node: number): boolean {
    const { at, next } = this;
    i32[node] = next;
    return Atomics.compareExchange(i32, at, next, node) === next;
  }

  /** Takes a node out, for everybody: false when somebody else has. It is still linked. */
  protected mark(node: number): boolean {
    for (let next = deref(node); (next & REMOVED) === 0; ) {
      const seen = Atomics.compareExchange(i32, node, next, next | REMOVED); // [A]
      if (seen === next) return true;
      next = seen;
    }
    return false;
  }

  /** Puts `fresh` in the place of a node, in one step: false when that was removed. It is still linked. */
  protected supersede(node: number, fresh: number): boolean {
    for (let next = deref(node); (next & REMOVED) === 0; ) {
      i32[fresh] = next;
      const seen = Atomics.compareExchange(i32, node, next, fresh | REMOVED); // [A]
      if (seen === next) return true;
      next = seen;
    }
    return false;
  }

  /** Unlinks a node that was just taken out; `at` is where it was found. */
  protected unlink(node: number, order: number): void {
    const next = deref(node) - REMOVED;
    if (Atomics.compareExchange(i32, this.at, node, next) === node)
      this.retire(node); // [A], then [B] in kfreeRcu
    else this.seek(order, undefined, PLACE);
  }

  /** Takes out and unlinks up to `limit` nodes of keys, from an order on. Returns where to go on, null at the end. In a scope. */
  protected takeFrom(from: number, limit: number): number | null {
    let order = from;
    let taken = 0;
    again: for (;;) {
      let at = this.bucketOf(order);
      let node = deref(at);
      while (node !== 0) {
        const next = deref(node);
        const here = i32[node + ORDER]!;
        if ((next & REMOVED) !== 0) {
          if (Atomics.compareExchange(i32, at, node, next - REMOVED) !== node) continue again; // [A]
          if ((here & 1) !== 0) this.retire(node); // [B] in kfreeRcu
          node = next - REMOVED;
        } else if ((here & 1) === 0) {
          at = node;
          node = next;
        } else {
          order = here;
          if (taken === limit) {
            this.counted(-taken);
            return order;
          }
          if (this.mark(node)) taken++;
        }
      }
      this.counted(-taken);
      return null;
    }
  }

  /** A function that answers the nodes of keys in the order of the list, one at each call, then 0. In a scope. */
  protected nodeWalk(): () => number {
    let next = deref(this.head());
    return () => {
      for (;;) {
        const node = next & ~REMOVED;
        if (node === 0) return 0;
        next = deref(node); // Once: who takes the node's place is not another entry.
        if ((next & REMOVED) === 0 && (i32[node + ORDER]! & 1) !== 0) return node;
      }
    };
  }
}
