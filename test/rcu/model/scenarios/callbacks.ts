/** Callbacks: when they run, barriers, delayed releases. */

import type { Heap } from "../../../../rcu/index.ts";
import { CBLIST, CELL_FREE, CELL_LINK, CELL_STATE, RCU, SLOT, SLOT_RCU } from "../../../../rcu/layout.ts";
import { HELD, type Scenario, type ThingRef, world } from "../scenario.ts";

const kfree: Scenario = {
  name: "kfreeRcu",
  about:
    "the cell is given back after a grace period that followed the unlinking, while another CPU starts some",
  fullModels: ["weak"],
  build(lib) {
    const { root, old, fresh } = world(lib);
    return {
      cpus: [
        {
          run(lib, cpu) {
            lib.startPollSynchronizeRcu();
            lib.rcuQuiescent();
            const scope = lib.rcuReadLock();
            const thing = lib.Root.current.deref(scope, root) as ThingRef;
            cpu.note("state", lib.i32[thing + CELL_STATE]! & 0xff);
            lib.rcuReadUnlock();
            lib.rcuQuiescent();
            lib.goIdle();
          },
        },
        {
          run(lib) {
            lib.Root.current.assign(HELD, root, fresh);
            lib.kfreeRcu(lib.Thing, old);
            lib.rcuQuiescent();
            lib.rcuRunCallbacks();
            lib.goIdle();
          },
        },
      ],
      judge: (notes) =>
        notes.get("state") === CELL_FREE ? "a reader stood on a cell that was given back" : null,
    };
  },
};

const barrier: Scenario = {
  name: "rcuBarrier",
  about: "when it returns, what other CPUs had queued before it began has run",
  build(lib) {
    const { root } = world(lib);
    return {
      cpus: [
        {
          run(lib, cpu) {
            while (lib.Root.y.load(root) === 0) lib.Root.y.wait(root, 0);
            lib.rcuBarrier();
            cpu.note("ran", lib.Root.x.load(root));
            lib.goIdle();
          },
        },
        {
          run(lib) {
            lib.callRcu(lib.count, root);
            lib.Root.y.store(root, 1);
            lib.Root.y.notify(root);
            lib.synchronizeRcu();
            lib.rcuRunCallbacks();
            lib.goIdle();
          },
        },
      ],
      judge: (notes) => (notes.get("ran") === 0 ? "the barrier returned before the callback had run" : null),
    };
  },
};

const twoBatches: Scenario = {
  name: "callbacks of two grace periods",
  about: "what is queued while a grace period goes by waits for the next one",
  build(lib) {
    const { root, old, fresh } = world(lib);
    return {
      cpus: [
        {
          run(lib, cpu) {
            const scope = lib.rcuReadLock();
            const thing = lib.Root.current.deref(scope, root);
            if (thing !== 0) cpu.note("state", lib.i32[thing + CELL_STATE]! & 0xff);
            lib.rcuReadUnlock();
            lib.goIdle();
          },
        },
        {
          run(lib) {
            lib.Root.current.assign(HELD, root, fresh);
            lib.kfreeRcu(lib.Thing, old);
            lib.Root.current.assign(HELD, root, 0);
            lib.kfreeRcu(lib.Thing, fresh);
            lib.rcuQuiescent();
            lib.rcuRunCallbacks();
            lib.rcuQuiescent();
            lib.rcuRunCallbacks();
            lib.goIdle();
          },
        },
      ],
      judge: (notes) =>
        notes.get("state") === CELL_FREE ? "a reader stood on a cell that was given back" : null,
    };
  },
};

/** Delayed releases of a CPU that leaves are drained by another, by either backend. */
const releases = (backend: "list" | "rcu"): Scenario => ({
  name: `delayed releases (${backend})`,
  about: "each is run exactly once, by its CPU or, if that has left, by the next one that drains",
  ...(backend === "rcu" ? { full: true as const } : {}),
  build(lib) {
    const { root } = world(lib);
    const at = root + lib.Root.x.offset;
    return {
      cpus: [
        {
          run(lib) {
            lib.setReleaseBackend(backend);
            lib.queueRelease(lib.release, root);
            lib.drainReleases(0);
            while (lib.Root.y.load(root) === 0) lib.Root.y.wait(root, 0);
            lib.finalizeReleases(0);
            lib.rcuIdleEnter();
          },
        },
        {
          reboot: true,
          boot: (lib) => lib.currentHeap(),
          run(lib, _cpu, heap: Heap) {
            lib.setReleaseBackend(backend);
            lib.queueRelease(lib.release, root);
            heap.detach();
            lib.atomicStore(heap.i32, root + lib.Root.y.offset, 1);
            lib.atomicNotify(heap.i32, root + lib.Root.y.offset);
          },
        },
      ],
      judge: (_notes, word) => (word(at) === 2 ? null : `${word(at)} releases ran, not 2`),
    };
  },
});

/** A thread puts callbacks down, and one that reads takes them: what a helper does, without its sleep. */
const offloaded: Scenario = {
  name: "callbacks that another thread takes",
  about: "a cell that a busy thread put down is given back by who took it, a grace period after that",
  models: ["tso"],
  fullModels: ["weak"],
  build(lib) {
    const { root, old, fresh } = world(lib);
    return {
      cpus: [
        {
          run(lib, cpu) {
            const scope = lib.rcuReadLock();
            const thing = lib.Root.current.deref(scope, root) as ThingRef;
            lib.takeShelves();
            cpu.note("state", lib.i32[thing + CELL_STATE]! & 0xff);
            lib.rcuReadUnlock();
            lib.goIdle();
          },
        },
        {
          boot: (lib) => lib.offloadRcu(),
          run(lib) {
            lib.Root.current.assign(HELD, root, fresh);
            lib.kfreeRcu(lib.Thing, old);
            lib.takeShelves(); // If the other has not.
            lib.rcuRunCallbacks();
            lib.goIdle();
          },
        },
      ],
      judge: (notes) =>
        notes.get("state") === CELL_FREE ? "a reader stood on a cell that was given back" : null,
    };
  },
};

/** Its owner goes on putting down while another thread takes. */
const shelves: Scenario = {
  name: "a shelf, pushed to and taken from",
  about: "what is put down while another thread takes is taken or still there, once",
  build(lib) {
    const { root } = world(lib);
    const at = root + lib.Root.x.offset;
    return {
      cpus: [
        {
          run(lib) {
            lib.callRcuLazy(lib.count, root);
            lib.callRcuLazy(lib.count, root);
            lib.goIdle();
          },
        },
        {
          run(lib) {
            lib.takeShelves();
            lib.goIdle();
          },
        },
      ],
      stock: ["rcu_head", "rcu_head"],
      judge(_notes, word) {
        let waiting = 0;
        for (let slot = 0; slot < SLOTS; slot++) {
          const shelf = SLOT.BASE + slot * SLOT.WORDS + SLOT_RCU.LAZY;
          for (let cell = word(shelf); cell !== 0; cell = word(cell + CELL_LINK)) waiting++;
        }
        const orphans = word(RCU.ORPHAN_LIST + CBLIST.QUEUED) - word(RCU.ORPHAN_LIST + CBLIST.RUN);
        const all = word(at) + waiting + orphans;
        return all === 2 && orphans === word(RCU.ORPHANS) ? null : `${all} callbacks, not 2`;
      },
    };
  },
};
const SLOTS = 4;

export const CALLBACKS: readonly Scenario[] = [
  offloaded,
  shelves,
  kfree,
  barrier,
  twoBatches,
  releases("list"),
  releases("rcu"),
];
