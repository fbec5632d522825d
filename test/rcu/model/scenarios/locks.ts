/** Contended locks. Who waits is asleep, as in Atomics.wait, until it is woken: a lost wake-up is a run that never ends. */
import {
  type Body,
  type Library,
  look,
  noPoison,
  POISON,
  type RootRef,
  type Scenario,
  type ThingRef,
  world,
} from "../scenario.ts";

type Section = (lib: Library, root: RootRef, inside: () => void) => void;

/** Adds one to x, not atomically, under the lock; the sum tells whether two were inside at once. */
function exclusion(name: string, cpus: number, section: Section, full = false): Scenario {
  return {
    name: `${name}, ${cpus} CPUs`,
    about: "one is inside at a time, and each gets in",
    ...(full ? { full: true as const } : { models: ["tso", "weak"] as const }),
    build(lib) {
      const { root } = world(lib);
      const body: Body = {
        run(lib) {
          section(lib, root, () => lib.Root.x.init(root, lib.Root.x.peek(root) + 1));
          lib.goIdle();
        },
      };
      const at = root + lib.Root.x.offset;
      return {
        cpus: Array.from({ length: cpus }, () => body),
        judge: (_notes, word) => (word(at) === cpus ? null : `${word(at)} of ${cpus} additions count`),
      };
    },
  };
}
const spin: Section = (lib, root, inside) => {
  lib.Root.spin.lock(root);
  inside();
  lib.Root.spin.unlock(root);
};
const mutex: Section = (lib, root, inside) => {
  lib.Root.sleep.lock(root);
  inside();
  lib.Root.sleep.unlock(root);
};
const write: Section = (lib, root, inside) => {
  lib.Root.both.writeLock(root);
  inside();
  lib.Root.both.writeUnlock(root);
};

const readWrite: Scenario = {
  name: "rwlock, a writer and a reader",
  about: "the reader never sees a write half done, and both get in",
  models: ["tso", "weak"],
  build(lib) {
    const { root } = world(lib);
    return {
      cpus: [
        {
          run(lib) {
            write(lib, root, () => {
              lib.Root.x.init(root, 1);
              lib.Root.y.init(root, 1);
            });
            lib.goIdle();
          },
        },
        {
          run(lib, cpu) {
            lib.Root.both.readLock(root);
            cpu.note("torn", lib.Root.x.peek(root) - lib.Root.y.peek(root));
            lib.Root.both.readUnlock(root);
            lib.goIdle();
          },
        },
      ],
      judge: (notes) => (notes.get("torn") !== 0 ? "a write was seen half done" : null),
    };
  },
};

/** Two readers that queued behind a writer took each other for one, and could go on turning each other away for ever. */
const queuedReaders: Scenario = {
  name: "rwlock, readers queue behind a writer",
  about: "once the writer has left, each reader gets in, whatever the others do",
  models: ["tso", "weak"],
  build(lib) {
    const { root } = world(lib);
    const read = (lib: Library): void => {
      lib.Root.both.readLock(root);
      lib.Root.both.readUnlock(root);
      lib.goIdle();
    };
    return {
      cpus: [
        {
          boot: (lib) => lib.Root.both.writeLock(root),
          run(lib) {
            lib.Root.both.writeUnlock(root);
            read(lib);
          },
        },
        { run: read },
      ],
      judge: (_notes, word) =>
        word(root + lib.Root.both.offset + 1) === 0 ? null : "readers are counted that have left",
    };
  },
};

const mutexIsQuiescent: Scenario = {
  name: "waiting for a mutex",
  about: "who waits for a mutex holds no grace period up: its holder may wait for one",
  build(lib) {
    const { root, fresh } = world(lib);
    return {
      cpus: [
        {
          run(lib, cpu) {
            lib.Root.sleep.lock(root);
            look(lib, cpu, root, "r0");
            lib.Root.sleep.unlock(root);
            lib.rcuIdleEnter();
          },
        },
        {
          run(lib) {
            lib.Root.sleep.lock(root);
            lib.Thing.value.init(fresh, 2);
            const old = lib.Root.current.exchange(root, fresh) as ThingRef;
            lib.synchronizeRcu();
            lib.Thing.value.init(old, POISON);
            lib.Root.sleep.unlock(root);
            lib.rcuIdleEnter();
          },
        },
      ],
      judge: noPoison,
    };
  },
};

const deadOwner: Scenario = {
  name: "the owner of a lock dies",
  about: "who waits for the lock takes it over once the owner's slot is reaped",
  timeouts: 2,
  build(lib) {
    const { root } = world(lib);
    return {
      cpus: [
        {
          run(lib) {
            lib.Root.spin.lock(root);
            lib.Root.y.store(root, 1);
            lib.Root.y.notify(root);
          },
        },
        {
          run(lib) {
            while (lib.Root.y.load(root) === 0) lib.Root.y.wait(root, 0);
            lib.currentHeap()!.reap(0);
            spin(lib, root, () => lib.Root.x.add(root, 1));
            lib.goIdle();
          },
        },
        {
          run(lib) {
            while (lib.Root.y.load(root) === 0) lib.Root.y.wait(root, 0);
            spin(lib, root, () => lib.Root.x.add(root, 1));
            lib.goIdle();
          },
        },
      ],
      judge: (_notes, word) =>
        word(root + lib.Root.x.offset) === 2 ? null : "somebody did not get the lock",
    };
  },
};

export const LOCKS: readonly Scenario[] = [
  exclusion("spinlock", 2, spin),
  exclusion("spinlock", 3, spin, true),
  exclusion("mutex", 2, mutex),
  exclusion("mutex", 3, mutex, true),
  exclusion("rwlock for writing", 2, write),
  queuedReaders,
  readWrite,
  mutexIsQuiescent,
  deadOwner,
];
