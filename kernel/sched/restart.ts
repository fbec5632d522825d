/**
 * What a call that blocks keeps from one run to the next: the absolute deadline of its time-out, one free word. The CPU
 * loop clears it when the call ends.
 */
import type { Ref } from "../../rcu/index.ts";
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

const cleanUps: ((task: Ref<"task">) => void)[] = [];

/** Adds a function that gives back what a call kept in the task between its runs. */
export function onCallEnd(cleanUp: (task: Ref<"task">) => void): void {
  cleanUps.push(cleanUp);
}

/** The call in progress ended: the next one starts afresh. */
export function clearRestart(task: Ref<"task">): void {
  Task.restarting.set(task, 0);
  Task.restartDeadline.set(task, 0);
  Task.restartRemaining.set(task, 0);
  Task.restartWord.set(task, 0);
  Task.partial.set(task, 0);
  for (const cleanUp of cleanUps) cleanUp(task);
  const timer = Task.sleepTimer.get(task) as Ref<"timer"> | 0;
  if (timer !== 0) timerCancel(timer);
}
