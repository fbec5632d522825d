/** A CPU died (its worker ended, or threw): what it held is given back, its task is killed, others go on. */
import type { Heap, Ref } from "../../rcu/index.ts";
import { listDelInit, listFirst } from "../../rcu/index.ts";
import { klog } from "../klog.ts";
import { tlbCpuOffline } from "../mm/tlb.ts";
import { CPU_BUSY, CPU_OFFLINE, Cpu, cpuOf, nrCpus } from "../sched/cpus.ts";
import { enqueueTask } from "../sched/runqueue.ts";
import { killThreads } from "../signal/send.ts";
import { commText } from "../task/exec.ts";
import { GROUP_EXITING, Group, TASK_EXITING, TASK_RUNNABLE, Task, WORK_SIGNAL } from "../task/task.ts";
import { SIGKILL } from "../uapi/signal.ts";

/**
 * Host side. The CPU's heap slot is reaped first: its locks can be broken, its read scopes are over, its callbacks are
 * adopted. Then its queue goes to other CPUs, and the task that ran on it is killed: it continues on
 * another CPU only to exit.
 */
export function buryCpu(heap: Heap, number: number): void {
  const cpu = cpuOf(number);
  Cpu.state.store(cpu, CPU_OFFLINE);
  Cpu.idle.store(cpu, CPU_BUSY);
  const slot = Cpu.slot.exchange(cpu, 0) - 1;
  if (slot >= 0) heap.reap(slot);
  tlbCpuOffline(number);
  const task = Cpu.curr.exchange(cpu, 0);
  if (task !== 0) bury(task);
  if (nrCpus() > 1) emptyQueue(cpu);
}

function bury(task: Ref<"task">): void {
  const group = Task.group.get(task);
  klog(`CPU lost while it ran pid ${Task.pid.get(task)} (${commText(task)}): the process is killed`);
  if ((Task.flags.get(task) & TASK_EXITING) !== 0) {
    klog(`pid ${Task.pid.get(task)} was exiting: what it held is lost`);
    return;
  }
  const held = Group.lock.lock(group);
  Group.exitCode.store(group, SIGKILL);
  Group.flags.or(group, GROUP_EXITING);
  killThreads(held, group, task);
  Group.lock.unlock(group);
  Task.restarting.set(task, 0);
  Task.work.or(task, WORK_SIGNAL);
  Task.state.store(task, TASK_RUNNABLE);
  enqueueTask(task);
}

function emptyQueue(cpu: Ref<"cpu">): void {
  for (;;) {
    const held = Cpu.lock.lock(cpu);
    const node = listFirst(Cpu.queue.at(cpu));
    if (node !== 0) {
      listDelInit(held, node);
      Cpu.queued.add(cpu, -1);
    }
    Cpu.lock.unlock(cpu);
    if (node === 0) return;
    enqueueTask(Task.runNode.owner(node));
  }
}
