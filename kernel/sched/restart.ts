/**
 * What a call that blocks keeps from one run to the next: the absolute deadline of its time-out, and one object.
 *
 * However the call ends (it returns, a signal interrupts it, its task is killed, its CPU is lost), `clearRestart` takes away
 * what it still keeps, with the function that the kind of object has for that. So nothing that others can reach is left
 * behind with a reference to a task that is gone. A later run of the call goes on with the object that the first run kept, and
 * looks up no path or descriptor for it again: both may name something else by then.
 */
import type { Ref } from "../../rcu/index.ts";
import { dropSeen } from "../mm/seen.ts";
import { Task } from "../task/task.ts";
import { nowNs } from "../time/clock.ts";
import { defineTimer, newTimer, TIMER_WAKE_TASK, timerArm, timerCancel } from "../time/timer.ts";
import { current } from "./current.ts";
import { markRestartState, prepareToWait } from "./waitqueue.ts";
import { wakeTask } from "./wake.ts";

defineTimer(TIMER_WAKE_TASK, (task) => {
  wakeTask(task as Ref<"task">);
});

/**
 * Absolute monotonic nanoseconds at which the call in progress times out: computed at its first run, the same at
 * the later ones. Infinity when `timeout` (nanoseconds from now) is negative.
 */
export function restartDeadline(timeout: number): number {
  const task = current();
  if (timeout < 0) return Number.POSITIVE_INFINITY;
  let deadline = Task.restartDeadline.get(task);
  if (deadline === 0) {
    deadline = nowNs() + timeout;
    markRestartState();
    Task.restartDeadline.set(task, deadline);
  }
  return deadline;
}

/** Sees to it that the current task wakes at `deadline` (monotonic ns, Infinity: never) if nothing else wakes it. */
export function blockUntil(deadline: number): void {
  prepareToWait();
  if (deadline === Number.POSITIVE_INFINITY) return;
  const task = current();
  let timer = Task.sleepTimer.get(task) as Ref<"timer"> | 0;
  if (timer === 0) {
    timer = newTimer(TIMER_WAKE_TASK, task);
    Task.sleepTimer.set(task, timer);
  }
  // Out of memory: the call runs again at once, which is a busy wait and still right.
  if (timer === 0 || timerArm(timer, deadline) < 0) wakeTask(task);
}

/** Kinds of what a call keeps. */
export const KEPT_FUTEX = 1;
/** A file that is being opened, with its count. */
export const KEPT_OPEN = 2;
/** The pid of a vfork child. */
export const KEPT_VFORK = 3;
/** The file of the program that execve is to run once the other threads are gone, with its count. */
export const KEPT_EXEC = 4;

/** The address space that the call has to itself (hold.ts). */
export const KEPT_MM = 5;
/** The address space of the child that fork makes, in parts (task/fork-memory.ts). */
export const KEPT_FORK = 6;
/** The sets of a select(2) of many descriptors (ipc/select.ts). */
export const KEPT_SELECT = 7;

/** What else a call may have prepared for a later run of itself (fs/fd-copy.ts). */
let dropPrepared: (task: Ref<"task">) => void = () => {};
/** Sets what gives Task.filesCopy back when the call ends without having taken it. No lock is held then. */
export function onCallEnd(drop: typeof dropPrepared): void {
  dropPrepared = drop;
}

type GiveBack = (task: Ref<"task">, kept: number) => void;
const givesBack: GiveBack[] = [];

/** Says how what a call keeps is given back when the call ends without having taken it. No lock is held then. */
export function defineKept(kind: number, giveBack: GiveBack): void {
  if (givesBack[kind] !== undefined) throw new Error(`kind ${kind} of what calls keep is defined twice`);
  givesBack[kind] = giveBack;
}

/** The call in progress, which is about to block, keeps one object of this kind; whoever is queued with it must not see it earlier. */
export function keepForRestart(kind: number, kept: number): void {
  const task = current();
  if (Task.keptKind.get(task) !== 0) throw new Error("a call keeps two things");
  markRestartState();
  Task.kept.set(task, kept);
  Task.keptKind.set(task, kind);
}

/** What an earlier run of the call in progress kept; 0 in the first run, and for a call of another kind. */
export const keptForRestart = (task: Ref<"task">, kind: number): number =>
  Task.keptKind.get(task) === kind ? Task.kept.get(task) : 0;

/** The call takes back what it kept: its own to give away or to free from here on. */
export function takeKept(task: Ref<"task">): number {
  const kept = Task.kept.get(task);
  Task.keptKind.set(task, 0);
  Task.kept.set(task, 0);
  return kept;
}

/** The call in progress ended: the next one starts afresh. */
export function clearRestart(task: Ref<"task">): void {
  Task.restarting.set(task, 0);
  Task.restartDeadline.set(task, 0);
  Task.restartRemaining.set(task, 0);
  Task.partial.set(task, 0);
  Task.shortSince.set(task, 0);
  const kind = Task.keptKind.get(task);
  if (Task.seen.get(task) !== 0) dropSeen(task);
  if (Task.filesCopy.get(task) !== 0) dropPrepared(task);
  if (kind !== 0) givesBack[kind]!(task, takeKept(task));
  const timer = Task.sleepTimer.get(task) as Ref<"timer"> | 0;
  if (timer !== 0) timerCancel(timer);
}
