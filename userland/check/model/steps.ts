/**
 * What may happen next: each CPU's access with all that it may give, stores that leave a buffer, sleepers that are woken or time out.
 * Time passes only when nobody can do anything else: then a sleeper may time out.
 */
import { effect, NOT_EQUAL, type Op, READS, TIMED_OUT, WOKEN } from "./access.ts";
import {
  buffered,
  FlatMemory,
  type Histories,
  type Memory,
  type MemoryModel,
  WeakMemory,
  type Words,
} from "./machine.ts";
import type { Node, Program, Sharing } from "./program.ts";

export interface State {
  readonly nodes: readonly Node[];
  /** Stores in each CPU's buffer (tso). */
  readonly lag: readonly number[];
  /** CPUs that sleep, the first to sleep first. */
  readonly asleep: readonly number[];
  readonly memory: Memory;
}
/** One step of a run. */
export interface Move {
  readonly cpu: number;
  readonly kind: "step" | "drain" | "time-out";
  /** What the access gave, or what drained. */
  readonly value: number;
  readonly to: State;
  /** The word on which two stores race; -1: none. */
  readonly race: number;
}

export class Steps {
  readonly #programs: readonly Program[];
  readonly #sharing: Sharing;
  readonly #image: Int32Array;
  readonly #model: MemoryModel;
  /** Time-outs that one CPU may need. */
  readonly #timeouts: number;
  readonly #flat = new FlatMemory();
  readonly #weak: WeakMemory;

  constructor(
    programs: readonly Program[],
    sharing: Sharing,
    image: Int32Array,
    cellOf: (at: number) => number,
    model: MemoryModel,
    timeouts: number,
  ) {
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
    return this.#settled({ nodes, lag: nodes.map(() => 0), asleep: [], memory });
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
    if (op.kind === "store") {
      const to = {
        ...state,
        nodes: state.nodes.with(cpu, this.#programs[cpu]!.step(node, 0)),
        lag: state.lag.with(cpu, lag + 1),
      };
      return [{ cpu, kind: "step", value: 0, to, race: -1 }];
    }
    const own = lag > 0 ? buffered(node, lag).findLast((store) => store.at === op.at) : undefined;
    if (effect(op) === READS) {
      const value = own === undefined ? (state.memory as Words).words[this.wordOf(node)]! : own.a | 0;
      const to = { ...state, nodes: state.nodes.with(cpu, this.#programs[cpu]!.step(node, value)) };
      return [{ cpu, kind: "step", value, to, race: -1 }];
    }
    if (lag > 0) return []; // Waits for its buffer.
    return this.#outcomes(state, cpu, [this.#flat.access(state.memory as Words, this.wordOf(node), op)]);
  }

  /** The oldest store in the buffer reaches memory. */
  #drain(state: State, cpu: number): Move {
    const lag = state.lag[cpu]!;
    const store = buffered(state.nodes[cpu]!, lag)[0]!;
    const memory = this.#flat.set(state.memory as Words, this.#sharing.index.get(store.at)!, store.a | 0);
    const to = { ...state, memory, lag: state.lag.with(cpu, lag - 1) };
    return { cpu, kind: "drain", value: store.a | 0, to, race: -1 };
  }

  /** Moves from what the access may give; sleeping and waking are done here. */
  #outcomes(
    state: State,
    cpu: number,
    outcomes: readonly { value: number; memory: Memory; race?: boolean }[],
  ): Move[] {
    const node = state.nodes[cpu]!;
    const op = node.op!;
    const program = this.#programs[cpu]!;
    return outcomes.map(({ value, memory, race = false }) => {
      let to: State;
      let answer = value;
      if (op.kind === "wait" && value === (op.a | 0))
        to = { ...state, memory, asleep: [...state.asleep, cpu] };
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
          asleep: state.asleep.filter((sleeper) => !woken.includes(sleeper)),
        };
      } else {
        if (op.kind === "wait") answer = NOT_EQUAL;
        to = { ...state, nodes: state.nodes.with(cpu, program.step(node, answer)), memory };
      }
      return { cpu, kind: "step", value, to: this.#settled(to), race: race ? op.at : -1 };
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
      return [{ cpu, kind: "time-out" as const, value: TIMED_OUT, to, race: -1 }];
    });
  }
}

const running = (state: State): number =>
  state.nodes.reduce((mask, node, cpu) => (node.end === null ? mask | (1 << cpu) : mask), 0);
