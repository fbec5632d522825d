/**
 * Callbacks: work to be done after a grace period. A callback is a cell on a segmented list (done, wait, ready,
 * next), linked through its header word. An object handed to kfreeRcu is its own record; callRcu with a
 * reclaimer uses a small record, since closures do not cross threads.
 *
 * Each thread has its list; nobody else touches it while the thread is attached. Threads that go idle or leave put
 * what they have on the orphan list (orphan.ts), which whoever is active runs at its safe points.
 */

import { pageCache } from "./buddy.ts";
import { accelerate, advance, announceRun, append, pop } from "./cblist.ts";
import { WrongTypeError } from "./error.ts";
import { forceQuiescentStates } from "./force.ts";
import { gpStamp, rcuLaggards, requestGp, slotBase } from "./grace-period.ts";
import { CBLIST, CELL_LINK, RCU, SLOT_RCU } from "./layout.ts";
import { i32, slot } from "./memory.ts";
import { orphanSlot, runOrphans } from "./orphan.ts";
import { invoke, markDying, RcuHead, type Reclaimer, recordless, runRecordless } from "./reclaim.ts";
import type { Ref } from "./ref.ts";
import { rcuNesting } from "./scope.ts";
import { alloc, cacheOf, type StructType, TYPE } from "./struct.ts";

/** Callbacks queued on one thread above which grace periods are forced and batches unlimited (Linux: qhimark). */
const FLOOD = 10_000;
/** Callbacks run at one safe point when there is no flood: this many, or a sixteenth of what is queued. */
const BATCH = 64;

/** Batches are unlimited, from a flood until it is drained. */
let flooded = false;
let running = false;
/** Whether this thread is running callbacks now. */
export const inCallback = (): boolean => running;

/** Puts a record on this thread's list. */
function enqueue(cell: number): void {
  const list = slotBase(slot) + SLOT_RCU.LIST;
  i32[cell + CELL_LINK] = 0;
  append(list, CBLIST.NEXT, cell, cell);
  const queued = (i32[list + CBLIST.QUEUED]! + 1) | 0;
  i32[list + CBLIST.QUEUED] = queued;
  if (rcuNesting() < 0 && !running)
    orphanSlot(slot, false); // Queued while idle: somebody active must run it.
  else if (i32[list + CBLIST.WAIT] === 0) accelerate(list);
  else if (((queued - i32[list + CBLIST.RUN]!) | 0) % FLOOD === 0) flood(list);
}

function flood(list: number): void {
  const base = slotBase(slot);
  i32[base + SLOT_RCU.FLOODS] = i32[base + SLOT_RCU.FLOODS]! + 1;
  advance(list);
  accelerate(list);
  forceQuiescentStates(rcuLaggards());
}

/** Frees an object after a grace period. It must be unreachable for new readers. */
export function kfreeRcu<N extends string>(type: StructType<N>, ref: Ref<N>): void {
  kfreeCellOf(cacheOf(type), ref, type); // Small enough to be inlined, where the type is a constant.
}
function kfreeCellOf(cache: number, ref: number, type: StructType): void {
  if (pageCache(ref) !== cache)
    throw new WrongTypeError(
      `kfreeRcu: ${ref} is not an object of struct ${type[TYPE].name}`,
      "ERR_RCU_WRONG_STRUCT",
    );
  markDying(ref);
  enqueue(ref);
}
export function kfreeArrayRcu(ref: Ref<"array">): void {
  markDying(ref);
  enqueue(ref);
}
export function kfreeStringRcu(ref: Ref<"string">): void {
  markDying(ref);
  enqueue(ref);
}

/** The same for a live cell of whatever type, when the caller does not know it. */
export function kfreeCellRcu(ref: number): void {
  markDying(ref);
  enqueue(ref);
}

/** Runs `reclaimer` with `arg` after a grace period, at a safe point of some thread. Never fails. */
export function callRcu(reclaimer: Reclaimer, arg: number): void {
  const head = alloc(RcuHead);
  if (head === 0) {
    const stamp = gpStamp();
    recordless.push({ reclaimer, arg, stamp, heap: i32 });
    const list = slotBase(slot) + SLOT_RCU.LIST;
    i32[list + CBLIST.QUEUED] = (i32[list + CBLIST.QUEUED]! + 1) | 0;
    requestGp(stamp);
    return;
  }
  RcuHead.reclaimer.init(head, reclaimer.hash);
  RcuHead.arg.init(head, arg);
  enqueue(head);
}

/** Runs up to `limit` callbacks of this thread's own list. */
function runOwn(limit: number): number {
  const list = slotBase(slot) + SLOT_RCU.LIST;
  advance(list);
  accelerate(list);
  const headCache = cacheOf(RcuHead);
  let ran = 0;
  try {
    while (ran < limit && i32[list + CBLIST.DONE] !== 0) {
      const cell = pop(list);
      ran++; // Counted even if the reclaimer throws: it will not run again.
      invoke(cell, pageCache(cell), headCache);
    }
    if (recordless.length > 0) ran += runRecordless();
  } finally {
    if (ran > 0) countRun(list, ran);
  }
  return ran;
}

function countRun(list: number, ran: number): void {
  const base = slotBase(slot);
  i32[base + SLOT_RCU.CALLBACKS] = (i32[base + SLOT_RCU.CALLBACKS]! + ran) | 0;
  Atomics.store(i32, list + CBLIST.RUN, (i32[list + CBLIST.RUN]! + ran) | 0);
  announceRun();
}

/** Callbacks of this thread that have not run. */
export function pendingOwn(): number {
  const list = slotBase(slot) + SLOT_RCU.LIST;
  return (i32[list + CBLIST.QUEUED]! - i32[list + CBLIST.RUN]!) | 0;
}

/**
 * Safe point: runs callbacks whose grace period is over, a bounded number unless they flood, and orphans. Returns
 * how many ran. Not inside a read scope, not with a lock held.
 */
export function rcuRunCallbacks(): number {
  const own = pendingOwn();
  if (own === 0 && i32[RCU.ORPHANS] === 0) return 0;
  if (own >= FLOOD) flooded = true;
  else if (own < BATCH) flooded = false;
  return runSome(flooded ? Infinity : Math.max(BATCH, own >> 4));
}

/** Runs up to `limit` callbacks: own ones, then orphans. */
export function runSome(limit: number): number {
  if (running || rcuNesting() > 0) return 0; // A reclaimer reached a safe point: the outer call goes on.
  running = true;
  try {
    let ran = pendingOwn() === 0 ? 0 : runOwn(limit);
    if (i32[RCU.ORPHANS] !== 0) ran += runOrphans(limit);
    return ran;
  } finally {
    running = false;
  }
}
