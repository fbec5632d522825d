/**
 * Handing the CPU over: a task that wakes another one and then waits for its answer (a pipe, a socket, a condition) leaves its
 * CPU at once, so the woken task had better run there: no other CPU need be woken by the host, and what both use is in
 * this CPU's caches.
 *
 * Nobody tells which tasks do that; they are watched. A task that several times in a row blocked soon after its last
 * wake-up is expected to do it again; one that went on instead is not, until it has shown it again. The cost of a wrong guess is
 * bounded: at the next tick a CPU with a queue wakes an idle one, which steals (runqueue.ts).
 */
import type { Ref } from "../../rcu/index.ts";
import { TASK_EXITING, Task } from "../task/task.ts";
import { nowNs } from "../time/clock.ts";
import { current } from "./current.ts";

/** A wait that begins this soon after a wake-up counts. */
const SOON_NS = 30_000;
/** Times in a row before a task is trusted. */
const TRUSTED = 4;

/** When the current task last woke another one; 0: not since it came to this CPU. */
let wokeAt = 0;

/** The current task wakes another one: whether it is about to leave this CPU. */
export function handsOver(): boolean {
  const waker = current();
  if (waker === 0) return false;
  if ((Task.flags.get(waker) & TASK_EXITING) !== 0) return true;
  wokeAt = nowNs();
  return Task.handovers.get(waker) >= TRUSTED;
}

/** The current task leaves the CPU at `now`, of its own will or not. */
export function learnHandover(task: Ref<"task">, now: number, voluntary: boolean): void {
  if (wokeAt === 0) return;
  const soon = voluntary && now - wokeAt < SOON_NS;
  wokeAt = 0;
  Task.handovers.set(task, soon ? Math.min(Task.handovers.get(task) + 1, TRUSTED) : 0);
}
