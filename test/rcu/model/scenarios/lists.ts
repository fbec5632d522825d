/** Lists through structs, walked while nodes are replaced and lists are joined. */
import type { Ref } from "../../../../rcu/index.ts";
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

export const LISTS: readonly Scenario[] = [replace, splice, spliced, llist];
