/** Lists through structs, walked while nodes are replaced and lists are joined. */
import type { Cursor, RcuList, Ref } from "../../../../rcu/index.ts";
import { CELL_FREE, CELL_STATE } from "../../../../rcu/layout.ts";
import { type Cpu, HELD, type Library, type Scenario } from "../scenario.ts";

type EntryRef = Ref<"model_entry">;

function entry(lib: Library, id: number): EntryRef {
  const ref = lib.alloc(lib.Entry) as EntryRef;
  lib.Entry.id.init(ref, id);
  return ref;
}
/** Two lists: one of 1 and 2, another of 3. */
function lists(lib: Library): { one: number; other: number; entries: EntryRef[] } {
  const ref = lib.alloc(lib.Lists) as Ref<"model_lists">;
  lib.Lists.one.init(ref);
  lib.Lists.other.init(ref);
  const one = lib.Lists.one.at(ref);
  const other = lib.Lists.other.at(ref);
  const entries = [1, 2, 3].map((id) => entry(lib, id));
  for (const [n, at] of entries.entries()) lib.listAddTail(HELD, n < 2 ? one : other, lib.Entry.link.at(at));
  return { one, other, entries };
}
/** Walks a list in a scope, notes its entries as the digits of a number, and whether one was freed. */
function walk(lib: Library, cpu: Cpu, head: number): void {
  let seen = 0;
  lib.rcuReadLock();
  for (let at = lib.listFirst(head); at !== 0; at = lib.listNext(head, at)) {
    const entry = lib.Entry.link.owner(at);
    seen = seen * 10 + lib.Entry.id.get(entry);
    if ((lib.i32[entry + CELL_STATE]! & 0xff) === CELL_FREE) cpu.note("freed", 1);
  }
  cpu.note("seen", seen);
  lib.rcuReadUnlock();
}

const seenOnly =
  (...allowed: number[]) =>
  (notes: ReadonlyMap<string, number>): string | null => {
    if (notes.has("freed")) return "a reader stood on a node that was given back";
    return allowed.includes(notes.get("seen")!) ? null : `a walk saw ${notes.get("seen")}`;
  };

const replace: Scenario = {
  name: "a list, a node is replaced",
  about: "a walk finds the old node or the new one, and all others once",
  models: ["tso", "weak"],
  build(lib) {
    const { one, entries } = lists(lib);
    const fresh = entry(lib, 9);
    return {
      cpus: [
        {
          run(lib, cpu) {
            walk(lib, cpu, one);
            lib.goIdle();
          },
        },
        {
          run(lib) {
            lib.listReplaceRcu(HELD, lib.Entry.link.at(entries[0]!), lib.Entry.link.at(fresh));
            lib.kfreeRcu(lib.Entry, entries[0]!);
            lib.rcuQuiescent();
            lib.rcuRunCallbacks();
            lib.goIdle();
          },
        },
      ],
      judge: seenOnly(12, 92),
    };
  },
};

const splice: Scenario = {
  name: "lists, one is joined to another",
  about: "a walk of the list that is emptied finds its end, whatever it has found before",
  models: ["tso", "weak"],
  build(lib) {
    const { one, other } = lists(lib);
    return {
      cpus: [
        {
          run(lib, cpu) {
            walk(lib, cpu, one);
            lib.goIdle();
          },
        },
        {
          run(lib) {
            lib.listSpliceInitRcu(HELD, one, other, lib.synchronizeRcu);
            lib.goIdle();
          },
        },
      ],
      judge: seenOnly(0, 12),
    };
  },
};

const spliced: Scenario = {
  name: "lists, another is joined to this one",
  about: "a walk of the list that grows finds its own nodes, and all of the others or none",
  models: ["tso", "weak"],
  build(lib) {
    const { one, other } = lists(lib);
    return {
      cpus: [
        {
          run(lib, cpu) {
            lib.rcuQuiescent(); // From here on it may find them.
            walk(lib, cpu, one);
            lib.goIdle();
          },
        },
        {
          run(lib) {
            lib.listSpliceInitRcu(HELD, other, one, lib.synchronizeRcu);
            lib.goIdle();
          },
        },
      ],
      judge: seenOnly(12, 312),
    };
  },
};

const llist: Scenario = {
  name: "llist",
  about: "what two CPUs add is taken off once, all of it",
  models: ["tso", "weak"],
  build(lib) {
    const { one, entries } = lists(lib);
    lib.i32[one] = 0; // A word of the head is a head.
    const add = (lib: Library, entry: EntryRef): void => {
      lib.Entry.id.init(entry, 5);
      lib.llistAdd(one, lib.Entry.link.at(entry));
      lib.goIdle();
    };
    return {
      cpus: [
        {
          run(lib, cpu) {
            let taken = 0;
            for (let at = lib.llistDelAll(one); at !== 0; at = lib.llistNext(at))
              taken += lib.Entry.id.get(lib.Entry.link.owner(at)) === 5 ? 1 : 100;
            cpu.note("taken", taken);
            lib.goIdle();
          },
        },
        { run: (lib) => add(lib, entries[0]!) },
        { run: (lib) => add(lib, entries[1]!) },
      ],
      judge(notes, word) {
        let left = 0;
        for (let at = word(one); at !== 0 && left < 3; at = word(at)) left++;
        const all = left + notes.get("taken")!;
        return all === 2 ? null : `${all} of 2 nodes are there`;
      },
    };
  },
};

/** An RcuList that is walked by the first CPU while the second one changes it, frees what it may, and reuses it. */
function whole(
  name: string,
  about: string,
  change: (lib: Library, one: RcuList, other: RcuList, cursor: Cursor) => void,
  allowed: (seen: number, rest: number) => boolean,
): Scenario {
  return {
    name,
    about,
    models: ["tso", "weak"],
    build(lib) {
      const [one, other] = [new lib.RcuList(), new lib.RcuList()];
      for (const value of [1, 2]) one.push(value);
      other.push(3);
      const cursor = one.first(lib.rcuReadLock()) as Cursor;
      lib.rcuReadUnlock();
      const boot = (lib: Library): RcuList[] => [one, other].map((list) => new lib.RcuList({ at: list.ref }));
      return {
        stock: ["rcu_list_entry"],
        cpus: [
          {
            boot,
            run(lib, cpu, [one, other]: RcuList[]) {
              const scope = lib.rcuReadLock();
              let digits = 0;
              for (const value of one!.values(scope)) digits = digits * 10 + value;
              cpu.note("seen", digits);
              lib.getStateSynchronizeRcu(); // An atomic load: plain ones of two lists are not ordered.
              digits = 0;
              for (const value of other!.values(scope)) digits = digits * 10 + value;
              cpu.note("rest", digits);
              lib.rcuReadUnlock();
              lib.goIdle();
            },
          },
          {
            boot,
            run(lib, _cpu, [one, other]: RcuList[]) {
              change(lib, one!, other!, cursor);
              lib.rcuQuiescent();
              lib.rcuRunCallbacks();
              const again = lib.tryAlloc(lib.declaredStructs.get("rcu_list_entry")!);
              if (again !== 0) for (let word = 0; word < 3; word++) lib.i32[again + word] = 0;
              lib.goIdle();
            },
          },
        ],
        judge(notes) {
          const [seen, rest] = [notes.get("seen")!, notes.get("rest")!];
          return allowed(seen, rest) ? null : `the walks saw ${seen} and ${rest}`;
        },
      };
    },
  };
}
const append = whole(
  "RcuList, appended to another",
  "who walks the list that is emptied, loads atomically, and walks the one that grows, finds every value",
  (_lib, one, other) => other.append(one),
  (seen, rest) => (seen === 12 && (rest === 3 || rest === 312)) || (seen === 0 && rest === 312),
);
const clear = whole(
  "RcuList, cleared",
  "a walk finds all entries or none, and its end",
  (_lib, one) => one.clear(),
  (seen, rest) => (seen === 12 || seen === 0) && rest === 3,
);
const split = whole(
  "RcuList, split",
  "a walk finds all entries or those that stay, and its end",
  (lib, one, _other, cursor) => {
    const scope = lib.rcuReadLock();
    one.split(scope, one.next(scope, cursor) as Cursor);
    lib.rcuReadUnlock();
  },
  (seen, rest) => (seen === 12 || seen === 1) && rest === 3,
);

export const LISTS: readonly Scenario[] = [replace, splice, spliced, llist, append, clear, split];
