/** Tasks that are switched out inside a read scope. */
import type { Heap, Ref } from "../../../../rcu/index.ts";
import { RCU } from "../../../../rcu/layout.ts";
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

const listed: Scenario = {
  name: "a task is switched out while another leaves its scope",
  about: "both CPUs change the list of blocked tasks: it names the one that is switched out, and no other",
  models: ["sc"],
  build(lib) {
    const { root } = world(lib);
    const [goes, stays] = [lib.alloc(lib.Task) as TaskRef, lib.alloc(lib.Task) as TaskRef];
    const record = lib.Task.preempt.at(stays);
    return {
      cpus: [
        {
          run(lib, cpu) {
            switchedOut(lib, root, goes);
            goesOn(lib, cpu, goes);
            lib.rcuQuiescent();
            lib.goIdle();
          },
        },
        {
          run(lib) {
            switchedOut(lib, root, stays);
            lib.goIdle();
          },
        },
      ],
      judge(_notes, word) {
        const [head, count] = [word(RCU.PREEMPT_HEAD), word(RCU.PREEMPT_COUNT)];
        if (head !== record || word(record) !== 0 || word(record + 1) !== 0 || count !== 1)
          return `the list of blocked tasks begins at ${head} and goes on at ${word(head)}; ${count} are counted`;
        return null;
      },
    };
  },
};

const gone: Scenario = {
  name: "a task is gone while another is switched out",
  about:
    "who takes a killed task off the list counts those that are left: the one that comes at the same time is among them",
  models: ["sc"],
  build(lib) {
    const { root } = world(lib);
    const [killed, stays] = [lib.alloc(lib.Task) as TaskRef, lib.alloc(lib.Task) as TaskRef];
    return {
      cpus: [
        {
          run(lib) {
            switchedOut(lib, root, killed);
            lib.rcuTaskGone(lib.Task.preempt.at(killed));
            lib.goIdle();
          },
        },
        {
          run(lib) {
            switchedOut(lib, root, stays);
            lib.goIdle();
          },
        },
      ],
      judge: (_notes, word) => {
        const [head, count] = [word(RCU.PREEMPT_HEAD), word(RCU.PREEMPT_COUNT)];
        return head === lib.Task.preempt.at(stays) && count === 1
          ? null
          : `the list of blocked tasks begins at ${head}, ${count} are counted`;
      },
    };
  },
};

const looked: Scenario = {
  name: "blocked tasks are looked through while one leaves",
  about: "nobody follows the links of a task that has left the list",
  models: ["sc"],
  build(lib) {
    const { root } = world(lib);
    const [task, stray] = [lib.alloc(lib.Task) as TaskRef, lib.alloc(lib.Task) as TaskRef];
    const record = lib.Task.preempt.at(task);
    lib.Task.preempt.set(stray, 2, lib.i32[RCU.GP_SEQ]! - 4); // As if it blocked every grace period.
    return {
      cpus: [
        {
          run(lib, cpu) {
            lib.startPollSynchronizeRcu();
            for (const blocked of lib.rcuBlockedTasks()) if (blocked !== record) cpu.note("stray", blocked);
          },
        },
        {
          run(lib, cpu) {
            switchedOut(lib, root, task);
            goesOn(lib, cpu, task);
            lib.rcuQuiescent();
            lib.Task.preempt.set(task, 0, lib.Task.preempt.at(stray)); // The task's memory is something else's now.
          },
        },
      ],
      judge: (notes) => (notes.has("stray") ? `${notes.get("stray")} is taken for a task` : null),
    };
  },
};
/** More than the accesses of the thread that dies: the last variant lets it live. */
const LIFE = 48;

const dies: Scenario = {
  name: "a CPU dies while it switches tasks",
  about:
    "after each of its accesses in turn: it is reaped, its task is gone, and the list of blocked tasks is empty",
  models: ["sc"],
  timeouts: 3,
  variants: LIFE,
  build(lib, diesAfter) {
    const { root } = world(lib);
    const task = lib.alloc(lib.Task) as TaskRef;
    return {
      cpus: [
        {
          reboot: true,
          boot: (lib) => lib.currentHeap(),
          run(lib, _cpu, heap: Heap) {
            while (lib.Root.y.load(root) === 0) lib.Root.y.wait(root, 0);
            heap.reap(1);
            if (lib.Root.z.load(root) === 0) lib.rcuTaskGone(lib.Task.preempt.at(task)); // It did not run there.
            lib.synchronizeRcu();
            lib.rcuIdleEnter();
          },
        },
        {
          diesAfter,
          died(lib) {
            lib.Root.y.store(root, 1);
            lib.Root.y.notify(root);
          },
          run(lib, cpu) {
            switchedOut(lib, root, task);
            lib.rcuSwitchIn(lib.Task.preempt.at(task));
            lib.Root.z.store(root, 1);
            lib.rcuReadUnlock();
            lib.rcuQuiescent();
            cpu.note("lived", diesAfter);
            lib.Root.y.store(root, 1);
            lib.Root.y.notify(root);
          },
        },
      ],
      judge(notes, word) {
        if (diesAfter === LIFE - 1 && !notes.has("lived"))
          return "it has more accesses than there are variants";
        const [head, count] = [word(RCU.PREEMPT_HEAD), word(RCU.PREEMPT_COUNT)];
        return head === 0 && count === 0
          ? null
          : `${head} is on the list of blocked tasks, ${count} are counted`;
      },
    };
  },
};

export const PREEMPT: readonly Scenario[] = [
  sameCpu,
  migrates,
  listed,
  gone,
  looked,
  dies,
  migratesThreeCpus,
  twoTasks,
];
