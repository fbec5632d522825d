/** Which task and which CPU this thread is: module variables, since a worker is one CPU. */

import type { Ref } from "../../rcu/index.ts";
import { Task } from "../task/task.ts";

export { nowNs, realtimeNs } from "../time/clock.ts";

let currentTask = 0 as Ref<"task">;
let cpuNumber = -1;

/** The task that runs on this CPU; 0 while the CPU switches, idles or boots. */
export function current(): Ref<"task"> {
  return currentTask;
}
export function setCurrent(task: Ref<"task"> | 0): void {
  currentTask = task as Ref<"task">;
}
/** Number of this CPU; -1 on a thread that is none (the host). */
export function thisCpu(): number {
  return cpuNumber;
}
export function setThisCpu(cpu: number): void {
  cpuNumber = cpu;
}

/**
 * Remembers the fault that the current task's access caused: the signal is forced when user mode comes back. `low` and `high` are
 * the words of the address.
 */
export function setFault(signo: number, code: number, low: number, high = 0): void {
  Task.faultSignal.set(currentTask, signo);
  Task.faultCode.set(currentTask, code);
  Task.faultAddress.set(currentTask, 0, low);
  Task.faultAddress.set(currentTask, 1, high);
}
