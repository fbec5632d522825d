/**
 * Memory that was refused to a call of the current task. Whoever refuses says so here, perhaps with locks held. The call ends as it can,
 * with -ENOMEM or with a part of its work; the CPU loop then decides whether the task waits until memory is back (task/shortage.ts).
 */
import type { Ref } from "../../rcu/index.ts";
import { setNeedResched } from "../sched/cpus.ts";
import { current, thisCpu } from "../sched/current.ts";
import { Task, WORK_MEMORY } from "../task/task.ts";

/** What was refused: page frames, or pages of the kernel's heap. */
export const SHORT_NOTHING = 0;
export const SHORT_RAM = 1;
export const SHORT_HEAP = 2;

/** Frames that one call may take from the kernel's reserve. */
const RESERVE_TAKEN = 16;

let refusedTask = 0 as Ref<"task">;
let refused = SHORT_NOTHING;
let takenTask = 0 as Ref<"task">;
let taken = 0;

/** The current task was refused memory. The CPU loop looks at the result of its call because of needResched. */
export function noteRefusal(what: number): void {
  const task = current();
  if (task === 0) return;
  refusedTask = task;
  refused = what;
  if (thisCpu() >= 0) setNeedResched(thisCpu());
}

/** What was refused to the task since it was asked last (SHORT_...). */
export function takeRefusal(task: Ref<"task">): number {
  const what = task === refusedTask ? refused : SHORT_NOTHING;
  refused = SHORT_NOTHING;
  return what;
}

/**
 * Whether a copy to or from user memory may take a frame of the reserve. The task waits for free memory before it goes on in user mode
 * (WORK_MEMORY), so that a loop of small copies cannot use the reserve up.
 */
export function mayUseReserve(): boolean {
  const task = current();
  if (task === 0) return true;
  if (task !== takenTask) {
    takenTask = task;
    taken = 0;
  }
  if (++taken > RESERVE_TAKEN) return false;
  Task.work.or(task, WORK_MEMORY);
  return true;
}

/** The task has waited until memory was free: it may use the reserve again. */
export function reserveRefilled(): void {
  takenTask = 0 as Ref<"task">;
}
