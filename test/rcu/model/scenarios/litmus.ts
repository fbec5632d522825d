/** RCU litmus tests. Their verdicts are known: Linux's tools/memory-model documents them. */
import {
  type Cpu,
  HELD,
  type Library,
  look,
  noPoison,
  POISON,
  type RootRef,
  type Scenario,
  world,
} from "../scenario.ts";

const ALL = ["tso", "weak", "sc"] as const;

const syncFree: Scenario = {
  name: "RCU+sync+free",
  about: "who found the old object may use it until the scope ends",
  models: ALL,
  build(lib) {
    const { root, old, fresh } = world(lib);
    return {
      cpus: [
        {
          run(lib, cpu) {
            look(lib, cpu, root, "r0");
            lib.rcuQuiescent();
            look(lib, cpu, root, "r1");
            lib.rcuIdleEnter();
          },
        },
        {
          run(lib) {
            lib.Thing.value.init(fresh, 2);
            lib.Root.current.assign(HELD, root, fresh);
            lib.synchronizeRcu();
            lib.Thing.value.init(old, POISON);
            lib.rcuIdleEnter();
          },
        },
      ],
      judge: (notes) =>
        [...notes.values()].includes(0) ? "an object was seen before it was initialised" : noPoison(notes),
    };
  },
};

const syncRead: Scenario = {
  name: "RCU+sync+read",
  about: "no grace period fits into a read scope",
  models: ALL,
  build(lib) {
    const { root } = world(lib);
    return {
      cpus: [
        {
          run(lib, cpu) {
            lib.rcuQuiescent();
            lib.rcuReadLock();
            cpu.note("x", lib.Root.x.peek(root));
            cpu.note("y", lib.Root.y.peek(root));
            lib.rcuReadUnlock();
            lib.rcuIdleEnter();
          },
        },
        {
          run(lib) {
            lib.Root.x.init(root, 1);
            lib.synchronizeRcu();
            lib.Root.y.init(root, 1);
            lib.rcuIdleEnter();
          },
        },
      ],
      judge: (notes) =>
        notes.get("x") === 0 && notes.get("y") === 1 ? "a grace period fitted into a read scope" : null,
    };
  },
};

const messagePassing = (name: string, plain: boolean): Scenario => ({
  name,
  about: plain
    ? "published by a plain store: the object may be seen before what is in it"
    : "what is published is whole",
  models: plain ? ["weak"] : ALL,
  ...(plain ? { allowed: true as const } : {}),
  build(lib) {
    const { root, fresh } = world(lib);
    return {
      cpus: [
        {
          run(lib, cpu) {
            look(lib, cpu, root, "value");
            lib.rcuIdleEnter();
          },
        },
        {
          run(lib) {
            lib.Thing.value.init(fresh, 2);
            if (plain) lib.Root.current.init(root, fresh);
            else lib.Root.current.assign(HELD, root, fresh);
            lib.rcuIdleEnter();
          },
        },
      ],
      judge: (notes) => (notes.get("value") === 0 ? "the pointer was seen before what it points to" : null),
    };
  },
});

const independent: Scenario = {
  name: "MP+assign+plain, no dependency",
  about: "two plain loads that do not depend on each other are not ordered: x86 orders them, arm64 does not",
  models: ["weak"],
  allowed: true,
  build(lib) {
    const { root } = world(lib);
    return {
      cpus: [
        {
          run(lib, cpu) {
            cpu.note("flag", lib.Root.y.peek(root));
            cpu.note("data", lib.Root.x.peek(root));
            lib.rcuIdleEnter();
          },
        },
        {
          run(lib) {
            lib.Root.x.init(root, 1);
            lib.Root.y.store(root, 1);
            lib.rcuIdleEnter();
          },
        },
      ],
      judge: (notes) => (notes.get("flag") === 1 && notes.get("data") === 0 ? "flag without data" : null),
    };
  },
};

const readWrite: Scenario = {
  name: "C-RW-G+RW-R",
  about: "a scope that saw what followed a grace period was not seen before it",
  models: ALL,
  build(lib) {
    const { root } = world(lib);
    return {
      cpus: [
        {
          run(lib, cpu) {
            lib.rcuReadLock();
            cpu.note("x", lib.Root.x.peek(root));
            lib.Root.y.init(root, 1);
            lib.rcuReadUnlock();
            lib.rcuIdleEnter();
          },
        },
        {
          run(lib, cpu) {
            cpu.note("y", lib.Root.y.peek(root));
            lib.synchronizeRcu();
            lib.Root.x.init(root, 1);
            lib.rcuIdleEnter();
          },
        },
      ],
      judge: (notes) =>
        notes.get("x") === 1 && notes.get("y") === 1
          ? "the scope began after the grace period, and was seen before it"
          : null,
    };
  },
};

/** One grace period against two scopes may be outrun: allowed. Two grace periods against two scopes may not. */
const outrun = (periods: number): Scenario => {
  type Word = "x" | "y" | "z";
  const scope = (root: RootRef, from: Word, to: Word) => ({
    run(lib: Library, cpu: Cpu) {
      lib.rcuQuiescent();
      lib.rcuReadLock();
      // The store first: accesses inside a scope are not ordered with each other.
      lib.Root[to].init(root, 1);
      cpu.note(from, lib.Root[from].peek(root));
      lib.rcuReadUnlock();
      lib.rcuIdleEnter();
    },
  });
  return {
    name: periods === 1 ? "C-RW-G+RW-R+RW-R" : "C-RW-G-G+RW-R+RW-R",
    about: `${periods === 1 ? "one grace period" : "two grace periods"} against two read scopes`,
    ...(periods === 1 ? { allowed: true as const } : { full: true as const }),
    build(lib) {
      const { root } = world(lib);
      return {
        cpus: [
          {
            run(lib, cpu) {
              cpu.note("z", lib.Root.z.peek(root));
              for (let n = 0; n < periods; n++) lib.synchronizeRcu();
              lib.Root.x.init(root, 1);
              lib.rcuIdleEnter();
            },
          },
          scope(root, "x", "y"),
          scope(root, "y", "z"),
        ],
        judge: (notes) =>
          ["x", "y", "z"].every((name) => notes.get(name) === 1)
            ? "each saw what the next one did later"
            : null,
      };
    },
  };
};

export const LITMUS: readonly Scenario[] = [
  syncFree,
  syncRead,
  messagePassing("MP+onceassign+derefonce", false),
  messagePassing("MP+plain+derefonce", true),
  independent,
  readWrite,
  outrun(1),
  outrun(2),
];
