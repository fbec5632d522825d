/** Grace periods: several updaters and readers, nested scopes, cookies, idle CPUs. */
import {
  type Body,
  HELD,
  look,
  noPoison,
  POISON,
  type RootRef,
  type Scenario,
  type ThingRef,
  world,
} from "../scenario.ts";

const reader = (root: RootRef, times = 1): Body => ({
  run(lib, cpu) {
    for (let n = 0; n < times; n++) {
      if (n > 0) lib.rcuQuiescent();
      look(lib, cpu, root, `CPU ${cpu.number}, scope ${n}`);
    }
    lib.rcuIdleEnter();
  },
});
/** Replaces the object by `fresh`, waits, and destroys the old one. */
const updater = (root: RootRef, fresh: ThingRef, expedited = false): Body => ({
  run(lib) {
    lib.Thing.value.init(fresh, 2);
    const old = lib.Root.current.exchange(root, fresh) as ThingRef;
    if (expedited) lib.synchronizeRcuExpedited();
    else lib.synchronizeRcu();
    lib.Thing.value.init(old, POISON);
    lib.rcuIdleEnter();
  },
});

const twoReaders: Scenario = {
  name: "two readers",
  about: "RCU+sync+free with a second reader: the last one to report ends the grace period",
  build(lib) {
    const { root, fresh } = world(lib);
    const reports: Body = {
      run(lib, cpu) {
        look(lib, cpu, root, "reports");
        lib.rcuQuiescent();
        lib.goIdle();
      },
    };
    return { cpus: [updater(root, fresh), reports, reader(root)], judge: noPoison };
  },
};

const alternate: Scenario = {
  name: "two CPUs that read and update",
  about: "each reads, then replaces the object and waits: they share or follow each other's grace periods",
  full: true,
  build(lib) {
    const { root, fresh } = world(lib);
    const other = lib.alloc(lib.Thing) as ThingRef;
    const both = (mine: ThingRef): Body => ({
      run(lib, cpu) {
        look(lib, cpu, root, `CPU ${cpu.number}`);
        lib.Thing.value.init(mine, 2);
        const old = lib.Root.current.exchange(root, mine) as ThingRef;
        lib.synchronizeRcu();
        lib.Thing.value.init(old, POISON);
        lib.goIdle();
      },
    });
    return { cpus: [both(fresh), both(other)], judge: noPoison };
  },
};

const twoUpdaters: Scenario = {
  name: "two updaters and a reader",
  about: "two synchronize at once, three CPUs",
  full: true,
  limit: 6_000_000,
  build(lib) {
    const { root, fresh } = world(lib);
    const other = lib.alloc(lib.Thing) as ThingRef;
    return { cpus: [reader(root), updater(root, fresh), updater(root, other)], judge: noPoison };
  },
};

const twoPeriods: Scenario = {
  name: "two updates in turn",
  about: "two grace periods: a late report for the first is not one for the second",
  fullModels: ["weak"],
  build(lib) {
    const { root, old, fresh } = world(lib);
    return {
      cpus: [
        reader(root, 2),
        {
          run(lib) {
            lib.Thing.value.init(fresh, 2);
            lib.Root.current.assign(HELD, root, fresh);
            lib.synchronizeRcu();
            lib.Thing.value.init(old, POISON);
            lib.Root.current.assign(HELD, root, 0);
            lib.synchronizeRcu();
            lib.Thing.value.init(fresh, POISON);
            lib.rcuIdleEnter();
          },
        },
      ],
      judge: noPoison,
    };
  },
};

const twoPeriodsThreeCpus: Scenario = {
  ...twoPeriods,
  name: "two updates in turn, two readers",
  about: "two grace periods, three CPUs",
  fullModels: [],
  full: true,
  limit: 6_000_000,
  build(lib) {
    const cast = twoPeriods.build(lib, 0);
    return { ...cast, cpus: [...cast.cpus, cast.cpus[0]!] };
  },
};

const inProgress: Scenario = {
  name: "a grace period in progress",
  about: "the reader's CPU starts grace periods of its own: a stamp taken in one needs the end of the next",
  fullModels: ["weak"],
  build(lib) {
    const { root, old, fresh } = world(lib);
    return {
      cpus: [
        {
          run(lib, cpu) {
            lib.startPollSynchronizeRcu();
            lib.rcuQuiescent();
            look(lib, cpu, root, "r0");
            lib.rcuIdleEnter();
          },
        },
        {
          run(lib) {
            lib.Thing.value.init(fresh, 2);
            lib.Root.current.assign(HELD, root, fresh);
            const cookie = lib.startPollSynchronizeRcu();
            lib.rcuQuiescent();
            lib.rcuQuiescent();
            if (lib.pollStateSynchronizeRcu(cookie)) lib.Thing.value.init(old, POISON);
            lib.rcuIdleEnter();
          },
        },
      ],
      judge: noPoison,
    };
  },
};

const cookies: Scenario = {
  name: "a cookie, polled",
  about: "the cookie is taken after the unlinking, or it is worth nothing",
  build(lib) {
    const { root, fresh } = world(lib);
    return {
      cpus: [
        {
          run(lib, cpu) {
            lib.startPollSynchronizeRcu();
            lib.rcuQuiescent();
            look(lib, cpu, root, "r0");
            lib.rcuIdleEnter();
          },
        },
        {
          run(lib) {
            lib.Thing.value.init(fresh, 2);
            const [old, cookie] = lib.updater.replaceAndPoll(root, fresh);
            lib.rcuQuiescent();
            if (lib.pollStateSynchronizeRcu(cookie)) lib.Thing.value.init(old, POISON);
            lib.condSynchronizeRcu(cookie);
            lib.Thing.value.init(old, POISON);
            lib.rcuIdleEnter();
          },
        },
      ],
      judge: noPoison,
    };
  },
};

const nested: Scenario = {
  name: "a scope in a scope",
  about: "leaving the inner scope is not leaving the outer one, whatever a safe point does then",
  build(lib) {
    const { root, fresh } = world(lib);
    return {
      cpus: [
        {
          run(lib, cpu) {
            const scope = lib.rcuReadLock();
            const thing = lib.Root.current.deref(scope, root) as ThingRef;
            lib.rcuReadLock();
            lib.rcuReadUnlock();
            if (!lib.rcuReadLockHeld()) lib.rcuQuiescent(); // A safe point; not reached unless nesting is broken.
            cpu.note("r0", lib.Thing.value.get(thing));
            if (lib.rcuReadLockHeld()) lib.rcuReadUnlock();
            lib.rcuIdleEnter();
          },
        },
        updater(root, fresh),
      ],
      judge: noPoison,
    };
  },
};

const idle: Scenario = {
  name: "idle, then reading",
  about: "a CPU that leaves idle is waited for, or sees what was unlinked",
  models: ["tso", "weak"],
  build(lib) {
    const { root, fresh } = world(lib);
    return {
      cpus: [
        {
          run(lib, cpu) {
            lib.rcuIdleEnter();
            lib.rcuIdleExit();
            look(lib, cpu, root, "r0");
            lib.rcuIdleEnter();
          },
        },
        updater(root, fresh),
      ],
      judge: noPoison,
    };
  },
};

const asleep: Scenario = {
  name: "a CPU goes to sleep",
  about: "a CPU that has gone idle holds no grace period up, and is not woken for one",
  models: ["tso", "weak"],
  build(lib) {
    const { root, fresh } = world(lib);
    return {
      cpus: [
        {
          run(lib, cpu) {
            look(lib, cpu, root, "r0");
            lib.rcuIdleEnter(); // And never comes back.
          },
        },
        updater(root, fresh, true),
      ],
      judge: noPoison,
    };
  },
};

const idleTwice: Scenario = {
  name: "idle between two reads, two updaters",
  about: "idle and active again while two grace periods go by",
  full: true,
  build(lib) {
    const { root, fresh } = world(lib);
    const other = lib.alloc(lib.Thing) as ThingRef;
    return {
      cpus: [
        {
          run(lib, cpu) {
            look(lib, cpu, root, "r0");
            lib.rcuIdleEnter();
            lib.rcuIdleExit();
            look(lib, cpu, root, "r1");
            lib.rcuIdleEnter();
          },
        },
        updater(root, fresh),
        updater(root, other),
      ],
      judge: noPoison,
    };
  },
};

export const GRACE: readonly Scenario[] = [
  twoReaders,
  alternate,
  twoUpdaters,
  twoPeriods,
  twoPeriodsThreeCpus,
  inProgress,
  cookies,
  nested,
  idle,
  asleep,
  idleTwice,
];
