/** Small programs over the real RCU code, and what must never be seen. */
import { allocArray, freeArray } from "../../../rcu/array.ts";
import { kfreeRcu, rcuRunCallbacks } from "../../../rcu/callback.ts";
import { goActive, goIdle, rcuQuiescent } from "../../../rcu/grace-period.ts";
import { RcuHashMap } from "../../../rcu/hashmap.ts";
import { Heap } from "../../../rcu/heap.ts";
import { CELL_FREE, CELL_STATE } from "../../../rcu/layout.ts";
import { i32 } from "../../../rcu/memory.ts";
import { RcuHead } from "../../../rcu/reclaim.ts";
import type { Held, Ref } from "../../../rcu/ref.ts";
import { rcuReadLock, rcuReadLockHeld, rcuReadUnlock } from "../../../rcu/scope.ts";
import { alloc, atomic, cacheOf, fixed, rcu, struct } from "../../../rcu/struct.ts";
import { pollStateSynchronizeRcu, startPollSynchronizeRcu } from "../../../rcu/synchronize.ts";
import type { Cpu, Scenario } from "./checker.ts";

const Thing = struct("model_thing", { value: fixed() });
const Root = struct("model_root", { current: rcu("model_thing"), x: atomic(), y: atomic(), z: atomic() });
type ThingRef = Ref<"model_thing">;

const held = 1 as Held;

/** A heap with a root that points to `old` (value 1), and a spare `fresh`; `threads` slots, all active. */
function world(threads: number) {
  const heap = Heap.create({ bytes: 4 << 20 });
  const more = Array.from({ length: threads - 1 }, () => Heap.attach(heap.handle()));
  heap.use();
  cacheOf(Thing);
  const root = alloc(Root) as Ref<"model_root">;
  const old = alloc(Thing) as ThingRef;
  const fresh = alloc(Thing) as ThingRef;
  Thing.value.init(old, 1);
  Root.current.init(root, old);
  const memory = new Int32Array(heap.i32);
  for (const other of more) other.detach();
  heap.use();
  heap.detach();
  return { memory, root, old, fresh, slots: Array.from({ length: threads }, (_, slot) => slot) };
}

/** synchronize_rcu as the model has it: if the grace period is not over by now, this execution says nothing. */
function synchronize(cpu: Cpu): void {
  const cookie = startPollSynchronizeRcu();
  rcuQuiescent();
  if (!pollStateSynchronizeRcu(cookie)) {
    rcuQuiescent();
    if (!pollStateSynchronizeRcu(cookie)) cpu.abort();
  }
}

const POISON = 99;

/** A reader must not see what the updater did after its grace period: RCU+sync+free. */
function syncFree(threads: number, name: string, read: (look: () => void) => void, nested = false): Scenario {
  const { memory, root, old, fresh, slots } = world(threads);
  slots.push(slots.shift()!); // The updater, last of the programs, has slot 0: scans begin with it.
  const reader = (cpu: Cpu): void =>
    read(() => {
      const scope = rcuReadLock();
      const thing = Root.current.deref(scope, root) as ThingRef;
      if (nested) {
        rcuReadLock();
        rcuReadUnlock();
        if (!rcuReadLockHeld()) rcuQuiescent(); // What a safe point does; not reached unless nesting is broken.
      }
      cpu.note(`r${cpu.number}`, Thing.value.get(thing));
      if (rcuReadLockHeld()) rcuReadUnlock();
    });
  const updater = (cpu: Cpu): void => {
    Thing.value.init(fresh, 2);
    Root.current.assign(held, root, fresh);
    synchronize(cpu);
    Thing.value.init(old, POISON);
    cpu.note("freed", 1);
  };
  return {
    name,
    memory,
    slots,
    programs: [...Array(threads - 1).fill(reader), updater],
    judge: (notes) => {
      for (const [key, value] of notes) {
        if (key.startsWith("r") && value === POISON) return "a reader saw freed memory";
        if (key.startsWith("r") && value === 0) return "a reader saw an object before it was initialised";
      }
      return null;
    },
  };
}

/** Key 1 is in the map all the time. */
function mapScenario(update: (map: RcuHashMap) => void): Scenario {
  const heap = Heap.create({ bytes: 4 << 20 });
  const other = Heap.attach(heap.handle());
  heap.use();
  const map = new RcuHashMap({ buckets: 4 });
  // Key 6 comes before key 1 on a chain of four buckets, and on another one of eight.
  for (const key of [1, 6, 3, 4]) map.tryInsert(key, key + 10);
  const memory = new Int32Array(heap.i32);
  other.detach();
  heap.use();
  heap.detach();
  return {
    name: "map",
    memory,
    buffers: false, // A resize makes too many stores to explore their every delay.
    slots: [1, 0],
    warm: () => {
      // Makes every module look its caches up.
      map.remove(4);
      map.tryInsert(4, 14);
      freeArray(allocArray(8) as Ref<"array">);
    },
    programs: [
      (cpu) => {
        const scope = rcuReadLock();
        cpu.note("buckets", map.buckets);
        cpu.note("value", map.get(scope, 1) ?? -1);
        rcuReadUnlock();
      },
      () => update(map),
    ],
    judge: (notes) =>
      notes.get("value") === -1 ? "a reader missed a key that was there all the time" : null,
  };
}

export const SCENARIOS: Record<string, () => Scenario> = {
  "RCU+sync+free": () =>
    syncFree(2, "RCU+sync+free", (look) => {
      look();
      rcuQuiescent();
      look();
      rcuQuiescent();
    }),
  "RCU+sync+free, reader leaves and enters idle": () =>
    syncFree(2, "idle", (look) => {
      goIdle();
      goActive();
      look();
      goIdle();
    }),
  "RCU+sync+free, two readers": () =>
    syncFree(3, "two readers", (look) => {
      look();
      rcuQuiescent();
    }),
  "RCU+sync+free while another CPU starts grace periods": () =>
    syncFree(2, "in progress", (look) => {
      startPollSynchronizeRcu();
      rcuQuiescent();
      look();
      rcuQuiescent();
    }),
  "kfreeRcu while another CPU starts grace periods": () => {
    const { memory, root, old, fresh, slots } = world(2);
    return {
      name: "kfreeRcu",
      memory,
      slots,
      warm: () => {
        cacheOf(Thing);
        cacheOf(RcuHead);
      },
      programs: [
        (cpu) => {
          startPollSynchronizeRcu();
          rcuQuiescent();
          const scope = rcuReadLock();
          const thing = Root.current.deref(scope, root) as ThingRef;
          cpu.note("state", i32[thing + CELL_STATE]! & 0xff);
          rcuReadUnlock();
          rcuQuiescent();
        },
        () => {
          Root.current.assign(held, root, fresh);
          kfreeRcu(Thing, old);
          rcuQuiescent();
          rcuRunCallbacks();
        },
      ],
      judge: (notes) =>
        notes.get("state") === CELL_FREE ? "a reader stood on a cell that was given back" : null,
    };
  },
  "a key of RcuHashMap while it is updated": () =>
    mapScenario((map) => {
      map.tryInsert(1, 12);
    }),
  "a key of RcuHashMap while the table grows": () =>
    mapScenario((map) => {
      map.tryInsert(5, 15);
    }),
  "a scope inside the scope, and what a safe point does between": () =>
    syncFree(
      2,
      "nested",
      (look) => {
        look();
        rcuQuiescent();
      },
      true,
    ),
  "two updates in turn": () => {
    const { memory, root, old, fresh, slots } = world(2);
    return {
      name: "two updates",
      memory,
      slots,
      programs: [
        (cpu) => {
          for (let n = 0; n < 2; n++) {
            const scope = rcuReadLock();
            const thing = Root.current.deref(scope, root);
            if (thing !== 0) cpu.note(`r${n}`, Thing.value.get(thing));
            rcuReadUnlock();
            rcuQuiescent();
          }
        },
        (cpu) => {
          Thing.value.init(fresh, 2);
          Root.current.assign(held, root, fresh);
          synchronize(cpu);
          Thing.value.init(old, POISON);
          Root.current.assign(held, root, 0);
          synchronize(cpu);
          Thing.value.init(fresh, POISON);
        },
      ],
      judge: (notes) => ([...notes.values()].includes(POISON) ? "a reader saw freed memory" : null),
    };
  },
  "MP+onceassign+derefonce": () => {
    const { memory, root, fresh, slots } = world(2);
    return {
      name: "MP",
      memory,
      slots,
      programs: [
        (cpu) => {
          const scope = rcuReadLock();
          const thing = Root.current.deref(scope, root) as ThingRef;
          cpu.note("value", Thing.value.get(thing));
          rcuReadUnlock();
        },
        () => {
          Thing.value.init(fresh, 2);
          Root.current.assign(held, root, fresh);
        },
      ],
      judge: (notes) => (notes.get("value") === 0 ? "the pointer was seen before what it points to" : null),
    };
  },
  "RCU+sync+read": () => {
    const { memory, root, slots } = world(2);
    return {
      name: "sync+read",
      memory,
      slots,
      programs: [
        (cpu) => {
          rcuQuiescent();
          rcuReadLock();
          cpu.note("x", Root.x.peek(root));
          cpu.note("y", Root.y.peek(root));
          rcuReadUnlock();
          rcuQuiescent();
        },
        (cpu) => {
          Root.x.store(root, 1);
          synchronize(cpu);
          Root.y.store(root, 1);
        },
      ],
      judge: (notes) =>
        notes.get("x") === 0 && notes.get("y") === 1 ? "a grace period fitted into a read scope" : null,
    };
  },
  "C-RW-G+RW-R": () => {
    const { memory, root, slots } = world(2);
    return {
      name: "C-RW-G+RW-R",
      memory,
      slots,
      programs: [
        (cpu) => {
          rcuReadLock();
          cpu.note("x", Root.x.peek(root));
          Root.y.init(root, 1);
          rcuReadUnlock();
          rcuQuiescent();
        },
        (cpu) => {
          cpu.note("y", Root.y.load(root));
          synchronize(cpu);
          Root.x.init(root, 1);
        },
      ],
      judge: (notes) =>
        notes.get("x") === 1 && notes.get("y") === 1
          ? "the scope began after the grace period, and was seen before it"
          : null,
    };
  },
};

/** One grace period against two read scopes: Linux's model allows the outcome, and the checker must be able to find it. */
export function twoScopes(): Scenario {
  const { memory, root, slots } = world(3);
  const scope = (from: "x" | "y" | "z", to: "x" | "y" | "z") => (cpu: Cpu) => {
    rcuQuiescent();
    rcuReadLock();
    // Store first: accesses inside a scope are not ordered with each other.
    Root[to].init(root, 1);
    cpu.note(from, Root[from].peek(root));
    rcuReadUnlock();
    rcuQuiescent();
  };
  return {
    name: "C-RW-G+RW-R+RW-R",
    memory,
    slots,
    programs: [
      (cpu) => {
        cpu.note("z", Root.z.load(root));
        synchronize(cpu);
        Root.x.init(root, 1);
      },
      scope("x", "y"),
      scope("y", "z"),
    ],
    judge: (notes) => (["x", "y", "z"].every((name) => notes.get(name) === 1) ? "allowed: found" : null),
  };
}
