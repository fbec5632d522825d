/** SRCU, Tasks RCU, domains. */
import type { RcuDomain, Srcu, TasksMember } from "../../../../rcu/index.ts";
import { HEADER } from "../../../../rcu/layout.ts";
import {
  type Cpu,
  HELD,
  type Library,
  noPoison,
  POISON,
  type Scenario,
  type ThingRef,
  world,
} from "../scenario.ts";

const srcu = (updaters: number): Scenario => ({
  name: updaters > 1 ? "SRCU, two updaters" : "SRCU",
  about: "who reads in a scope is waited for, and the updater is woken when the scope ends",
  ...(updaters > 1 ? { full: true as const } : { fullModels: ["weak"] as const }),
  build(lib) {
    const { root, old, fresh } = world(lib);
    const at = new lib.Srcu().ref;
    const boot = (lib: Library): Srcu => new lib.Srcu({ at });
    return {
      cpus: [
        {
          boot,
          run(lib, cpu, domain: Srcu) {
            const scope = domain.readLock();
            const thing = lib.Root.current.deref(1 as never, root) as ThingRef;
            cpu.note("r0", lib.Thing.value.get(thing));
            domain.readUnlock(scope);
            lib.goIdle();
          },
        },
        {
          boot,
          run(lib, _cpu, domain: Srcu) {
            lib.Thing.value.init(fresh, 2);
            lib.Root.current.assign(HELD, root, fresh);
            domain.synchronizeBlocking();
            lib.Thing.value.init(old, POISON);
            lib.goIdle();
          },
        },
        // Another one finds the gate taken, or takes it first.
        ...Array.from({ length: updaters - 1 }, () => ({
          boot,
          run(lib: Library, _cpu: Cpu, domain: Srcu) {
            domain.synchronizeBlocking();
            lib.goIdle();
          },
        })),
      ],
      judge: noPoison,
    };
  },
});

const srcuDelayed: Scenario = {
  name: "SRCU, a delayed reader",
  about:
    "a reader that picked a bank and was delayed before it counted itself is waited for, two grace periods later too",
  models: ["tso", "weak"],
  build(lib) {
    const { root, old, fresh } = world(lib);
    const at = new lib.Srcu().ref;
    const boot = (lib: Library): Srcu => new lib.Srcu({ at });
    return {
      cpus: [
        {
          boot,
          run(lib, cpu, domain: Srcu) {
            domain.readLock(); // And stays in the scope.
            const thing = lib.Root.current.deref(1 as never, root) as ThingRef;
            cpu.note("r0", lib.Thing.value.get(thing));
          },
        },
        {
          boot,
          run(lib, _cpu, domain: Srcu) {
            lib.Thing.value.init(fresh, 2);
            domain.startPoll();
            lib.Root.current.assign(HELD, root, fresh);
            if (domain.pollState(domain.startPoll())) lib.Thing.value.init(old, POISON);
          },
        },
      ],
      judge: noPoison,
    };
  },
};

const tasks: Scenario = {
  name: "Tasks RCU",
  about: "a task that has not switched of its own accord is waited for, without any read scope",
  fullModels: ["weak"],
  build(lib) {
    const { root, old, fresh } = world(lib);
    return {
      cpus: [
        {
          boot: (lib) => lib.rcuTasksRegister(),
          run(lib, cpu, member: TasksMember) {
            const thing = lib.Root.current.access(root) as ThingRef;
            lib.rcuQuiescent(); // A switch that was forced on it: no quiescent state of the task.
            cpu.note("r0", lib.Thing.value.get(thing));
            lib.rcuTasksQuiescent(member);
            lib.rcuTasksSleep(member);
            lib.rcuIdleEnter();
          },
        },
        {
          run(lib) {
            lib.Thing.value.init(fresh, 2);
            lib.Root.current.assign(HELD, root, fresh);
            lib.synchronizeRcuTasks();
            lib.Thing.value.init(old, POISON);
            lib.rcuIdleEnter();
          },
        },
      ],
      judge: noPoison,
    };
  },
};

const tasksWake: Scenario = {
  name: "Tasks RCU, a task wakes up",
  about: "a task that begins to run while others are waited for has seen what was unlinked, or is waited for",
  models: ["tso", "weak"],
  build(lib) {
    const { root, old, fresh } = world(lib);
    return {
      cpus: [
        {
          boot(lib) {
            const member = lib.rcuTasksRegister();
            lib.rcuTasksSleep(member);
            return member;
          },
          run(lib, cpu, member: TasksMember) {
            lib.rcuTasksWake(member);
            const thing = lib.Root.current.access(root) as ThingRef;
            cpu.note("r0", lib.Thing.value.get(thing));
            lib.rcuTasksSleep(member);
            lib.rcuIdleEnter();
          },
        },
        {
          run(lib) {
            lib.Thing.value.init(fresh, 2);
            lib.Root.current.assign(HELD, root, fresh);
            lib.synchronizeRcuTasks();
            lib.Thing.value.init(old, POISON);
            lib.rcuIdleEnter();
          },
        },
      ],
      judge: noPoison,
    };
  },
};

const tasksCallback = (switches: boolean): Scenario => ({
  name: switches ? "Tasks RCU, a callback, and the task goes to sleep" : "Tasks RCU, a callback",
  about: "a callback runs after every task has switched of its own accord, and not before",
  ...(switches ? { full: true as const } : { fullModels: ["weak"] as const }),
  build(lib) {
    const { root, old, fresh } = world(lib);
    return {
      cpus: [
        {
          boot(lib) {
            const member = lib.rcuTasksRegister();
            lib.goIdle(); // The task itself is the scope: no grace period of RCU waits for it.
            return member;
          },
          run(lib, cpu, member: TasksMember) {
            const thing = lib.Root.current.access(root) as ThingRef;
            cpu.note("r0", lib.Thing.value.get(thing));
            if (switches) lib.rcuTasksSleep(member);
          },
        },
        {
          run(lib) {
            lib.Root.current.assign(HELD, root, fresh);
            lib.callRcuTasks(lib.poison, old);
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
});

const tasksBarrier: Scenario = {
  name: "rcuBarrierTasks",
  about:
    "when it returns, what another CPU had queued behind the tasks has run; nobody need pass a safe point for it",
  build(lib) {
    const { root } = world(lib);
    return {
      cpus: [
        {
          run(lib, cpu) {
            while (lib.Root.y.load(root) === 0) lib.Root.y.wait(root, 0);
            lib.rcuBarrierTasks();
            cpu.note("ran", lib.Root.x.load(root));
            lib.goIdle();
          },
        },
        {
          boot: (lib) => lib.rcuTasksRegister(),
          run(lib, _cpu, member: TasksMember) {
            lib.callRcuTasks(lib.count, root);
            lib.rcuTasksSleep(member);
            lib.rcuIdleEnter();
            lib.Root.y.store(root, 1);
            lib.Root.y.notify(root);
          },
        },
      ],
      judge: (notes) => (notes.get("ran") === 0 ? "the barrier returned before the callback had run" : null),
    };
  },
};

const domain: Scenario = {
  name: "RcuDomain, turns of an event loop",
  about: "the first scope of a turn makes the thread active, the end of the turn makes it quiescent",
  models: ["tso", "weak"],
  build(lib) {
    const { root, old, fresh } = world(lib);
    const handle = lib.currentHeap()!.handle();
    return {
      cpus: [
        {
          absent: true,
          reboot: true,
          boot: (lib) => lib.RcuDomain.attach(handle),
          run(lib, cpu, domain: RcuDomain) {
            for (let turn = 0; turn < 2; turn++) {
              domain.run((scope) => {
                const thing = lib.Root.current.deref(scope, root) as ThingRef;
                cpu.note(`turn ${turn}`, lib.Thing.value.get(thing));
              });
              cpu.endTurn();
            }
          },
        },
        {
          absent: true,
          reboot: true,
          boot: (lib) => lib.RcuDomain.attach(handle),
          run(lib, cpu, domain: RcuDomain) {
            lib.Thing.value.init(fresh, 2);
            lib.Root.current.assign(HELD, root, fresh);
            domain.synchronizeBlocking();
            lib.Thing.value.init(old, POISON);
            cpu.endTurn();
          },
        },
      ],
      judge: noPoison,
    };
  },
};

const srcuFast = (idle: boolean): Scenario => ({
  name: `SRCU, a fast reader${idle ? " that is idle" : ""}`,
  about: "a reader that counts itself plainly is waited for, whatever it does in its scope",
  ...(idle ? { models: ["tso", "weak"] as const } : { fullModels: ["weak"] as const }),
  build(lib) {
    const { root, old, fresh } = world(lib);
    const at = new lib.Srcu({ fast: true }).ref;
    return {
      cpus: [
        {
          boot(lib) {
            const domain = new lib.Srcu({ at });
            if (idle) lib.goIdle();
            else domain.readUnlock(domain.readLock()); // The next one counts in a lane.
            return domain;
          },
          run(lib, cpu, domain: Srcu) {
            domain.readLock(); // And stays in the scope.
            const thing = lib.Root.current.deref(1 as never, root) as ThingRef;
            if (!idle) lib.goIdle(); // It may sleep there: no grace period of RCU waits for it.
            cpu.note("r0", lib.Thing.value.get(thing));
          },
        },
        {
          boot: (lib) => new lib.Srcu({ at }),
          run(lib, cpu, domain: Srcu) {
            lib.Thing.value.init(fresh, 2);
            lib.Root.current.assign(HELD, root, fresh);
            const cookie = domain.startPoll();
            for (let n = 0; n < 8; n++) {
              lib.rcuQuiescent();
              if (!domain.pollState(cookie)) continue;
              cpu.note("freed", 1);
              lib.Thing.value.init(old, POISON);
              break;
            }
            lib.goIdle();
          },
        },
      ],
      judge: noPoison,
    };
  },
});

/** Looks of an updater that does not sleep. */
const LOOKS = 3;
const announced: Scenario = {
  name: "RcuDomain, announced scopes",
  about: "a scope that is announced is waited for; who is outside of one is not",
  models: ["tso", "weak"],
  build(lib) {
    const { root, old, fresh } = world(lib);
    lib.i32[HEADER.ANNOUNCING] = 1;
    const handle = lib.currentHeap()!.handle();
    return {
      cpus: [
        {
          absent: true,
          reboot: true,
          boot: (lib) => lib.RcuDomain.attach(handle),
          run(lib, cpu, domain: RcuDomain) {
            for (let scopes = 0; scopes < 2; scopes++)
              domain.run((scope) => {
                const thing = lib.Root.current.deref(scope, root) as ThingRef;
                cpu.note(`scope ${scopes}`, lib.Thing.value.get(thing));
              });
          },
        },
        {
          absent: true,
          reboot: true,
          boot: (lib) => lib.RcuDomain.attach(handle),
          run(lib, cpu) {
            lib.Thing.value.init(fresh, 2);
            lib.Root.current.assign(HELD, root, fresh);
            const cookie = lib.startPollSynchronizeRcu();
            for (let look = 0; look < LOOKS; look++) {
              lib.tryEndGp(lib.gpSeq());
              if (!lib.pollStateSynchronizeRcu(cookie)) continue;
              cpu.note("freed", 1);
              lib.Thing.value.init(old, POISON);
              break;
            }
          },
        },
      ],
      judge: noPoison,
    };
  },
};

export const FLAVOURS: readonly Scenario[] = [
  announced,
  srcuFast(false),
  srcuFast(true),
  srcu(1),
  srcuDelayed,
  srcu(2),
  tasks,
  tasksWake,
  tasksCallback(false),
  tasksCallback(true),
  tasksBarrier,
  domain,
];
