/**
 * Grace periods. The letters [A] to [H] mark the lines that the proof in rcu/design.md rests on.
 *
 * gpSeq (RCU.GP_SEQ) is Linux's: counter << 2 | state. A slot has one line that only its owner writes: LINE_IDLE,
 * LINE_ACTIVE, or the gpSeq of the last grace period that it reported a quiescent state for. A grace period
 * is over when every line is idle or holds its number; whoever sees that ends it, and starts the next one
 * when somebody needs it.
 */

import { settleLanes } from "./lanes.ts";
import * as layout from "./layout.ts";
import { i32, slot } from "./memory.ts";
import { keepsOrder } from "./platform.ts";
import { isBlocked, leaveBlocked, mustLeaveBlocked } from "./preempt.ts";
import { stallClock } from "./rounds.ts";
import { checkNesting, endEra, IDLE_NESTING, rcuNesting, setNesting } from "./scope.ts";
import { rcuEvent, traceRcu } from "./trace.ts";

const { CBLIST, LINE_ACTIVE, LINE_IDLE, RCU, SLOT, SLOT_RCU } = layout;

const NEWREQ = rcuEvent("rcu_grace_period", "newreq");
const START = rcuEvent("rcu_grace_period", "start");
const END = rcuEvent("rcu_grace_period", "end");
const CPUQS = rcuEvent("rcu_grace_period", "cpuqs");
const WATCHING = rcuEvent("rcu_watching", "End");
const NOT_WATCHING = rcuEvent("rcu_watching", "Start");

const STATE_MASK = 3;
const IN_ORDER = keepsOrder;

/** First word of this thread's slot. */
export const slotBase = (of: number): number => SLOT.BASE + of * SLOT.WORDS;

/** The value that gpSeq will have reached once a full grace period has followed `seq` (rcu_seq_snap). */
export const seqSnap = (seq: number): number => ((seq + 2 * STATE_MASK + 1) & ~STATE_MASK) | 0;
/** Whether gpSeq has reached `stamp`; right for 2^31 steps in either direction. */
export const seqDone = (seq: number, stamp: number): boolean => ((seq - stamp) | 0) >= 0;
const inProgress = (seq: number): boolean => (seq & STATE_MASK) !== 0;

/** [B] The stamp of what this thread has unlinked so far: an atomic load after the atomic store that unlinked it. */
export function gpStamp(): number {
  return seqSnap(Atomics.load(i32, RCU.GP_SEQ));
}

/** The sequence now, by an atomic load. */
export function gpSeq(): number {
  return Atomics.load(i32, RCU.GP_SEQ);
}

/** Asks for a grace period that ends at `stamp` or later, and starts it when none is in progress. */
export function requestGp(stamp: number): void {
  for (;;) {
    const needed = Atomics.load(i32, RCU.GP_NEEDED);
    if (((needed - stamp) | 0) >= 0) break;
    if (Atomics.compareExchange(i32, RCU.GP_NEEDED, needed, stamp) === needed) {
      traceRcu(NEWREQ, stamp, 0);
      break;
    }
  }
  startNeeded();
}

/** Starts grace periods while somebody needs one and all slots have passed those before. */
function startGps(seq: number): void {
  let idle = seq;
  for (;;) {
    if (((Atomics.load(i32, RCU.GP_NEEDED) - idle) | 0) <= 0) return;
    // Before the number is published: who sees it sees the time as well, even if this thread is stopped, or dies, in between.
    i32[RCU.GP_STARTED] = stallClock();
    // [C] From here on a CPU that loads gpSeq sees everything that was unlinked before.
    if (Atomics.compareExchange(i32, RCU.GP_SEQ, idle, idle + 1) !== idle) return;
    if (slot >= 0) bump(SLOT_RCU.GP_STARTS);
    traceRcu(START, idle + 1, 0);
    if (!endGp(idle + 1)) return;
    idle = (idle + 4) | 0;
  }
}

/**
 * Starts the grace period that somebody needs, if none is in progress: whoever ended the last one was to do that, but may
 * have been stopped in between, or have died.
 */
export function startNeeded(): void {
  const seq = Atomics.load(i32, RCU.GP_SEQ);
  if (!inProgress(seq)) startGps(seq);
}

/** Ends grace period `seq` when every slot has passed a quiescent state for it; says whether this call did. */
function endGp(seq: number): boolean {
  const high = Atomics.load(i32, RCU.SLOT_HIGH);
  let line = SLOT.BASE + SLOT_RCU.LINE;
  for (let of = 0; of < high; of++, line += SLOT.WORDS) {
    const value = Atomics.load(i32, line); // [F]
    if (value !== seq && value !== LINE_IDLE) return false;
  }
  if (isBlocked(seq)) return false;
  const after = (seq + STATE_MASK) | 0;
  if (Atomics.compareExchange(i32, RCU.GP_SEQ, seq, after) !== seq) return false;
  if (slot >= 0) bump(SLOT_RCU.GP_ENDS);
  traceRcu(END, seq, 0);
  if (Atomics.load(i32, RCU.GP_WAITERS) > 0) {
    Atomics.add(i32, RCU.WAKEUPS, 1);
    Atomics.notify(i32, RCU.GP_SEQ);
  }
  return true;
}

/** Ends `seq` if this was the last report it waited for, and goes on with what is needed next. */
export function tryEndGp(seq: number): void {
  if (inProgress(seq) && endGp(seq)) startGps((seq + STATE_MASK) | 0);
}

function bump(counter: number): void {
  const word = slotBase(slot) + counter;
  i32[word] = i32[word]! + 1;
}

/**
 * A quiescent state of this thread: it holds no reference from before. Called at context switches and safe points,
 * outside of any read scope.
 */
export function rcuQuiescent(): void {
  if (rcuNesting() !== 0) {
    checkNesting();
    return; // Idle: quiescent all the while.
  }
  if (mustLeaveBlocked()) leavePreempted();
  const base = slotBase(slot);
  const seq = Atomics.load(i32, RCU.GP_SEQ); // [D]
  if (seq !== i32[base + SLOT_RCU.SEEN]) report(base, seq);
}

function report(base: number, seq: number): void {
  endEra(); // Without news of a grace period, nothing can have been freed.
  i32[base + SLOT_RCU.SEEN] = seq;
  if (!inProgress(seq) || i32[base + SLOT_RCU.LINE] === seq) return;
  settleLanes();
  Atomics.store(i32, base + SLOT_RCU.LINE, seq); // [E]
  i32[base + SLOT_RCU.REPORTS] = i32[base + SLOT_RCU.REPORTS]! + 1;
  traceRcu(CPUQS, seq, 0);
  tryEndGp(seq);
}

/** The task on this CPU has left the scope in which it was once switched out: it may be the last one waited for. */
export function leavePreempted(): void {
  leaveBlocked();
  tryEndGp(Atomics.load(i32, RCU.GP_SEQ));
}

/** Enters the extended quiescent state: [H] one store, after the last read. */
export function goIdle(): void {
  if (mustLeaveBlocked()) leaveBlocked();
  traceRcu(NOT_WATCHING, 0, 0);
  const base = slotBase(slot);
  i32[base + SLOT_RCU.IDLE_DEPTH] = 1;
  endEra();
  setNesting(IDLE_NESTING);
  settleLanes();
  Atomics.store(i32, base + SLOT_RCU.LINE, LINE_IDLE); // [H]
  tryEndGp(Atomics.load(i32, RCU.GP_SEQ));
}

/** Leaves it. */
export function goActive(): void {
  const base = slotBase(slot);
  i32[base + SLOT_RCU.IDLE_DEPTH] = 0;
  setNesting(0);
  Atomics.store(i32, base + SLOT_RCU.LINE, LINE_ACTIVE); // [G] store, then load
  traceRcu(WATCHING, 0, 0);
  report(base, Atomics.load(i32, RCU.GP_SEQ));
}

/**
 * goActive for a scope that is announced (domain.ts): the thread is idle before it, and idle again after it. Where the machine keeps order, the
 * store of LINE_ACTIVE is the one atomic operation of a scope.
 */
export function announceScope(): void {
  const words = i32;
  const line = slotBase(slot) + SLOT_RCU.LINE;
  setNesting(0);
  Atomics.store(words, line, LINE_ACTIVE); // As [G].
  const seq = IN_ORDER ? words[RCU.GP_SEQ]! : Atomics.load(words, RCU.GP_SEQ);
  // The scope begins after that grace period.
  if (inProgress(seq))
    if (IN_ORDER) words[line] = seq;
    else Atomics.store(words, line, seq);
}

/** goIdle at its end. Returns how many callbacks of this thread wait. */
export function endAnnouncedScope(): number {
  settleLanes();
  const words = i32;
  const base = slotBase(slot);
  words[base + SLOT_RCU.IDLE_DEPTH] = 1; // The thread may have been active before the scope.
  endEra();
  setNesting(IDLE_NESTING);
  // As [H]. Where it is plain, a grace period that begins right now may miss it, and be missed by the load: who waits looks again (pollGp).
  if (IN_ORDER) words[base + SLOT_RCU.LINE] = LINE_IDLE;
  else Atomics.store(words, base + SLOT_RCU.LINE, LINE_IDLE);
  const seq = IN_ORDER ? words[RCU.GP_SEQ]! : Atomics.load(words, RCU.GP_SEQ);
  if (inProgress(seq)) tryEndGp(seq);
  const list = base + SLOT_RCU.LIST;
  return (words[list + CBLIST.QUEUED]! - words[list + CBLIST.RUN]!) | 0;
}

/** A look of who waits for a grace period, soon after it asked for it: the last scope that it waited for may have ended unnoticed. */
export function pollGp(): void {
  tryEndGp(Atomics.load(i32, RCU.GP_SEQ));
}

/** Returns read(arg), for which this thread is active even if it is idle: no grace period ends between what `read` looks at. */
export function whileActive(read: (arg: number) => number, arg: number): number {
  if (rcuNesting() >= 0) return read(arg);
  announceScope();
  const value = read(arg);
  endAnnouncedScope();
  return value;
}

/** Whether a slot other than this thread's is outside of extended quiescent states. */
export function othersActive(): boolean {
  const high = Atomics.load(i32, RCU.SLOT_HIGH);
  for (let of = 0; of < high; of++)
    if (of !== slot && Atomics.load(i32, slotBase(of) + SLOT_RCU.LINE) !== LINE_IDLE) return true;
  return false;
}

/** The slots (threads, CPUs) that the grace period in progress still waits for; none when there is none in progress. */
export function rcuLaggards(): number[] {
  const seq = Atomics.load(i32, RCU.GP_SEQ);
  const late: number[] = [];
  if (!inProgress(seq)) return late;
  const high = Atomics.load(i32, RCU.SLOT_HIGH);
  for (let of = 0; of < high; of++) {
    const value = Atomics.load(i32, slotBase(of) + SLOT_RCU.LINE);
    if (value !== seq && value !== LINE_IDLE) late.push(of);
  }
  return late;
}
