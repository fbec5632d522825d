/** CPUs that die, anywhere: who reaps them, and what becomes of what they had in their hands. */
import type { Heap, Srcu } from "../../../../rcu/index.ts";
import {
  counts,
  HELD,
  type Library,
  look,
  noPoison,
  POISON,
  type RootRef,
  type Scenario,
  type ThingRef,
  world,
} from "../scenario.ts";

/** The worker's exit event, which its parent gets: it is what tells that the thread is no more. */
function obituary(lib: Library, root: RootRef): void {
  lib.Root.y.store(root, 1);
  lib.Root.y.notify(root);
}
function awaitObituary(lib: Library, root: RootRef): void {
  while (lib.Root.y.load(root) === 0) lib.Root.y.wait(root, 0);
}

/** At most once, and for sure when the thread lived. */
const onceIfLived =
  (at: number) =>
  (notes: ReadonlyMap<string, number>, word: (at: number) => number): string | null =>
    word(at) > 1 || (notes.has("lived") && word(at) !== 1) ? `${word(at)} callbacks ran` : null;

const dies: Scenario = {
  name: "a CPU dies in a scope",
  about: "a thread that dies with a scope open is reaped: the grace period ends, and not before it has read",
  build(lib) {
    const { root, old, fresh } = world(lib);
    return {
      cpus: [
        {
          reboot: true,
          boot: (lib) => lib.currentHeap(),
          run(lib, _cpu, heap: Heap) {
            lib.Thing.value.init(fresh, 2);
            lib.Root.current.assign(HELD, root, fresh);
            const cookie = lib.startPollSynchronizeRcu();
            awaitObituary(lib, root);
            heap.reap(1);
            lib.condSynchronizeRcu(cookie);
            lib.Thing.value.init(old, POISON);
            lib.rcuIdleEnter();
          },
        },
        {
          run(lib, cpu) {
            const scope = lib.rcuReadLock();
            const thing = lib.Root.current.deref(scope, root) as ThingRef;
            cpu.note("r0", lib.Thing.value.get(thing));
            obituary(lib, root);
          },
        },
      ],
      judge: noPoison,
    };
  },
};

const reaped: Scenario = {
  name: "a dead CPU's callbacks",
  about: "who reaps a thread takes its callbacks and its delayed releases over",
  build(lib) {
    const { root } = world(lib);
    return {
      cpus: [
        {
          reboot: true,
          boot: (lib) => lib.currentHeap(),
          run(lib, _cpu, heap: Heap) {
            awaitObituary(lib, root);
            heap.reap(1);
            lib.rcuBarrier();
            lib.drainReleases(0);
            lib.rcuIdleEnter();
          },
        },
        {
          run(lib) {
            lib.callRcu(lib.count, root);
            lib.queueRelease(lib.release, root);
            obituary(lib, root);
          },
        },
      ],
      judge: counts(lib, root, 2),
    };
  },
};

/** More than the accesses of the thread that dies: the last variants let it live. */
const LIFE = 130;

const diesAnywhere: Scenario = {
  name: "a CPU dies anywhere",
  about:
    "after each of its accesses in turn: it is reaped, nothing hangs, its callbacks run at most once, and what it read was there",
  full: true,
  timeouts: 3,
  variants: LIFE,
  build(lib, diesAfter) {
    const { root, old, fresh } = world(lib);
    const at = root + lib.Root.x.offset;
    return {
      cpus: [
        {
          reboot: true,
          boot: (lib) => lib.currentHeap(),
          run(lib, _cpu, heap: Heap) {
            lib.Thing.value.init(fresh, 2);
            lib.Root.current.assign(HELD, root, fresh);
            const cookie = lib.startPollSynchronizeRcu();
            lib.rcuQuiescent();
            awaitObituary(lib, root);
            heap.reap(1);
            lib.condSynchronizeRcu(cookie);
            lib.Thing.value.init(old, POISON);
            lib.rcuBarrier();
            lib.Root.spin.lock(root);
            lib.Root.spin.unlock(root);
            lib.goIdle();
          },
        },
        {
          diesAfter,
          died: (lib) => obituary(lib, root),
          run(lib, cpu) {
            look(lib, cpu, root, "r0");
            lib.callRcu(lib.count, root);
            lib.rcuQuiescent();
            lib.Root.spin.lock(root);
            lib.Root.spin.unlock(root);
            lib.rcuRunCallbacks();
            cpu.note("lives", 1);
            obituary(lib, root);
          },
        },
      ],
      judge: (notes, word) => (word(at) > 1 ? `the callback ran ${word(at)} times` : noPoison(notes)),
    };
  },
};

const diesQueueing: Scenario = {
  name: "a CPU dies while it queues callbacks",
  about:
    "with its list or its magazine half changed: they are mended, callbacks run at most once, and nothing hangs",
  timeouts: 3,
  variants: 60,
  build(lib, diesAfter) {
    const { root } = world(lib);
    return {
      cpus: [
        {
          reboot: true,
          boot: (lib) => lib.currentHeap(),
          run(lib, _cpu, heap: Heap) {
            awaitObituary(lib, root);
            heap.reap(1);
            lib.rcuBarrier();
            lib.goIdle();
          },
        },
        {
          diesAfter,
          died: (lib) => obituary(lib, root),
          run(lib, cpu) {
            lib.callRcu(lib.count, root);
            cpu.note("lived", 1);
            obituary(lib, root);
          },
        },
      ],
      judge: onceIfLived(root + lib.Root.x.offset),
    };
  },
};

/** More than the accesses of a thread that queues a callback of an Srcu and hands it over. */
const HANDS = 134;
const diesHandingOver: Scenario = {
  name: "a CPU dies among the callbacks of an Srcu",
  about:
    "while it queues one, or hands it over to RCU: the list is mended, barriers do not wait for what is lost",
  timeouts: 3,
  variants: HANDS,
  build(lib, diesAfter) {
    const { root } = world(lib);
    const srcu = new lib.Srcu().ref;
    return {
      cpus: [
        {
          reboot: true,
          boot: (lib) => [lib.currentHeap()!, new lib.Srcu({ at: srcu })] as const,
          run(lib, _cpu, [heap, domain]: readonly [Heap, Srcu]) {
            awaitObituary(lib, root);
            heap.reap(1);
            domain.barrierBlocking();
            lib.goIdle();
          },
        },
        {
          boot: (lib) => new lib.Srcu({ at: srcu }),
          diesAfter,
          died: (lib) => obituary(lib, root),
          run(lib, cpu, domain: Srcu) {
            domain.call(lib.count, root);
            cpu.note("lived", 1);
            obituary(lib, root);
          },
        },
      ],
      judge: onceIfLived(root + lib.Root.x.offset),
    };
  },
};

/** The one who ends a grace period starts the next. It dies in between; somebody waits for that one. */
const diesBetween: Scenario = {
  name: "a CPU dies between two grace periods",
  about: "who reaps it, or waits for the next grace period, starts that",
  full: true,
  timeouts: 3,
  variants: 40,
  build(lib, diesAfter) {
    const { root } = world(lib);
    return {
      cpus: [
        {
          run(lib) {
            while (lib.Root.x.load(root) === 0) lib.Root.x.wait(root, 0);
            lib.synchronizeRcu();
            lib.goIdle();
          },
        },
        {
          diesAfter,
          died(lib) {
            lib.Root.x.store(root, 1);
            lib.Root.x.notify(root);
            obituary(lib, root);
          },
          run(lib) {
            lib.startPollSynchronizeRcu();
            lib.Root.x.store(root, 1);
            lib.Root.x.notify(root);
            lib.rcuQuiescent();
            lib.rcuQuiescent();
            obituary(lib, root);
          },
        },
        {
          reboot: true,
          boot(lib) {
            lib.goIdle();
            return lib.currentHeap();
          },
          run(lib, _cpu, heap: Heap) {
            awaitObituary(lib, root);
            heap.reap(1);
          },
        },
      ],
      judge: () => null,
    };
  },
};

export const DEATH: readonly Scenario[] = [
  dies,
  reaped,
  diesAnywhere,
  diesQueueing,
  diesHandingOver,
  diesBetween,
];
