/** A CPU died (its worker ended, or threw): what it held is given back, its task is killed, others go on. */
import { type Heap, listDelInit, listFirst, type Ref, rcuReadLock, rcuReadUnlock } from "../../rcu/index.ts";
import { contain } from "../../rcu/kernel.ts";
import { buryDescriptors } from "../fs/hostfs/opener.ts";
import { klog } from "../klog.ts";
import { tlbCpuOffline } from "../mm/tlb.ts";
import { CPU_BUSY, CPU_OFFLINE, Cpu, cpuOf, nrCpus } from "../sched/cpus.ts";
import { cpuOfToken } from "../sched/program-host.ts";
import { enqueueTask } from "../sched/runqueue.ts";
import { killThreads } from "../signal/send.ts";
import { commText } from "../task/exec.ts";
import { finishExit } from "../task/exit.ts";
import { findTask, nextPid } from "../task/pid.ts";
import {
  GROUP_EXITING,
  GROUP_ZOMBIE,
  Group,
  KIND_PROGRAM,
  TASK_EXITING,
  TASK_LEAVING,
  TASK_RUNNABLE,
  Task,
  WORK_SIGNAL,
} from "../task/task.ts";
import { SIGKILL } from "../uapi/signal.ts";
import { spawnLost } from "./spawn.ts";
import { fatalStatus } from "./stuck-program.ts";

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
  // What the CPU left may be half-changed: whatever one step throws, the next ones are done.
  if (slot >= 0) contain("reaping a CPU's slot", (of: number) => heap.reap(of), slot, undefined);
  contain("translations of a dead CPU", tlbCpuOffline, number, undefined);
  contain("host descriptors of a dead CPU", buryDescriptors, number, undefined);
  const task = Cpu.curr.exchange(cpu, 0);
  contain("killing the programs of a dead CPU", (of: number) => killPrograms(of, task), number, undefined);
  if (task !== 0)
    contain("killing the task of a dead CPU", (of: Ref<"task">) => bury(of, number), task, undefined);
  if (nrCpus() > 1) contain("the queue of a dead CPU", emptyQueue, cpu, undefined);
}

function bury(task: Ref<"task">, number: number): void {
  const group = Task.group.get(task);
  // A program that was to die anyway (stuck-program.ts) dies of what it was killed by.
  const fatal = fatalStatus(task);
  if (fatal === 0)
    klog(`CPU lost while it ran pid ${Task.pid.get(task)} (${commText(task)}): the process is killed`);
  if ((Task.flags.get(task) & TASK_EXITING) !== 0) {
    const told = (Task.flags.get(task) & TASK_LEAVING) === 0;
    klog(
      `pid ${Task.pid.get(task)} was exiting: what it held is lost${told ? "" : ", and who waits for it"}`,
    );
    if (told) finishExit(task);
    return;
  }
  if (fatal === 0) spawnLost(task, number);
  const held = Group.lock.lock(group);
  if (fatal === 0) Group.exitCode.store(group, SIGKILL);
  Group.flags.or(group, GROUP_EXITING);
  killThreads(held, group, task);
  Group.lock.unlock(group);
  Task.restarting.set(task, 0);
  Task.work.or(task, WORK_SIGNAL);
  Task.state.store(task, TASK_RUNNABLE);
  enqueueTask(task);
}

/**
 * The steps of TypeScript programs were in the CPU's memory. These tasks die, on whichever CPU is there; `curr`, which ran, is
 * bury's.
 */
function killPrograms(number: number, curr: Ref<"task"> | 0): void {
  const scope = rcuReadLock();
  for (let pid = nextPid(scope, 1); pid !== 0; pid = nextPid(scope, pid + 1)) {
    const task = findTask(scope, pid);
    if (
      task === 0 ||
      Task.kind.get(task) !== KIND_PROGRAM ||
      cpuOfToken(Task.programToken.get(task)) !== number
    )
      continue;
    for (const word of [0, 1]) Task.affinity.store(task, word, -1);
    const group = Task.group.get(task);
    if (task === curr || (Group.flags.load(group) & (GROUP_EXITING | GROUP_ZOMBIE)) !== 0) continue;
    klog(`pid ${pid} (${commText(task)}) is killed: its steps were lost with CPU ${number}`);
    spawnLost(task, number);
    const held = Group.lock.lock(group);
    Group.exitCode.store(group, SIGKILL);
    Group.flags.or(group, GROUP_EXITING);
    killThreads(held, group);
    Group.lock.unlock(group);
  }
  rcuReadUnlock();
}

/** Tasks that may run only here (TypeScript programs that begin) come back to this queue, and wait for the CPU to be booted again. */
function emptyQueue(cpu: Ref<"cpu">): void {
  const tasks: Ref<"task">[] = [];
  const held = Cpu.lock.lock(cpu);
  const head = Cpu.queue.at(cpu);
  for (let node = listFirst(head); node !== 0; node = listFirst(head)) {
    listDelInit(held, node);
    Cpu.queued.add(cpu, -1);
    tasks.push(Task.runNode.owner(node));
  }
  Cpu.lock.unlock(cpu);
  for (const task of tasks) enqueueTask(task);
}
