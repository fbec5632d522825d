/**
 * Grace periods of an Srcu: its state, moved on without waiting by whoever finds that it can be, and the callbacks that wait for it.
 */
import { enqueueHead, makeHead } from "./callback.ts";
import { gpSeq, gpStamp, requestGp, seqDone, seqSnap } from "./grace-period.ts";
import { rcuIdleEnter, rcuIdleExit } from "./idle.ts";
import { settleLanes } from "./lanes.ts";
import * as layout from "./layout.ts";
import { dropWord, lockWord, ownerIsDead, takeOverWord, unlockWord } from "./lock.ts";
import { i32, slot } from "./memory.ts";
import { defineReclaimer } from "./reclaim.ts";
import { stallClock } from "./rounds.ts";
import { rcuNesting } from "./scope.ts";
import {
  countsOf,
  Domain,
  forEachSrcu,
  LEAVING,
  LEFT,
  openOf,
  type SrcuRef,
  STRIDE,
  srcuName,
  wordOf,
} from "./srcu-domain.ts";
import { handOver, mendBehind, stampBehind } from "./waitlist.ts";

const { CBLIST, RCU } = layout;

/** A scope that another thread entered. If that one has died, its scopes were ended for it. */
export function leaveForeign(owner: number, word: number): void {
  lockWord(RCU.SRCU_LOCK);
  if (!ownerIsDead(owner)) Atomics.add(i32, word, 1);
  unlockWord(RCU.SRCU_LOCK);
}

/** Whether no reader is in the bank: what left is counted before what entered, so equal means empty. */
export function empty(ref: SrcuRef, bank: number): boolean {
  settleLanes();
  const counts = countsOf(ref);
  const high = Atomics.load(i32, RCU.SLOT_HIGH); // Who attaches later has not read yet.
  let left = 0;
  let entered = 0;
  for (let of = 0; of < high; of++) left += Atomics.load(i32, counts + of * STRIDE + LEFT + bank);
  for (let of = 0; of < high; of++) entered += Atomics.load(i32, counts + of * STRIDE + bank);
  return ((entered - left) | 0) === 0;
}

/** A plain store by the slot's owner, before an atomic one: who sees that a scope has ended sees this too. */
export function countLeaving(counts: number, change: number): void {
  if (slot >= 0) i32[counts + slot * STRIDE + LEAVING]! += change;
}

/** Whether some thread still looks at it on its way out. */
export function leaving(ref: SrcuRef): boolean {
  const high = Atomics.load(i32, RCU.SLOT_HIGH);
  for (let of = 0; of < high; of++) if (Atomics.load(i32, wordOf(ref, of) + LEAVING) !== 0) return true;
  return false;
}

/** Asks for a grace period that ends at `stamp` or later, and does what can be done for it now. */
export function request(ref: SrcuRef, stamp: number): void {
  want(ref, stamp);
  advance(ref);
}

function want(ref: SrcuRef, stamp: number): void {
  for (;;) {
    const needed = Domain.needed.load(ref);
    if (seqDone(needed, stamp) || Domain.needed.cas(ref, needed, stamp)) return;
  }
}

/**
 * Moves the grace period on as far as it goes without waiting, and hands callbacks over. Who finds the gate taken has said
 * in `looks` that something changed; the holder looks again when it did.
 */
export function advance(ref: SrcuRef): void {
  const wait = Domain.list.at(ref) + CBLIST.WAIT;
  // Counted once: if looking again counted too, two threads could keep each other looking for ever.
  let look = (Domain.looks.add(ref, 1) + 1) | 0;
  for (let again = true; again; ) {
    if (!takeOverWord(ref + Domain.gate.offset)) return;
    const before = Domain.seq.load(ref);
    try {
      while (step(ref));
    } finally {
      dropWord(ref + Domain.gate.offset);
    }
    const after = Domain.seq.load(ref);
    if (after !== before) {
      Domain.event.add(ref, 1);
      Domain.event.notify(ref);
      if (Domain.fast.get(ref) !== 0 && (after & 3) !== 0) goOnAfterGrace(ref);
    }
    const now = Domain.looks.load(ref);
    again = now !== look;
    look = now;
    if (i32[wait] !== 0) again = handOverDone(ref) || again;
  }
}

/** One step, with the gate held; false when there is nothing to do, or a reader or a grace period of RCU is in the way. */
function step(ref: SrcuRef): boolean {
  const seq = Domain.seq.load(ref);
  const bank = Domain.index.load(ref) & 1;
  const fast = Domain.fast.get(ref) !== 0;
  if ((seq & 3) === 0) {
    if (seqDone(seq, Domain.needed.load(ref))) return false;
    i32[ref + Domain.started.offset] = stallClock();
  } else {
    if (fast && !seqDone(gpSeq(), Domain.grace.load(ref))) return false;
    if ((seq & 3) !== 3 && !empty(ref, bank ^ 1)) return false;
  }
  if ((seq & 3) === 1) Domain.index.store(ref, bank ^ 1);
  const next = ((seq & 3) === 2 && !fast ? seq + 2 : seq + 1) | 0;
  if (fast && (next & 3) !== 0) {
    const stamp = gpStamp(); // [B] After the switch, and after what was unlinked.
    Domain.grace.store(ref, stamp);
    requestGp(stamp);
  }
  Domain.seq.store(ref, next);
  return true;
}

/** Looks again when the grace period of RCU that the step waits for is over. Without memory for that, who waits looks now and then. */
function goOnAfterGrace(ref: SrcuRef): void {
  const head = makeHead(onGrace, ref);
  if (head !== 0) enqueueHead(head);
}
const onGrace = defineReclaimer("rcu: srcu fast", (arg) => {
  let there = false;
  forEachSrcu((ref) => {
    if (ref !== arg) return;
    there = true;
    countLeaving(countsOf(ref), 1); // From here on destroy() waits for it.
  });
  if (!there) return;
  advance(arg as SrcuRef);
  countLeaving(countsOf(arg as SrcuRef), -1);
});

/** Stamps callbacks that have none, if a segment is free for them. Returns the stamp that the list waits for. Locked. */
export function accelerate(ref: SrcuRef): number {
  const list = Domain.list.at(ref);
  const stamp = seqSnap(Domain.seq.load(ref));
  if (i32[list + CBLIST.WAIT] === 0 || i32[list + CBLIST.WAIT_STAMP] === stamp) stampBehind(list, stamp);
  return i32[list + CBLIST.WAIT_STAMP]!;
}

/**
 * Gives the callbacks whose grace period is over to this thread's RCU list: they run at a safe point, as all do. An idle
 * thread passes one now, since nobody else may come by. Returns whether there was something; then those left are stamped.
 */
function handOverDone(ref: SrcuRef): boolean {
  const list = Domain.list.at(ref);
  const idle = rcuNesting() < 0;
  if (idle) rcuIdleExit();
  Domain.lock.lock(ref);
  const count = seqDone(Domain.seq.load(ref), i32[list + CBLIST.WAIT_STAMP]!) ? handOver(list) : 0;
  if (count > 0 && i32[list + CBLIST.NEXT] !== 0) want(ref, accelerate(ref));
  Domain.lock.unlock(ref);
  Domain.waiting.add(ref, -count);
  if (idle) rcuIdleEnter();
  return count > 0;
}

/**
 * Ends the scopes that this thread has entered and nobody has left, and tells which: for a thread that must detach all the same, and
 * does so next. Giving one of them back after that does nothing, on whatever thread.
 */
export function abandonSrcuScopes(): { readonly name: string; readonly scopes: number }[] {
  const open: { name: string; scopes: number }[] = [];
  forEachSrcu((ref) => {
    const scopes = openOf(ref, slot);
    if (scopes > 0) open.push({ name: srcuName(ref), scopes });
  });
  if (open.length > 0) dropSrcuScopes(slot);
  return open;
}

/** The thread of slot `of` is dead: the scopes that it entered and nobody left are over, and its hands are off the callbacks. */
export function dropSrcuScopes(of: number): void {
  const dropped: SrcuRef[] = [];
  forEachSrcu((ref) => {
    const word = wordOf(ref, of);
    for (const bank of [0, 1]) Atomics.store(i32, word + LEFT + bank, Atomics.load(i32, word + bank));
    Atomics.store(i32, word + LEAVING, 0);
    countLeaving(countsOf(ref), 1);
    dropped.push(ref);
  });
  for (const ref of dropped) {
    if (Domain.waiting.load(ref) !== 0) {
      mendCallbacks(ref);
      advance(ref);
    }
    countLeaving(countsOf(ref), -1);
  }
}

function mendCallbacks(ref: SrcuRef): void {
  Domain.lock.lock(ref);
  const list = Domain.list.at(ref);
  mendBehind(list);
  if (i32[list + CBLIST.NEXT] !== 0) want(ref, accelerate(ref));
  Domain.lock.unlock(ref);
}
