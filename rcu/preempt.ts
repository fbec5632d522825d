/**
 * The list of tasks that were switched out inside a read scope (PREEMPT_RCU); switch.ts does the switching. The CPU of such
 * a task is quiescent all the same. It blocks the grace period in progress if its CPU had not reported for that one yet, else only
 * the next, and leaves the list after its outermost unlock, at the next safe point of the CPU it then runs on.
 *
 * A task's record is four words of its own struct (`words(PREEMPT_WORDS)`), so that switching out cannot fail.
 */
import { RcuUsageError } from "./error.ts";
import * as layout from "./layout.ts";
import { lockWord, unlockWord } from "./lock.ts";
import { i32, slot } from "./memory.ts";
import { rcuNesting, setNesting } from "./scope.ts";
import { rcuEvent, traceRcu } from "./trace.ts";

const { RCU, SLOT, SLOT_RCU } = layout;

const PREEMPT = rcuEvent("rcu_preempt_task");
const UNLOCK = rcuEvent("rcu_unlock_preempted_task");

/** Words of a task's record: `words(PREEMPT_WORDS)` in the struct of the task. */
export const PREEMPT_WORDS = 4;
const NEXT = 0;
const PREV = 1;
/** The first grace period that the task blocks. */
const BLOCKS = 2;
/** Nesting when it was switched out; 0 while it is not on the list. */
const NESTING = 3;

/**
 * Record of the running task, if it was once switched out in the scope that may still be open: in the slot, so that it is
 * found when this thread dies.
 */
const running = (): number => i32[SLOT.BASE + slot * SLOT.WORDS + SLOT_RCU.PREEMPTED]!;

/** Whether a task runs that may still be on the list. */
export const resumed = (): boolean => running() !== 0;

/** Puts the running task, which is `depth` scopes deep, on the list. */
export function block(record: number, depth: number): void {
  if (i32[record + NESTING] === 0) {
    lockWord(RCU.PREEMPT_LOCK);
    i32[record + BLOCKS] = firstBlocked();
    const head = i32[RCU.PREEMPT_HEAD]!;
    i32[record + NEXT] = head;
    i32[record + PREV] = 0;
    if (head !== 0) i32[head + PREV] = record;
    i32[RCU.PREEMPT_HEAD] = record;
    Atomics.add(i32, RCU.PREEMPT_COUNT, 1); // Before this CPU reports: the ender looks here after the lines.
    unlockWord(RCU.PREEMPT_LOCK);
    traceRcu(PREEMPT, record, i32[record + BLOCKS]!);
  }
  i32[record + NESTING] = depth;
  setRunning(0);
  setNesting(0);
}

/** The task of the record runs again. */
export function resume(record: number): void {
  const depth = i32[record + NESTING]!;
  if (depth === 0)
    throw new RcuUsageError(
      "ERR_RCU_SCOPE_PAIRING",
      "rcuSwitchIn of a task that rcuSwitchOut did not put on the blocked list",
    );
  setRunning(record);
  setNesting(depth);
}

function setRunning(record: number): void {
  i32[SLOT.BASE + slot * SLOT.WORDS + SLOT_RCU.PREEMPTED] = record;
}

function firstBlocked(): number {
  const seq = Atomics.load(i32, RCU.GP_SEQ);
  if ((seq & 3) === 0) return (seq + 1) | 0;
  const reported = i32[SLOT.BASE + slot * SLOT.WORDS + SLOT_RCU.LINE] === seq;
  return reported ? (seq + 4) | 0 : seq;
}

/** Whether the running task must leave the list: it has left its outermost scope. */
export const mustLeaveBlocked = (): boolean => running() !== 0 && rcuNesting() === 0;

/** Takes the running task off the list. The caller then tries to end the grace period. */
export function leaveBlocked(): void {
  const record = running();
  unlist(record);
  setRunning(0); // Not before: if this thread dies in between, who reaps it finds the task here.
  traceRcu(UNLOCK, record, 0);
}

/** The thread of slot `of` is dead, and with it the task that it ran. */
export function dropPreempted(of: number): void {
  const word = SLOT.BASE + of * SLOT.WORDS + SLOT_RCU.PREEMPTED;
  if (i32[word] !== 0) dropTask(i32[word]!);
  i32[word] = 0;
}

/**
 * Takes a task that will not run again off the list; says whether it was on it. The thread that ran it may have died with the list half
 * changed: that it can be walked is all that is taken for granted, and links back and the count are made anew.
 */
export function dropTask(record: number): boolean {
  lockWord(RCU.PREEMPT_LOCK);
  let listed = false;
  let count = 0;
  let prev = 0;
  for (let at = i32[RCU.PREEMPT_HEAD]!; at !== 0; at = i32[at + NEXT]!) {
    if (at === record) {
      listed = true;
      continue;
    }
    if (i32[at + PREV] !== prev) i32[at + PREV] = prev;
    const link = prev === 0 ? RCU.PREEMPT_HEAD : prev + NEXT;
    if (i32[link] !== at) i32[link] = at;
    prev = at;
    count++;
  }
  i32[prev === 0 ? RCU.PREEMPT_HEAD : prev + NEXT] = 0;
  i32[record + NESTING] = 0;
  Atomics.store(i32, RCU.PREEMPT_COUNT, count);
  unlockWord(RCU.PREEMPT_LOCK);
  return listed;
}

/** Records of the tasks that block the grace period in progress, switched out or not yet off the list. */
export function rcuBlockedTasks(): number[] {
  const seq = Atomics.load(i32, RCU.GP_SEQ);
  const records: number[] = [];
  if ((seq & 3) === 0 || Atomics.load(i32, RCU.PREEMPT_COUNT) === 0) return records;
  lockWord(RCU.PREEMPT_LOCK);
  for (let record = i32[RCU.PREEMPT_HEAD]!; record !== 0; record = i32[record + NEXT]!)
    if (((seq - i32[record + BLOCKS]!) | 0) >= 0) records.push(record);
  unlockWord(RCU.PREEMPT_LOCK);
  return records;
}

function unlist(record: number): void {
  lockWord(RCU.PREEMPT_LOCK);
  const next = i32[record + NEXT]!;
  const prev = i32[record + PREV]!;
  if (next !== 0) i32[next + PREV] = prev;
  if (prev !== 0) i32[prev + NEXT] = next;
  else i32[RCU.PREEMPT_HEAD] = next;
  i32[record + NESTING] = 0;
  Atomics.sub(i32, RCU.PREEMPT_COUNT, 1);
  unlockWord(RCU.PREEMPT_LOCK);
}

/** Whether a task that is switched out, or not yet off the list, blocks grace period `seq`. */
export function isBlocked(seq: number): boolean {
  if (Atomics.load(i32, RCU.PREEMPT_COUNT) === 0) return false;
  let blocked = false;
  lockWord(RCU.PREEMPT_LOCK);
  for (let record = i32[RCU.PREEMPT_HEAD]!; record !== 0 && !blocked; record = i32[record + NEXT]!)
    blocked = ((seq - i32[record + BLOCKS]!) | 0) >= 0;
  unlockWord(RCU.PREEMPT_LOCK);
  return blocked;
}
