/** Tasks that are switched out inside a read scope. */
import type { Ref } from "../../../../rcu/index.ts";
import {
  type Cpu,
  HELD,
  type Library,
  noPoison,
  POISON,
  type RootRef,
  type Scenario,
  type ThingRef,
  world,
} from "../scenario.ts";

type TaskRef = Ref<"model_task">;

/** The task on this CPU finds the object, and is switched out with it in its hands. */
function switchedOut(lib: Library, root: RootRef, task: TaskRef): void {
  const scope = lib.rcuReadLock();
  lib.Task.holds.init(task, lib.Root.current.deref(scope, root));
  lib.rcuSwitchOut(lib.Task.preempt.at(task));
}
/** It runs again, here, looks at the object, and leaves the scope. */
function goesOn(lib: Library, cpu: Cpu, task: TaskRef): void {
  lib.rcuSwitchIn(lib.Task.preempt.at(task));
  cpu.note("read", lib.Thing.value.get(lib.Task.holds.peek(task) as ThingRef));
  lib.rcuReadUnlock();
}
function replace(lib: Library, root: RootRef, old: ThingRef, fresh: ThingRef): void {
  lib.Thing.value.init(fresh, 2);
  lib.Root.current.assign(HELD, root, fresh);
  lib.synchronizeRcu();
  lib.Thing.value.init(old, POISON);
  lib.rcuIdleEnter();
}

const sameCpu: Scenario = {
  name: "preempted in a scope",
  about: "a task that is switched out in a read scope blocks the grace period, its CPU does not",
  fullModels: ["weak"],
  build(lib) {
    const { root, old, fresh } = world(lib);
    const task = lib.alloc(lib.Task) as TaskRef;
    return {
      cpus: [
        {
          run(lib, cpu) {
            switchedOut(lib, root, task);
            lib.rcuQuiescent(); // Another task runs here meanwhile.
            goesOn(lib, cpu, task);
            lib.rcuQuiescent();
            lib.rcuIdleEnter();
          },
        },
        { run: (lib) => replace(lib, root, old, fresh) },
      ],
      judge: noPoison,
    };
  },
};

const migrates: Scenario = {
  name: "preempted, goes on elsewhere",
  about: "the task goes on, and leaves its scope, on another CPU",
  build(lib) {
    const { root, old, fresh } = world(lib);
    const task = lib.alloc(lib.Task) as TaskRef;
    return {
      cpus: [
        {
          run(lib) {
            switchedOut(lib, root, task);
            lib.Task.queued.store(task, 1);
            lib.Task.queued.notify(task);
            lib.rcuIdleEnter();
          },
        },
        {
          // The updater's own CPU takes the task over when it has replaced the object.
          run(lib, cpu) {
            lib.Thing.value.init(fresh, 2);
            lib.Root.current.assign(HELD, root, fresh);
            const cookie = lib.startPollSynchronizeRcu();
            lib.rcuQuiescent();
            while (lib.Task.queued.load(task) === 0) lib.Task.queued.wait(task, 0);
            lib.rcuSwitchIn(lib.Task.preempt.at(task));
            const thing = lib.Task.holds.peek(task) as ThingRef;
            if (lib.pollStateSynchronizeRcu(cookie)) lib.Thing.value.init(old, POISON);
            cpu.note("read", lib.Thing.value.get(thing));
            lib.rcuReadUnlock();
            lib.rcuQuiescent();
            lib.condSynchronizeRcu(cookie);
            lib.rcuIdleEnter();
          },
        },
      ],
      judge: noPoison,
    };
  },
};

const migratesThreeCpus: Scenario = {
  name: "preempted, goes on elsewhere, three CPUs",
  about: "switched out here, goes on there, while a third CPU waits for a grace period",
  full: true,
  build(lib) {
    const { root, old, fresh } = world(lib);
    const task = lib.alloc(lib.Task) as TaskRef;
    return {
      cpus: [
        {
          run(lib) {
            switchedOut(lib, root, task);
            lib.Task.queued.store(task, 1);
            lib.Task.queued.notify(task);
            lib.rcuIdleEnter();
          },
        },
        {
          run(lib, cpu) {
            lib.rcuIdleEnter();
            while (lib.Task.queued.load(task) === 0) lib.Task.queued.wait(task, 0);
            lib.rcuIdleExit();
            goesOn(lib, cpu, task);
            lib.rcuQuiescent();
            lib.rcuIdleEnter();
          },
        },
        { run: (lib) => replace(lib, root, old, fresh) },
      ],
      judge: noPoison,
    };
  },
};

const twoTasks: Scenario = {
  name: "two preempted tasks",
  about:
    "one was switched out before the grace period, one after its CPU had reported: only the first is waited for",
  full: true,
  build(lib) {
    const { root, old, fresh } = world(lib);
    const first = lib.alloc(lib.Task) as TaskRef;
    const second = lib.alloc(lib.Task) as TaskRef;
    return {
      cpus: [
        {
          run(lib, cpu) {
            switchedOut(lib, root, first);
            lib.rcuQuiescent();
            switchedOut(lib, root, second);
            lib.rcuQuiescent();
            goesOn(lib, cpu, first);
            lib.rcuQuiescent();
            goesOn(lib, cpu, second);
            lib.rcuIdleEnter();
          },
        },
        { run: (lib) => replace(lib, root, old, fresh) },
      ],
      judge: noPoison,
    };
  },
};

export const PREEMPT: readonly Scenario[] = [sameCpu, migrates, migratesThreeCpus, twoTasks];
