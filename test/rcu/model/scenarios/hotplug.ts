/** CPUs that come, go and sleep, and what becomes of their callbacks. */
import type { Heap } from "../../../../rcu/index.ts";
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

export const HOTPLUG: readonly Scenario[] = [joins, leaves, handsOn, sleeps, bothSleep];
