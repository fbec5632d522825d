/** Reading actors and threads: they look at the current element for a while and check that it did not age under them. */
import {
  getStateSynchronizeRcu,
  pollStateSynchronizeRcu,
  RcuHashMap,
  type RcuScope,
  type Ref,
  rcuQuiescent,
  rcuReadLock,
  rcuReadLockHeld,
  rcuReadUnlock,
  startPollSynchronizeRcu,
} from "../index.ts";
import { type ControlRef, type Cpu, stopped } from "./cpu.ts";
import { type Random, spin } from "./random.ts";
import { AGES, Control, Element, FAIL, FIRM_KEYS } from "./state.ts";

export function* reader({ control, random }: Cpu): Generator<undefined, void> {
  const map = new RcuHashMap({ at: Control.map.get(control) });
  let reads = 0;
  while (!stopped(control)) {
    if (random.chance(4)) hurry();
    const scope = rcuReadLock();
    readOnce(control, scope, random, map);
    if (random.chance(4)) nested(control, random, map);
    rcuReadUnlock();
    if ((++reads & 63) === 0) Control.reads.add(control, 64);
    yield;
  }
}

/** Starts a grace period and reports for it at once: what this thread finds from here on, that one does not protect. */
function hurry(): void {
  rcuQuiescent();
  startPollSynchronizeRcu();
  rcuQuiescent();
}

/** One read of a thread that hosts nothing else. */
export function readAlone(control: ControlRef, random: Random): void {
  const map = new RcuHashMap({ at: Control.map.get(control) });
  const scope = rcuReadLock();
  readOnce(control, scope, random, map);
  rcuReadUnlock();
  rcuQuiescent();
}

/** A scope inside the scope; leaving it must not make the outer one end. */
function nested(control: ControlRef, random: Random, map: RcuHashMap): void {
  const scope = rcuReadLock();
  const outer = Control.current.deref(scope, control);
  const inner = rcuReadLock();
  readOnce(control, inner, random, map);
  rcuReadUnlock();
  if (!rcuReadLockHeld()) rcuQuiescent(); // What a safe point does; not reached unless nesting is broken.
  spin(random.below(20_000));
  if (!rcuReadLockHeld()) rcuQuiescent();
  if (outer !== 0) checkAge(control, outer);
  rcuReadUnlock();
}

function readOnce(control: ControlRef, scope: RcuScope, random: Random, map: RcuHashMap): void {
  const element = Control.current.deref(scope, control);
  const cookie = getStateSynchronizeRcu();
  if (map.get(scope, random.below(FIRM_KEYS)) === undefined) Control.failures.add(control, FAIL.MISS, 1);
  if (element === 0) return;
  if (Element.valid.get(element) !== 1) Control.failures.add(control, FAIL.INIT, 1);
  const before = Element.payload.get(element, 0);
  if (random.chance(20_000))
    Control.stop.wait(control, 0, 5); // A reader that lost its core.
  else if (random.chance(200)) spin(random.below(200_000));
  else if (random.chance(8))
    spin(random.below(50_000)); // As long as an updater takes from one update to the next.
  else spin(random.below(200));
  for (let n = 0; n < 4; n++)
    if (Element.payload.load(element, n) !== before) Control.failures.add(control, FAIL.CHANGED, 1);
  if (pollStateSynchronizeRcu(cookie)) Control.failures.add(control, FAIL.COOKIE, 1);
  checkAge(control, element);
}

export function checkAge(control: ControlRef, element: Ref<"torture_element">): void {
  const age = Element.age.load(element);
  Control.ages.add(control, age >>> 0 < AGES ? age : AGES - 1, 1);
  if (age >>> 0 > 1) Control.failures.add(control, FAIL.AGE, 1);
}
