/**
 * Tasks RCU: waits until every task has switched out of its own accord, sleeps, or is gone. For what readers use without a
 * read scope, such as code that a task may be executing: the task itself is the scope.
 */
import { HeapFullError } from "./error.ts";
import { goActive, goIdle } from "./grace-period.ts";
import { RCU } from "./layout.ts";
import { lockWord, ownerIsDead, unlockWord } from "./lock.ts";
import { i32, ownerId } from "./memory.ts";
import type { Ref } from "./ref.ts";
import { rcuNesting } from "./scope.ts";
import { alloc, atomic, free, locked, struct } from "./struct.ts";
import { synchronizeRcu } from "./synchronize.ts";

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
const CHECK_MS = 50;

/** A task begins; it is waited for from here on. Throws HeapFullError. */
export function rcuTasksRegister(): TasksMember {
  const member = alloc(Member);
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

function announce(): void {
  if (Atomics.load(i32, RCU.TASKS_WAITERS) === 0) return;
  Atomics.add(i32, RCU.TASKS_EVENT, 1);
  Atomics.notify(i32, RCU.TASKS_EVENT);
}

/**
 * Waits until every registered task has passed a quiescent state of its own: has switched, sleeps, or is gone. A task whose
 * thread died while it ran is not waited for. Blocks this thread, which must be none of them. (Linux: synchronize_rcu_tasks.)
 */
export function synchronizeRcuTasks(): void {
  synchronizeRcu(); // What was unlinked is seen unlinked by every task that switches from here on.
  const goal = (Atomics.add(i32, RCU.TASKS_SEQ, STEP) + STEP) | 0;
  Atomics.add(i32, RCU.TASKS_WAITERS, 1);
  const active = rcuNesting() === 0;
  if (active) goIdle();
  try {
    for (;;) {
      const event = Atomics.load(i32, RCU.TASKS_EVENT);
      if (!laggard(goal)) return;
      Atomics.wait(i32, RCU.TASKS_EVENT, event, CHECK_MS);
    }
  } finally {
    Atomics.sub(i32, RCU.TASKS_WAITERS, 1);
    if (active) goActive();
  }
}

function laggard(goal: number): boolean {
  let late = false;
  lockWord(RCU.TASKS_LOCK);
  let member = i32[RCU.TASKS_HEAD]! as TasksMember | 0;
  for (; member !== 0 && !late; member = Member.next.racy(member) as TasksMember | 0) {
    const seen = Member.seen.load(member);
    late = seen !== ASLEEP && (seen === AWAKE || ((seen - goal) | 0) < 0);
    if (late && ownerIsDead(Member.owner.peek(member))) late = false;
  }
  unlockWord(RCU.TASKS_LOCK);
  return late;
}
