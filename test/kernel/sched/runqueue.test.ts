import test from "ava";
import { CPU_BUSY, CPU_IDLE, Cpu, cpuOf } from "../../../kernel/sched/cpus.ts";
import { pickTask, requeueTask } from "../../../kernel/sched/runqueue.ts";
import { wakeTask } from "../../../kernel/sched/wake.ts";
import { TASK_RUNNABLE, TASK_RUNNING, TASK_SLEEPING, Task } from "../../../kernel/task/task.ts";
import type { Ref } from "../../../rcu/index.ts";
import { bootSolo, makeProcess } from "./solo.ts";

const CPUS = 4;
bootSolo(CPUS);

function sleepingOn(cpu: number, affinity = -1): Ref<"task"> {
  const task = makeProcess();
  Task.cpu.store(task, cpu);
  Task.affinity.store(task, 0, affinity);
  Task.state.store(task, TASK_SLEEPING);
  return task;
}
const setIdle = (...idle: number[]): void => {
  for (let cpu = 0; cpu < CPUS; cpu++) Cpu.idle.store(cpuOf(cpu), idle.includes(cpu) ? CPU_IDLE : CPU_BUSY);
};
const queuedOn = (cpu: number): number => Cpu.queued.load(cpuOf(cpu));

test.serial("a woken task goes to its last CPU if that idles, and wakes it", (t) => {
  setIdle(1, 2, 3);
  const task = sleepingOn(2);
  t.true(wakeTask(task));
  t.is(queuedOn(2), 1);
  t.is(Cpu.idle.load(cpuOf(2)), CPU_BUSY);
  t.is(pickTask(2), task);
  t.is(Task.state.load(task), TASK_RUNNING);
  t.false(wakeTask(task), "it runs");
});

test.serial("otherwise to an idle CPU that its affinity allows, else to the shortest queue", (t) => {
  setIdle(3);
  const moved = sleepingOn(1);
  wakeTask(moved);
  t.is(queuedOn(3), 1);
  t.is(pickTask(3), moved);
  setIdle(3);
  const pinned = sleepingOn(1, 0b0001);
  wakeTask(pinned);
  t.is(queuedOn(0), 1, "CPU 3 idles, but is forbidden");
  setIdle();
  const third = sleepingOn(0);
  wakeTask(third);
  t.is(queuedOn(0), 1);
  t.is(pickTask(0), pinned);
  t.not(pickTask(0), 0);
});

test.serial(
  "a CPU without tasks of its own steals from the longest queue, but not what must stay there",
  (t) => {
    setIdle();
    const pinned = sleepingOn(0, 0b0001);
    const free = sleepingOn(0, 0b0011);
    for (const task of [pinned, free]) {
      Task.state.store(task, TASK_RUNNABLE);
      requeueTask(task);
    }
    t.is(queuedOn(0), 2);
    t.is(pickTask(2), 0);
    t.is(pickTask(1), free);
    t.is(Task.cpu.load(free), 1);
    t.is(pickTask(1), 0);
    t.is(pickTask(0), pinned);
  },
);
