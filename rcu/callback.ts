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
import { Batch } from "./contain.ts";
import { WrongTypeError } from "./error.ts";
import { forceQuiescentStates } from "./force.ts";
import { gathered, gathering } from "./gather.ts";
import { gpStamp, rcuLaggards, requestGp, slotBase } from "./grace-period.ts";
import * as layout from "./layout.ts";
import { flushLazy, flushLazyInTime } from "./lazy.ts";
import { beforeNextLock, lockFree, locksHeld } from "./lock.ts";
import { i32, slot } from "./memory.ts";
import { assertClosures, offloadCallback, offloadsRcu, shelvedHere, takeBack } from "./offloaded.ts";
import { orphanSlot, runOrphans } from "./orphan.ts";
import {
  anyClosures,
  countedHere,
  invoke,
  invokedText,
  keepClosure,
  markDying,
  RcuHead,
  type Reclaimer,
  runClosures,
  runnable,
} from "./reclaim.ts";
import type { Ref } from "./ref.ts";
import { rcuNesting } from "./scope.ts";
import { cacheOf, type StructType, TYPE, tryAlloc } from "./struct.ts";
import { rcuEvent, traceRcu } from "./trace.ts";

const { CBLIST, CELL_LINK, HEADER, RCU, SLOT_RCU } = layout;

/** Callbacks queued on one thread above which grace periods are forced and batches unlimited (Linux: qhimark). */
const FLOOD = 10_000;
/** Callbacks run at one safe point when there is no flood: this many, or a sixteenth of what is queued. */
const BATCH = 64;

const CALLBACK = rcuEvent("rcu_callback");
const KVFREE_CALLBACK = rcuEvent("rcu_kvfree_callback");
const CORE_START = rcuEvent("rcu_utilization", "Start RCU core");
const CORE_END = rcuEvent("rcu_utilization", "End RCU core");
const BATCH_START = rcuEvent("rcu_batch_start");
const BATCH_END = rcuEvent("rcu_batch_end");

/** Batches are unlimited, from a flood until it is drained. */
let flooded = false;
/** HEADER.PRESSURE when this thread last looked. */
export let pressureSeen = 0;
let running = false;
/** Whether this thread is running callbacks now. */
export const inCallback = (): boolean => running;

/** What a thread that passes no safe points of its own does about callbacks: RcuDomain. */
export interface TurnHooks {
  /** A callback is queued while the thread is idle: makes it active until its turn ends. */
  wake(): void;
  /** Very many are queued within one turn. Called with no lock held, not in a callback; a read scope may be open. */
  help(): void;
  /** The heap is full, and something waits for a grace period: waits for one. True when callbacks have run. */
  makeRoom(): boolean;
  /** A lazy callback was queued on an empty shelf: looks whether its time has come. */
  look(): void;
}
/** By the words of their heap. */
const turns = new WeakMap<Int32Array, TurnHooks>();
let anyTurns = false;
export function setTurnHooks(hooks: TurnHooks): void {
  turns.set(i32, hooks);
  anyTurns = true;
}
/** Callbacks queued by one thread of a domain between two calls of `help`. */
export const HELP_EVERY = 1024;

/** Somebody has to look now and then whether the time of lazy callbacks has come. */
export const wantLook = (): void => turns.get(i32)?.look();

/** An idle thread is about to queue a callback, or to update what needs no lock: true when it is active now. */
export function wakeForCallback(): boolean {
  turns.get(i32)?.wake();
  return rcuNesting() >= 0;
}

/**
 * An update found the heap full, and holds no lock: whether it is worth trying again, since this thread has waited for what is to be
 * freed. False in threads that pass safe points of their own (the kernel's), and inside a read scope.
 */
export function makeRoom(): boolean {
  return anyTurns && !running && locksHeld === 0 && (turns.get(i32)?.makeRoom() ?? false);
}
/** What `attempt` returns; 0 means that the heap is full: then it is tried once more if that helps. */
export function withRoom<T extends number>(attempt: () => T): T {
  const got = attempt();
  return got === 0 && makeRoom() ? attempt() : got;
}

function askForHelp(): void {
  const hooks = turns.get(i32);
  if (hooks === undefined) return;
  const words = i32;
  // The next update may be in another heap: this one's turn will come.
  beforeNextLock(() => {
    if (i32 === words && !running) hooks.help();
  });
}

/** Puts a record on this thread's list. */
function enqueue(cell: number, event: number = KVFREE_CALLBACK): void {
  if (anyTurns) lockFree();
  if (offloadsRcu() && giveAway(cell, event)) return;
  const list = slotBase(slot) + SLOT_RCU.LIST;
  i32[cell + CELL_LINK] = 0;
  append(list, CBLIST.NEXT, cell, cell);
  const queued = (i32[list + CBLIST.QUEUED]! + 1) | 0;
  i32[list + CBLIST.QUEUED] = queued;
  traceRcu(event, cell, (queued - i32[list + CBLIST.RUN]!) | 0);
  if (rcuNesting() < 0 && !running && !wakeForCallback())
    orphanSlot(slot, false); // Queued while idle: somebody active must run it.
  else {
    const pending = (queued - i32[list + CBLIST.RUN]!) | 0;
    if (anyTurns && queued % HELP_EVERY === 0) askForHelp();
    if (i32[list + CBLIST.WAIT] === 0) {
      if (pending >= gathered) accelerate(list);
    } else if (pending % FLOOD === 0) flood(list);
  }
}

/** Offloads a callback. False: helpers have fallen behind, and this thread must keep it. */
export function giveAway(cell: number, event: number = KVFREE_CALLBACK): boolean {
  if (!offloadCallback(cell)) return false;
  traceRcu(event, cell, 0);
  // What it had to keep before, and would have to come by for.
  if (pendingOwn() > countedHere()) orphanSlot(slot, false);
  if (Atomics.load(i32, RCU.HELPERS) !== 0) return true;
  const waiting = shelvedHere();
  if (waiting === 1) wantLook();
  if (waiting % HELP_EVERY === 0) askForHelp();
  return true;
}

/**
 * Puts a record of makeHead on this thread's list, which may be another thread's callback: when this one has not loaded its reclaimer, it
 * goes to the orphans, for one that has.
 */
export function enqueueHead(head: number): void {
  const known = runnable(head, cacheOf(RcuHead));
  enqueue(head, CALLBACK);
  if (!known) orphanSlot(slot, false);
}

function flood(list: number): void {
  const base = slotBase(slot);
  i32[base + SLOT_RCU.FLOODS] = i32[base + SLOT_RCU.FLOODS]! + 1;
  advance(list);
  accelerate(list);
  forceQuiescentStates(rcuLaggards());
}

/**
 * Frees an object after a grace period. It must be unreachable for new readers. Needs no memory and never fails: the
 * object is its own record, and all that wait for one grace period are freed as one batch; while the heap is full, at the
 * first safe point after it. Throws CorruptionError for an object that was handed over or freed already, WrongTypeError for
 * one of another type. (Linux: kfree_rcu.)
 */
export function kfreeRcu<N extends string>(type: StructType<N>, ref: Ref<NoInfer<N>>): void {
  kfreeCellOf(cacheOf(type), ref, type); // Small enough to be inlined, where the type is a constant.
}
function kfreeCellOf(cache: number, ref: number, type: StructType): void {
  if (pageCache(ref) !== cache) wrongType("kfreeRcu", type, ref);
  markDying(ref);
  enqueue(ref);
}
/** kfreeRcu for an array of allocArray. */
export function kfreeArrayRcu(ref: Ref<"array">): void {
  markDying(ref);
  enqueue(ref);
}
/** kfreeRcu for a string of allocString. */
export function kfreeStringRcu(ref: Ref<"string">): void {
  markDying(ref);
  enqueue(ref);
}

/** kfreeRcu for a live cell of whatever type, when the caller does not know it. */
export function kfreeCellRcu(ref: number): void {
  markDying(ref);
  enqueue(ref);
}

/** Takes over an object that is to be freed. Throws as kfreeRcu does. */
export function claimObject(type: StructType, ref: number, what: string): void {
  if (pageCache(ref) !== cacheOf(type)) wrongType(what, type, ref);
  markDying(ref, what);
}

function wrongType(what: string, type: StructType, ref: number): never {
  throw new WrongTypeError(
    `${what}: ${ref} is not an object of struct ${type[TYPE].name}`,
    "ERR_RCU_WRONG_STRUCT",
  );
}

/**
 * Runs `reclaimer` with `arg` after a grace period, at a safe point of some thread. Never fails for lack of memory. When the
 * reclaimer was declared with a struct type, `arg` is an object that is handed over: throws CorruptionError if it was
 * handed to RCU before. (Linux: call_rcu.)
 */
export function callRcu<T extends number>(reclaimer: Reclaimer<T>, arg: T): void {
  claimArgument(reclaimer, arg, "callRcu");
  const head = makeHead(reclaimer, arg);
  if (head !== 0) {
    enqueue(head, CALLBACK);
    return;
  }
  callUnrecorded(reclaimer, arg);
}

/** There is no memory for a record: this thread remembers. */
export function callUnrecorded<T extends number>(reclaimer: Reclaimer<T>, arg: T): void {
  const stamp = gpStamp();
  keepClosure(() => reclaimer.run(arg), stamp, true);
  const list = slotBase(slot) + SLOT_RCU.LIST;
  i32[list + CBLIST.QUEUED] = (i32[list + CBLIST.QUEUED]! + 1) | 0;
  requestGp(stamp);
}

/** Takes over the object that a reclaimer with a struct type is given. Throws WrongTypeError, and CorruptionError for one handed over before. */
export function claimArgument<T extends number>(reclaimer: Reclaimer<T>, arg: T, what: string): void {
  if (reclaimer.type === null) return;
  if (pageCache(arg) !== cacheOf(reclaimer.type)) wrongType(what, reclaimer.type, arg);
  markDying(arg, what);
}

/** A record that names a reclaimer and its argument; 0 when the heap is full. */
export function makeHead(reclaimer: { readonly hash: number }, arg: number): Ref<"rcu_head"> | 0 {
  const head = tryAlloc(RcuHead);
  if (head === 0) return 0;
  RcuHead.reclaimer.init(head, reclaimer.hash);
  RcuHead.arg.init(head, arg);
  return head;
}

/**
 * Runs a closure after a grace period, at a safe point of this thread: closures do not cross threads. Barriers of other
 * threads do not wait for it. A thread that detaches runs its closures first. Throws RcuUsageError on a thread that offloads its
 * callbacks (offloadRcu), unless it keeps closures.
 */
export function callRcuHere(run: () => void): void {
  assertClosures("callRcuHere");
  queueClosure(run);
}
/** callRcuHere, on a thread that offloads too. */
export function queueClosure(run: () => void): void {
  if (rcuNesting() < 0 && !running) turns.get(i32)?.wake();
  const stamp = gpStamp();
  keepClosure(run, stamp, false);
  requestGp(stamp);
}

/**
 * Disposes of `value` after a grace period, on this thread: a collection, an RcuBox, or whatever has destroy() or
 * [Symbol.dispose](). It must be unreachable for new readers. Throws as callRcuHere does. (Starnix: rcu_drop.)
 */
export function rcuDrop(value: { destroy(): void } | Disposable): void {
  assertClosures("rcuDrop");
  if ("destroy" in value) queueClosure(() => value.destroy());
  else queueClosure(() => value[Symbol.dispose]());
}

/** Runs up to `limit` callbacks of this thread's own list; `batch` is told what they throw. */
function runOwn(limit: number, batch: Batch): number {
  const list = slotBase(slot) + SLOT_RCU.LIST;
  advance(list);
  if (!gathering) accelerate(list);
  const headCache = cacheOf(RcuHead);
  let ran = 0;
  let closures = 0;
  traceRcu(BATCH_START, pendingOwn(), limit);
  try {
    while (ran < limit && i32[list + CBLIST.DONE] !== 0)
      try {
        do {
          const cell = pop(list);
          ran++; // Counted even if the reclaimer throws: it will not run again.
          invoke(cell, pageCache(cell), headCache);
        } while (ran < limit && i32[list + CBLIST.DONE] !== 0);
      } catch (error) {
        batch.failed(error, invokedText());
      }
    if (anyClosures())
      closures = runClosures(batch, () => {
        ran++;
        closures--; // Counted already.
      });
  } finally {
    if (ran > 0) countRun(list, ran);
    traceRcu(BATCH_END, ran, 0);
  }
  if (gathering && pendingOwn() >= gathered) accelerate(list);
  return ran + closures;
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
 * Safe point: runs callbacks whose grace period is over, and orphans: a bounded number, unless they flood or the heap is
 * full. Returns how many ran. Not inside a read scope, not with a lock held.
 */
export function rcuRunCallbacks(): number {
  if (i32[HEADER.PRESSURE] === pressureSeen) flushLazyInTime();
  else flushLazy();
  if (i32[RCU.HELPERS] === 0) takeBack();
  const waiting = Math.max(pendingOwn(), i32[RCU.ORPHANS]!);
  if (waiting === 0 && !anyClosures()) {
    pressureSeen = i32[HEADER.PRESSURE]!; // There is nothing to hurry.
    return 0;
  }
  if (waiting >= FLOOD || i32[HEADER.PRESSURE] !== pressureSeen) hurry();
  else if (waiting < BATCH) flooded = false;
  return runSome(flooded ? Infinity : Math.max(BATCH, waiting >> 4));
}

/** More waits than should: all of it is run as soon as it may be, and those who hold it up are asked to hurry. */
function hurry(): void {
  flooded = true;
  if (i32[HEADER.PRESSURE] === pressureSeen) return;
  pressureSeen = i32[HEADER.PRESSURE]!;
  const list = slotBase(slot) + SLOT_RCU.LIST;
  advance(list);
  accelerate(list);
  forceQuiescentStates(rcuLaggards());
}

/** Runs up to `limit` callbacks: own ones, then orphans. One that throws ends none of the others (contain.ts). */
export function runSome(limit: number): number {
  if (running || rcuNesting() > 0) return 0; // A reclaimer reached a safe point: the outer call goes on.
  running = true;
  traceRcu(CORE_START, 0, 0);
  try {
    const batch = new Batch();
    let ran = pendingOwn() === 0 && !anyClosures() ? 0 : runOwn(limit, batch);
    if (i32[RCU.ORPHANS] !== 0) ran += runOrphans(limit, batch);
    batch.end();
    return ran;
  } finally {
    running = false;
    traceRcu(CORE_END, 0, 0);
  }
}
