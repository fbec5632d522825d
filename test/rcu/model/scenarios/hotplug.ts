/** CPUs that come, go and die, and what becomes of their callbacks. */
import type { Heap, Srcu } from "../../../../rcu/index.ts";
import type { Library } from "../instance.ts";
import {
  HELD,
  look,
  noPoison,
  POISON,
  type RootRef,
  type Scenario,
  type ThingRef,
  world,
} from "../scenario.ts";

function replace(lib: Library, root: RootRef, old: ThingRef, fresh: ThingRef): void {
  lib.Thing.value.init(fresh, 2);
  lib.Root.current.assign(HELD, root, fresh);
  lib.synchronizeRcu();
  lib.Thing.value.init(old, POISON);
  lib.rcuIdleEnter();
}

const joins: Scenario = {
  name: "a CPU joins",
  about: "a thread attaches, reads, and leaves, while a grace period is waited for",
  models: ["tso", "weak"],
  build(lib) {
    const { root, old, fresh } = world(lib);
    const handle = lib.currentHeap()!.handle();
    return {
      cpus: [
        { run: (lib) => replace(lib, root, old, fresh) },
        {
          absent: true,
          run(lib, cpu) {
            const heap = lib.Heap.attach(handle);
            look(lib, cpu, root, "r0");
            heap.detach();
          },
        },
      ],
      judge: noPoison,
    };
  },
};

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
            while (lib.Root.y.load(root) === 0) lib.Root.y.wait(root, 0);
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
            // The worker's exit event, which its parent gets: it is what tells that the thread is no more.
            lib.Root.y.store(root, 1);
            lib.Root.y.notify(root);
          },
        },
      ],
      judge: noPoison,
    };
  },
};

const counts = (lib: Library, root: RootRef, wanted: number) => {
  const at = root + lib.Root.x.offset;
  return (_notes: ReadonlyMap<string, number>, word: (at: number) => number): string | null =>
    word(at) === wanted ? null : `${word(at)} callbacks ran, not ${wanted}`;
};

const leaves: Scenario = {
  name: "a CPU leaves with callbacks queued",
  about: "its callbacks become orphans, which another one runs, once",
  build(lib) {
    const { root } = world(lib);
    return {
      cpus: [
        {
          run(lib) {
            while (lib.Root.y.load(root) === 0) lib.Root.y.wait(root, 0);
            lib.rcuBarrier();
            lib.rcuIdleEnter();
          },
        },
        {
          reboot: true,
          boot: (lib) => lib.currentHeap(),
          run(lib, _cpu, heap: Heap) {
            lib.callRcu(lib.count, root);
            heap.detach();
            lib.atomicStore(heap.i32, root + lib.Root.y.offset, 1);
            lib.atomicNotify(heap.i32, root + lib.Root.y.offset);
          },
        },
      ],
      judge: counts(lib, root, 1),
    };
  },
};

const handsOn: Scenario = {
  name: "a CPU goes idle, another runs its callbacks",
  about: "what a sleeping CPU had queued runs on one that is active, and nobody wakes the sleeper for it",
  build(lib) {
    const { root } = world(lib);
    return {
      cpus: [
        {
          run(lib) {
            lib.callRcu(lib.count, root);
            lib.rcuIdleEnter();
            lib.Root.y.store(root, 1);
            lib.Root.y.notify(root);
          },
        },
        {
          run(lib) {
            while (lib.Root.y.load(root) === 0) lib.Root.y.wait(root, 0);
            lib.rcuBarrier();
            lib.goIdle();
          },
        },
      ],
      judge: counts(lib, root, 1),
    };
  },
};

const sleeps: Scenario = {
  name: "a CPU goes idle with callbacks queued",
  about: "whoever is active runs them; the last one to go idle runs them first",
  full: true,
  build(lib) {
    const { root } = world(lib);
    return {
      cpus: [
        {
          run(lib) {
            lib.callRcu(lib.count, root);
            lib.rcuIdleEnter();
          },
        },
        {
          run(lib) {
            lib.rcuQuiescent();
            lib.rcuRunCallbacks();
            lib.rcuIdleEnter();
          },
        },
      ],
      judge: counts(lib, root, 1),
    };
  },
};

const bothSleep: Scenario = {
  name: "two CPUs go idle, each with a callback",
  about: "neither leaves its callback to the other",
  full: true,
  build(lib) {
    const { root } = world(lib);
    const body = {
      run(lib: Library): void {
        lib.callRcu(lib.count, root);
        lib.rcuIdleEnter();
      },
    };
    return { cpus: [body, body], judge: counts(lib, root, 2) };
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
            while (lib.Root.y.load(root) === 0) lib.Root.y.wait(root, 0);
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
            lib.Root.y.store(root, 1);
            lib.Root.y.notify(root);
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
    const obituary = (lib: Library): void => {
      lib.Root.y.store(root, 1);
      lib.Root.y.notify(root);
    };
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
            while (lib.Root.y.load(root) === 0) lib.Root.y.wait(root, 0);
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
          died: obituary,
          run(lib, cpu) {
            look(lib, cpu, root, "r0");
            lib.callRcu(lib.count, root);
            lib.rcuQuiescent();
            lib.Root.spin.lock(root);
            lib.Root.spin.unlock(root);
            lib.rcuRunCallbacks();
            cpu.note("lives", 1);
            obituary(lib);
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
    const at = root + lib.Root.x.offset;
    const obituary = (lib: Library): void => {
      lib.Root.y.store(root, 1);
      lib.Root.y.notify(root);
    };
    return {
      cpus: [
        {
          reboot: true,
          boot: (lib) => lib.currentHeap(),
          run(lib, _cpu, heap: Heap) {
            while (lib.Root.y.load(root) === 0) lib.Root.y.wait(root, 0);
            heap.reap(1);
            lib.rcuBarrier();
            lib.goIdle();
          },
        },
        {
          diesAfter,
          died: obituary,
          run(lib, cpu) {
            lib.callRcu(lib.count, root);
            cpu.note("lived", 1);
            obituary(lib);
          },
        },
      ],
      judge: (notes, word) =>
        word(at) > 1 || (notes.has("lived") && word(at) !== 1) ? `${word(at)} callbacks ran` : null,
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
    const at = root + lib.Root.x.offset;
    const srcu = new lib.Srcu().ref;
    const obituary = (lib: Library): void => {
      lib.Root.y.store(root, 1);
      lib.Root.y.notify(root);
    };
    return {
      cpus: [
        {
          reboot: true,
          boot: (lib) => [lib.currentHeap()!, new lib.Srcu({ at: srcu })] as const,
          run(lib, _cpu, [heap, domain]: readonly [Heap, Srcu]) {
            while (lib.Root.y.load(root) === 0) lib.Root.y.wait(root, 0);
            heap.reap(1);
            domain.barrierBlocking();
            lib.goIdle();
          },
        },
        {
          boot: (lib) => new lib.Srcu({ at: srcu }),
          diesAfter,
          died: obituary,
          run(lib, cpu, domain: Srcu) {
            domain.call(lib.count, root);
            cpu.note("lived", 1);
            obituary(lib);
          },
        },
      ],
      judge: (notes, word) =>
        word(at) > 1 || (notes.has("lived") && word(at) !== 1) ? `${word(at)} callbacks ran` : null,
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
            lib.Root.y.store(root, 1);
            lib.Root.y.notify(root);
          },
          run(lib) {
            lib.startPollSynchronizeRcu();
            lib.Root.x.store(root, 1);
            lib.Root.x.notify(root);
            lib.rcuQuiescent();
            lib.rcuQuiescent();
            lib.Root.y.store(root, 1);
            lib.Root.y.notify(root);
          },
        },
        {
          reboot: true,
          boot(lib) {
            lib.goIdle();
            return lib.currentHeap();
          },
          run(lib, _cpu, heap: Heap) {
            while (lib.Root.y.load(root) === 0) lib.Root.y.wait(root, 0);
            heap.reap(1);
          },
        },
      ],
      judge: () => null,
    };
  },
};

export const HOTPLUG: readonly Scenario[] = [
  joins,
  dies,
  diesAnywhere,
  diesQueueing,
  diesHandingOver,
  diesBetween,
  leaves,
  handsOn,
  sleeps,
  bothSleep,
  reaped,
];
