/** What switches between a way without atomic operations and one with: PercpuRef, RcuSync. */
import type { PercpuRef, PercpuRwSemaphore, RcuSync } from "../../../../rcu/index.ts";
import { noPoison, POISON, type Scenario, world } from "../scenario.ts";

const percpuRef: Scenario = {
  name: "PercpuRef, killed while a count is held",
  about: "what is counted is released when the last count is dropped, not before, and once",
  fullModels: ["weak"],
  build(lib) {
    const { old } = world(lib);
    const at = new lib.PercpuRef({ reclaimer: lib.poison, arg: old }).ref;
    return {
      cpus: [
        {
          boot: (lib) => new lib.PercpuRef({ at }),
          run(lib, cpu, ref: PercpuRef) {
            if (!ref.tryGetLive()) return lib.goIdle();
            lib.rcuQuiescent();
            lib.rcuQuiescent();
            cpu.note("r0", lib.Thing.value.get(old));
            ref.put();
            lib.goIdle();
          },
        },
        {
          boot: (lib) => new lib.PercpuRef({ at }),
          run(lib, _cpu, ref: PercpuRef) {
            ref.kill();
            for (let n = 0; n < 2; n++) {
              lib.rcuQuiescent();
              lib.rcuRunCallbacks();
            }
            lib.goIdle();
          },
        },
      ],
      judge: noPoison,
    };
  },
};

const percpuRefReleases: Scenario = {
  name: "PercpuRef, both drop the last counts",
  about: "whoever is last releases what is counted: exactly one does, and it is forgotten by none",
  build(lib) {
    const { root } = world(lib);
    const word = root + lib.Root.x.offset;
    const at = new lib.PercpuRef({ reclaimer: lib.count, arg: root }).ref;
    return {
      cpus: [
        {
          boot(lib) {
            const ref = new lib.PercpuRef({ at });
            ref.get();
            lib.goIdle(); // It drops its count atomically: no grace period waits for it.
            return ref;
          },
          run(lib, _cpu, ref: PercpuRef) {
            ref.put();
            lib.Root.y.store(root, 1);
            lib.Root.y.notify(root);
          },
        },
        {
          boot: (lib) => new lib.PercpuRef({ at }),
          run(lib, cpu, ref: PercpuRef) {
            ref.kill();
            lib.rcuQuiescent();
            lib.rcuRunCallbacks();
            while (lib.Root.y.load(root) === 0) lib.Root.y.wait(root, 0);
            cpu.note("zero", ref.isZero ? 1 : 0);
            lib.rcuBarrier();
            lib.goIdle();
          },
        },
      ],
      judge: (notes, wordAt) =>
        wordAt(word) !== 1 || notes.get("zero") !== 1 ? `released ${wordAt(word)} times` : null,
    };
  },
};

const sync: Scenario = {
  name: "RcuSync",
  about:
    "a reader that goes the short way sees nothing half-written, before, while and after somebody writes",
  models: ["tso", "weak"],
  build(lib) {
    const { old } = world(lib);
    const at = new lib.RcuSync().ref;
    const boot = (library: typeof lib): RcuSync => new library.RcuSync({ at });
    return {
      cpus: [
        {
          boot,
          run(lib, cpu, sync: RcuSync) {
            lib.rcuQuiescent(); // From here on the writer may be writing.
            const scope = lib.rcuReadLock();
            if (sync.isIdle(scope)) cpu.note("r0", lib.Thing.value.get(old));
            lib.rcuReadUnlock();
            lib.goIdle();
          },
        },
        {
          boot,
          run(lib, _cpu, sync: RcuSync) {
            sync.enter();
            lib.Thing.value.init(old, POISON);
            lib.Thing.value.init(old, 2);
            sync.exit();
            lib.rcuQuiescent();
            lib.rcuRunCallbacks();
            lib.goIdle();
          },
        },
      ],
      judge: noPoison,
    };
  },
};

const rwsem = (idle: boolean): Scenario => ({
  name: `PercpuRwSemaphore, ${idle ? "an idle reader" : "a reader on the short way"}`,
  about: "a reader sees nothing half-written, and nobody is forgotten who waits",
  ...(idle ? { models: ["tso", "weak"] as const } : { fullModels: ["weak"] as const }),
  build(lib) {
    const { old } = world(lib);
    const at = new lib.PercpuRwSemaphore().ref;
    return {
      cpus: [
        {
          boot(lib) {
            const sem = new lib.PercpuRwSemaphore({ at });
            sem.readLock(); // Its word is this thread's from now on.
            sem.readUnlock();
            if (idle) lib.goIdle();
            return sem;
          },
          run(lib, cpu, sem: PercpuRwSemaphore) {
            sem.readLock();
            if (!idle) lib.rcuQuiescent(); // A reader may sleep.
            cpu.note("r0", lib.Thing.value.get(old));
            sem.readUnlock();
            if (!idle) lib.goIdle();
          },
        },
        {
          boot: (lib) => new lib.PercpuRwSemaphore({ at }),
          run(lib, _cpu, sem: PercpuRwSemaphore) {
            sem.writeLock();
            lib.Thing.value.init(old, POISON);
            lib.Thing.value.init(old, 2);
            sem.writeUnlock();
            lib.goIdle();
          },
        },
      ],
      judge: noPoison,
    };
  },
});

export const SWITCHES: readonly Scenario[] = [percpuRef, percpuRefReleases, sync, rwsem(false), rwsem(true)];
