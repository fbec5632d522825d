/** Stall warnings: a grace period that lasts too long is reported, with who holds it up. */
import type { Ref } from "../../../../rcu/index.ts";
import { SLOT } from "../../../../rcu/layout.ts";
import { type Body, type Cpu, type Library, type RootRef, type Scenario, world } from "../scenario.ts";

/** A thread number that is nobody's. */
const THREAD = 77;

/** Waits for a grace period; when told of a stall, lets the one who holds it up go on. */
const waiter = (root: RootRef): Body => ({
  run(lib, cpu) {
    lib.setRcuStallHandler(10_000, ({ laggards, blocked }) => {
      cpu.note("thread", laggards[0]?.thread ?? -1);
      cpu.note("task", blocked[0]?.record ?? -1);
      lib.Root.y.store(root, 1);
      lib.Root.y.notify(root);
    });
    while (lib.Root.x.load(root) === 0) lib.Root.x.wait(root, 0);
    lib.synchronizeRcu();
    lib.goIdle();
  },
});
/** Holds it up until then. */
function hold(lib: Library, root: RootRef): void {
  lib.Root.x.store(root, 1);
  lib.Root.x.notify(root);
  while (lib.Root.y.load(root) === 0) lib.Root.y.wait(root, 0);
}

const cpuStalls: Scenario = {
  name: "a stall, by a CPU",
  about: "the thread that does not leave its scope is named",
  timeouts: 3,
  build(lib) {
    const { root } = world(lib);
    return {
      cpus: [
        {
          boot(lib) {
            lib.i32[SLOT.BASE + SLOT.THREAD] = THREAD;
          },
          run(lib: Library, _cpu: Cpu) {
            lib.rcuReadLock();
            hold(lib, root);
            lib.rcuReadUnlock();
            lib.goIdle();
          },
        },
        waiter(root),
      ],
      judge: (notes) => (notes.get("thread") === THREAD ? null : `the stall named ${notes.get("thread")}`),
    };
  },
};

const taskStalls: Scenario = {
  name: "a stall, by a task that was switched out",
  about: "no CPU lags behind: the task is named",
  timeouts: 3,
  build(lib) {
    const { root } = world(lib);
    const task = lib.alloc(lib.Task) as Ref<"model_task">;
    const record = lib.Task.preempt.at(task);
    return {
      cpus: [
        {
          run(lib) {
            lib.rcuReadLock();
            lib.rcuSwitchOut(record);
            lib.rcuQuiescent();
            lib.goIdle();
            hold(lib, root);
            lib.goActive();
            lib.rcuSwitchIn(record);
            lib.rcuReadUnlock();
            lib.rcuQuiescent();
            lib.goIdle();
          },
        },
        waiter(root),
      ],
      judge: (notes) => (notes.get("task") === record ? null : `the stall named ${notes.get("task")}`),
    };
  },
};

/** The other flavours: `hold` keeps the grace period open, `wait` waits for it; the report names the CPU that holds it. */
function otherStalls(
  name: string,
  about: string,
  holds: (lib: Library, at: number, hold: () => void) => void,
  waits: (lib: Library, at: number) => void,
): Scenario {
  return {
    name,
    about,
    timeouts: 3,
    build(lib) {
      const { root } = world(lib);
      const at = new lib.Srcu().ref;
      return {
        cpus: [
          {
            boot(lib) {
              lib.i32[SLOT.BASE + SLOT.THREAD] = THREAD;
            },
            run(lib) {
              holds(lib, at, () => hold(lib, root));
              lib.goIdle();
            },
          },
          {
            run(lib, cpu) {
              lib.setRcuStallHandler(10_000, ({ readers, tasks }) => {
                cpu.note("thread", (readers[0] ?? tasks[0])?.thread ?? -1);
                lib.Root.y.store(root, 1);
                lib.Root.y.notify(root);
              });
              while (lib.Root.x.load(root) === 0) lib.Root.x.wait(root, 0);
              waits(lib, at);
              lib.goIdle();
            },
          },
        ],
        judge: (notes) => (notes.get("thread") === THREAD ? null : `the stall named ${notes.get("thread")}`),
      };
    },
  };
}

const srcuStalls = otherStalls(
  "a stall, by a reader of an Srcu",
  "the thread that entered the scope is named",
  (lib, at, hold) => {
    const srcu = new lib.Srcu({ at });
    const scope = srcu.readLock();
    lib.rcuIdleEnter();
    hold();
    lib.rcuIdleExit();
    srcu.readUnlock(scope);
  },
  (lib, at) => new lib.Srcu({ at }).synchronizeBlocking(),
);

const tasksStall = otherStalls(
  "a stall, by a task that does not switch",
  "the task is named, with the thread that it last ran on",
  (lib, _at, hold) => {
    const member = lib.rcuTasksRegister();
    lib.rcuIdleEnter();
    hold();
    lib.rcuIdleExit();
    lib.rcuTasksUnregister(member);
  },
  (lib) => lib.synchronizeRcuTasks(),
);

export const STALL: readonly Scenario[] = [cpuStalls, taskStalls, srcuStalls, tasksStall];
