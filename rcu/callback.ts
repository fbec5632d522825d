/**
 * Callbacks: work to be done after a grace period. A callback is a cell on a segmented list (done, wait, ready,
 * next), linked through its header word. An object handed to kfreeRcu is its own record; callRcu with a
 * reclaimer uses a small record, since closures do not cross threads.
 *
 * Each thread has its list; nobody else touches it while the thread is attached. Threads that go idle or leave put
 * what they have on the orphan list, which whoever is active runs at its safe points.
 */
import { freePages, pageCache } from "./buddy.ts";
import {
  goActive,
  goIdle,
  gpSeq,
  gpStamp,
  othersActive,
  rcuLaggards,
  requestGp,
  seqDone,
  slotBase,
} from "./grace-period.ts";
import { CBLIST, CELL_DYING, CELL_FREE, CELL_LINK, CELL_LIVE, CELL_STATE, RCU, SLOT_RCU } from "./layout.ts";
import { locksHeld, lockWord, ownerIsDead, unlockWord } from "./lock.ts";
import { i32, ownerId, slot } from "./memory.ts";
import { hashName, type Ref } from "./ref.ts";
import { nesting } from "./scope.ts";
import { freeCell } from "./slab.ts";
import { alloc, cacheOf, fixed, free, type StructType, struct } from "./struct.ts";

/** Runs what a callback or a delayed release names: `reclaimer` is the hash of its name. */
export const RcuHead = struct("rcu_head", { reclaimer: fixed(), arg: fixed() });

/** A function that may be run by another thread than the one that queued it, known by its name in all of them. */
export interface Reclaimer {
  readonly name: string;
  readonly hash: number;
  readonly run: (arg: number) => void;
}

const reclaimers = new Map<number, Reclaimer>();

/** Declares a reclaimer. Every worker that may run callbacks must load the module that declares it. */
export function defineReclaimer(name: string, run: (arg: number) => void): Reclaimer {
  const hash = hashName(name);
  const other = reclaimers.get(hash);
  if (other !== undefined) throw new Error(`reclaimer ${name}: ${other.name} is declared already`);
  const reclaimer = { name, hash, run };
  reclaimers.set(hash, reclaimer);
  return reclaimer;
}

/** Callbacks whose record could not be allocated: they wait here with their stamp. Lost only if the thread dies. */
const recordless: { reclaimer: Reclaimer; arg: number; stamp: number; heap: unknown }[] = [];

/** Callbacks queued on one thread above which grace periods are forced and batches unlimited (Linux: qhimark). */
const FLOOD = 10_000;
/** Callbacks run at one safe point when there is no flood: this many, or a sixteenth of what is queued. */
const BATCH = 64;

let running = false;
/** Whether this thread is running callbacks now. */
export const inCallback = (): boolean => running;

function append(list: number, segment: number, head: number, tail: number): void {
  if (head === 0) return;
  const last = i32[list + segment + 1]!;
  if (last === 0) i32[list + segment] = head;
  else i32[last + CELL_LINK] = head;
  i32[list + segment + 1] = tail;
}

function move(list: number, from: number, to: number): void {
  append(list, to, i32[list + from]!, i32[list + from + 1]!);
  i32[list + from] = 0;
  i32[list + from + 1] = 0;
}

/** Stamps what is unstamped and asks for the grace period it needs. */
function accelerate(list: number): void {
  if (i32[list + CBLIST.NEXT] === 0) return;
  const stamp = gpStamp(); // [B] the global sequence, loaded after the unlinking
  if (i32[list + CBLIST.WAIT] === 0) {
    move(list, CBLIST.NEXT, CBLIST.WAIT);
    i32[list + CBLIST.WAIT_STAMP] = stamp;
  } else if (i32[list + CBLIST.READY] === 0) {
    if (i32[list + CBLIST.WAIT_STAMP] === stamp) move(list, CBLIST.NEXT, CBLIST.WAIT);
    else {
      move(list, CBLIST.NEXT, CBLIST.READY);
      i32[list + CBLIST.READY_STAMP] = stamp;
    }
  } else if (i32[list + CBLIST.READY_STAMP] === stamp) move(list, CBLIST.NEXT, CBLIST.READY);
  else return; // Two grace periods are awaited already: stamped when the first is over.
  requestGp(stamp);
}

/** Moves what has had its grace period to the done segment. */
function advance(list: number): void {
  const seq = gpSeq();
  while (i32[list + CBLIST.WAIT] !== 0 && seqDone(seq, i32[list + CBLIST.WAIT_STAMP]!)) {
    move(list, CBLIST.WAIT, CBLIST.DONE);
    move(list, CBLIST.READY, CBLIST.WAIT);
    i32[list + CBLIST.WAIT_STAMP] = i32[list + CBLIST.READY_STAMP]!;
  }
}

/** Puts a record on this thread's list. */
function enqueue(cell: number): void {
  const list = slotBase(slot) + SLOT_RCU.LIST;
  i32[cell + CELL_LINK] = 0;
  append(list, CBLIST.NEXT, cell, cell);
  const queued = (i32[list + CBLIST.QUEUED]! + 1) | 0;
  i32[list + CBLIST.QUEUED] = queued;
  if (nesting < 0 && !running)
    orphanSlot(slot, false); // Queued while idle: somebody active must run it.
  else if (i32[list + CBLIST.WAIT] === 0) accelerate(list);
  else if (((queued - i32[list + CBLIST.RUN]!) | 0) % FLOOD === 0) flood(list);
}

/** Asks the threads that hold a grace period up to pass a quiescent state soon; the kernel sets their needResched. */
export type ForceNotifier = (slot: number) => void;
let forceNotifier: ForceNotifier | null = null;
/** Sets this thread's way to reach lagging slots. */
export function setForceNotifier(notify: ForceNotifier | null): void {
  forceNotifier = notify;
}
/** Calls the force notifier for each lagging slot. */
export function forceQuiescentStates(laggards: number[]): void {
  if (forceNotifier !== null) for (const of of laggards) if (of !== slot) forceNotifier(of);
}

function flood(list: number): void {
  const base = slotBase(slot);
  i32[base + SLOT_RCU.FLOODS] = i32[base + SLOT_RCU.FLOODS]! + 1;
  advance(list);
  accelerate(list);
  forceQuiescentStates(rcuLaggards());
}

/** Marks a cell as handed to RCU; a second call for the same object is a bug that is caught here. */
function markDying(ref: number): void {
  const state = i32[ref + CELL_STATE]!;
  if ((state & 0xff) !== CELL_LIVE) {
    const what = (state & 0xff) === CELL_DYING ? "handed to RCU twice" : "freed already";
    throw new Error(`kfreeRcu: object ${ref} was ${what}`);
  }
  i32[ref + CELL_STATE] = (state & ~0xff) | CELL_DYING;
}

/** Frees an object after a grace period. It must be unreachable for new readers. */
export function kfreeRcu<N extends string>(type: StructType<N>, ref: Ref<N>): void {
  if (pageCache(ref) !== cacheOf(type))
    throw new Error(`kfreeRcu: ${ref} is not an object of the given type`);
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

/** Runs one callback. */
function invoke(cell: number, cache: number, headCache: number): void {
  if (cache === headCache) {
    const reclaimer = reclaimers.get(RcuHead.reclaimer.get(cell as Ref<"rcu_head">))!;
    const arg = RcuHead.arg.get(cell as Ref<"rcu_head">);
    free(RcuHead, cell as Ref<"rcu_head">);
    reclaimer.run(arg);
  } else if (cache >= 0) freeCell(cache, cell);
  else freeRun(cell);
}

/** Frees an array that fills a run of pages of its own. */
function freeRun(ref: number): void {
  const state = i32[ref + CELL_STATE]! & 0xff;
  if (state !== CELL_LIVE && state !== CELL_DYING) throw new Error(`double free: array ${ref}`);
  i32[ref + CELL_STATE] = CELL_FREE;
  freePages(ref - 2);
}

/** Whether this thread has the code for the callback. */
function runnable(cell: number, headCache: number): boolean {
  return pageCache(cell) !== headCache || reclaimers.has(RcuHead.reclaimer.get(cell as Ref<"rcu_head">));
}

function pop(list: number): number {
  const cell = i32[list + CBLIST.DONE]!;
  const next = i32[cell + CELL_LINK]!;
  i32[list + CBLIST.DONE] = next;
  if (next === 0) i32[list + CBLIST.DONE + 1] = 0;
  return cell;
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

function runRecordless(): number {
  let ran = 0;
  const seq = gpSeq();
  for (let n = 0; n < recordless.length; ) {
    const entry = recordless[n]!;
    if (entry.heap !== i32 || !seqDone(seq, entry.stamp)) {
      n++;
      continue;
    }
    recordless.splice(n, 1);
    ran++;
    entry.reclaimer.run(entry.arg);
  }
  return ran;
}

function countRun(list: number, ran: number): void {
  const base = slotBase(slot);
  i32[base + SLOT_RCU.CALLBACKS] = (i32[base + SLOT_RCU.CALLBACKS]! + ran) | 0;
  Atomics.store(i32, list + CBLIST.RUN, (i32[list + CBLIST.RUN]! + ran) | 0);
  announceRun();
}

/** Wakes the barriers that wait for callbacks to have run. */
function announceRun(): void {
  if (Atomics.load(i32, RCU.BARRIER_WAITERS) === 0) return;
  Atomics.add(i32, RCU.BARRIER_EVENT, 1);
  Atomics.notify(i32, RCU.BARRIER_EVENT);
}

/** Callbacks of this thread that have not run. */
function pendingOwn(): number {
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
  return runSome(own >= FLOOD ? Infinity : Math.max(BATCH, own >> 4));
}

/** Runs up to `limit` callbacks: own ones, then orphans. */
export function runSome(limit: number): number {
  if (running || nesting > 0) return 0; // A reclaimer reached a safe point: the outer call goes on.
  running = true;
  try {
    let ran = pendingOwn() === 0 ? 0 : runOwn(limit);
    if (i32[RCU.ORPHANS] !== 0) ran += runOrphans(limit);
    return ran;
  } finally {
    running = false;
  }
}

/** Splices all segments of `from` onto the orphans. ORPHAN_LOCK is held. */
function adopt(from: number, count: number): void {
  const to = RCU.ORPHAN_LIST;
  for (const segment of [CBLIST.DONE, CBLIST.WAIT, CBLIST.READY, CBLIST.NEXT]) {
    append(to, CBLIST.NEXT, i32[from + segment]!, i32[from + segment + 1]!);
    i32[from + segment] = 0;
    i32[from + segment + 1] = 0;
  }
  Atomics.store(i32, to + CBLIST.QUEUED, (i32[to + CBLIST.QUEUED]! + count) | 0);
  Atomics.add(i32, RCU.ORPHANS, count);
  Atomics.store(i32, from + CBLIST.RUN, (i32[from + CBLIST.RUN]! + count) | 0);
}

/** Hands the callbacks and delayed releases of a slot to whoever is active: its owner sleeps, left, or died. */
export function orphanSlot(of: number, lost: boolean): void {
  const base = slotBase(of);
  const list = base + SLOT_RCU.LIST;
  lockWord(RCU.ORPHAN_LOCK);
  let count = (i32[list + CBLIST.QUEUED]! - i32[list + CBLIST.RUN]!) | 0;
  if (!lost) count -= recordlessHere();
  else count = linkedCells(list);
  if (count > 0) adopt(list, count);
  if (lost) Atomics.store(i32, list + CBLIST.RUN, i32[list + CBLIST.QUEUED]!);
  const releases = base + SLOT_RCU.RELEASE_LIST;
  if (lost && i32[releases] !== 0) {
    append(RCU.ORPHAN_RELEASES, 0, i32[releases]!, i32[releases + 1]!);
    i32[releases] = 0;
    i32[releases + 1] = 0;
  }
  accelerate(RCU.ORPHAN_LIST);
  unlockWord(RCU.ORPHAN_LOCK);
  announceRun();
}

function recordlessHere(): number {
  let count = 0;
  for (const entry of recordless) if (entry.heap === i32) count++;
  return count;
}

function linkedCells(list: number): number {
  let count = 0;
  for (const segment of [CBLIST.DONE, CBLIST.WAIT, CBLIST.READY, CBLIST.NEXT])
    for (let cell = i32[list + segment]!; cell !== 0; cell = i32[cell + CELL_LINK]!) count++;
  return count;
}

/** Runs orphans, unless another thread is at it: they run one at a time and in order, so that barriers can count. */
function runOrphans(limit: number): number {
  const owner = Atomics.compareExchange(i32, RCU.ORPHAN_OWNER, 0, ownerId);
  if (owner !== 0) {
    if (!ownerIsDead(owner) || Atomics.compareExchange(i32, RCU.ORPHAN_OWNER, owner, ownerId) !== owner)
      return 0;
    // What the dead thread had taken is lost: say that it ran.
    lockWord(RCU.ORPHAN_LOCK);
    setOrphansRun((i32[RCU.ORPHAN_LIST + CBLIST.QUEUED]! - linkedCells(RCU.ORPHAN_LIST)) | 0);
    unlockWord(RCU.ORPHAN_LOCK);
  }
  const headCache = cacheOf(RcuHead);
  let ran = 0;
  try {
    while (ran < limit) {
      lockWord(RCU.ORPHAN_LOCK);
      advance(RCU.ORPHAN_LIST);
      accelerate(RCU.ORPHAN_LIST);
      const head = i32[RCU.ORPHAN_LIST + CBLIST.DONE]!;
      const cell = head !== 0 && runnable(head, headCache) ? pop(RCU.ORPHAN_LIST) : 0;
      unlockWord(RCU.ORPHAN_LOCK);
      if (cell === 0) break;
      ran++;
      invoke(cell, pageCache(cell), headCache);
    }
  } finally {
    if (ran > 0) {
      setOrphansRun((i32[RCU.ORPHAN_LIST + CBLIST.RUN]! + ran) | 0);
      const base = slotBase(slot);
      i32[base + SLOT_RCU.CALLBACKS] = (i32[base + SLOT_RCU.CALLBACKS]! + ran) | 0;
    }
    Atomics.store(i32, RCU.ORPHAN_OWNER, 0);
    if (ran > 0) announceRun();
  }
  return ran;
}

/** ORPHAN_OWNER is held. */
function setOrphansRun(run: number): void {
  const before = i32[RCU.ORPHAN_LIST + CBLIST.RUN]!;
  Atomics.store(i32, RCU.ORPHAN_LIST + CBLIST.RUN, run);
  Atomics.sub(i32, RCU.ORPHANS, (run - before) | 0);
}

/**
 * Enters the extended quiescent state: before Atomics.wait, a blocking host call, or the end of an event-loop turn.
 * No grace period waits for this thread until rcuIdleExit, and none wakes it. What it has queued is run first
 * when every other thread is idle too, else handed to those that are not.
 */
export function rcuIdleEnter(): void {
  if (nesting !== 0) {
    if (nesting > 0) throw new Error(`rcuIdleEnter inside a read scope (nesting ${nesting})`);
    i32[slotBase(slot) + SLOT_RCU.IDLE_DEPTH]!++;
    return;
  }
  if (locksHeld !== 0) throw new Error(`rcuIdleEnter with ${locksHeld} lock(s) held`);
  for (;;) {
    goIdle();
    if (running) return; // A reclaimer blocks in the host: its callbacks go on afterwards.
    if (pendingOwn() === 0 && Atomics.load(i32, RCU.ORPHANS) === 0) return;
    if (othersActive()) {
      if (pendingOwn() > recordlessHere()) orphanSlot(slot, false);
      if (othersActive()) return;
    }
    goActive();
    if (!drainAlone()) {
      goIdle();
      return;
    }
  }
}

/** Runs what can be run when every other thread is idle; false when that was nothing. */
function drainAlone(): boolean {
  const list = slotBase(slot) + SLOT_RCU.LIST;
  accelerate(list);
  goIdle(); // Ends the grace period asked for, if nobody else holds it up.
  goActive();
  return runSome(Infinity) > 0;
}

/** Leaves the extended quiescent state: before anything shared is read. */
export function rcuIdleExit(): void {
  const base = slotBase(slot);
  const depth = i32[base + SLOT_RCU.IDLE_DEPTH]!;
  if (depth === 0) throw new Error("rcuIdleExit without rcuIdleEnter");
  if (depth > 1) i32[base + SLOT_RCU.IDLE_DEPTH] = depth - 1;
  else goActive();
}
