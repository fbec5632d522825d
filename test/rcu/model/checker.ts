/**
 * A model checker for the real RCU code. Each CPU is a program that calls it; the heap is a proxy, and Atomics is replaced,
 * so that every access to shared words is a scheduling point. All interleavings are explored, and plain stores sit in a
 * store buffer (TSO, as x86 has it: FIFO, seen by their own CPU, drained by an atomic store or read-modify-write, but not by an
 * atomic load) that may be flushed at any moment. Loads are not reordered: what arm64 allows beyond that is argued in
 * rcu/design.md, not checked here.
 *
 * JavaScript cannot stop a function half-way, so a step runs the program from its beginning, answers the accesses that it
 * made before from a log, does one new one, and leaves by an exception. States are told apart by memory, buffers and
 * logs (a program is a function of its log), and each is expanded once.
 */
import { CACHE, HEADER, MAGAZINE, RCU, SLOT, SLOT_RCU } from "../../../rcu/layout.ts";
import { bindViews, type Views } from "../../../rcu/memory.ts";
import { setNesting } from "../../../rcu/scope.ts";

/** A program reports what it saw; the scenario judges. `abort` ends it here, as if it waited for ever. */
export interface Cpu {
  readonly number: number;
  note(name: string, value: number): void;
  abort(): never;
}
export interface Scenario {
  readonly name: string;
  /** Words of the heap to begin with, made by the real code. */
  readonly memory: Int32Array;
  readonly programs: readonly ((cpu: Cpu) => void)[];
  /** Slot of each program's thread. */
  readonly slots: readonly number[];
  /** Whether plain stores are delayed. Default: true. */
  readonly buffers?: boolean;
  /** Calls whatever the code remembers about the heap (struct types), before any interleaving. */
  warm?(): void;
  /** Whether what was seen, once all programs have ended, breaks a rule: then says how. */
  judge(notes: ReadonlyMap<string, number>): string | null;
  /** Gives up beyond this many states: a scenario must be small enough to be explored whole. */
  readonly limit?: number;
}
export interface Verdict {
  readonly states: number;
  /** Distinct outcomes: the notes of finished executions. */
  readonly outcomes: ReadonlySet<string>;
  /** The rule broken and the interleaving that breaks it. */
  readonly violation: { readonly what: string; readonly trace: readonly string[] } | null;
  /** The limit was reached. */
  readonly incomplete: boolean;
}

class Suspended extends Error {}
class Aborted extends Error {}

interface Entry {
  readonly value: number;
}
interface CpuState {
  log: Entry[];
  buffer: { at: number; value: number }[];
  done: boolean;
  notes: Map<string, number>;
}
interface State {
  memory: Map<number, number>;
  cpus: CpuState[];
  trace: Trace | null;
}
interface Trace {
  readonly text: string;
  readonly before: Trace | null;
}

const realAtomics = globalThis.Atomics;

export function check(scenario: Scenario): Verdict {
  return new Checker(scenario).run();
}

class Checker {
  readonly #scenario: Scenario;
  readonly #seen = new Set<string>();
  readonly #outcomes = new Set<string>();
  // The step being taken.
  #state!: State;
  #cpu = 0;
  #cursor = 0;
  #stepped = false;
  #dead = false;
  #private = new Map<number, number>();
  #what = "";

  constructor(scenario: Scenario) {
    this.#scenario = scenario;
  }

  run(): Verdict {
    const words = new Proxy(this.#scenario.memory, {
      get: (target, key) => {
        const at = typeof key === "string" ? Number(key) : Number.NaN;
        if (Number.isInteger(at)) return this.#load(at, false);
        const value = Reflect.get(target, key) as unknown;
        return typeof value === "function" ? this.#method(String(key)) : value;
      },
      set: (_target, key, value) => {
        this.#store(Number(key), value as number);
        return true;
      },
    }) as unknown as Int32Array<SharedArrayBuffer>;
    this.#words = words;
    globalThis.Atomics = this.#atomics() as unknown as typeof Atomics;
    try {
      bindViews({ i32: this.#words } as unknown as Views, 0, 1);
      this.#direct = true;
      this.#scenario.warm?.();
      this.#direct = false;
      return this.#explore();
    } finally {
      globalThis.Atomics = realAtomics;
    }
  }
  #direct = false;
  #words!: Int32Array<SharedArrayBuffer>;

  #explore(): Verdict {
    const limit = this.#scenario.limit ?? 400_000;
    const first: State = {
      memory: new Map(),
      cpus: this.#scenario.programs.map(() => ({ log: [], buffer: [], done: false, notes: new Map() })),
      trace: null,
    };
    const stack = [first];
    for (let state = stack.pop(); state !== undefined; state = stack.pop()) {
      if (this.#seen.size > limit) return this.#verdict(null, true);
      let moves = 0;
      for (const [number, cpu] of state.cpus.entries()) {
        if (cpu.buffer.length > 0) {
          moves++;
          this.#push(stack, this.#flush(state, number));
        }
        if (cpu.done) continue;
        moves++;
        this.#push(stack, this.#step(state, number));
      }
      if (moves > 0) continue;
      const notes = new Map(state.cpus.flatMap((cpu) => [...cpu.notes]));
      this.#outcomes.add([...notes].map(([name, value]) => `${name}=${value}`).join(" "));
      const what = this.#scenario.judge(notes);
      if (what !== null) return this.#verdict({ what, trace: unwind(state.trace) }, false);
    }
    return this.#verdict(null, false);
  }

  #verdict(violation: Verdict["violation"], incomplete: boolean): Verdict {
    return { states: this.#seen.size, outcomes: this.#outcomes, violation, incomplete };
  }

  #push(stack: State[], state: State): void {
    const memory = [...state.memory].sort(([a], [b]) => a - b).join(";");
    const cpus = state.cpus.map(
      (cpu) =>
        `${cpu.done ? "d" : ""}${cpu.log.map((entry) => entry.value).join(",")}|${cpu.buffer.map((store) => `${store.at}=${store.value}`).join(",")}`,
    );
    const key = `${memory}#${cpus.join("#")}`;
    if (this.#seen.has(key)) return;
    this.#seen.add(key);
    stack.push(state);
  }

  #copy(state: State): State {
    return {
      memory: new Map(state.memory),
      cpus: state.cpus.map((cpu) => ({
        log: cpu.log.slice(),
        buffer: cpu.buffer.slice(),
        done: cpu.done,
        notes: new Map(cpu.notes),
      })),
      trace: state.trace,
    };
  }

  #flush(from: State, number: number): State {
    const state = this.#copy(from);
    const { at, value } = state.cpus[number]!.buffer.shift()!;
    state.memory.set(at, value);
    state.trace = { text: `CPU ${number}: store buffer drains ${name(at)} = ${value}`, before: state.trace };
    return state;
  }

  /** One more shared access of a CPU. */
  #step(from: State, number: number): State {
    const state = this.#copy(from);
    const cpu = state.cpus[number]!;
    this.#state = state;
    this.#cpu = number;
    this.#cursor = 0;
    this.#stepped = false;
    this.#dead = false;
    this.#private = new Map();
    this.#what = "ends";
    const slot = this.#scenario.slots[number]!;
    bindViews({ i32: this.#words } as unknown as Views, slot, 0x100 | (slot + 1));
    setNesting(0);
    const handle: Cpu = {
      number,
      note: (key, value) => {
        if (!this.#dead) cpu.notes.set(key, value);
      },
      abort: () => {
        throw new Aborted();
      },
    };
    try {
      this.#scenario.programs[number]!(handle);
      cpu.done = true;
    } catch (error) {
      if (error instanceof Aborted && !this.#dead) cpu.done = true;
      else if (!(error instanceof Suspended)) {
        if (!this.#dead) throw error;
      }
    }
    state.trace = { text: `CPU ${number}: ${this.#what}`, before: state.trace };
    return state;
  }

  /** Whether only its own slot looks at this word: no scheduling point, and rebuilt by each replay. */
  #isPrivate(at: number): boolean {
    if (at === RCU.GP_STARTED) return true;
    if (at >= SLOT.BASE && at < MAGAZINE.BASE) {
      const offset = (at - SLOT.BASE) % SLOT.WORDS;
      return offset !== SLOT_RCU.LINE && offset !== SLOT.STATE;
    }
    // Constant, or a slot's own, up to the pages: sizes, page map, magazines.
    if (at < RCU.GP_SEQ || (at >= MAGAZINE.BASE && at < this.#scenario.memory[HEADER.FIRST_PAGE]!))
      return true;
    return at >= CACHE.BASE && at < SLOT.BASE;
  }

  /** Runs an access: from the log, as the new one of this step, or, when the step is over, not at all. */
  #access(at: number, act: () => number, describe: (value: number) => string): number {
    if (this.#dead) return 0;
    const { log } = this.#state.cpus[this.#cpu]!;
    if (this.#cursor < log.length) return log[this.#cursor++]!.value;
    if (this.#stepped) {
      this.#dead = true;
      throw new Suspended();
    }
    this.#stepped = true;
    const value = act();
    log.push({ value });
    this.#cursor++;
    this.#what = describe(value);
    if (at < 0) throw new Error("access outside of the heap");
    return value;
  }

  #read(at: number): number {
    return this.#state.memory.get(at) ?? this.#scenario.memory[at]!;
  }

  #load(at: number, atomic: boolean): number {
    if (this.#direct) return this.#scenario.memory[at]!;
    if (this.#isPrivate(at)) return this.#private.get(at) ?? this.#scenario.memory[at]!;
    return this.#access(
      at,
      () => {
        const { buffer } = this.#state.cpus[this.#cpu]!;
        const own = buffer.findLast((store) => store.at === at);
        return own === undefined ? this.#read(at) : own.value;
      },
      (value) => `reads ${name(at)} = ${value}${atomic ? " (atomic)" : ""}`,
    );
  }

  #store(at: number, value: number): void {
    if (this.#direct) {
      this.#scenario.memory[at] = value;
      return;
    }
    if (this.#isPrivate(at)) {
      this.#private.set(at, value | 0);
      return;
    }
    this.#access(
      at,
      () => {
        if (this.#scenario.buffers === false) this.#state.memory.set(at, value | 0);
        else this.#state.cpus[this.#cpu]!.buffer.push({ at, value: value | 0 });
        return 0;
      },
      () => `stores ${name(at)} = ${value} (plain)`,
    );
  }

  #drain(): void {
    const { buffer } = this.#state.cpus[this.#cpu]!;
    for (const { at, value } of buffer) this.#state.memory.set(at, value);
    buffer.length = 0;
  }

  /** A read-modify-write; `next` gives the new value, or undefined to store nothing. */
  #rmw(at: number, next: (old: number) => number | undefined): number {
    if (this.#direct) {
      const old = this.#scenario.memory[at]!;
      this.#scenario.memory[at] = next(old) ?? old;
      return old;
    }
    if (this.#isPrivate(at)) {
      const old = this.#private.get(at) ?? this.#scenario.memory[at]!;
      const fresh = next(old);
      if (fresh !== undefined) this.#private.set(at, fresh | 0);
      return old;
    }
    let stored: number | undefined;
    return this.#access(
      at,
      () => {
        this.#drain();
        const old = this.#read(at);
        stored = next(old);
        if (stored !== undefined) this.#state.memory.set(at, stored | 0);
        return old;
      },
      (old) => `${name(at)}: ${old} ${stored === undefined ? "stays" : `becomes ${stored}`} (atomic)`,
    );
  }

  #atomics(): Record<string, unknown> {
    return {
      load: (_words: unknown, at: number) => this.#load(at, true),
      store: (_words: unknown, at: number, value: number) => {
        this.#rmw(at, () => value);
        return value;
      },
      add: (_words: unknown, at: number, value: number) => this.#rmw(at, (old) => old + value),
      sub: (_words: unknown, at: number, value: number) => this.#rmw(at, (old) => old - value),
      exchange: (_words: unknown, at: number, value: number) => this.#rmw(at, () => value),
      compareExchange: (_words: unknown, at: number, expected: number, value: number) =>
        this.#rmw(at, (old) => (old === expected ? value : undefined)),
      notify: () => 0,
      wait: () => {
        throw new Error("the model has no sleeping: poll instead");
      },
    };
  }

  #method(key: string): unknown {
    if (key !== "fill") throw new Error(`the model does not know Int32Array.${key}`);
    return (value: number, start: number, end: number) => {
      for (let at = start; at < end; at++) this.#store(at, value);
    };
  }
}

function unwind(trace: Trace | null): string[] {
  const lines: string[] = [];
  for (let at = trace; at !== null; at = at.before) lines.push(at.text);
  return lines.reverse();
}

const NAMES = new Map<number, string>(Object.entries(RCU).map(([key, at]) => [at, key] as [number, string]));
/** What a word is called in a trace. */
function name(at: number): string {
  const known = NAMES.get(at);
  if (known !== undefined) return known;
  if (at >= SLOT.BASE && at < MAGAZINE.BASE) {
    const offset = (at - SLOT.BASE) % SLOT.WORDS;
    const slot = Math.floor((at - SLOT.BASE) / SLOT.WORDS);
    return offset === SLOT_RCU.LINE ? `line of slot ${slot}` : `slot ${slot} word ${offset}`;
  }
  return `word ${at}`;
}
