/** Readers and updaters of SRCU, Tasks RCU and event-loop domains. */
import {
  callRcuTasks,
  callSrcu,
  defineReclaimer,
  free,
  kfreeRcu,
  type RcuDomain,
  type Reclaimer,
  type Ref,
  rcuBarrierTasks,
  rcuQuiescent,
  rcuTasksQuiescent,
  rcuTasksRegister,
  rcuTasksSleep,
  rcuTasksUnregister,
  rcuTasksWake,
  Srcu,
  synchronizeRcuTasks,
  tryAlloc,
} from "../index.ts";
import { type ControlRef, type Cpu, stopped } from "./cpu.ts";
import { spin } from "./random.ts";
import { checkAge } from "./reader.ts";
import { Control, Element, FAIL } from "./state.ts";

type ElementRef = Ref<"torture_element">;

/** The current element, as a reader of any flavour finds it. */
export function look(control: ControlRef): ElementRef | 0 {
  const element = Control.current.access(control);
  if (element !== 0 && Element.valid.get(element) !== 1) Control.failures.add(control, FAIL.INIT, 1);
  return element;
}

/** Its scopes stay open while the CPU turns to others or sleeps in its event loop. */
export function* srcuReader(cpu: Cpu): Generator<undefined, void> {
  const { control, random } = cpu;
  const srcu = new Srcu({ at: Control.srcu.get(control) });
  while (!stopped(control)) {
    const scope = srcu.readLock();
    cpu.scopes++;
    const element = look(control);
    if (random.chance(50)) Control.stop.wait(control, 0, random.below(3));
    else spin(random.below(2000));
    while (random.chance(3)) yield;
    if (element !== 0) checkAge(control, element);
    srcu.readUnlock(scope);
    cpu.scopes--;
    Control.reads.add(control, 1);
    yield;
  }
}

/**
 * A reader whose scope is everything between two voluntary switches. A yield is none, unless an updater on the same
 * CPU will wait for all tasks: then the reader sleeps meanwhile, as a task that does not run does.
 */
export function* tasksReader(cpu: Cpu): Generator<undefined, void> {
  const { control, random } = cpu;
  const sleeps = cpu.hosts.includes("tasks-updater");
  const member = rcuTasksRegister();
  while (!stopped(control)) {
    cpu.scopes++;
    const element = look(control);
    for (let n = random.below(12); n >= 0; n--) {
      rcuQuiescent(); // Involuntary switches: they mean nothing to Tasks RCU.
      if (!sleeps && random.chance(4)) yield;
      spin(random.below(10_000));
    }
    if (element !== 0) checkAge(control, element);
    cpu.scopes--;
    Control.reads.add(control, 1);
    if (sleeps || random.chance(200)) {
      rcuTasksSleep(member);
      yield;
      if (random.chance(200)) Control.stop.wait(control, 0, random.below(3));
      rcuTasksWake(member);
    } else if (random.chance(4)) rcuTasksQuiescent(member);
  }
  rcuTasksUnregister(member);
}

/** A reader in an event loop: scopes within a turn, and the thread is quiescent when the turn is over. */
export function* domainReader({ control, random, domain }: Cpu): Generator<undefined, void> {
  while (!stopped(control)) {
    domain!.run(() => {
      const element = look(control);
      spin(random.below(2000));
      domain!.run(() => spin(10));
      if (element !== 0) checkAge(control, element);
    });
    Control.reads.add(control, 1);
    yield;
  }
}

/** What an updater of these flavours does for a grace period: a promise, or nothing when it has blocked the thread. */
type Wait = (cpu: Cpu) => Promise<unknown> | undefined;
/** How it has a callback run after a grace period instead, and waits for all of them, if it can. */
interface Callbacks {
  call(reclaimer: Reclaimer, element: ElementRef): void;
  barrier(): Promise<unknown> | undefined;
}

/** Ages the element; it keeps that age for a grace period of RCU, so that who holds it still sees it. */
const ageBehind = defineReclaimer("torture: age behind a flavour", (element) => {
  Element.age.add(element as ElementRef, 1);
  kfreeRcu(Element, element as ElementRef);
});
const markBehind = defineReclaimer("torture: mark behind a flavour", (element) => {
  Element.age.store(element as ElementRef, 1);
});

/** A callback that is queued before a barrier has run when that returns. */
function* checkBarrier(
  { control }: Cpu,
  { call, barrier }: Callbacks,
): Generator<Promise<unknown> | undefined, void> {
  const probe = tryAlloc(Element);
  if (probe === 0) throw new Error("torture: the heap is full");
  call(markBehind, probe);
  yield barrier();
  if (Element.age.load(probe) !== 1) {
    Control.failures.add(control, FAIL.BARRIER, 1);
    return; // The callback is still to come.
  }
  free(Element, probe);
  Control.barriers.add(control, 1);
}

/** Replaces elements, and frees them after two grace periods. */
function* replaceElements(
  cpu: Cpu,
  wait: Wait,
  callbacks?: Callbacks,
): Generator<Promise<unknown> | undefined, void> {
  const { control, random, domain } = cpu;
  while (!stopped(control)) {
    domain?.heap.use();
    const fresh = tryAlloc(Element);
    if (fresh === 0) throw new Error("torture: the heap is full");
    Element.valid.init(fresh, 1);
    const old = Control.current.exchange(control, fresh);
    if (old !== 0 && callbacks !== undefined && random.chance(2)) {
      Element.age.add(old, 1);
      callbacks.call(ageBehind, old);
      if (random.chance(20)) yield* checkBarrier(cpu, callbacks);
    } else if (old !== 0) {
      Element.age.add(old, 1);
      for (let age = 0; age < 2; age++) {
        yield wait(cpu);
        Element.age.add(old, 1);
      }
      if (random.chance(2)) free(Element, old);
      else kfreeRcu(Element, old); // Already safe: it must be freed all the same, whatever state the thread is in.
    }
    Control.updates.add(control, 1);
    yield;
    spin(random.below(20_000));
  }
}

export function srcuUpdater(cpu: Cpu): Generator<Promise<unknown> | undefined, void> {
  const srcu = new Srcu({ at: Control.srcu.get(cpu.control) });
  const wait: Wait = ({ hosts, random }) => {
    if (hosts.length > 1 || random.chance(2)) return srcu.synchronize();
    srcu.synchronizeBlocking();
    return undefined;
  };
  return replaceElements(cpu, wait, {
    call: (reclaimer, element) => callSrcu(srcu, reclaimer, element),
    barrier: () => srcu.barrier(),
  });
}

export function tasksUpdater(cpu: Cpu): Generator<Promise<unknown> | undefined, void> {
  const wait: Wait = () => {
    synchronizeRcuTasks();
    return undefined;
  };
  return replaceElements(cpu, wait, {
    call: callRcuTasks,
    barrier() {
      rcuBarrierTasks();
      return undefined;
    },
  });
}

export function domainUpdater(cpu: Cpu): Generator<Promise<unknown> | undefined, void> {
  const domain = cpu.domain as RcuDomain;
  return replaceElements(cpu, ({ random }) => {
    if (random.chance(4)) {
      domain.synchronizeBlocking();
      return undefined;
    }
    return domain.synchronize(random.chance(2) ? {} : { sleep });
  });
}

const sleep = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 1));
