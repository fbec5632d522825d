/** What a sleeping task waits on, by name: /proc/PID/wchan, and the state that a hanging machine shows. */
import type { Ref } from "../../rcu/index.ts";
import { placeName } from "../../rcu/kernel.ts";
import { TASK_SLEEPING, Task } from "../task/task.ts";
import { KEPT_FUTEX } from "./restart.ts";
import { queueOf } from "./waitqueue.ts";

/**
 * The struct and field of the wait queue (`pipe.readWait`), or "futex", "timer", "signal"; "" for a task that does not sleep. A racy look:
 * what it sees may be over.
 */
export function waitChannel(task: Ref<"task">): string {
  if (Task.state.load(task) !== TASK_SLEEPING) return "";
  if (Task.keptKind.get(task) === KEPT_FUTEX) return "futex";
  const queue = queueOf(task);
  if (queue !== 0) return placeName(queue);
  return Task.restartDeadline.get(task) !== 0 ? "timer" : "signal";
}
