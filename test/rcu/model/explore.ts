/**
 * All interleavings of the programs. The state of a run is where each program is (a node of its tree), the memory, and
 * who sleeps on what; equal states are expanded once. Complete executions are counted as paths through that graph.
 *
 * Reduction: in a state where some CPUs' next accesses can be in conflict with nothing that the other CPUs may still do (as far
 * as their trees are known), only those CPUs are moved: persistent sets. The trees grow while this goes on; when one grows by
 * an access that was relied not to be there, exploration is repeated, until a pass has relied on nothing that was wrong. Why this
 * loses no outcome: test/rcu/model/README.md. `reduce: false` explores everything, to compare.
 *
 * Time passes only when nobody can do anything else: then a sleeper may time out.
 */
import {
  buffered,
  FlatMemory,
  type Histories,
  type Memory,
  type MemoryModel,
  WeakMemory,
  type Words,
} from "./machine.ts";
import {
  effect,
  NOT_EQUAL,
  type Node,
  type Op,
  type Program,
  READS,
  type Sharing,
  TIMED_OUT,
  WOKEN,
  WRITES,
} from "./program.ts";

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

export interface Exploration {
  readonly states: number;
  /** Complete executions: paths through the graph of states. A double; beyond 2^53 not exact. */
  readonly executions: number;
  readonly outcomes: ReadonlySet<string>;
  readonly violation: { readonly what: string; readonly moves: readonly Move[] } | null;
  /** The limit on states was reached: nothing is proved. */
  readonly incomplete: boolean;
  /** Most time-outs that an execution needed to go on. */
  readonly timeouts: number;
}

export interface Rules {
  readonly model: MemoryModel;
  readonly reduce: boolean;
  /** States at most. */
  readonly limit: number;
  /** Time-outs that one CPU may need. */
  readonly timeouts: number;
  /** Words whose plain stores may race. */
  readonly mayRace: ReadonlySet<number>;
  /** What a word is called. */
  name(at: number): string;
  /** Whether a run that has come to its end breaks a rule: then says how. */
  judge(notes: ReadonlyMap<string, number>, word: (at: number) => number): string | null;
}

interface Frame {
  readonly key: string;
  readonly moves: readonly Move[];
  next: number;
  executions: number;
}

export class Explorer {
  readonly #programs: readonly Program[];
  readonly #sharing: Sharing;
  readonly #image: Int32Array;
  readonly #rules: Rules;
  readonly #flat = new FlatMemory();
  readonly #weak: WeakMemory;

  constructor(
    programs: readonly Program[],
    sharing: Sharing,
    image: Int32Array,
    cellOf: (at: number) => number,
    rules: Rules,
  ) {
    this.#programs = programs;
    this.#sharing = sharing;
    this.#image = image;
    this.#rules = rules;
    this.#weak = new WeakMemory(sharing.words, cellOf);
  }

  initial(): State {
    const words = Int32Array.from(this.#sharing.words, (at) => this.#image[at]!);
    const memory =
      this.#rules.model === "weak"
        ? this.#weak.initial(words, this.#programs.length)
        : this.#flat.initial(words);
    const nodes = this.#programs.map((program) => program.root);
    return this.#settled({ nodes, lag: nodes.map(() => 0), asleep: [], memory });
  }

  /** Forgets, in weak memory, what CPUs that have ended could see. */
  #settled(state: State): State {
    if (this.#rules.model !== "weak") return state;
    return { ...state, memory: this.#weak.settle(state.memory as Histories, running(state)) };
  }

  /** What a word holds when all is done. */
  #word(state: State, at: number): number {
    const word = this.#sharing.index.get(at);
    if (word !== undefined)
      return this.#rules.model === "weak"
        ? this.#weak.value(state.memory as Histories, word)
        : (state.memory as Words).words[word]!;
    for (const node of state.nodes) {
      const value = node.end?.words.get(at);
      if (value !== undefined) return value;
    }
    return this.#image[at]!;
  }

  /** Every state, depth first. */
  explore(): Exploration {
    const seen = new Map<string, number>();
    const outcomes = new Set<string>();
    const frames: Frame[] = [];
    const path: Move[] = [];
    let timeouts = 0;
    const done = (violation: string | null, incomplete: boolean, executions: number): Exploration => ({
      states: seen.size,
      executions,
      outcomes,
      violation: violation === null ? null : { what: violation, moves: path.slice() },
      incomplete,
      timeouts,
    });
    const enter = (state: State): string | null => {
      const failed = this.#failure(state);
      if (failed !== null) return failed;
      const key = keyOf(state);
      const known = seen.get(key);
      if (known !== undefined) {
        frames.at(-1)!.executions += known;
        path.pop();
        return null;
      }
      const moves = this.moves(state);
      if (moves.length > 0) {
        frames.push({ key, moves, next: 0, executions: 0 });
        return null;
      }
      for (const node of state.nodes) timeouts = Math.max(timeouts, node.timeouts);
      const what = this.#verdict(state, outcomes);
      seen.set(key, 1);
      if (frames.length > 0) frames.at(-1)!.executions++;
      if (what === null) path.pop();
      return what;
    };
    const first = enter(this.initial());
    if (first !== null) return done(first, false, 1);
    let executions = 1;
    for (let frame = frames.at(-1); frame !== undefined; frame = frames.at(-1)) {
      if (frame.next < frame.moves.length) {
        const move = frame.moves[frame.next++]!;
        const racing = this.#race(move);
        path.push(move);
        const what = racing ?? enter(move.to);
        if (what !== null) return done(what, false, 0);
        if (seen.size > this.#rules.limit) return done(null, true, 0);
        continue;
      }
      seen.set(frame.key, frame.executions);
      executions = frame.executions;
      frames.pop();
      path.pop();
      if (frames.length > 0) frames.at(-1)!.executions += executions;
    }
    return done(null, false, executions);
  }

  /**
   * The violation with the fewest changes of CPU, so that it can be read; null when none is found within the limit of states.
   * Breadth first by the number of changes: `changes` is the most that were explored whole, Infinity when that is everything.
   */
  shortest(limit: number): { violation: { what: string; moves: Move[] } | null; changes: number } {
    interface Step {
      readonly state: State;
      readonly move: Move | null;
      readonly before: Step | null;
    }
    const seen = new Set<string>();
    const unwind = (step: Step | null): Move[] => {
      const moves: Move[] = [];
      for (let at = step; at !== null && at.move !== null; at = at.before) moves.push(at.move);
      return moves.reverse();
    };
    let level: Step[] = [{ state: this.initial(), move: null, before: null }];
    for (let changes = 0; level.length > 0; changes++) {
      const next: Step[] = [];
      while (level.length > 0) {
        const step = level.pop()!;
        const last = step.move?.cpu ?? -1;
        const key = `${last};${keyOf(step.state)}`;
        if (seen.has(key)) continue;
        if (seen.size >= limit) return { violation: null, changes: changes - 1 };
        seen.add(key);
        const failed = this.#failure(step.state);
        if (failed !== null) return { violation: { what: failed, moves: unwind(step) }, changes };
        const moves = this.moves(step.state, last);
        if (moves.length === 0) {
          const what = this.#verdict(step.state, new Set());
          if (what !== null) return { violation: { what, moves: unwind(step) }, changes };
        }
        for (const move of moves) {
          const racing = this.#race(move);
          if (racing !== null)
            return { violation: { what: racing, moves: [...unwind(step), move] }, changes };
          const same = move.cpu === last || last < 0 || move.kind === "drain";
          (same ? level : next).push({ state: move.to, move, before: step });
        }
      }
      level = next;
    }
    return { violation: null, changes: Number.POSITIVE_INFINITY };
  }

  /** Whether a state is wrong before its run has ended. */
  #failure(state: State): string | null {
    for (const [cpu, node] of state.nodes.entries())
      if (node.end !== null && node.end.error !== null) return `CPU ${cpu} throws: ${node.end.error.message}`;
    return null;
  }
  #race(move: Move): string | null {
    if (move.race < 0 || this.#rules.mayRace.has(move.race)) return null;
    return `stores to ${this.#rules.name(move.race)} race, one of them a plain one`;
  }

  /** A run has come to its end: what it saw, and whether that may be. */
  #verdict(state: State, outcomes: Set<string>): string | null {
    const asleep = state.asleep.map((cpu) => `CPU ${cpu} sleeps for ever`);
    if (asleep.length > 0) return asleep.join(", ");
    const notes = new Map(state.nodes.flatMap((node) => [...node.end!.notes]));
    outcomes.add(
      [...notes]
        .map(([name, value]) => `${name}=${value}`)
        .sort()
        .join(" "),
    );
    return this.#rules.judge(notes, (at) => this.#word(state, at));
  }

  /** What may happen next; of CPU `prefer` alone, if nobody else's moves matter. */
  moves(state: State, prefer = -1): Move[] {
    const groups = state.nodes.map((_, cpu) => this.#movesOf(state, cpu));
    const able = groups.flatMap((moves, cpu) => (moves.length > 0 ? [cpu] : []));
    if (able.length === 0) return this.#timeouts(state);
    if (!this.#rules.reduce) return groups.flat();
    if (prefer >= 0 && !able.includes(prefer)) return groups.flat();
    if (prefer >= 0) return this.#single(state, prefer, groups[prefer]!) ?? groups.flat();
    let best = able;
    for (const cpu of able) {
      const single = this.#single(state, cpu, groups[cpu]!);
      if (single !== null) return single;
      const set = this.#persistent(state, cpu, able);
      if (set !== null && set.length < best.length) best = set;
    }
    return best.flatMap((cpu) => groups[cpu]!);
  }

  /** One access of one CPU, if it is in conflict with nothing that others may do and commutes with the CPU's own buffer. */
  #single(state: State, cpu: number, moves: readonly Move[]): Move[] | null {
    const op = state.nodes[cpu]!.op;
    const buffering = this.#rules.model === "tso" && op?.kind === "store";
    const steps = moves.filter((move) => move.kind === "step");
    const drains = moves.filter((move) => move.kind === "drain");
    if (steps.length > 0 && (buffering || !this.#anyConflict(state, cpu, [op!]))) return steps;
    if (drains.length === 0) return null;
    const oldest = buffered(state.nodes[cpu]!, state.lag[cpu]!)[0]!;
    return this.#anyConflict(state, cpu, [oldest]) ? null : drains;
  }
  #anyConflict(state: State, cpu: number, ops: readonly Op[]): boolean {
    for (let other = 0; other < state.nodes.length; other++)
      if (other !== cpu && !this.#stays(state, other, [cpu]) && this.#conflict(state, ops, other))
        return true;
    return false;
  }

  /** CPUs whose next accesses, together, are in conflict with nothing that the others may do; null when that is all. */
  #persistent(state: State, first: number, able: readonly number[]): number[] | null {
    const set = [first];
    for (let n = 0; n < set.length; n++) {
      const next = this.#nextOf(state, set[n]!);
      for (let other = 0; other < state.nodes.length; other++)
        if (!set.includes(other) && !this.#stays(state, other, set) && this.#conflict(state, next, other)) {
          if (!able.includes(other)) return null; // Asleep: it cannot be moved instead.
          set.push(other);
        }
    }
    return set.length < able.length ? set : null;
  }

  /** Whether a CPU sleeps, and sleeps on until one of these wakes it. */
  #stays(state: State, cpu: number, others: readonly number[]): boolean {
    if (!state.asleep.includes(cpu)) return false;
    const word = this.#of(state.nodes[cpu]!);
    for (const [waker, node] of state.nodes.entries()) {
      if (waker === cpu || others.includes(waker)) continue;
      if ((node.future[word]! & WRITES) !== 0) return false;
      node.relied[word] = 1;
    }
    return true;
  }

  /** Whether accesses may be in conflict with anything that `other` may still do. */
  #conflict(state: State, next: readonly Op[], other: number): boolean {
    const node = state.nodes[other]!;
    for (const op of next) {
      const word = this.#sharing.index.get(op.at)!;
      if (meets(effect(op), node.future[word]!)) return true;
      for (const store of buffered(node, state.lag[other]!)) if (store.at === op.at) return true;
    }
    if (this.#rules.model === "weak") {
      if (next.some((op) => meetsCommon(op, node))) return true;
      node.reliedOnCommon = true;
    }
    for (const op of next) node.relied[this.#sharing.index.get(op.at)!] = 1;
    return false;
  }
  #nextOf(state: State, cpu: number): Op[] {
    const node = state.nodes[cpu]!;
    const waiting = buffered(node, state.lag[cpu]!);
    return node.op === null || state.asleep.includes(cpu) ? waiting : [node.op, ...waiting];
  }

  #movesOf(state: State, cpu: number): Move[] {
    const node = state.nodes[cpu]!;
    const moves: Move[] = [];
    if (state.lag[cpu]! > 0) moves.push(this.#drain(state, cpu));
    if (node.op === null || state.asleep.includes(cpu)) return moves;
    switch (this.#rules.model) {
      case "sc":
        moves.push(
          ...this.#outcomes(state, cpu, [this.#flat.access(state.memory as Words, this.#of(node), node.op)]),
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
            this.#weak.access(state.memory as Histories, cpu, this.#of(node), node.op, running(state)),
          ),
        );
    }
    return moves;
  }
  #of(node: Node): number {
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
      const value = own === undefined ? (state.memory as Words).words[this.#of(node)]! : own.a | 0;
      const to = { ...state, nodes: state.nodes.with(cpu, this.#programs[cpu]!.step(node, value)) };
      return [{ cpu, kind: "step", value, to, race: -1 }];
    }
    if (lag > 0) return []; // Waits for its buffer.
    return this.#outcomes(state, cpu, [this.#flat.access(state.memory as Words, this.#of(node), op)]);
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
          if (this.#rules.model === "weak")
            after = this.#weak.wake(after as Histories, sleeper, running(state));
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
  #timeouts(state: State): Move[] {
    return state.asleep.flatMap((cpu) => {
      const node = state.nodes[cpu]!;
      if (node.timeouts >= this.#rules.timeouts) return [];
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

function keyOf(state: State): string {
  let key = `${state.memory.id}`;
  for (let cpu = 0; cpu < state.nodes.length; cpu++) key += `,${state.nodes[cpu]!.id}.${state.lag[cpu]}`;
  return state.asleep.length === 0 ? key : `${key};${state.asleep.join()}`;
}

const meets = (mine: number, theirs: number): boolean =>
  theirs !== 0 && ((mine & WRITES) !== 0 || (theirs & WRITES) !== 0);

/** weak: an atomic load is in conflict with every atomic store, by the common view. */
function meetsCommon(op: Op, node: Node): boolean {
  if (op.kind === "load" || op.kind === "store") return false;
  const takes = op.kind !== "atomic store" && op.kind !== "notify";
  const leaves = op.kind !== "atomic load";
  return (takes && node.leaves) || (leaves && node.takes);
}
