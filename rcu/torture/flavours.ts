/** Readers and updaters of the other flavours: preempted tasks, SRCU, Tasks RCU, event-loop domains. */
import {
  alloc,
  free,
  type Heap,
  RcuDomain,
  type Ref,
  rcuIdleEnter,
  rcuIdleExit,
  rcuQuiescent,
  rcuReadLock,
  rcuReadUnlock,
  rcuRunCallbacks,
  rcuSwitchIn,
  rcuSwitchOut,
  rcuTasksQuiescent,
  rcuTasksRegister,
  rcuTasksSleep,
  rcuTasksUnregister,
  rcuTasksWake,
  Srcu,
  synchronizeRcuTasks,
} from "../index.ts";
import { Random, spin } from "./random.ts";
import { checkAge } from "./reader.ts";
import { Control, Element, FAIL, TASKS, Task } from "./state.ts";

type ControlRef = Ref<"torture_control">;
type ElementRef = Ref<"torture_element">;
type TaskRef = Ref<"torture_task">;

const stopped = (control: ControlRef): boolean => Control.stop.load(control) !== 0;

/** The current element, as a reader of any flavour finds it. */
function look(control: ControlRef): ElementRef | 0 {
  const element = Control.current.access(control);
  if (element !== 0 && Element.valid.get(element) !== 1) Control.failures.add(control, FAIL.INIT, 1);
  return element;
}

/** Tasks that are switched out in the middle of a scope, and go on wherever a thread picks them up. */
export function preemptReaderThread(control: ControlRef, seed: number): void {
  const random = new Random(seed);
  const turn = (index: number, last: boolean): void => {
    const task = Control.tasks.load(control, index) as TaskRef | 0;
    if (task === 0 || !Control.tasks.cas(control, index, task, 0)) return;
    runTask(control, task, random, last);
    Control.reads.add(control, 1);
    Control.tasks.store(control, index, task);
    rcuQuiescent();
    rcuRunCallbacks();
  };
  while (!stopped(control)) turn(random.below(TASKS), false);
  for (let index = 0; index < TASKS; index++) turn(index, true);
}

function runTask(control: ControlRef, task: TaskRef, random: Random, last: boolean): void {
  const record = Task.record.at(task);
  if (Task.reading.get(task) === 0) {
    if (last) return;
    rcuReadLock();
    Task.element.set(task, look(control));
    Task.reading.set(task, 1);
  } else rcuSwitchIn(record);
  spin(random.below(20_000));
  const element = Task.element.get(task) as ElementRef | 0;
  if (element !== 0) checkAge(control, element);
  if (!last && random.chance(3)) {
    rcuSwitchOut(record);
    return;
  }
  rcuReadUnlock();
  Task.reading.set(task, 0);
  rcuSwitchOut(record); // Outside of scopes by now: takes it off the list, if it was on it.
}

export function srcuReaderThread(control: ControlRef, seed: number): void {
  const random = new Random(seed);
  const srcu = new Srcu({ at: Control.srcu.get(control) });
  rcuIdleEnter(); // SRCU readers are nothing to the other grace periods.
  while (!stopped(control)) {
    const scope = srcu.readLock();
    const element = look(control);
    if (random.chance(50)) Control.stop.wait(control, 0, random.below(3));
    else spin(random.below(2000));
    if (element !== 0) checkAge(control, element);
    srcu.readUnlock(scope);
    Control.reads.add(control, 1);
  }
  rcuIdleExit();
}

/** A reader whose scope is everything between two voluntary switches. */
export function tasksReaderThread(control: ControlRef, seed: number): void {
  const random = new Random(seed);
  const member = rcuTasksRegister();
  while (!stopped(control)) {
    const element = look(control);
    for (let n = random.below(12); n >= 0; n--) {
      rcuQuiescent(); // Involuntary switches: they mean nothing to Tasks RCU.
      spin(random.below(10_000));
    }
    if (element !== 0) checkAge(control, element);
    Control.reads.add(control, 1);
    if (random.chance(200)) {
      rcuTasksSleep(member);
      Control.stop.wait(control, 0, random.below(3));
      rcuTasksWake(member);
    } else if (random.chance(4)) rcuTasksQuiescent(member);
  }
  rcuTasksUnregister(member);
}

/** A thread that lives in its event loop. */
export async function domainReaderThread(control: ControlRef, seed: number, heap: Heap): Promise<void> {
  const random = new Random(seed);
  rcuIdleEnter(); // What this thread reads, it reads as the domain's slot.
  const domain = RcuDomain.attach(heap.handle());
  while (!stopped(control)) {
    for (let n = random.below(200); n >= 0; n--) {
      domain.run(() => {
        const element = look(control);
        spin(random.below(2000));
        domain.run(() => spin(10));
        if (element !== 0) checkAge(control, element);
      });
      Control.reads.add(control, 1);
    }
    await new Promise((resolve) => (random.chance(10) ? setTimeout(resolve, 1) : setImmediate(resolve)));
  }
  domain.unregisterThread();
  heap.use();
  rcuIdleExit();
}

/** Replaces elements and waits by the flavour's own synchronize. */
export function waitingUpdaterThread(flavour: "srcu" | "tasks"): (control: ControlRef, seed: number) => void {
  return (control, seed) => {
    const random = new Random(seed);
    const srcu = flavour === "srcu" ? new Srcu({ at: Control.srcu.get(control) }) : null;
    while (!stopped(control)) {
      const fresh = alloc(Element);
      if (fresh === 0) throw new Error("torture: the heap is full");
      Element.valid.init(fresh, 1);
      const old = Control.current.exchange(control, fresh);
      if (old !== 0) {
        Element.age.add(old, 1);
        for (let age = 0; age < 2; age++) {
          if (srcu !== null) srcu.synchronizeBlocking();
          else synchronizeRcuTasks();
          Element.age.add(old, 1);
        }
        free(Element, old);
      }
      Control.updates.add(control, 1);
      rcuQuiescent();
      spin(random.below(20_000));
    }
  };
}
