/**
 * The memories that programs run on.
 *
 * sc: every access takes effect at once.
 *
 * tso (x86): a plain store sits in its CPU's buffer (first in, first out), which may be emptied by one at any moment. The CPU's
 * own loads see it, others do not. Atomic stores and read-modify-writes wait for the buffer to be empty; atomic loads do not.
 *
 * weak (what arm64 and ECMAScript allow of it): every word keeps the stores that were made to it, every CPU a view: for
 * each word the oldest store that it may still read. A plain load may read any store from its view on, so loads and stores
 * to different words appear in any order. An atomic store or read-modify-write leaves its CPU's view behind, in one
 * common view; an atomic load (or a comparison that fails) takes that over. A read-modify-write that stores takes over only what the
 * store that it read had seen: where it is a load-exclusive and a store-exclusive (arm64 without LSE), later plain loads may
 * pass its store, and then read what was there when it loaded. Address dependencies: who loads a reference by a plain
 * load has, for the words of the cell that it names, the view of the store that it read; and so on along a chain.
 * Not modelled: a plain load that takes its value only after a later store of its CPU (load buffering), or after a later atomic
 * load; two loads of one word that go backwards; plain stores to one word that race (reported instead).
 */
import { applied, isPlainStore, type Op } from "./access.ts";
import type { Node } from "./program.ts";

export type MemoryModel = "sc" | "tso" | "weak";

/** Contents of the memory: interned, so that equal ones are one object. */
export interface Memory {
  readonly id: number;
}
export interface Outcome<M extends Memory> {
  /** What the access gives. */
  readonly value: number;
  readonly memory: M;
  /** Two stores to this word race, and one of them is plain: their order is not explored. */
  readonly race?: boolean;
  /** The load gives what a later store has replaced. */
  readonly old?: boolean;
  /** The load gives what the cell held before the reference to it was published. */
  readonly stale?: boolean;
  /** The store is to a word that holds this. */
  readonly over?: number;
}

/** sc and tso: words alone; the buffers are in the programs' nodes (explore.ts). */
export class Words implements Memory {
  readonly id: number;
  readonly words: Int32Array;
  readonly next = new Map<number, Words>();
  constructor(id: number, words: Int32Array) {
    this.id = id;
    this.words = words;
  }
}

export class FlatMemory {
  readonly #all = new Map<string, Words>();

  initial(words: Int32Array): Words {
    return this.#intern(words);
  }
  #intern(words: Int32Array): Words {
    const key = words.join();
    let memory = this.#all.get(key);
    if (memory === undefined) this.#all.set(key, (memory = new Words(this.#all.size, words)));
    return memory;
  }
  set(memory: Words, word: number, value: number): Words {
    if (memory.words[word] === value) return memory;
    const step = word * 0x1_0000_0000 + (value >>> 0);
    let next = memory.next.get(step);
    if (next === undefined) {
      const words = memory.words.slice();
      words[word] = value;
      memory.next.set(step, (next = this.#intern(words)));
    }
    return next;
  }
  access(memory: Words, word: number, op: Op): Outcome<Words> {
    const old = memory.words[word]!;
    const fresh = applied(op, old);
    const stores = isPlainStore(op) || op.kind === "atomic store";
    return {
      value: stores ? 0 : old,
      over: old,
      memory: fresh === undefined ? memory : this.set(memory, word, fresh),
    };
  }
}

/** A view: for each shared word, the number of the oldest store that may be read. */
type View = readonly number[];
interface Store {
  readonly value: number;
  /** What its CPU had seen, when it is atomic. */
  readonly view: View | null;
  /** What its CPU had seen, when it is the plain store of a reference: who follows that should see as much. */
  readonly seen: View | null;
  /** The bits that a plain store changed. */
  readonly mask: number;
}
const ALL = -1;
/** Views of the words of cells to which a CPU has loaded a reference. */
type Depends = ReadonlyMap<number, View>;

export class Histories implements Memory {
  readonly id: number;
  /** Number of the first store kept, per word. */
  readonly base: View;
  readonly stores: readonly (readonly Store[])[];
  readonly views: readonly View[];
  /** What atomic stores have left behind. */
  readonly common: View;
  readonly depends: readonly Depends[];
  /** What CPUs should see in cells to which they loaded a reference, whether they must or not. */
  readonly expects: readonly Depends[];
  /** What accesses make of it, once computed. */
  readonly next = new Map<string, Outcome<Histories>[]>();

  constructor(id: number, from: Draft) {
    this.id = id;
    this.base = from.base;
    this.stores = from.stores;
    this.views = from.views;
    this.common = from.common;
    this.depends = from.depends;
    this.expects = from.expects;
  }
}
type Draft = Omit<Histories, "id" | "next">;

const later = (a: View, b: View): View => a.map((at, n) => Math.max(at, b[n]!));
const NONE: Depends = new Map();

export class WeakMemory {
  readonly #all = new Map<string, Histories>();
  readonly #words: readonly number[];
  /** The cell that an address or a reference is in; -1 when in none. */
  readonly #cellOf: (at: number) => number;

  constructor(words: readonly number[], cellOf: (at: number) => number) {
    this.#words = words;
    this.#cellOf = cellOf;
  }

  initial(words: Int32Array, cpus: number): Histories {
    const zero = Array.from(words, () => 0);
    return this.#intern(
      {
        base: zero,
        stores: Array.from(words, (value) => [{ value, view: null, seen: null, mask: ALL }]),
        views: Array.from({ length: cpus }, () => zero),
        common: zero,
        depends: Array.from({ length: cpus }, () => NONE),
        expects: Array.from({ length: cpus }, () => NONE),
      },
      (1 << cpus) - 1,
    );
  }

  /** Forgets what no running CPU can read any more, and finds the object that says the same. */
  #intern(draft: Draft, running: number): Histories {
    const base = draft.base.map((_, word) => {
      let low = Number.MAX_SAFE_INTEGER;
      for (let cpu = 0; cpu < draft.views.length; cpu++)
        if ((running & (1 << cpu)) !== 0) low = Math.min(low, draft.views[cpu]![word]!);
      const top = draft.base[word]! + draft.stores[word]!.length - 1;
      return Math.min(low, top);
    });
    const stores = draft.stores.map((list, word) => list.slice(base[word]! - draft.base[word]!));
    const relative = (view: View | null): string => {
      if (view === null) return "";
      let text = "";
      for (let word = 0; word < view.length; word++)
        text += String.fromCharCode(48 + Math.max(0, view[word]! - base[word]!));
      return text;
    };
    const key = [
      stores
        .map((list) =>
          list
            .map(({ value, view, mask, seen }) => `${value}:${relative(view)}:${mask}:${relative(seen)}`)
            .join(";"),
        )
        .join("/"),
      draft.views.map((view, cpu) => ((running & (1 << cpu)) !== 0 ? relative(view) : "-")).join("/"),
      relative(draft.common),
      draft.depends
        .map((map) => [...map].map(([cell, view]) => `${cell}:${relative(view)}`).join(";"))
        .join("/"),
      draft.expects
        .map((map) => [...map].map(([cell, view]) => `${cell}:${relative(view)}`).join(";"))
        .join("/"),
    ].join("|");
    let memory = this.#all.get(key);
    if (memory === undefined) {
      memory = new Histories(this.#all.size, { ...draft, base, stores });
      this.#all.set(key, memory);
    }
    return memory;
  }

  /** A CPU has ended: what it could see no longer matters. */
  settle(memory: Histories, running: number): Histories {
    return this.#intern(memory, running);
  }

  value(memory: Histories, word: number): number {
    return memory.stores[word]!.at(-1)!.value;
  }

  access(memory: Histories, cpu: number, word: number, op: Op, running: number): Outcome<Histories>[] {
    const key = `${cpu},${word},${op.kind},${op.a},${op.b},${running}`;
    let outcomes = memory.next.get(key);
    if (outcomes === undefined)
      memory.next.set(key, (outcomes = this.#access(memory, cpu, word, op, running)));
    return outcomes;
  }
  #access(memory: Histories, cpu: number, word: number, op: Op, running: number): Outcome<Histories>[] {
    if (op.kind === "load") return this.#load(memory, cpu, word, running);
    if (isPlainStore(op)) {
      // Of bytes: the others are those that were there last, whoever stored them.
      const value = applied(op, this.value(memory, word))!;
      return [this.#store(memory, cpu, word, value, op.kind === "store" ? ALL : op.b, running)];
    }
    if (op.kind === "atomic store") return [this.#store(memory, cpu, word, op.a | 0, 0, running)];
    if (op.kind === "notify") return [{ value: 0, memory: this.#publish(memory, cpu, running) }];
    return this.#atomic(memory, cpu, word, op, running);
  }

  #load(memory: Histories, cpu: number, word: number, running: number): Outcome<Histories>[] {
    const view = memory.views[cpu]!;
    const depends = memory.depends[cpu]!;
    const at = this.#cellOf(this.#words[word]!);
    const inherited = depends.get(at);
    const expected = memory.expects[cpu]!.get(at);
    const low = Math.max(view[word]!, inherited?.[word] ?? 0);
    const list = memory.stores[word]!;
    const outcomes: Outcome<Histories>[] = [];
    for (let n = low - memory.base[word]!; n < list.length; n++) {
      const { value, view: left, seen } = list[n]!;
      const stale = memory.base[word]! + n < (expected?.[word] ?? 0);
      const views = memory.views.with(cpu, view.with(word, memory.base[word]! + n));
      const cell = this.#cellOf(value);
      let mine = depends;
      if (cell >= 0 && (left !== null || inherited !== undefined)) {
        const from = [left, inherited, depends.get(cell)].filter((seen) => seen != null);
        mine = new Map(depends).set(cell, from.reduce(later));
      }
      let { expects } = memory;
      if (cell >= 0 && (seen !== null || expected !== undefined)) {
        const before = expects[cpu]!;
        const from = [seen, expected, before.get(cell)].filter((view) => view != null);
        const sum = from.reduce(later);
        // What must be seen anyway need not be remembered.
        const must = mine.get(cell);
        const known = views[cpu]!;
        if (sum.some((first, n) => first > Math.max(known[n]!, must?.[n] ?? 0)))
          expects = expects.with(cpu, new Map(before).set(cell, sum));
      }
      const draft = { ...memory, views, depends: memory.depends.with(cpu, mine), expects };
      const old = n < list.length - 1;
      outcomes.push({ value, stale, old, memory: this.#intern(draft, running) });
    }
    return outcomes;
  }

  #store(
    memory: Draft,
    cpu: number,
    word: number,
    value: number,
    /** The bits that a plain store changes; 0: an atomic one. */
    mask: number,
    running: number,
  ): Outcome<Histories> {
    const atomic = mask === 0;
    const list = memory.stores[word]!;
    const top = memory.base[word]! + list.length - 1;
    const seen = memory.views[cpu]![word]!;
    // Unseen stores: atomic ones are ordered with an atomic one, any other pair races.
    const race = list
      .slice(Math.max(0, seen + 1 - memory.base[word]!))
      .some((store) => (atomic ? store.view === null : store.view !== null || (store.mask & mask) !== 0));
    const view = memory.views[cpu]!.with(word, top + 1);
    const draft = {
      ...memory,
      stores: memory.stores.with(word, [
        ...list,
        {
          value,
          view: atomic ? view : null,
          seen: !atomic && this.#cellOf(value) >= 0 ? view : null,
          mask: atomic ? ALL : mask,
        },
      ]),
      views: memory.views.with(cpu, view),
      common: atomic ? later(memory.common, view) : memory.common,
    };
    return { value: 0, memory: this.#intern(draft, running), race, over: list.at(-1)!.value };
  }

  /** Loads atomically, and stores if the operation does. */
  #atomic(memory: Histories, cpu: number, word: number, op: Op, running: number): Outcome<Histories>[] {
    const mine = memory.views[cpu]!;
    const view = later(mine, memory.common);
    const list = memory.stores[word]!;
    const outcomes: Outcome<Histories>[] = [];
    for (let n = view[word]! - memory.base[word]!; n < list.length; n++) {
      const { value, view: left } = list[n]!;
      const at = memory.base[word]! + n;
      const fresh = applied(op, value);
      if (fresh === undefined) {
        const views = memory.views.with(cpu, view.with(word, at));
        const read = { ...memory, views, depends: memory.depends.with(cpu, NONE) };
        outcomes.push({ value, old: n < list.length - 1, memory: this.#intern(read, running) });
      } else if (n < list.length - 1)
        continue; // It takes the last store: an unseen plain one races with it.
      else {
        const race = at > view[word]!;
        // Later plain loads may pass its store: all that is sure to be in their past is what the store that it read had seen.
        const acquired = left === null ? mine : later(mine, left);
        const read = { ...memory, views: memory.views.with(cpu, acquired.with(word, at)) };
        const stored = this.#store(read, cpu, word, fresh, 0, running);
        outcomes.push({ value, memory: stored.memory, race: race || stored.race === true });
      }
    }
    return outcomes;
  }

  /** A sleeper that was woken has seen what its waker had. */
  wake(memory: Histories, cpu: number, running: number): Histories {
    const views = memory.views.with(cpu, later(memory.views[cpu]!, memory.common));
    return this.#intern({ ...memory, views, depends: memory.depends.with(cpu, NONE) }, running);
  }
  #publish(memory: Histories, cpu: number, running: number): Histories {
    return this.#intern({ ...memory, common: later(memory.common, memory.views[cpu]!) }, running);
  }
}

/** Plain stores of a program that may still be in its buffer: the last `lag` ones on its way to the node. */
export function buffered(node: Node, lag: number): Op[] {
  const stores: Op[] = [];
  for (let at = node.parent; stores.length < lag; at = at!.parent)
    if (isPlainStore(at!.op!)) stores.push(at!.op!);
  return stores.reverse();
}
