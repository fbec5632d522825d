/**
 * Tasks RCU: waits until every task has switched out of its own accord, sleeps, or is gone. For what readers use without a
 * read scope, such as code that a task may be executing: the task itself is the scope.
 */
import { callRcu } from "./callback.ts";
import { HeapFullError, RcuUsageError } from "./error.ts";
import { goActive, goIdle } from "./grace-period.ts";
import { rcuIdleEnter, rcuIdleExit } from "./idle.ts";
import * as layout from "./layout.ts";
import { lockWord, ownerIsDead, ownerSlot, unlockWord } from "./lock.ts";
import { i32, ownerId } from "./memory.ts";
import { defineReclaimer, type Reclaimer } from "./reclaim.ts";
import type { Ref } from "./ref.ts";
import { stallClock } from "./rounds.ts";
import { rcuNesting } from "./scope.ts";
import { onCheckStall, type RcuStall, reportStall, stalledMs, stalledThread } from "./stall.ts";
import { atomic, free, locked, struct, tryAlloc } from "./struct.ts";
import { newRounds, rcuBarrier, synchronizeRcu } from "./synchronize.ts";
import {
  handedOver,
  handOver,
  makeCall,
  mendBehind,
  queueBehind,
  queuedBehind,
  stampBehind,
} from "./waitlist.ts";

const { CBLIST, RCU, SEQ_START } = layout;

const Member = struct("rcu_tasks_member", {
  /** TASKS_SEQ when the task last switched of its own accord; ASLEEP while it does not run. */
  seen: atomic(),
  /** Lock owner id of the thread that it last ran on: when that is dead, so is what the task was running. */
  owner: atomic(),
  // Under TASKS_LOCK.
  next: locked("tasks"),
  prev: locked("tasks"),
});
/** A registered task: what rcuTasksRegister returned. */
export type TasksMember = Ref<"rcu_tasks_member">;

/** TASKS_SEQ moves by 2 and is even, so that it never looks like one of these, however often it wraps. */
const ASLEEP = 1;
/** Running, has passed no quiescent state since it woke up. */
const AWAKE = 3;
const STEP = 2;
const LIST = RCU.TASKS_LIST;

/** A task begins; it is waited for from here on. Throws HeapFullError. */
export function rcuTasksRegister(): TasksMember {
  const member = tryAlloc(Member);
  if (member === 0) throw new HeapFullError("rcuTasksRegister");
  lockWord(RCU.TASKS_LOCK);
  const head = i32[RCU.TASKS_HEAD]! as TasksMember | 0;
  Member.seen.store(member, Atomics.load(i32, RCU.TASKS_SEQ));
  Member.owner.init(member, ownerId);
  Member.next.init(member, head);
  if (head !== 0) Member.prev.init(head, member);
  i32[RCU.TASKS_HEAD] = member;
  unlockWord(RCU.TASKS_LOCK);
  return member;
}

/** The task is gone. */
export function rcuTasksUnregister(member: TasksMember): void {
  lockWord(RCU.TASKS_LOCK);
  const next = Member.next.racy(member) as TasksMember | 0;
  const prev = Member.prev.racy(member) as TasksMember | 0;
  if (next !== 0) Member.prev.init(next, prev);
  if (prev !== 0) Member.next.init(prev, next);
  else i32[RCU.TASKS_HEAD] = next;
  free(Member, member);
  unlockWord(RCU.TASKS_LOCK);
  announce();
}

/** The task switches out of its own accord, or is at a point where it uses nothing that is waited for. */
export function rcuTasksQuiescent(member: TasksMember): void {
  const seq = Atomics.load(i32, RCU.TASKS_SEQ);
  if (Member.seen.peek(member) === seq) return;
  Member.owner.init(member, ownerId);
  Member.seen.store(member, seq);
  announce();
}
/** The task goes to sleep: from here on it is not waited for. */
export function rcuTasksSleep(member: TasksMember): void {
  Member.seen.store(member, ASLEEP);
  announce();
}
/** The task runs again, on this thread: before it uses anything. */
export function rcuTasksWake(member: TasksMember): void {
  Member.owner.init(member, ownerId);
  Member.seen.store(member, AWAKE); // As [G]: marked as running first, then
  Member.seen.store(member, Atomics.load(i32, RCU.TASKS_SEQ)); // what has begun meanwhile is not waited for.
}

/** A task has passed: tells those who wait, and hands the callbacks over that waited for it last. */
function announce(): void {
  if (Atomics.load(i32, RCU.TASKS_WAITERS) === 0) return;
  advance();
  Atomics.add(i32, RCU.TASKS_EVENT, 1);
  Atomics.notify(i32, RCU.TASKS_EVENT);
}

/** Begins a grace period. What comes before is seen by every task that finds the new number. Returns what tasks must have seen. */
function begin(): number {
  return (Atomics.add(i32, RCU.TASKS_SEQ, STEP) + STEP) | 0;
}

/**
 * Waits until every registered task has passed a quiescent state of its own: has switched, sleeps, or is gone. A task whose
 * thread died while it ran is not waited for. Blocks this thread, which must be none of them. Throws as synchronizeRcu does. (Linux:
 * synchronize_rcu_tasks.)
 */
export function synchronizeRcuTasks(): void {
  synchronizeRcu(); // What was unlinked is seen unlinked by every task that switches from here on.
  const goal = begin();
  const started = stallClock();
  Atomics.add(i32, RCU.TASKS_WAITERS, 1);
  const active = rcuNesting() === 0;
  if (active) goIdle();
  const rounds = newRounds();
  try {
    for (;;) {
      const event = Atomics.load(i32, RCU.TASKS_EVENT);
      if (!anyLaggard(goal)) return;
      rounds.sleep(RCU.TASKS_EVENT, event); // Every task that switches or sleeps ends it.
      if (rounds.due()) check(goal, started);
    }
  } finally {
    Atomics.sub(i32, RCU.TASKS_WAITERS, 1);
    if (active) goActive();
  }
}

/**
 * Runs `reclaimer` with `arg` when every task that is registered now has passed a quiescent state of its own, at a safe point of some
 * thread. Does not wait. When the reclaimer was declared with a struct type, `arg` is an object that is handed over: throws
 * CorruptionError if it was before. Throws HeapFullError, and has done nothing then. (Linux: call_rcu_tasks.)
 */
export function callRcuTasks<T extends number>(reclaimer: Reclaimer<T>, arg: T): void {
  const head = makeCall(reclaimer, arg, "callRcuTasks");
  Atomics.add(i32, RCU.TASKS_WAITERS, 1);
  callRcu(unlinked, head); // As in synchronizeRcuTasks, a grace period of RCU comes first.
}

/** What was unlinked is seen unlinked by every task that switches from here on: now for the tasks. */
const unlinked = defineReclaimer("rcu: tasks", (head) => {
  lockWord(RCU.TASKS_LOCK);
  queueBehind(LIST, head);
  if (i32[LIST + CBLIST.WAIT] === 0) stamp();
  unlockWord(RCU.TASKS_LOCK);
  advance();
});

/** Begins a grace period for the callbacks that have none. TASKS_LOCK is held. */
function stamp(): void {
  i32[RCU.TASKS_STARTED] = stallClock();
  stampBehind(LIST, begin());
}

/** Hands over the callbacks that all tasks have passed. A thread that is idle passes a safe point now: nobody else may come by. */
function advance(): void {
  if (handedOver(LIST, queuedBehind(LIST))) return;
  const idle = rcuNesting() < 0;
  if (idle) rcuIdleExit();
  lockWord(RCU.TASKS_LOCK);
  while (i32[LIST + CBLIST.WAIT] !== 0 && laggards(i32[LIST + CBLIST.WAIT_STAMP]!).length === 0) {
    Atomics.sub(i32, RCU.TASKS_WAITERS, handOver(LIST));
    if (i32[LIST + CBLIST.NEXT] !== 0) stamp();
  }
  unlockWord(RCU.TASKS_LOCK);
  if (idle) rcuIdleEnter();
}

/**
 * Waits until all callbacks have run that any thread had queued by callRcuTasks at the call. Blocks this thread, which must be no
 * task that is waited for. Throws as synchronizeRcu does. (Linux: rcu_barrier_tasks.)
 */
export function rcuBarrierTasks(): void {
  rcuBarrier(); // All are on the list of Tasks RCU,
  for (const queued = queuedBehind(LIST); !handedOver(LIST, queued); advance()) synchronizeRcuTasks();
  rcuBarrier(); // and have left it.
}

function anyLaggard(goal: number): boolean {
  lockWord(RCU.TASKS_LOCK);
  const late = laggards(goal);
  unlockWord(RCU.TASKS_LOCK);
  return late.length > 0;
}

/** Tasks that have not passed `goal`. TASKS_LOCK is held. */
function laggards(goal: number): TasksMember[] {
  const found: TasksMember[] = [];
  forEachMember((member) => {
    const seen = Member.seen.load(member);
    const late = seen !== ASLEEP && (seen === AWAKE || ((seen - goal) | 0) < 0);
    if (late && !ownerIsDead(Member.owner.peek(member))) found.push(member);
  });
  return found;
}

/** TASKS_LOCK is held. */
function forEachMember(visit: (member: TasksMember) => void): void {
  let member = i32[RCU.TASKS_HEAD]! as TasksMember | 0;
  for (; member !== 0; member = Member.next.racy(member) as TasksMember | 0) visit(member);
}

/** A thread does not detach while tasks run on it: nobody would know when they switch. */
export function assertNoTasks(): void {
  if (Atomics.load(i32, RCU.TASKS_HEAD) === 0) return;
  lockWord(RCU.TASKS_LOCK);
  const here: TasksMember[] = [];
  forEachMember((member) => {
    if (Member.seen.load(member) !== ASLEEP && Member.owner.peek(member) === ownerId) here.push(member);
  });
  unlockWord(RCU.TASKS_LOCK);
  if (here.length > 0)
    throw new RcuUsageError(
      "ERR_RCU_IN_USE",
      `detach while ${here.length} task(s) of Tasks RCU run on this thread: rcuTasksSleep or rcuTasksUnregister first`,
    );
}

/** A thread has died and is marked as dead: tasks that ran there are not waited for, and its hands are off the callbacks. */
export function reapTasks(): void {
  if (
    i32[LIST + CBLIST.NEXT] !== 0 ||
    i32[LIST + CBLIST.WAIT] !== 0 ||
    !handedOver(LIST, queuedBehind(LIST))
  ) {
    lockWord(RCU.TASKS_LOCK);
    mendBehind(LIST);
    if (i32[LIST + CBLIST.NEXT] !== 0) stamp();
    unlockWord(RCU.TASKS_LOCK);
  }
  announce();
}

/** Reports the grace period that ends when all tasks have seen `goal`, if it lasts too long. */
function check(goal: number, started: number): RcuStall | null {
  const ms = stalledMs(RCU.TASKS_SEQ, goal, started);
  if (ms < 0) return null;
  lockWord(RCU.TASKS_LOCK);
  const late = laggards(goal).map((member) => ({
    member,
    slot: ownerSlot(Member.owner.peek(member)),
  }));
  unlockWord(RCU.TASKS_LOCK);
  if (late.length === 0) return null;
  return reportStall(RCU.TASKS_SEQ, goal, {
    flavour: "tasks",
    name: "",
    seq: ((goal - SEQ_START) >>> 1) - 1,
    ms,
    laggards: [],
    blocked: [],
    readers: [],
    tasks: late.map(({ member, slot }) => ({ ...stalledThread(slot, member), member })),
  });
}
onCheckStall(() => {
  if (i32[LIST + CBLIST.WAIT] === 0) return null;
  lockWord(RCU.TASKS_LOCK); // Stamp and clock are of the same grace period.
  const waits = i32[LIST + CBLIST.WAIT] !== 0;
  const stamp = i32[LIST + CBLIST.WAIT_STAMP]!;
  const started = i32[RCU.TASKS_STARTED]!;
  unlockWord(RCU.TASKS_LOCK);
  return waits ? check(stamp, started) : null;
});
