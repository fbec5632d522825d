/** The other parts of a torture run: barriers, floods, threads that leave and return, threads that sleep. */
import {
  callRcu,
  defineReclaimer,
  type Heap,
  type Ref,
  rcuBarrier,
  rcuIdleEnter,
  rcuIdleExit,
  rcuQuiescent,
  rcuRunCallbacks,
  rcuStats,
  startPollSynchronizeRcu,
} from "../index.ts";
import { Random } from "./random.ts";
import { Control, FAIL } from "./state.ts";

type ControlRef = Ref<"torture_control">;

const PATIENCE_MS = 8000;

const count = defineReclaimer("torture: count", (control) => {
  Control.counted.add(control as ControlRef, 1);
});
const countFlood = defineReclaimer("torture: flood", (control) => {
  Control.flooded.add(control as ControlRef, 1);
});

const countHotplug = defineReclaimer("torture: hotplug", (control) => {
  Control.migrated.add(control as ControlRef, 1);
});

const stopped = (control: ControlRef): boolean => Control.stop.load(control) !== 0;

function nap(control: ControlRef, ms: number): void {
  rcuIdleEnter();
  Control.stop.wait(control, 0, ms);
  rcuIdleExit();
}

/** Queues callbacks, waits for a barrier, and counts. */
export function barrierThread(control: ControlRef, seed: number): void {
  const random = new Random(seed);
  let queued = 0;
  let barriers = 0;
  while (!stopped(control)) {
    for (let n = random.below(200); n >= 0; n--) {
      callRcu(count, control);
      queued++;
    }
    if (random.chance(2)) nap(control, random.below(3)); // The callbacks become orphans.
    rcuBarrier();
    if (Control.counted.load(control) !== queued) Control.failures.add(control, FAIL.BARRIER, 1);
    barriers++;
    nap(control, random.below(4));
  }
  Control.barriers.add(control, barriers);
}

/** Queues far more than a safe point runs, and wants to see them all run soon. */
export function floodThread(control: ControlRef, _seed: number): void {
  let floods = 0;
  let queued = 0;
  while (!stopped(control)) {
    for (let n = 0; n < 30_000; n++) callRcu(countFlood, control);
    queued += 30_000;
    const start = performance.now();
    while (Control.flooded.load(control) !== queued && !stopped(control)) {
      rcuQuiescent();
      rcuRunCallbacks();
      if (performance.now() - start > PATIENCE_MS) Control.failures.add(control, FAIL.PROGRESS, 1);
    }
    floods++;
    nap(control, 50);
  }
  Control.floods.add(control, floods);
}

/** Leaves the heap with callbacks pending, and comes back: they must run all the same. */
export function hotplugThread(control: ControlRef, seed: number, heap: Heap): void {
  const random = new Random(seed);
  let queued = 0;
  let rounds = 0;
  while (!stopped(control)) {
    for (let n = random.below(50); n >= 0; n--) {
      callRcu(countHotplug, control);
      queued++;
    }
    heap.detach();
    heap.reattach();
    rounds++;
    if (!random.chance(8)) continue;
    rcuBarrier();
    if (Control.migrated.load(control) !== queued) Control.failures.add(control, FAIL.BARRIER, 1);
    nap(control, random.below(3));
  }
  Control.hotplugs.add(control, rounds);
}

/** Sleeps, idle, until grace periods have gone by: none may wait for it. */
export function sleeperThread(control: ControlRef, _seed: number): void {
  let sleeps = 0;
  while (!stopped(control)) {
    rcuIdleEnter();
    const start = performance.now();
    const goal = rcuStats().gracePeriods + 4;
    while (rcuStats().gracePeriods < goal && !stopped(control)) {
      startPollSynchronizeRcu();
      Control.stop.wait(control, 0, 2);
      if (performance.now() - start > PATIENCE_MS / 4) {
        Control.failures.add(control, FAIL.IDLE, 1);
        break;
      }
    }
    rcuIdleExit();
    sleeps++;
    rcuQuiescent();
  }
  Control.sleeps.add(control, sleeps);
}
