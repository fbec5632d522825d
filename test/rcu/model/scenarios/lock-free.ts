/** RcuLockFreeMap: updates of several CPUs at once, beside readers, while it grows and shrinks, and when a CPU dies in it. */
import type { Heap, RcuLockFreeMap } from "../../../../rcu/index.ts";
import type { Cpu, Library, Scenario } from "../scenario.ts";

type Map2 = RcuLockFreeMap;
type Word = (at: number) => number;
type Notes = ReadonlyMap<string, number>;

const BOTH = ["tso", "weak"] as const;
const NONE = -1;

/** The entries in memory, `key=value`, in the order of the list, and what is wrong with that; removed nodes are left out. */
function contents(word: Word, ref: number): { readonly entries: string; readonly wrong: string | null } {
  const entries: string[] = [];
  let last = -(2 ** 31) - 1;
  let steps = 0;
  for (let at = word(word(ref) + 1) + 1; at !== 0; at = word(at) & ~1) {
    if (++steps > 40) return { entries: "", wrong: "the list has no end" };
    const order = word(at + 1);
    if (order < last) return { entries: "", wrong: "the list is not in order" };
    last = order;
    if ((order & 1) !== 0 && (word(at) & 1) === 0) entries.push(`${word(at + 2)}=${word(at + 3)}`);
  }
  return { entries: entries.toSorted().join(" "), wrong: null };
}

type Actor = (lib: Library, map: Map2, cpu: Cpu) => void;
/** A map of four buckets or more, with these entries, and CPUs that use it at once. */
function together(
  name: string,
  about: string,
  entries: Readonly<Record<number, number>>,
  actors: readonly Actor[],
  judge: (notes: Notes, entries: string) => string | null,
  more: Partial<Scenario> = {},
  buckets = 4,
): Scenario {
  return {
    name: `RcuLockFreeMap, ${name}`,
    about,
    models: BOTH,
    ...more,
    build(lib) {
      const shared = new lib.RcuLockFreeMap({ buckets: 4 });
      shared.resize(buckets);
      for (const [key, value] of Object.entries(entries)) shared.insert(Number(key), value);
      return {
        stock: ["rcu_lock_free_node", "rcu_head", "rcu_split_view"],
        cpus: actors.map((act) => ({
          boot: (lib: Library): Map2 => new lib.RcuLockFreeMap({ at: shared.ref }),
          run(lib: Library, cpu: Cpu, map: Map2) {
            act(lib, map, cpu);
            lib.goIdle();
          },
        })),
        judge(notes, word) {
          const { entries, wrong } = contents(word, shared.ref);
          return wrong ?? judge(notes, entries);
        },
      };
    },
  };
}
/** Looks for keys in one scope, and notes what it finds as `name` and the key. */
const look =
  (...keys: number[]) =>
  (lib: Library, map: Map2, cpu: Cpu): void => {
    const scope = lib.rcuReadLock();
    for (const key of keys) cpu.note(`key ${key}`, map.get(scope, key) ?? NONE);
    lib.rcuReadUnlock();
    lib.rcuQuiescent();
  };
const oneOf = (notes: Notes, name: string, ...values: number[]): string | null =>
  values.includes(notes.get(name)!) ? null : `${name} was ${notes.get(name)}`;
const onlyEntries = (entries: string, ...allowed: string[]): string | null =>
  allowed.includes(entries) ? null : `in the end there are ${entries}`;

/** With the seed of the model 3, 16, 8, 21 stand in one bucket of four, in this order; with eight buckets 3 has its own. */
const replaced = together(
  "a key is replaced",
  "a reader finds the old value or the new one, never neither, and all other keys",
  { 3: 13, 8: 18 },
  [
    look(3, 8),
    (lib, map) => {
      map.insert(3, 23);
      lib.rcuQuiescent();
      lib.rcuRunCallbacks();
    },
  ],
  (notes, entries) =>
    oneOf(notes, "key 3", 13, 23) ?? oneOf(notes, "key 8", 18) ?? onlyEntries(entries, "3=23 8=18"),
);

const removed = together(
  "a neighbour is removed, freed, and comes back as another key",
  "a reader finds what stays, and stands on no node that was given back",
  { 3: 13, 8: 18, 16: 26 },
  [
    look(8, 16),
    (lib, map) => {
      map.remove(16);
      lib.rcuQuiescent();
      lib.rcuRunCallbacks();
      map.insert(21, 31);
    },
  ],
  (notes, entries) =>
    oneOf(notes, "key 8", 18) ?? oneOf(notes, "key 16", 26, NONE) ?? onlyEntries(entries, "21=31 3=13 8=18"),
);

const sameKey = together(
  "two insert the same key",
  "one of them does, and the other is told the value that is there",
  { 3: 13 },
  [1, 2].map((value) => (_lib: Library, map: Map2, cpu: Cpu) => {
    cpu.note(`found by ${value}`, map.addUnique(8, value) ?? 0);
  }),
  (notes, entries) => {
    const found = `${notes.get("found by 1")} ${notes.get("found by 2")}`;
    if (entries === "3=13 8=1") return found === "0 1" ? null : `they found ${found}`;
    if (entries === "3=13 8=2") return found === "2 0" ? null : `they found ${found}`;
    return `in the end there are ${entries}`;
  },
);

const beside = together(
  "one inserts behind what another removes",
  "a node that goes takes none with it that comes",
  { 3: 13, 8: 18 },
  [(_lib, map) => void map.insert(16, 26), (_lib, map, cpu) => cpu.note("removed", map.remove(3) ?? NONE)],
  (notes, entries) => oneOf(notes, "removed", 13) ?? onlyEntries(entries, "16=26 8=18"),
);

const neighbours = together(
  "two remove neighbours",
  "both are gone, and each is retired once",
  { 3: 13, 8: 18, 16: 26 },
  [3, 16].map((key) => (_lib: Library, map: Map2, cpu: Cpu) => {
    cpu.note(`removed ${key}`, map.remove(key) ?? NONE);
  }),
  (notes, entries) =>
    oneOf(notes, "removed 3", 13) ?? oneOf(notes, "removed 16", 26) ?? onlyEntries(entries, "8=18"),
);

const removeTwice = together(
  "two remove the same key",
  "one of them gets the value",
  { 3: 13, 8: 18 },
  [0, 1].map((cpuNumber) => (_lib: Library, map: Map2, cpu: Cpu) => {
    cpu.note(`removed by ${cpuNumber}`, map.remove(3) ?? NONE);
  }),
  (notes, entries) => {
    const both = [notes.get("removed by 0")!, notes.get("removed by 1")!].toSorted((a, b) => a - b);
    return both.join() === `${NONE},13` ? onlyEntries(entries, "8=18") : `they got ${both}`;
  },
);

const removeReplace = together(
  "one removes what another replaces",
  "each value is removed, replaced, or there: once",
  { 3: 13 },
  [
    (_lib, map, cpu) => cpu.note("removed", map.remove(3) ?? NONE),
    (_lib, map, cpu) => cpu.note("replaced", map.exchange(3, 23) ?? NONE),
  ],
  (notes, entries) => {
    const came = `removed ${notes.get("removed")}, replaced ${notes.get("replaced")}, left ${entries}`;
    return ["removed 13, replaced -1, left 3=23", "removed 23, replaced 13, left "].includes(came)
      ? null
      : came;
  },
);

const counts = together(
  "two add to a value",
  "no addition is lost",
  { 3: 0 },
  [1, 10].map((more) => (_lib: Library, map: Map2) => void map.update(3, (value) => value + more)),
  (_notes, entries) => onlyEntries(entries, "3=11"),
  { models: ["tso"], fullModels: ["weak"] },
);

const duplicates = together(
  "duplicates come and go",
  "two entries of a key are told apart: each is removed once, and none is lost",
  { 3: 13 },
  [
    (_lib, map) => map.addDuplicate(3, 23),
    (_lib, map, cpu) => {
      cpu.note("removed", map.remove(3) ?? NONE);
      cpu.note("also", map.remove(3) ?? NONE);
    },
  ],
  (notes, entries) => {
    const came = `${notes.get("removed")} ${notes.get("also")} ${entries}`;
    return ["13 -1 3=23", "13 23 "].includes(came) ? null : came;
  },
);

const growsReading = together(
  "it grows under a reader",
  "who looks finds the right place, whichever buckets it knows",
  { 3: 13, 8: 18 },
  [(_lib, map) => void map.resize(8), look(3, 8)],
  (notes, entries) =>
    oneOf(notes, "key 3", 13) ?? oneOf(notes, "key 8", 18) ?? onlyEntries(entries, "3=13 8=18"),
);
const growsUpdating = together(
  "it grows beside an update",
  "what is inserted where a bucket is being put stays, and so does the bucket",
  { 3: 13, 8: 18 },
  [(_lib, map) => void map.resize(8), (_lib, map) => void map.insert(16, 26)],
  (_notes, entries) => onlyEntries(entries, "16=26 3=13 8=18"),
  { models: ["tso"], full: true },
);

/** A table of eight buckets becomes one of four, while another CPU does something. */
const shrinks = (
  name: string,
  about: string,
  other: Actor,
  judge: (notes: Notes, entries: string) => string | null,
  more: Partial<Scenario> = {},
): Scenario =>
  together(
    name,
    about,
    { 3: 13, 8: 18 },
    [
      other,
      (lib, map, cpu) => {
        map.resize(4);
        lib.rcuQuiescent();
        cpu.note("done", map.resize(4) ? 1 : 0);
        lib.rcuQuiescent();
        lib.rcuRunCallbacks();
        // The buckets' memory is somebody else's now.
        const array = lib.tryAllocArray(9);
        if (array !== 0) for (let n = 0; n < 9; n++) lib.arraySet(array, n, 1);
      },
    ],
    judge,
    more,
    8,
  );
const shrinksReading = shrinks(
  "it shrinks under a reader",
  "buckets stay while somebody may stand there, and all keys are found",
  (lib, map, cpu) => {
    lib.rcuQuiescent(); // A table that shrank before this has waited for it.
    look(8)(lib, map, cpu);
  },
  (notes, entries) => oneOf(notes, "key 8", 18) ?? onlyEntries(entries, "3=13 8=18"),
  { models: ["sc"], fullModels: BOTH, full: true },
);
const shrinksUpdating = shrinks(
  "it shrinks beside an update",
  "what is removed behind a bucket that goes is gone, and the update ends",
  (lib, map) => {
    map.delete(8);
    lib.rcuQuiescent();
  },
  (_notes, entries) => onlyEntries(entries, "3=13"),
  { models: ["tso"], full: true },
);

/** More than the accesses of one that inserts, replaces and removes: the last variants let it live. */
const LIFE = 110;
const dies: Scenario = {
  name: "RcuLockFreeMap, a CPU dies in an update",
  about: "a key that was there is there or was removed; others unlink what it took out, and go on",
  variants: LIFE,
  timeouts: 3,
  build(lib, diesAfter) {
    const root = lib.alloc(lib.Root);
    const shared = new lib.RcuLockFreeMap({ buckets: 4 });
    for (const key of [3, 8, 16]) shared.insert(key, key + 10);
    const obituary = (lib: Library): void => {
      lib.Root.y.store(root, 1);
      lib.Root.y.notify(root);
    };
    return {
      stock: ["rcu_lock_free_node", "rcu_head"],
      cpus: [
        {
          reboot: true,
          boot: (lib: Library) => [lib.currentHeap()!, new lib.RcuLockFreeMap({ at: shared.ref })] as const,
          run(lib: Library, cpu: Cpu, [heap, map]: readonly [Heap, Map2]) {
            while (lib.Root.y.load(root) === 0) lib.Root.y.wait(root, 0);
            heap.reap(1);
            cpu.note("removed 8", map.remove(8) ?? NONE);
            lib.goIdle();
          },
        },
        {
          boot: (lib: Library) => new lib.RcuLockFreeMap({ at: shared.ref }),
          diesAfter,
          died: obituary,
          run(lib: Library, cpu: Cpu, map: Map2) {
            map.insert(3, 23);
            map.remove(8);
            cpu.note("lived", 1);
            obituary(lib);
          },
        },
      ],
      judge(notes, word) {
        const { entries, wrong } = contents(word, shared.ref);
        if (wrong !== null) return wrong;
        if (notes.has("lived") && notes.get("removed 8") !== NONE) return "it was removed twice";
        return oneOf(notes, "removed 8", 18, NONE) ?? onlyEntries(entries, "16=26 3=13", "16=26 3=23");
      },
    };
  },
};

export const LOCK_FREE: readonly Scenario[] = [
  replaced,
  removed,
  sameKey,
  beside,
  neighbours,
  removeTwice,
  removeReplace,
  counts,
  duplicates,
  growsReading,
  growsUpdating,
  shrinksReading,
  shrinksUpdating,
  dies,
];
