/** An updating thread: replaces the current element, ages the old one by each of the ways to wait, frees it. */
import {
  alloc,
  callRcu,
  condSynchronizeRcu,
  defineReclaimer,
  free,
  type GpCookie,
  kfreeRcu,
  pollStateSynchronizeRcu,
  RcuHashMap,
  type Ref,
  rcuQuiescent,
  rcuRunCallbacks,
  startPollSynchronizeRcu,
  synchronizeRcu,
  synchronizeRcuExpedited,
} from "../index.ts";
import { Random, spin } from "./random.ts";
import { Control, Element, FAIL, FIRM_KEYS } from "./state.ts";

type ControlRef = Ref<"torture_control">;
type ElementRef = Ref<"torture_element">;

/** An element that has had its grace periods is freed when it is this old: a late reader sees its age, or poison. */
const FREE_AGE = 4;

const ageLater = defineReclaimer("torture: age", (arg) => {
  const element = arg as ElementRef;
  if (Element.age.add(element, 1) + 1 < FREE_AGE) callRcu(ageLater, element);
  else free(Element, element);
});

export function updaterThread(control: ControlRef, seed: number): void {
  const random = new Random(seed);
  const map = new RcuHashMap({ at: Control.map.get(control) });
  const polled: { element: ElementRef; cookie: GpCookie }[] = [];
  while (Control.stop.load(control) === 0) {
    replaceElement(control, random, polled);
    churn(map, random);
    for (let n = polled.length; n-- > 0; ) agePolled(polled, n);
    Control.updates.add(control, 1);
    rcuQuiescent();
    rcuRunCallbacks();
    spin(random.below(random.chance(2) ? 50_000 : 500));
  }
  for (const { element, cookie } of polled) {
    condSynchronizeRcu(cookie);
    free(Element, element);
  }
}

function replaceElement(
  control: ControlRef,
  random: Random,
  polled: { element: ElementRef; cookie: GpCookie }[],
): void {
  const fresh = alloc(Element);
  if (fresh === 0) return; // Floods may fill the heap for a moment.
  const tag = random.below(1 << 30);
  for (let n = 0; n < 4; n++) Element.payload.set(fresh, n, tag);
  Element.valid.init(fresh, 1);
  const way = random.below(8);
  if (way < 2 && polled.length < 64) {
    const old = Control.current.exchange(control, fresh);
    const cookie = startPollSynchronizeRcu();
    if (old === 0) return;
    Element.age.add(old, 1);
    polled.push({ element: old, cookie });
    return;
  }
  const held = Control.updateLock.lock(control);
  const old = Control.current.peek(held, control);
  Control.current.assign(held, control, fresh);
  Control.updateLock.unlock(control);
  if (old !== 0) retire(control, old, way);
}

function retire(control: ControlRef, old: ElementRef, way: number): void {
  Element.age.add(old, 1);
  if (way === 2) kfreeRcu(Element, old);
  else if (way > 4) callRcu(ageLater, old);
  else waitAndFree(control, old, way === 3);
}

function waitAndFree(control: ControlRef, old: ElementRef, expedited: boolean): void {
  while (Element.age.load(old) < FREE_AGE) {
    const cookie = startPollSynchronizeRcu();
    if (expedited) synchronizeRcuExpedited();
    else synchronizeRcu();
    if (!pollStateSynchronizeRcu(cookie)) Control.failures.add(control, FAIL.EARLY, 1);
    Element.age.add(old, 1);
  }
  free(Element, old);
}

function agePolled(polled: { element: ElementRef; cookie: GpCookie }[], n: number): void {
  const { element, cookie } = polled[n]!;
  if (!pollStateSynchronizeRcu(cookie)) return;
  if (Element.age.add(element, 1) + 1 < FREE_AGE) {
    polled[n]!.cookie = startPollSynchronizeRcu();
    return;
  }
  free(Element, element);
  polled[n] = polled[polled.length - 1]!;
  polled.pop();
}

/** Updates keys that readers look for, and inserts and removes others so that the table grows and shrinks. */
function churn(map: RcuHashMap, random: Random): void {
  map.tryInsert(random.below(FIRM_KEYS), random.below(1 << 30));
  const guard = map.lock();
  for (let n = 0; n < 16; n++) {
    const key = FIRM_KEYS + random.below(1024);
    if (random.chance(2)) guard.insert(key, n);
    else guard.remove(key);
  }
  if (random.chance(50)) for (let key = FIRM_KEYS; key < FIRM_KEYS + 1024; key++) guard.remove(key);
  guard.unlock();
}
