/** Time that tasks run: measured when they come to a CPU and leave it. */
import type { Ref } from "../../rcu/index.ts";
import { Task } from "../task/task.ts";
import { nowNs } from "../time/clock.ts";
import { Cpu, cpuOf, nrCpus } from "./cpus.ts";
import { thisCpu } from "./current.ts";
import { learnHandover } from "./handoff.ts";

/** The task starts to run on this CPU. */
export function accountStart(cpu: Ref<"cpu">): void {
  Cpu.runStart.set(cpu, nowNs());
  Cpu.switches.set(cpu, Cpu.switches.get(cpu) + 1);
}

/** Adds the time since the task came here, or since the last call, to its account. */
export function accountTime(task: Ref<"task">): void {
  const cpu = cpuOf(thisCpu());
  const now = nowNs();
  const ran = now - Cpu.runStart.get(cpu);
  Cpu.runStart.set(cpu, now);
  Cpu.busyNs.set(cpu, Cpu.busyNs.get(cpu) + ran);
  Task.utime.set(task, Task.utime.get(task) + ran);
}

/**
 * Nanoseconds that the task has run since its account was written last: for any CPU, and the host. 0 while it does not run. Its
 * own CPU may write the account meanwhile; the caller then misses what that added, until it asks again.
 */
export function runningTime(task: Ref<"task">): number {
  const number = Task.cpu.load(task);
  if (number < 0 || number >= nrCpus()) return 0;
  const cpu = cpuOf(number);
  return Cpu.curr.load(cpu) === task ? Math.max(0, nowNs() - Cpu.runStart.get(cpu)) : 0;
}

/** Time of the current task spent in slow kernel paths (exec, fork, exit) is system time. */
export function accountSystem(task: Ref<"task">, since: number): void {
  const cpu = cpuOf(thisCpu());
  accountTime(task);
  const spent = Cpu.runStart.get(cpu) - since;
  Task.stime.set(task, Task.stime.get(task) + spent);
  Task.utime.set(task, Math.max(0, Task.utime.get(task) - spent));
}

/** The task leaves this CPU, of its own will (it waits, stops) or not. Last access to the task before it may move. */
export function accountSwitch(task: Ref<"task">, voluntary: boolean): void {
  accountTime(task);
  learnHandover(task, Cpu.runStart.get(cpuOf(thisCpu())), voluntary);
  if (voluntary) Task.nvcsw.set(task, Task.nvcsw.get(task) + 1);
  else Task.nivcsw.set(task, Task.nivcsw.get(task) + 1);
}
