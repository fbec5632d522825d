/** Readers of collections while they change. */

import type { HashTable } from "../../../../rcu/hash-table.ts";
import type { Idr, RcuCache, RcuHashMap, RcuList, RcuOptionArc } from "../../../../rcu/index.ts";
import { CELL_FREE, CELL_STATE } from "../../../../rcu/layout.ts";
import type { Cpu, Library, Scenario } from "../scenario.ts";

const BOTH = ["tso", "weak"] as const;

const relinkAfter = (lib: Library) =>
  (lib.declaredStructs.get("rcu_hash_table") as unknown as typeof HashTable).relinkAfter;

/** Key 1 is in the map all the time, whatever `update` does; key 6 comes before it on a chain of four buckets. */
function map(
  name: string,
  about: string,
  update: (lib: Library, map: RcuHashMap, cpu: Cpu) => void,
  more: Partial<Scenario> = {},
  linksInUse = false,
): Scenario {
  const keys = linksInUse ? [1, 6, 3, 4, 5, 7, 8, 9] : [1, 6, 3, 4];
  return {
    name: `RcuHashMap, ${name}`,
    about,
    models: BOTH,
    ...more,
    build(lib) {
      const shared = new lib.RcuHashMap({ buckets: 4 });
      for (const key of keys) shared.insert(key, key + 10);
      // As after a growth whose grace period will not be over.
      if (linksInUse) relinkAfter(lib).init(shared.ref, lib.getStateSynchronizeRcu() + 400);
      const open = (lib: Library): RcuHashMap => new lib.RcuHashMap({ at: shared.ref });
      return {
        stock: ["rcu_hash_node", "rcu_head"],
        cpus: [
          {
            boot: open,
            run(lib, cpu, map: RcuHashMap) {
              const scope = lib.rcuReadLock();
              cpu.note("value 0", map.get(scope, 1) ?? -1);
              cpu.note("other 0", map.get(scope, 6) ?? -1);
              lib.rcuReadUnlock();
              lib.rcuQuiescent();
              lib.goIdle();
            },
          },
          {
            boot: open,
            run(lib, cpu, map: RcuHashMap) {
              update(lib, map, cpu);
              lib.goIdle();
            },
          },
        ],
        judge(notes) {
          for (const [key, value] of notes) {
            if (key.startsWith("value") && value !== 11 && value !== 12)
              return value === -1
                ? "a reader missed a key that was there all the time"
                : `a reader found ${value}, which the key never had`;
            if (key.startsWith("other") && value !== 16 && value !== -1) return `key 6 was ${value}`;
          }
          return null;
        },
      };
    },
  };
}

const list: Scenario = {
  name: "RcuList, walked while it changes",
  about: "a walk sees every entry that was there throughout, in order, and none that was given back",
  models: BOTH,
  build(lib) {
    const shared = new lib.RcuList();
    for (const value of [1, 2, 3]) shared.push(value);
    const open = (lib: Library): RcuList => new lib.RcuList({ at: shared.ref });
    return {
      stock: ["rcu_list_entry", "rcu_head"],
      cpus: [
        {
          boot: open,
          run(lib, cpu, list: RcuList) {
            const scope = lib.rcuReadLock();
            let seen = 0;
            list.forEach(scope, (value) => {
              seen = seen * 10 + value;
            });
            cpu.note("walk", seen);
            lib.rcuReadUnlock();
            lib.goIdle();
          },
        },
        {
          boot: open,
          run(lib, _cpu, list: RcuList) {
            const scope = lib.rcuReadLock();
            const second = list.next(scope, list.first(scope) as never);
            list.remove(scope, second as never);
            lib.rcuReadUnlock();
            list.push(4);
            lib.rcuQuiescent();
            lib.rcuRunCallbacks();
            lib.goIdle();
          },
        },
      ],
      judge(notes) {
        const walk = String(notes.get("walk"));
        return /^12?34?$/.test(walk) ? null : `the walk saw ${walk}`;
      },
    };
  },
};

const twoLists: Scenario = {
  name: "RcuList, two updaters and a walk",
  about: "two CPUs change the list, under its lock, while a third one walks it",
  full: true,
  build(lib) {
    const cast = list.build(lib, 0);
    const shared = new lib.RcuList();
    shared.push(1);
    const open = (lib: Library): RcuList => new lib.RcuList({ at: shared.ref });
    const push = (value: number) => ({
      boot: open,
      run(lib: Library, _cpu: Cpu, list: RcuList) {
        list.push(value);
        lib.goIdle();
      },
    });
    return {
      stock: cast.stock!,
      cpus: [
        {
          boot: open,
          run(lib, cpu, list: RcuList) {
            const scope = lib.rcuReadLock();
            let seen = 0;
            list.forEach(scope, (value) => {
              seen = seen * 10 + value;
            });
            cpu.note("walk", seen);
            lib.rcuReadUnlock();
            lib.goIdle();
          },
        },
        push(2),
        push(3),
      ],
      judge: (notes) =>
        /^1(23?|32?)?$/.test(String(notes.get("walk"))) ? null : `the walk saw ${notes.get("walk")}`,
    };
  },
};

const cache: Scenario = {
  name: "RcuCache, reading while entries are evicted",
  about: "the value of a key is found whole or not at all; an updated key is always found",
  models: BOTH,
  build(lib) {
    const shared = new lib.RcuCache({ capacity: 2 });
    shared.insert(1, 11);
    shared.insert(2, 12);
    const open = (lib: Library): RcuCache => new lib.RcuCache({ at: shared.ref });
    return {
      stock: ["rcu_cache_node", "rcu_head"],
      cpus: [
        {
          boot: open,
          run(lib, cpu, cache: RcuCache) {
            const scope = lib.rcuReadLock();
            cpu.note("kept", cache.get(scope, 2) ?? -1);
            cpu.note("evicted", cache.get(scope, 1) ?? -1);
            lib.rcuReadUnlock();
            lib.goIdle();
          },
        },
        {
          boot: open,
          run(lib, cpu, cache: RcuCache) {
            cache.insert(2, 22);
            cpu.note("did", cache.insert(3, 13));
            lib.goIdle();
          },
        },
      ],
      judge(notes) {
        if (notes.get("did") !== lib.EVICTED) return "nothing was evicted";
        if (![12, 22].includes(notes.get("kept")!)) return `the updated key was ${notes.get("kept")}`;
        return [11, -1].includes(notes.get("evicted")!)
          ? null
          : `the evicted key was ${notes.get("evicted")}`;
      },
    };
  },
};

const idr: Scenario = {
  name: "Idr, lookup while the tree grows and shrinks",
  about: "an id that is allocated all the time is found; one that is freed is found or not",
  models: BOTH,
  build(lib) {
    const shared = new lib.Idr();
    shared.alloc(11);
    shared.alloc(12);
    const open = (lib: Library): Idr => new lib.Idr({ at: shared.ref });
    return {
      stock: ["idr_node", "rcu_head"],
      cpus: [
        {
          boot: open,
          run(lib, cpu, idr: Idr) {
            const scope = lib.rcuReadLock();
            cpu.note("kept", idr.get(scope, 1) ?? 0);
            cpu.note("far", idr.get(scope, 64) ?? 0);
            lib.rcuReadUnlock();
            lib.goIdle();
          },
        },
        {
          boot: open,
          run(lib, _cpu, idr: Idr) {
            idr.alloc(13, 64); // A second level.
            idr.remove(64); // Its leaf is given back.
            lib.rcuQuiescent();
            lib.rcuRunCallbacks();
            lib.goIdle();
          },
        },
      ],
      judge(notes) {
        if (notes.get("kept") !== 12) return `id 1 was ${notes.get("kept")}`;
        return [0, 13].includes(notes.get("far")!) ? null : `id 64 was ${notes.get("far")}`;
      },
    };
  },
};

const arc: Scenario = {
  name: "RcuOptionArc, cloned while it is replaced",
  about: "a count that is taken in a scope keeps the object until it is dropped",
  build(lib) {
    const thing = (value: number) => {
      const ref = lib.alloc(lib.Thing);
      if (ref === 0) throw new Error("the model's heap is full");
      lib.Thing.value.init(ref, value);
      return lib.arcNew(lib.Thing, ref) as never;
    };
    const cell = new lib.RcuOptionArc<"model_thing">(thing(1));
    const open = (lib: Library): RcuOptionArc<"model_thing"> => new lib.RcuOptionArc({ at: cell.ref });
    return {
      stock: ["rcu_arc", "rcu_head"],
      cpus: [
        {
          boot: open,
          run(lib, cpu, cell: RcuOptionArc<"model_thing">) {
            const scope = lib.rcuReadLock();
            const mine = cell.clone(scope);
            lib.rcuReadUnlock();
            lib.rcuQuiescent();
            lib.rcuQuiescent();
            if (mine !== 0) {
              const object = lib.arcGet(mine);
              cpu.note("state", lib.i32[object + CELL_STATE]! & 0xff);
              lib.arcDrop(mine);
            }
            lib.goIdle();
          },
        },
        {
          boot: open,
          run(lib, _cpu, cell: RcuOptionArc<"model_thing">) {
            cell.update(0, "now");
            lib.rcuQuiescent();
            lib.rcuRunCallbacks();
            lib.goIdle();
          },
        },
      ],
      judge: (notes) =>
        notes.get("state") === CELL_FREE ? "the object was given back while a count was held" : null,
    };
  },
};

export const COLLECTIONS: readonly Scenario[] = [
  map("a key is updated", "a reader sees the old value or the new one, never neither", (_lib, map) => {
    map.insert(1, 12);
  }),
  map("a neighbour is removed", "the chain stays whole around a node that goes", (lib, map) => {
    map.remove(6);
    lib.rcuQuiescent();
    lib.rcuRunCallbacks();
  }),
  map("the table grows", "a reader of the old table finds every key in it", (_lib, map) => {
    map.insert(5, 15);
  }),
  map(
    "the table grows twice",
    "links are rewritten only when their readers are gone: else the nodes are copied",
    (lib, map, cpu) => {
      map.insert(5, 15);
      lib.rcuQuiescent();
      for (const key of [7, 8, 9, 10]) map.insert(key, key + 10);
      cpu.note("buckets", map.buckets);
    },
    { models: ["tso"] },
  ),
  map(
    "the table grows by copying its nodes",
    "a reader of the old table finds every key in it, and nodes that stay as they were until it has left",
    (lib, map, cpu) => {
      map.insert(10, 20); // The links are in use since the last growth.
      cpu.note("buckets", map.buckets);
      lib.rcuRunCallbacks();
      for (let key = 22; key < 30; key++) map.insert(key, 0); // In the memory of the old nodes, once that is free.
    },
    {},
    true,
  ),
  map(
    "a key is updated in a table that was just copied",
    "a reader finds the old value or the new one, in whichever table",
    (_lib, map) => {
      map.insert(10, 20);
      map.insert(1, 12);
    },
    {},
    true,
  ),
  map(
    "a freed node comes back as another key",
    "removed, given back, and inserted again: no reader stands on a node that changes its key",
    (lib, map) => {
      map.remove(6);
      lib.rcuQuiescent();
      lib.rcuRunCallbacks();
      map.insert(22, 32);
    },
    { models: ["tso"] },
  ),
  list,
  twoLists,
  cache,
  idr,
  arc,
];
