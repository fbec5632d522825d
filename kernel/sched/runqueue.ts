/**
 * Run queues: one per CPU, first come first served, one lock each. Placement of a woken task, and stealing.
 *
 * The wake-up handshake with an idle CPU: whoever enqueues adds to `queued` and then looks at `idle`; the CPU stores
 * `idle` and then looks at `queued` (idle.ts). Both are sequentially consistent, so one of them sees the other.
 */
import { type Held, listAddTail, listDelInit, listFirst, listNext, type Ref } from "../../rcu/index.ts";
import { TASK_RUNNABLE, TASK_RUNNING, Task } from "../task/task.ts";
import { CPU_IDLE, CPU_ONLINE, Cpu, cpuOf, nrCpus, wakeCpu } from "./cpus.ts";
import { thisCpu } from "./current.ts";
import { handsOver } from "./handoff.ts";

/** Whether the task may run on the CPU. */
export function cpuAllowed(task: Ref<"task">, cpu: number): boolean {
  return ((Task.affinity.get(task, cpu >> 5) >>> (cpu & 31)) & 1) !== 0;
}

/**
 * The CPU on which a task that becomes runnable should queue: this one when its task is about to leave it; else its last
 * one if idle, any idle one, the shortest queue.
 */
function selectCpu(task: Ref<"task">): number {
  const count = nrCpus();
  if (count === 1) return 0;
  const here = thisCpu();
  if (here >= 0 && handsOver() && Cpu.queued.peek(cpuOf(here)) === 0 && cpuAllowed(task, here)) return here;
  const last = Task.cpu.peek(task);
  if (isIdle(last) && cpuAllowed(task, last)) return last;
  let best = -1;
  let bestLoad = Number.POSITIVE_INFINITY;
  for (let step = 0; step < count; step++) {
    const number = (last + step) % count;
    if (!cpuAllowed(task, number)) continue;
    const cpu = cpuOf(number);
    if (Cpu.state.peek(cpu) !== CPU_ONLINE) continue;
    const load = Cpu.queued.peek(cpu) * 2 + (isIdle(number) ? 0 : 1);
    if (load >= bestLoad) continue;
    best = number;
    bestLoad = load;
    if (load === 0) break;
  }
  // All CPUs it may use are offline (one is being replaced): wait for the last one.
  return best === -1 ? last : best;
}

function isIdle(number: number): boolean {
  const cpu = cpuOf(number);
  return Cpu.idle.peek(cpu) === CPU_IDLE && Cpu.queued.peek(cpu) === 0;
}

/** Queues a task whose state is RUNNABLE (the caller made it so, and nobody else will) and wakes the CPU. */
export function enqueueTask(task: Ref<"task">): void {
  const number = selectCpu(task);
  const cpu = cpuOf(number);
  addTail(cpu, task);
  if (number !== thisCpu()) wakeCpu(cpu);
}

/** Tasks wait here while a CPU idles: it is woken and will steal. */
export function shareQueue(here: number): void {
  for (let number = 0; number < nrCpus(); number++) if (number !== here && wakeCpu(cpuOf(number))) return;
}

/** Puts the task that was preempted here back on this CPU's queue. */
export function requeueTask(task: Ref<"task">): void {
  const here = thisCpu();
  Task.state.store(task, TASK_RUNNABLE);
  if (cpuAllowed(task, here)) addTail(cpuOf(here), task);
  else enqueueTask(task);
}

function addTail(cpu: Ref<"cpu">, task: Ref<"task">): void {
  const held = Cpu.lock.lock(cpu);
  listAddTail(held, Cpu.queue.at(cpu), Task.runNode.at(task));
  Cpu.queued.add(cpu, 1);
  Cpu.lock.unlock(cpu);
}

function take(held: Held, cpu: Ref<"cpu">, node: number, here: number): Ref<"task"> {
  listDelInit(held, node);
  Cpu.queued.add(cpu, -1);
  const task = Task.runNode.owner(node);
  Task.cpu.store(task, here);
  Task.state.store(task, TASK_RUNNING);
  return task;
}

/** Takes the next task for this CPU off its own queue, or off the longest other one. 0 when there is none. */
export function pickTask(here: number): Ref<"task"> | 0 {
  const own = cpuOf(here);
  const task = Cpu.queued.load(own) === 0 ? 0 : takeFrom(own, here);
  return task !== 0 ? task : steal(here);
}

function takeFrom(cpu: Ref<"cpu">, here: number): Ref<"task"> | 0 {
  const held = Cpu.lock.lock(cpu);
  const head = Cpu.queue.at(cpu);
  let task: Ref<"task"> | 0 = 0;
  for (let node = listFirst(head); node !== 0; node = listNext(head, node)) {
    if (!cpuAllowed(Task.runNode.owner(node), here)) continue;
    task = take(held, cpu, node, here);
    break;
  }
  Cpu.lock.unlock(cpu);
  return task;
}

function steal(here: number): Ref<"task"> | 0 {
  const count = nrCpus();
  let victim: Ref<"cpu"> | 0 = 0;
  let most = 0;
  for (let step = 1; step < count; step++) {
    const cpu = cpuOf((here + step) % count);
    const queued = Cpu.queued.load(cpu);
    if (queued <= most) continue;
    victim = cpu;
    most = queued;
  }
  if (victim === 0) return 0;
  const task = takeFrom(victim, here);
  if (task !== 0) {
    const own = cpuOf(here);
    Cpu.steals.set(own, Cpu.steals.get(own) + 1);
  }
  return task;
}
