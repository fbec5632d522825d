/** The signal mask of the current task, and the temporary masks of sigsuspend, ppoll, pselect and epoll_pwait. */
import type { Held, Ref } from "../../rcu/index.ts";
import { setNeedResched } from "../sched/cpus.ts";
import { thisCpu } from "../sched/current.ts";
import { notifyTask } from "../sched/wake.ts";
import { Group, Task, WORK_RESTORE_MASK, WORK_SIGNAL } from "../task/task.ts";
import { hasPending, recalcPending } from "./pending.ts";
import { forEachThread } from "./send.ts";
import { UNBLOCKABLE } from "./sigset.ts";

/** Replaces the current task's mask. SIGKILL and SIGSTOP stay out of it. */
export function setMask(task: Ref<"task">, low: number, high: number): void {
  const group = Task.group.get(task);
  const held = Group.lock.lock(group);
  setMaskLocked(held, task, low, high);
  Group.lock.unlock(group);
}

function setMaskLocked(held: Held, task: Ref<"task">, low: number, high: number): void {
  const group = Task.group.get(task);
  const newly = [low & ~Task.blocked.get(task, 0), high & ~Task.blocked.get(task, 1)];
  Task.blocked.store(task, 0, low & ~UNBLOCKABLE);
  Task.blocked.store(task, 1, high);
  recalcPending(task);
  // Process-wide signals that this thread was to take: another one must.
  if ((Group.pending.get(group, 0) & newly[0]!) !== 0 || (Group.pending.get(group, 1) & newly[1]!) !== 0)
    forEachThread(held, group, (thread) => {
      if (thread !== task && hasPending(thread)) notifyTask(thread, WORK_SIGNAL);
    });
  if ((Task.work.load(task) & WORK_SIGNAL) !== 0) setNeedResched(thisCpu());
}

/**
 * Mask for the duration of the call in progress: idempotent when the call runs again. The CPU loop puts the old mask
 * back when the call ends, after a handler that interrupted it.
 */
export function setTemporaryMask(task: Ref<"task">, low: number, high: number): void {
  if ((Task.work.load(task) & WORK_RESTORE_MASK) !== 0) return;
  Task.savedMask.set(task, 0, Task.blocked.get(task, 0));
  Task.savedMask.set(task, 1, Task.blocked.get(task, 1));
  Task.work.or(task, WORK_RESTORE_MASK);
  setMask(task, low, high);
  setNeedResched(thisCpu());
}

/** The call with a temporary mask ended and no handler runs: back to the mask before. */
export function restoreMask(task: Ref<"task">): void {
  if ((Task.work.load(task) & WORK_RESTORE_MASK) === 0) return;
  Task.work.and(task, ~WORK_RESTORE_MASK);
  setMask(task, Task.savedMask.get(task, 0), Task.savedMask.get(task, 1));
}
