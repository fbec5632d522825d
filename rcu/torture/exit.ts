/** Threads that end right after a read, or in the middle of it, and the one that buries them. */
import {
  type Heap,
  RcuHashMap,
  rcuIdleEnter,
  rcuIdleExit,
  rcuQuiescent,
  rcuReadLock,
  rcuReadUnlock,
  rcuTasksRegister,
  rcuTasksUnregister,
  Srcu,
} from "../index.ts";
import { type ControlRef, stopped } from "./cpu.ts";
import { look } from "./flavours.ts";
import { Random, spin } from "./random.ts";
import { checkAge, readAlone } from "./reader.ts";
import { Control, FAIL, FIRM_KEYS, FLAVOURS, STOP_ALL } from "./state.ts";

/** Reaps dead threads: the host names them, but does nothing that could wait for what the test has broken. */
export function reaperThread(control: ControlRef, _seed: number, heap: Heap): void {
  while (Control.stop.load(control) !== STOP_ALL) {
    rcuIdleEnter();
    Control.dead.wait(control, 0, 50);
    rcuIdleExit();
    const thread = Control.dead.load(control);
    if (thread === 0) continue;
    heap.reapThread(thread);
    Control.dead.store(control, 0);
  }
}

/** Reads a little and ends: the thread is gone, or dead without having said so, while its last scope is still warm. */
export function exitThread(control: ControlRef, seed: number): void {
  const random = new Random(seed);
  const read = READ[FLAVOURS[Control.flavour.get(control)]!] ?? readAlone;
  for (let n = random.below(40); n >= 0 && !stopped(control); n--) read(control, random);
  Control.exits.add(control, 1);
}

/** Elements are for these flavours' own readers. */
const READ: Partial<Record<(typeof FLAVOURS)[number], typeof readAlone>> = {
  srcu: (control, random) => {
    const srcu = new Srcu({ at: Control.srcu.get(control) });
    const scope = srcu.readLock();
    lookFor(control, random);
    srcu.readUnlock(scope);
  },
  tasks: (control, random) => {
    const member = rcuTasksRegister();
    lookFor(control, random);
    rcuTasksUnregister(member);
  },
};

function lookFor(control: ControlRef, random: Random): void {
  const element = look(control);
  rcuQuiescent(); // Means nothing to them.
  spin(random.below(20_000));
  if (element !== 0) checkAge(control, element);
}

/** A reader that will be terminated at any moment, inside its scope too: it reports quiescent states, but runs no callbacks. */
export function victimThread(control: ControlRef, seed: number): void {
  const random = new Random(seed);
  const map = new RcuHashMap({ at: Control.map.get(control) });
  const read = READ[FLAVOURS[Control.flavour.get(control)]!] ?? readAlone;
  while (!stopped(control)) {
    read(control, random);
    const scope = rcuReadLock();
    if (map.get(scope, random.below(FIRM_KEYS)) === undefined) Control.failures.add(control, FAIL.MISS, 1);
    rcuReadUnlock();
    rcuQuiescent();
  }
}
