/** An updating actor: replaces the current element, ages the old one by each of the ways to wait, frees it. */
import {
  callRcu,
  condSynchronizeRcu,
  defineReclaimer,
  free,
  type GpCookie,
  getStateSynchronizeRcu,
  kfreeRcu,
  pollStateSynchronizeRcu,
  RcuHashMap,
  type Ref,
  rcuIdleEnter,
  rcuIdleExit,
  rcuQuiescent,
  rcuRunCallbacks,
  startPollSynchronizeRcu,
  synchronizeRcu,
  synchronizeRcuExpedited,
  tryAlloc,
} from "../index.ts";
import { type ControlRef, type Cpu, stopped } from "./cpu.ts";
import { type Random, spin } from "./random.ts";
import { Control, Element, FAIL, FIRM_KEYS } from "./state.ts";

type ElementRef = Ref<"torture_element">;

/** An element that has had its grace periods is freed when it is this old: a late reader sees its age, or poison. */
const FREE_AGE = 4;
/** Elements that wait for their cookie at one time. */
const MAX_POLLED = 64;

const ageLater = defineReclaimer("torture: age", (arg) => {
  const element = arg as ElementRef;
  if (Element.age.add(element, 1) + 1 < FREE_AGE) callRcu(ageLater, element);
  else free(Element, element);
});

interface Polled {
  element: ElementRef;
  cookie: GpCookie;
}

export function* updater(cpu: Cpu): Generator<undefined, void> {
  const { control, random } = cpu;
  const map = new RcuHashMap({ at: Control.map.get(control) });
  const polled: Polled[] = [];
  while (!stopped(control)) {
    if (random.chance(8)) replaceLate(control, random);
    else if (random.chance(4)) replaceInBatch(control, random, polled);
    else yield* replaceElement(cpu, polled);
    churn(map, random);
    agePolled(polled);
    Control.updates.add(control, 1);
    yield;
    spin(random.below(random.chance(2) ? 50_000 : 500));
  }
  for (const { element, cookie } of polled) {
    if (tasksNeed(cpu)) yield* pollUntilDone(cookie);
    else condSynchronizeRcu(cookie);
    free(Element, element);
  }
}

/** Whether tasks that were switched out in their scopes, for which a grace period waits, run on this CPU. */
const tasksNeed = (cpu: Cpu): boolean => cpu.hosts.includes("preempt-reader");

/** Waits, and lets the CPU do other things. */
function* pollUntilDone(cookie: GpCookie): Generator<undefined, void> {
  while (!pollStateSynchronizeRcu(cookie)) yield;
}

/**
 * An update by a thread that lost its core since its last quiescent state: grace periods have begun that it has not seen, others
 * have reported for them and read on. Its callback, the only one on its list, must wait for a later one.
 */
function replaceLate(control: ControlRef, random: Random): void {
  const fresh = makeElement(random);
  if (fresh === 0) return;
  rcuIdleEnter(); // What it had queued goes to the orphans.
  rcuIdleExit();
  loseCore(control, random);
  Control.updateLock.lock(control);
  const old = Control.current.exchange(control, fresh);
  Control.updateLock.unlock(control);
  if (old === 0) return;
  Element.age.add(old, 1);
  callRcu(ageLater, old);
  for (let n = 0; n < 50; n++) {
    rcuQuiescent();
    rcuRunCallbacks();
  }
}

/** Nothing, for a while, or until a grace period has begun and a little longer. */
function loseCore(control: ControlRef, random: Random): void {
  if (random.chance(2)) {
    Control.stop.wait(control, 0, 1); // Others run meanwhile, on a machine of one core too.
    return;
  }
  const before = getStateSynchronizeRcu();
  for (let n = 0; n < 2000 && getStateSynchronizeRcu() === before; n++);
  spin(random.below(20_000));
}

/** A new element, ready to be published; 0 when a flood fills the heap for a moment. */
function makeElement(random: Random): ElementRef | 0 {
  const fresh = tryAlloc(Element);
  if (fresh === 0) return 0;
  const tag = random.below(1 << 30);
  for (let n = 0; n < 4; n++) Element.payload.set(fresh, n, tag);
  Element.valid.init(fresh, 1);
  return fresh;
}

/** Several updates under one lock: nothing but the publishing store itself orders it before the stamp. */
function replaceInBatch(control: ControlRef, random: Random, polled: Polled[]): void {
  rcuQuiescent();
  const held = Control.updateLock.lock(control);
  for (let n = random.below(4); n >= 0 && polled.length < MAX_POLLED; n--) {
    const fresh = makeElement(random);
    if (fresh === 0) break;
    const old = Control.current.peek(held, control);
    Control.current.assign(held, control, fresh);
    const cookie = startPollSynchronizeRcu();
    if (old === 0) continue;
    Element.age.add(old, 1);
    polled.push({ element: old, cookie });
  }
  Control.updateLock.unlock(control);
  for (let n = 0; n < 20; n++) {
    rcuQuiescent();
    agePolled(polled);
  }
}

function* replaceElement(cpu: Cpu, polled: Polled[]): Generator<undefined, void> {
  const { control, random } = cpu;
  const fresh = makeElement(random);
  if (fresh === 0) return;
  const way = random.below(8);
  if (way < 2 && polled.length < MAX_POLLED) {
    Control.updateLock.lock(control);
    const old = Control.current.exchange(control, fresh);
    const cookie = startPollSynchronizeRcu();
    Control.updateLock.unlock(control);
    if (old === 0) return;
    Element.age.add(old, 1);
    polled.push({ element: old, cookie });
    return;
  }
  const held = Control.updateLock.lock(control);
  const old = Control.current.peek(held, control);
  Control.current.assign(held, control, fresh);
  Control.updateLock.unlock(control);
  if (old === 0) return;
  Element.age.add(old, 1);
  if (way === 2) kfreeRcu(Element, old);
  else if (way > 4) callRcu(ageLater, old);
  else yield* waitAndFree(cpu, old, way === 3);
}

function* waitAndFree(cpu: Cpu, old: ElementRef, expedited: boolean): Generator<undefined, void> {
  while (Element.age.load(old) < FREE_AGE) {
    const cookie = startPollSynchronizeRcu();
    if (tasksNeed(cpu)) yield* pollUntilDone(cookie);
    else if (expedited) synchronizeRcuExpedited();
    else synchronizeRcu();
    if (!pollStateSynchronizeRcu(cookie)) Control.failures.add(cpu.control, FAIL.EARLY, 1);
    Element.age.add(old, 1);
  }
  free(Element, old);
}

/** Ages the elements whose cookie is done, and frees those that are old enough. */
function agePolled(polled: Polled[]): void {
  for (let n = polled.length; n-- > 0; ) {
    const { element, cookie } = polled[n]!;
    if (!pollStateSynchronizeRcu(cookie)) continue;
    if (Element.age.add(element, 1) + 1 < FREE_AGE) {
      polled[n]!.cookie = startPollSynchronizeRcu();
      continue;
    }
    free(Element, element);
    polled[n] = polled[polled.length - 1]!;
    polled.pop();
  }
}

/** Updates keys that readers look for, and inserts and removes others so that the table grows and shrinks. */
function churn(map: RcuHashMap, random: Random): void {
  for (let n = 0; n < 8; n++) map.tryInsert(random.below(FIRM_KEYS), random.below(1 << 30));
  const guard = map.lock();
  for (let n = 0; n < 16; n++) {
    const key = FIRM_KEYS + random.below(1024);
    if (random.chance(2)) guard.insert(key, n);
    else guard.remove(key);
  }
  if (random.chance(50)) for (let key = FIRM_KEYS; key < FIRM_KEYS + 1024; key++) guard.remove(key);
  guard.unlock();
}
