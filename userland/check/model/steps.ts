/**
 * What may happen next: each CPU's access with all that it may give, stores that leave a buffer, sleepers that are woken or time out.
 * Time passes only when nobody can do anything else: then a sleeper may time out.
 */
import * as layout from "../../../rcu/layout.ts";
import { applied, effect, isPlainStore, NOT_EQUAL, type Op, READS, TIMED_OUT, WOKEN } from "./access.ts";
import {
  buffered,
  FlatMemory,
  type Histories,
  type Memory,
  type MemoryModel,
  type Outcome,
  WeakMemory,
  type Words,
} from "./machine.ts";
import type { Node, Program } from "./program.ts";
import type { Sharing } from "./sharing.ts";

const { POISON } = layout;

export interface State {
  readonly nodes: readonly Node[];
  /** Stores in each CPU's buffer (tso). */
  readonly lag: readonly number[];
  /** CPUs that sleep, the first to sleep first. */
  readonly asleep: readonly number[];
  readonly memory: Memory;
  /** Of each CPU, the words that it loaded and that another CPU has stored to since (where updates may be lost). */
  readonly missed: readonly (readonly number[])[];
}
/** What a move does that it must not. */
export interface Fault {
  readonly kind: "race" | "stale value" | "use after free" | "lost update";
  /** The word. */
  readonly at: number;
}
/** One step of a run. */
export interface Move {
  readonly cpu: number;
  readonly kind: "step" | "drain" | "time-out";
  /** What the access gave, or what drained. */
  readonly value: number;
  readonly to: State;
  readonly fault: Fault | null;
}
/** Which words are looked after. */
export interface Guarded {
  /** Whether the word is a cell's, behind its header: poisoned when that is free. */
  payload(at: number): boolean;
  /** Whether an update of the word may not be lost. */
  updated(at: number): boolean;
  /** Whether plain stores to the word may race. */
  mayRace(at: number): boolean;
}

export class Steps {
  readonly #programs: readonly Program[];
  readonly #sharing: Sharing;
  readonly #image: Int32Array;
  readonly #model: MemoryModel;
  /** Time-outs that one CPU may need. */
  readonly #timeouts: number;
  readonly #guarded: Guarded;
  readonly #flat = new FlatMemory();
  readonly #weak: WeakMemory;

  constructor(
    programs: readonly Program[],
    sharing: Sharing,
    image: Int32Array,
    cellOf: (at: number) => number,
    model: MemoryModel,
    timeouts: number,
    guarded: Guarded,
  ) {
    this.#guarded = guarded;
    this.#programs = programs;
    this.#sharing = sharing;
    this.#image = image;
    this.#model = model;
    this.#timeouts = timeouts;
    this.#weak = new WeakMemory(sharing.words, cellOf);
  }

  /** All programs at their beginning. */
  initial(): State {
    const words = Int32Array.from(this.#sharing.words, (at) => this.#image[at]!);
    const memory =
      this.#model === "weak" ? this.#weak.initial(words, this.#programs.length) : this.#flat.initial(words);
    const nodes = this.#programs.map((program) => program.root);
    const missed = nodes.map((): readonly number[] => []);
    return this.#settled({ nodes, lag: nodes.map(() => 0), asleep: [], memory, missed });
  }

  /** Forgets, in weak memory, what CPUs that have ended could see. */
  #settled(state: State): State {
    if (this.#model !== "weak") return state;
    return { ...state, memory: this.#weak.settle(state.memory as Histories, running(state)) };
  }

  /** What a word holds when all is done. */
  word(state: State, at: number): number {
    const word = this.#sharing.index.get(at);
    if (word !== undefined)
      return this.#model === "weak"
        ? this.#weak.value(state.memory as Histories, word)
        : (state.memory as Words).words[word]!;
    for (const node of state.nodes) {
      const value = node.end?.words.get(at);
      if (value !== undefined) return value;
    }
    return this.#image[at]!;
  }

  /** What a CPU may do next. */
  of(state: State, cpu: number): Move[] {
    const node = state.nodes[cpu]!;
    const moves: Move[] = [];
    if (state.lag[cpu]! > 0) moves.push(this.#drain(state, cpu));
    if (node.op === null || state.asleep.includes(cpu)) return moves;
    switch (this.#model) {
      case "sc":
        moves.push(
          ...this.#outcomes(state, cpu, [
            this.#flat.access(state.memory as Words, this.wordOf(node), node.op),
          ]),
        );
        break;
      case "tso":
        moves.push(...this.#tso(state, cpu, node.op));
        break;
      case "weak":
        moves.push(
          ...this.#outcomes(
            state,
            cpu,
            this.#weak.access(state.memory as Histories, cpu, this.wordOf(node), node.op, running(state)),
          ),
        );
    }
    return moves;
  }
  /** The number of the word that a node's access is to. */
  wordOf(node: Node): number {
    return this.#sharing.index.get(node.op!.at)!;
  }

  #tso(state: State, cpu: number, op: Op): Move[] {
    const node = state.nodes[cpu]!;
    const lag = state.lag[cpu]!;
    if (isPlainStore(op)) {
      const to = {
        ...state,
        nodes: state.nodes.with(cpu, this.#programs[cpu]!.step(node, 0)),
        lag: state.lag.with(cpu, lag + 1),
      };
      return [{ cpu, kind: "step", value: 0, to, fault: null }];
    }
    if (effect(op) === READS) {
      // Its own stores, which are still on their way, first.
      const own = buffered(node, lag).filter((store) => store.at === op.at);
      let value = (state.memory as Words).words[this.wordOf(node)]!;
      for (const store of own) value = applied(store, value)!;
      const nodes = state.nodes.with(cpu, this.#programs[cpu]!.step(node, value));
      const missed = own.length > 0 ? state.missed : this.#sees(state, cpu, op.at);
      return [{ cpu, kind: "step", value, to: { ...state, nodes, missed }, fault: null }];
    }
    if (lag > 0) return []; // Waits for its buffer.
    return this.#outcomes(state, cpu, [this.#flat.access(state.memory as Words, this.wordOf(node), op)]);
  }

  /** The oldest store in the buffer reaches memory. */
  #drain(state: State, cpu: number): Move {
    const lag = state.lag[cpu]!;
    const store = buffered(state.nodes[cpu]!, lag)[0]!;
    const word = this.#sharing.index.get(store.at)!;
    const { memory, over } = this.#flat.access(state.memory as Words, word, store);
    const missed = this.#overwrites(state, cpu, store.at);
    const to = { ...state, memory, lag: state.lag.with(cpu, lag - 1), missed };
    const fault = this.#overwritten(state, cpu, store, over!);
    return { cpu, kind: "drain", value: applied(store, over!)!, to, fault };
  }

  /** The CPU has seen what the word holds now. */
  #sees(state: State, cpu: number, at: number): State["missed"] {
    const mine = state.missed[cpu]!;
    return mine.includes(at)
      ? state.missed.with(
          cpu,
          mine.filter((word) => word !== at),
        )
      : state.missed;
  }
  /** A store reaches memory: who loaded the word before has missed it. */
  #overwrites(state: State, cpu: number, at: number): State["missed"] {
    if (!this.#guarded.updated(at)) return state.missed;
    return state.missed.map((words, other) => {
      if (other === cpu) return words.filter((word) => word !== at);
      if (words.includes(at) || state.nodes[other]!.end !== null || !loaded(state.nodes[other]!, at))
        return words;
      return [...words, at].sort((a, b) => a - b);
    });
  }
  /** What is wrong with a store to a word that holds `over`. */
  #overwritten(state: State, cpu: number, op: Op, over: number): Fault | null {
    if (over === POISON && op.trusted !== true && this.#guarded.payload(op.at))
      return { kind: "use after free", at: op.at };
    return state.missed[cpu]!.includes(op.at) ? { kind: "lost update", at: op.at } : null;
  }

  /** Moves from what the access may give; sleeping and waking are done here. */
  #outcomes(state: State, cpu: number, outcomes: readonly Outcome<Memory>[]): Move[] {
    const node = state.nodes[cpu]!;
    const op = node.op!;
    const program = this.#programs[cpu]!;
    return outcomes.map(({ value, memory, race, stale, old, over }) => {
      const changes = applied(op, over ?? value);
      let fault: Fault | null = null;
      let { missed } = state;
      if (changes === undefined) {
        if (old !== true) missed = this.#sees(state, cpu, op.at);
        if (stale === true) fault = { kind: "stale value", at: op.at };
      } else {
        // A read-modify-write has seen what it replaces.
        if (isPlainStore(op) || op.kind === "atomic store") fault = this.#overwritten(state, cpu, op, over!);
        missed = this.#overwrites(state, cpu, op.at);
        if (race === true && !this.#guarded.mayRace(op.at)) fault ??= { kind: "race", at: op.at };
      }
      let to: State;
      let answer = value;
      if (op.kind === "wait" && value === (op.a | 0))
        to = { ...state, memory, asleep: [...state.asleep, cpu], missed };
      else if (op.kind === "notify") {
        const woken = state.asleep.filter((sleeper) => state.nodes[sleeper]!.op!.at === op.at).slice(0, op.a);
        answer = woken.length;
        const nodes = state.nodes.with(cpu, program.step(node, answer)) as Node[];
        let after = memory;
        for (const sleeper of woken) {
          nodes[sleeper] = this.#programs[sleeper]!.step(state.nodes[sleeper]!, WOKEN);
          if (this.#model === "weak") after = this.#weak.wake(after as Histories, sleeper, running(state));
        }
        to = {
          ...state,
          nodes,
          memory: after,
          missed,
          asleep: state.asleep.filter((sleeper) => !woken.includes(sleeper)),
        };
      } else {
        if (op.kind === "wait") answer = NOT_EQUAL;
        to = { ...state, nodes: state.nodes.with(cpu, program.step(node, answer)), memory, missed };
      }
      return { cpu, kind: "step", value, to: this.#settled(to), fault };
    });
  }

  /** Nobody can move: a sleeper times out, if it may once more. */
  timeouts(state: State): Move[] {
    return state.asleep.flatMap((cpu) => {
      const node = state.nodes[cpu]!;
      if (node.timeouts >= this.#timeouts) return [];
      const nodes = state.nodes.with(cpu, this.#programs[cpu]!.step(node, TIMED_OUT));
      const to = this.#settled({
        ...state,
        nodes,
        asleep: state.asleep.filter((sleeper) => sleeper !== cpu),
      });
      return [{ cpu, kind: "time-out" as const, value: TIMED_OUT, to, fault: null }];
    });
  }
}

/** Whether the last access of a CPU to the word was a load, and the word is one that it may store to without looking again. */
function loaded(node: Node, at: number): boolean {
  for (let up = node.parent; up !== null; up = up.parent)
    if (up.op!.at === at) return up.op!.kind === "load" || up.op!.kind === "atomic load";
  return false;
}

const running = (state: State): number =>
  state.nodes.reduce((mask, node, cpu) => (node.end === null ? mask | (1 << cpu) : mask), 0);
