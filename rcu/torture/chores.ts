/** The other parts of a torture run: barriers, floods, threads that leave and return, threads that sleep. */
import {
  callRcu,
  defineReclaimer,
  type Heap,
  rcuBarrier,
  rcuIdleEnter,
  rcuIdleExit,
  rcuLaggards,
  rcuQuiescent,
  rcuRunCallbacks,
  rcuStats,
  startPollSynchronizeRcu,
} from "../index.ts";
import { type ControlRef, stopped } from "./cpu.ts";
import { Random } from "./random.ts";
import { Control, FAIL } from "./state.ts";

/** Callbacks of which none runs for this long make no progress: a grace period lasts milliseconds. */
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

export function nap(control: ControlRef, ms: number): void {
  rcuIdleEnter();
  Control.stop.wait(control, 0, ms);
  rcuIdleExit();
}

/** Queues callbacks, waits for a barrier, and counts. */
export function barrierThread(control: ControlRef, seed: number): void {
  const random = new Random(seed);
  let queued = 0;
  while (!stopped(control)) {
    for (let n = random.below(200); n >= 0; n--) {
      callRcu(count, control);
      queued++;
    }
    if (random.chance(2)) nap(control, random.below(3)); // The callbacks become orphans.
    rcuBarrier();
    if (Control.counted.load(control) !== queued) Control.failures.add(control, FAIL.BARRIER, 1);
    Control.barriers.add(control, 1);
    nap(control, random.below(4));
  }
}

/** Queues far more than a safe point runs, and wants to see them all run, some of them all the time. */
export function floodThread(control: ControlRef, _seed: number): void {
  let queued = 0;
  while (!stopped(control)) {
    for (let n = 0; n < 30_000; n++) callRcu(countFlood, control);
    queued += 30_000;
    let moved = performance.now();
    let ran = -1;
    for (;;) {
      const now = Control.flooded.load(control);
      if (now === queued || stopped(control)) break;
      if (now !== ran) moved = performance.now();
      ran = now;
      rcuQuiescent();
      rcuRunCallbacks();
      if (performance.now() - moved < PATIENCE_MS) continue;
      Control.failures.add(control, FAIL.PROGRESS, 1);
      return;
    }
    Control.floods.add(control, 1);
    nap(control, 50);
  }
}

/** Leaves the heap with callbacks pending, and comes back: they must run all the same. */
export function hotplugThread(control: ControlRef, seed: number, heap: Heap): void {
  const random = new Random(seed);
  let queued = 0;
  while (!stopped(control)) {
    for (let n = random.below(50); n >= 0; n--) {
      callRcu(countHotplug, control);
      queued++;
    }
    heap.detach();
    heap.reattach();
    Control.hotplugs.add(control, 1);
    if (!random.chance(8)) continue;
    rcuBarrier();
    if (Control.migrated.load(control) !== queued) Control.failures.add(control, FAIL.BARRIER, 1);
    nap(control, random.below(3));
  }
}

/** Sleeps, idle, until grace periods have gone by: none may wait for it. */
export function sleeperThread(control: ControlRef, _seed: number, heap: Heap): void {
  while (!stopped(control)) {
    rcuIdleEnter();
    const goal = rcuStats().gracePeriods + 4;
    while (rcuStats().gracePeriods < goal && !stopped(control)) {
      startPollSynchronizeRcu();
      Control.stop.wait(control, 0, 2);
      if (!rcuLaggards().includes(heap.slot)) continue;
      Control.failures.add(control, FAIL.IDLE, 1);
      break;
    }
    rcuIdleExit();
    Control.sleeps.add(control, 1);
    rcuQuiescent();
  }
}
