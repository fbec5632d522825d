/** The kernel on the test's own thread, as CPU 0 of a machine whose CPUs never run: for tests of single parts. */
import { STREAM_PLAIN } from "../../../kernel/drivers/console.ts";
import { bootKernel } from "../../../kernel/machine/boot.ts";
import { CPU_ONLINE, Cpu, cpuOf } from "../../../kernel/sched/cpus.ts";
import { setCurrent, setThisCpu } from "../../../kernel/sched/current.ts";
import { credGet, credOf, newCred } from "../../../kernel/task/cred.ts";
import { newProcess, newTask, publishTask } from "../../../kernel/task/fork.ts";
import { initGroup } from "../../../kernel/task/pid.ts";
import { Group, KIND_RISCV64, TASK_RUNNING, Task } from "../../../kernel/task/task.ts";
import type { Ref } from "../../../rcu/index.ts";

export function bootSolo(cpus = 1): void {
  bootKernel({
    cpus,
    memory: 16 << 20,
    heap: 64 << 20,
    debug: true,
    console: { stdin: STREAM_PLAIN, stdout: STREAM_PLAIN, stderr: STREAM_PLAIN },
  });
  for (let cpu = 0; cpu < cpus; cpu++) Cpu.state.store(cpuOf(cpu), CPU_ONLINE);
  setThisCpu(0);
}

/** A process whose only thread is RUNNING, child of `parent` or of the kernel. */
export function makeProcess(parent: Ref<"group"> = initGroup(), uid = 0): Ref<"task"> {
  const cred = newCred(uid, uid);
  const task = cred === 0 ? 0 : newProcess(KIND_RISCV64, cred);
  if (task === 0 || publishTask(task, parent, 0, 0) < 0) throw new Error("no memory for a process");
  Task.state.store(task, TASK_RUNNING);
  return task;
}

/** Another thread of the task's process. */
export function makeThread(of: Ref<"task">): Ref<"task"> {
  const task = newTask(Task.group.get(of), KIND_RISCV64);
  if (task === 0) throw new Error("no memory for a thread");
  Task.cred.init(task, credGet(credOf(of)));
  if (publishTask(task, 0, 0, 0) < 0) throw new Error("no pid");
  Task.state.store(task, TASK_RUNNING);
  return task;
}

/** Runs `work` with the task as the current one. */
export function as<T>(task: Ref<"task">, work: () => T): T {
  setCurrent(task);
  try {
    return work();
  } finally {
    setCurrent(0);
  }
}

export const groupOf = (task: Ref<"task">): Ref<"group"> => Task.group.get(task);
export const pidOf = (task: Ref<"task">): number => Group.tgid.get(groupOf(task));
