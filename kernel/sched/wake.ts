/** Waking a single task, and telling a running one that there is work for it. */
import type { Ref } from "../../rcu/index.ts";
import {
  TASK_NEW,
  TASK_RUNNABLE,
  TASK_RUNNING,
  TASK_SLEEPING,
  TASK_STOPPED,
  TASK_WAITING,
  Task,
} from "../task/task.ts";
import { setNeedResched } from "./cpus.ts";
import { enqueueTask } from "./runqueue.ts";

/** try_to_wake_up: true when this call is what ended the task's wait. The races are argued in waitqueue.ts. */
export function wakeTask(task: Ref<"task">): boolean {
  for (;;) {
    switch (Task.state.load(task)) {
      case TASK_SLEEPING:
        if (!Task.state.cas(task, TASK_SLEEPING, TASK_RUNNABLE)) continue;
        enqueueTask(task);
        return true;
      case TASK_WAITING:
        if (!Task.state.cas(task, TASK_WAITING, TASK_RUNNING)) continue;
        return true;
      default:
        return false;
    }
  }
}

/** Starts a task that was made and not yet run. */
export function wakeNewTask(task: Ref<"task">): void {
  if (Task.state.cas(task, TASK_NEW, TASK_RUNNABLE)) enqueueTask(task);
}

/** Ends a job-control stop (SIGCONT, SIGKILL). */
export function wakeStopped(task: Ref<"task">): boolean {
  if (!Task.state.cas(task, TASK_STOPPED, TASK_RUNNABLE)) return false;
  enqueueTask(task);
  return true;
}

/**
 * Gives the task work bits and sees to it that it notices: wakes it, or makes it leave user mode. A CPU clears its
 * needResched before it looks at the bits, so a bit set in between is seen on the next entry.
 */
export function notifyTask(task: Ref<"task">, work: number): void {
  Task.work.or(task, work);
  if (wakeTask(task)) return;
  if (Task.state.load(task) === TASK_RUNNING) setNeedResched(Task.cpu.load(task));
}
