/**
 * What a callback does when its time has come: a reclaimer runs, or an object goes back to its slab.
 */

import { freePages, pageCache } from "./buddy.ts";
import type { Batch } from "./contain.ts";
import { CorruptionError, DeclarationError } from "./error.ts";
import { gpSeq, seqDone } from "./grace-period.ts";
import * as layout from "./layout.ts";
import { i32 } from "./memory.ts";
import { hashName, type Ref } from "./ref.ts";
import { freeCell } from "./slab.ts";
import { fixed, free, type StructType, struct } from "./struct.ts";
import { rcuEvent, traceRcu } from "./trace.ts";

const { CELL_DYING, CELL_FREE, CELL_LIVE, CELL_STATE } = layout;

const INVOKE = rcuEvent("rcu_invoke_callback");
const INVOKE_KVFREE = rcuEvent("rcu_invoke_kvfree_callback");

/** Runs what a callback or a delayed release names: `reclaimer` is the hash of its name. */
export const RcuHead = struct("rcu_head", { reclaimer: fixed(), arg: fixed() });

/** A function that may be run by another thread than the one that queued it, known by its name in all of them. */
export interface Reclaimer<T extends number = number> {
  readonly name: string;
  readonly hash: number;
  run(arg: T): void;
  /** What the argument refers to, when it is an object that is handed over: queued twice, it is caught. */
  readonly type: StructType | null;
}

const reclaimers = new Map<number, Reclaimer>();

/**
 * Declares a reclaimer: what callRcu(reclaimer, arg) runs after a grace period. Every worker that may run callbacks must
 * load the module that declares it, since the callback runs on whichever thread comes by. Names are global.
 *
 * With a struct type the argument is a reference to such an object, which callRcu takes over: the reclaimer must free()
 * it in the end, and handing it to RCU twice throws CorruptionError. Throws DeclarationError when the name is taken.
 */
export function defineReclaimer<T extends number = number>(name: string, run: (arg: T) => void): Reclaimer<T>;
export function defineReclaimer<N extends string>(
  name: string,
  run: (ref: Ref<N>) => void,
  type: StructType<N>,
): Reclaimer<Ref<N>>;
export function defineReclaimer(
  name: string,
  run: (arg: never) => void,
  type: StructType | null = null,
): Reclaimer<never> {
  const hash = hashName(name);
  const other = reclaimers.get(hash);
  if (other !== undefined)
    throw new DeclarationError(
      "ERR_RCU_DECLARED_TWICE",
      `reclaimer ${name}: ${other.name} is declared already`,
    );
  const reclaimer = { name, hash, run, type } as Reclaimer<never>;
  reclaimers.set(hash, reclaimer as unknown as Reclaimer);
  return reclaimer;
}

/**
 * Callbacks that only this thread can run: closures, and those whose record could not be allocated, which count as queued
 * on the thread's list. Lost only if the thread dies.
 */
interface Closures {
  /** In the order of their stamps, which only grow: those before `next` have run. */
  queue: { readonly run: () => void; readonly stamp: number; readonly counted: boolean }[];
  next: number;
  counted: number;
}
/** By the words of their heap. */
const byHeap = new Map<Int32Array, Closures>();
/** In all heaps. */
let total = 0;

/** The reclaimer that invoke ran last; null when it freed a cell. */
let invoked: Reclaimer | null = null;
/** What invoke ran last, for the report of its exception. */
export const invokedText = (): string =>
  invoked === null ? "freeing after a grace period" : `reclaimer ${invoked.name}`;

/** Runs one callback. */
export function invoke(cell: number, cache: number, headCache: number): void {
  if (cache === headCache) {
    const reclaimer = reclaimers.get(RcuHead.reclaimer.get(cell as Ref<"rcu_head">))!;
    const arg = RcuHead.arg.get(cell as Ref<"rcu_head">);
    free(RcuHead, cell as Ref<"rcu_head">);
    traceRcu(INVOKE, cell, reclaimer.hash);
    invoked = reclaimer;
    reclaimer.run(arg);
    return;
  }
  traceRcu(INVOKE_KVFREE, cell, 0);
  invoked = null;
  if (cache >= 0) freeCell(cache, cell);
  else freeRun(cell);
}

/** Frees an array that fills a run of pages of its own. */
export function freeRun(ref: number): void {
  const state = i32[ref + CELL_STATE]! & 0xff;
  if (state !== CELL_LIVE && state !== CELL_DYING)
    throw new CorruptionError("ERR_RCU_DOUBLE_FREE", `double free: array ${ref}`);
  i32[ref + CELL_STATE] = CELL_FREE;
  freePages(ref - 2);
}

/** Whether this thread has the code for the callback. */
export function runnable(cell: number, headCache: number): boolean {
  return pageCache(cell) !== headCache || reclaimers.has(RcuHead.reclaimer.get(cell as Ref<"rcu_head">));
}

/** Marks a cell as handed to RCU; a second call for the same object is a bug that is caught here. */
export function markDying(ref: number, what = "kfreeRcu"): void {
  const state = i32[ref + CELL_STATE]!;
  if ((state & 0xff) !== CELL_LIVE) {
    const state = (i32[ref + CELL_STATE]! & 0xff) === CELL_DYING ? "handed to RCU twice" : "freed already";
    throw new CorruptionError("ERR_RCU_DOUBLE_FREE", `${what}: object ${ref} was ${state}`);
  }
  i32[ref + CELL_STATE] = (state & ~0xff) | CELL_DYING;
}

/** Keeps a closure until grace period `stamp` is over. */
export function keepClosure(run: () => void, stamp: number, isCounted: boolean): void {
  let closures = byHeap.get(i32);
  if (closures === undefined) {
    closures = { queue: [], next: 0, counted: 0 };
    byHeap.set(i32, closures);
  }
  closures.queue.push({ run, stamp, counted: isCounted });
  if (isCounted) closures.counted++;
  total++;
}

/** Closures of this thread in the current heap. */
export function closuresHere(): number {
  if (total === 0) return 0;
  const closures = byHeap.get(i32);
  return closures === undefined ? 0 : closures.queue.length - closures.next;
}

/** Of these, the ones that count as queued on its list. */
export function countedHere(): number {
  return total === 0 ? 0 : (byHeap.get(i32)?.counted ?? 0);
}

/** Runs the closures whose grace period is over; `batch` is told what they throw. `ran` is called before each counted one. */
export function runClosures(batch: Batch, ran: () => void): number {
  const words = i32;
  const closures = byHeap.get(words);
  if (closures === undefined) return 0;
  const seq = gpSeq();
  let done = 0;
  while (closures.next < closures.queue.length && seqDone(seq, closures.queue[closures.next]!.stamp)) {
    const entry = closures.queue[closures.next]!;
    closures.queue[closures.next++] = NONE;
    total--;
    done++;
    if (entry.counted) {
      closures.counted--;
      ran();
    }
    try {
      entry.run();
    } catch (error) {
      batch.failed(error, "closure after a grace period");
    }
  }
  if (closures.next === closures.queue.length) byHeap.delete(words);
  else if (closures.next >= 1024 && closures.next * 2 >= closures.queue.length) {
    closures.queue = closures.queue.slice(closures.next);
    closures.next = 0;
  }
  return done;
}
/** In place of a closure that has run: what it held can be collected. */
const NONE = { run: () => {}, stamp: 0, counted: false };

/** Closures of a heap that this thread leaves, which nobody can run any more: forgotten. Returns how many. */
export function dropClosures(): number {
  const lost = closuresHere();
  total -= lost;
  byHeap.delete(i32);
  return lost;
}

/** Whether there are closures, in whatever heap: for fast paths. */
export const anyClosures = (): boolean => total > 0;
