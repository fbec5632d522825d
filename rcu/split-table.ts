/**
 * The size of a RcuLockFreeMap: how many entries it has, and how many buckets. To have twice as many, the table gets one level more, whose buckets
 * are linked into the list one by one; then readers are told of them. To have fewer, readers are told first; after a grace period
 * nobody begins at the buckets of the upper levels, so they are taken out like other nodes, and freed after another one. Updating calls do this on their
 * way, a few buckets each. One thread at a time: the others do not wait for it, and when it dies the next one goes on.
 */
import { freeArray, tryAllocArray } from "./array.ts";
import { kfreeArrayRcu, kfreeRcu } from "./callback.ts";
import { kindWord } from "./collection.ts";
import { HeapFullError } from "./error.ts";
import { gpSeq, gpStamp, requestGp, seqDone } from "./grace-period.ts";
import * as layout from "./layout.ts";
import { dropWord, takeOverWord } from "./lock.ts";
import { i32, slot } from "./memory.ts";
import type { Ref } from "./ref.ts";
import { KEY, SPLIT_ORDER, SplitList, SplitTable, SplitView } from "./split-list.ts";
import { free, tryAlloc } from "./struct.ts";

const { ARRAY_ELEMENTS } = layout;

export type SplitTableRef = Ref<"rcu_lock_free_map">;
type ViewRef = Ref<"rcu_split_view">;

const VIEW = SplitTable.view.offset;
const COUNTS = SplitTable.counts.offset;
const FLOOR = SplitTable.floor.offset;
const RESIZER = SplitTable.resizer.offset;
const PHASE = SplitTable.phase.offset;
const TOP = SplitTable.top.offset;
const GOAL = SplitTable.goal.offset;
const CURSOR = SplitTable.cursor.offset;
const STAMP = SplitTable.stamp.offset;
const FAILED = SplitTable.failedAt.offset;
const LEVELS = SplitTable.levels.offset;
const MASK = SplitView.mask.offset;
const VIEW_LEVELS = SplitView.levels.offset;
const ORDER = SPLIT_ORDER;

/** Readers know of `top`, and of no level above it. */
const IDLE = 0;
/** The buckets of `top` are being linked; readers know of the level below. */
const LINKING = 1;
/** Readers are being told of `goal`. */
const TELLING = 2;
/** The grace period `stamp` is waited for. */
const WAITING = 3;
/** The buckets above `goal` are being taken out. */
const UNLINKING = 4;

const MIN_BUCKETS = 4;
export const MAX_BUCKETS = 1 << 23;
/** Buckets that an update links or unlinks on its way. */
const BATCH = 64;
/** Counters of entries, a cache line apart; threads share them by slot. Each looks at the sum once in LOOK changes of its own. */
const COUNTERS = 16;
const STRIDE = 16;
const LOOK = 16;

/** Buckets of a table whose highest level is `top`, the mask of their orders, the level of so many buckets. */
const bucketsOf = (top: number): number => 2 << top;
const maskOf = (top: number): number => (0x8000_0000 | 0) >> top;
const levelOf = (buckets: number): number => 30 - Math.clz32(Math.max(buckets, MIN_BUCKETS));
/** Order of bucket n of a level. */
const orderOf = (level: number, n: number): number => (2 * n + 1) << (31 - level);
/** The power of two that is enough for so many. */
function roundUp(buckets: number): number {
  let size = MIN_BUCKETS;
  while (size < buckets && size < MAX_BUCKETS) size *= 2;
  return size;
}

export abstract class SplitCore<K> extends SplitList<K> {
  readonly #counts: number;

  constructor(ref: SplitTableRef) {
    super(SplitTable, ref);
    this.#counts = i32[ref + COUNTS]! + ARRAY_ELEMENTS;
  }

  /** Number of entries: counted after they came or went, so a racy look. A thread that is ended in between leaves it off by one. */
  get size(): number {
    this.assertHeap();
    return this.#sum();
  }
  /** Number of buckets that readers use now. */
  get buckets(): number {
    this.assertHeap();
    return bucketsOf(this.#seen());
  }

  #sum(): number {
    let sum = 0;
    for (let n = 0; n < COUNTERS; n++) sum = (sum + i32[this.#counts + n * STRIDE]!) | 0;
    return Math.max(sum, 0);
  }

  /** The table goes on with a resize, or begins one. */
  protected override counted(by: number): void {
    const word = this.#counts + (slot & (COUNTERS - 1)) * STRIDE;
    const now = Atomics.add(i32, word, by) + by;
    const phase = i32[this.ref + PHASE]!;
    if (phase === IDLE ? ((now & (LOOK - 1)) === 0 || by < -1) && this.#unfit() : !this.#early(phase))
      this.#resize(BATCH);
  }

  /** Highest level that readers know of. */
  #seen(): number {
    return Math.clz32(~i32[i32[this.ref + VIEW]! + MASK]!) - 1;
  }

  #unfit(): boolean {
    return this.#wanted(this.#sum()) !== this.#seen();
  }
  /** A grace period that has not ended. */
  #early(phase: number): boolean {
    return phase === WAITING && !seqDone(gpSeq(), i32[this.ref + STAMP]!);
  }

  /** Level that a table with so many entries should have; that which it has, unless it is far from it. */
  #wanted(count: number, exact = false): number {
    const now = this.#seen();
    const buckets = bucketsOf(now);
    const floor = i32[this.ref + FLOOR]!;
    if (exact) return levelOf(roundUp(Math.max(floor, count)));
    if (count <= buckets && buckets >= floor && (count >= buckets >> 3 || buckets === floor)) return now;
    const failedAt = i32[this.ref + FAILED]!;
    if (failedAt !== -1 && Math.abs(count - failedAt) <= failedAt >> 3) return now;
    return levelOf(roundUp(Math.max(floor, count > buckets ? count : 2 * count)));
  }

  /**
   * Gives the table at least so many buckets from now on, and no more than its entries need beyond that. True when that is done; false when a
   * grace period has to go by, or another thread is at it: call it again then, or leave it to the updates that come. Never waits.
   * Throws HeapFullError.
   */
  protected resizeTo(buckets: number): boolean {
    Atomics.store(
      i32,
      this.ref + FLOOR,
      roundUp(Math.max(buckets, bucketsOf(SplitTable.blockTop.get(this.ref)))),
    );
    i32[this.ref + FAILED] = -1;
    if (this.#resize(Number.POSITIVE_INFINITY, true)) return true;
    if (i32[this.ref + FAILED] !== -1) throw new HeapFullError(`${this.constructor.name}.resize(${buckets})`);
    return false;
  }

  /** Does up to `limit` buckets' work. True when nothing is left to be done. */
  #resize(limit: number, exact = false): boolean {
    if (!takeOverWord(this.ref + RESIZER)) return false;
    try {
      for (let left = limit; ; ) {
        const phase = i32[this.ref + PHASE]!;
        if (phase === IDLE) {
          const wanted = this.#wanted(this.#sum(), exact);
          const top = i32[this.ref + TOP]!;
          if (wanted === top) return true;
          if (!(wanted > top ? this.#grow(top + 1) : this.#shrink(wanted))) return false;
        } else if (phase === WAITING) {
          if (this.#early(phase)) return false;
          i32[this.ref + CURSOR] = 0;
          i32[this.ref + PHASE] = UNLINKING;
        } else if (left <= 0) return false;
        else if (phase === TELLING) {
          if (!this.#tell()) return false;
        } else if (phase === LINKING) left = this.#link(left);
        else left = this.#unlinkBuckets(left);
      }
    } finally {
      dropWord(this.ref + RESIZER);
    }
  }

  #failed(): false {
    i32[this.ref + FAILED] = this.#sum();
    return false;
  }

  #grow(level: number): boolean {
    const array = tryAllocArray((2 << level) + 1);
    if (array === 0) return this.#failed();
    i32[this.ref + LEVELS + level] = array + 1;
    i32[this.ref + CURSOR] = 0;
    i32[this.ref + TOP] = level;
    i32[this.ref + PHASE] = LINKING;
    return true;
  }

  /** Links the next buckets of the level. Those that a thread has linked before it died are found. */
  #link(limit: number): number {
    const level = i32[this.ref + TOP]!;
    const base = i32[this.ref + LEVELS + level]!;
    const all = 1 << level;
    let left = limit;
    for (let n = i32[this.ref + CURSOR]!; n < all; left--) {
      if (left === 0) return 0;
      const order = orderOf(level, n);
      const bucket = base + 2 * n + 1;
      i32[bucket + ORDER] = order;
      while (this.seek(order, undefined, KEY) === 0 && !this.linkAt(bucket));
      i32[this.ref + CURSOR] = ++n;
    }
    const view = this.#viewOf(level);
    if (view === 0) {
      this.#failed();
      return 0;
    }
    const old = Atomics.exchange(i32, this.ref + VIEW, view) as ViewRef; // [A]
    i32[this.ref + FAILED] = -1;
    i32[this.ref + PHASE] = IDLE;
    kfreeRcu(SplitView, old);
    return left;
  }

  #shrink(goal: number): boolean {
    i32[this.ref + GOAL] = goal;
    i32[this.ref + PHASE] = TELLING;
    return true;
  }

  #tell(): boolean {
    const view = this.#viewOf(i32[this.ref + GOAL]!);
    if (view === 0) return this.#failed();
    const old = Atomics.exchange(i32, this.ref + VIEW, view) as ViewRef; // [A]
    const stamp = gpStamp(); // [B]
    i32[this.ref + STAMP] = stamp;
    i32[this.ref + PHASE] = WAITING;
    requestGp(stamp);
    kfreeRcu(SplitView, old);
    return true;
  }

  /** Takes the next buckets of the highest level out. */
  #unlinkBuckets(limit: number): number {
    const level = i32[this.ref + TOP]!;
    const base = i32[this.ref + LEVELS + level]!;
    let left = limit;
    if (base !== 0) {
      const all = 1 << level;
      for (let n = i32[this.ref + CURSOR]!; n < all; left--) {
        if (left === 0) return 0;
        this.mark(base + 2 * n + 1);
        this.seek(orderOf(level, n), undefined, KEY);
        i32[this.ref + CURSOR] = ++n;
      }
      i32[this.ref + LEVELS + level] = 0; // Before it is handed over: a thread that dies in between loses it, and nobody hands it over twice.
    }
    i32[this.ref + CURSOR] = 0;
    i32[this.ref + TOP] = level - 1;
    if (level - 1 === i32[this.ref + GOAL]) i32[this.ref + PHASE] = IDLE;
    if (base !== 0) kfreeArrayRcu((base - 1) as Ref<"array">);
    return left;
  }

  #viewOf(top: number): ViewRef | 0 {
    return makeView(this.ref as SplitTableRef, top);
  }

  /** Frees the table, whose nodes are gone; no thread uses it any more. */
  protected freeTable(): void {
    for (let level = 0; level < 32; level++) {
      const base = i32[this.ref + LEVELS + level]!;
      if (base !== 0) freeArray((base - 1) as Ref<"array">);
    }
    freeParts(this.ref as SplitTableRef);
  }
}

/** What readers are to see of the buckets up to a level; 0 when the heap is full. */
function makeView(table: SplitTableRef, top: number): ViewRef | 0 {
  const view = tryAlloc(SplitView);
  if (view === 0) return 0;
  SplitView.mask.init(view, maskOf(top));
  const block = SplitTable.block.get(table) + 2;
  const levels = view + VIEW_LEVELS;
  i32[levels + 32] = block;
  const kept = SplitTable.blockTop.get(table);
  for (let level = 0; level <= top; level++)
    i32[levels + level] = level <= kept ? block + (2 << level) - 1 : i32[table + LEVELS + level]!;
  return view;
}

function freeParts(table: SplitTableRef): void {
  const view = i32[table + VIEW]!;
  if (view !== 0) free(SplitView, view as ViewRef);
  for (const part of [SplitTable.block, SplitTable.counts]) {
    const array = part.get(table);
    if (array !== 0) freeArray(array as Ref<"array">);
  }
  free(SplitTable, table);
}

/** Allocates an empty table; 0 when the heap is full. */
export function createSplitTable(signature: string, buckets: number): SplitTableRef | 0 {
  const table = tryAlloc(SplitTable);
  if (table === 0) return 0;
  const top = levelOf(roundUp(buckets));
  SplitTable.kind.init(table, kindWord(signature));
  SplitTable.blockTop.init(table, top);
  SplitTable.floor.init(table, bucketsOf(top));
  SplitTable.top.set(table, top);
  SplitTable.failedAt.set(table, -1);
  SplitTable.counts.init(table, tryAllocArray(COUNTERS * STRIDE));
  SplitTable.block.init(table, tryAllocArray(2 * bucketsOf(top) + 1));
  const view = SplitTable.block.get(table) === 0 ? 0 : makeView(table, top);
  SplitTable.view.init(table, view);
  if (view === 0 || SplitTable.counts.get(table) === 0) {
    freeParts(table);
    return 0;
  }
  linkBlock(view, top);
  return table;
}

/** Puts the buckets of a new table on its list, in their order. */
function linkBlock(view: ViewRef, top: number): void {
  const step = 1 << (31 - top);
  let last = 0;
  for (let n = 0, order = 0x8000_0000 | 0; n < bucketsOf(top); n++, order = (order + step) | 0) {
    const level = Math.clz32(order & -order);
    const bucket = i32[view + VIEW_LEVELS + level]! + (order >>> (31 - level));
    i32[bucket + ORDER] = order;
    if (last !== 0) i32[last] = bucket;
    last = bucket;
  }
}
