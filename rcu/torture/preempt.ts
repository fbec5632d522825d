/** Tasks that are switched out in the middle of a read scope, go on wherever a CPU picks them up, and exit right after a read. */
import { free, type Ref, rcuReadLock, rcuReadUnlock, tryAlloc } from "../index.ts";
import { rcuSwitchIn, rcuSwitchOut } from "../kernel.ts";
import { type ControlRef, type Cpu, stopped } from "./cpu.ts";
import { look } from "./flavours.ts";
import { type Random, spin } from "./random.ts";
import { checkAge } from "./reader.ts";
import { Control, TASKS, Task } from "./state.ts";

type TaskRef = Ref<"torture_task">;

/** A CPU's share of the tasks: all CPUs draw from one pool. */
export function* preemptReader({ control, random }: Cpu): Generator<undefined, void> {
  while (!stopped(control)) {
    drawTask(control, random.below(TASKS), random, false);
    yield;
  }
  for (let index = 0; index < TASKS; index++) drawTask(control, index, random, true);
}

function drawTask(control: ControlRef, index: number, random: Random, last: boolean): void {
  const task = Control.tasks.load(control, index) as TaskRef | 0;
  if (task === 0 || !Control.tasks.cas(control, index, task, 0)) return;
  const left = runTask(control, task, random, last);
  Control.reads.add(control, 1);
  if (left && random.chance(8)) {
    free(Task, task); // It exits, read scope and record: nothing may point to it any more.
    Control.exits.add(control, 1);
    const fresh = tryAlloc(Task);
    if (fresh === 0) throw new Error("torture: the heap is full");
    Control.tasks.store(control, index, fresh);
  } else Control.tasks.store(control, index, task);
}

/** Runs the task for a while; returns whether it has left its read scope. */
function runTask(control: ControlRef, task: TaskRef, random: Random, last: boolean): boolean {
  const record = Task.record.at(task);
  if (Task.reading.get(task) === 0) {
    if (last) return false;
    rcuReadLock();
    Task.element.set(task, look(control));
    Task.reading.set(task, 1);
  } else rcuSwitchIn(record);
  spin(random.below(20_000));
  const element = Task.element.get(task) as Ref<"torture_element"> | 0;
  if (element !== 0) checkAge(control, element);
  if (!last && random.chance(3)) {
    rcuSwitchOut(record);
    return false;
  }
  rcuReadUnlock();
  Task.reading.set(task, 0);
  rcuSwitchOut(record); // Outside of scopes by now: takes it off the list, if it was on it.
  return true;
}
