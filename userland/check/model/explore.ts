/**
 * All interleavings of the programs. The state of a run is where each program is (a node of its tree), the memory, and
 * who sleeps on what; equal states are expanded once. Complete executions are counted as paths through that graph.
 * What may happen in a state: steps.ts. What of it has to be tried: reduction.ts; `reduce: false` explores everything, to compare.
 */
import type { MemoryModel } from "./machine.ts";
import type { Program, Sharing } from "./program.ts";
import { Reduction } from "./reduction.ts";
import { type Move, type State, Steps } from "./steps.ts";

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
  readonly #rules: Rules;
  readonly #steps: Steps;
  readonly #reduction: Reduction;

  constructor(
    programs: readonly Program[],
    sharing: Sharing,
    image: Int32Array,
    cellOf: (at: number) => number,
    rules: Rules,
  ) {
    this.#rules = rules;
    this.#steps = new Steps(programs, sharing, image, cellOf, rules.model, rules.timeouts);
    this.#reduction = new Reduction(sharing, this.#steps, rules.model);
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
    const first = enter(this.#steps.initial());
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
    let level: Step[] = [{ state: this.#steps.initial(), move: null, before: null }];
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
    return this.#rules.judge(notes, (at) => this.#steps.word(state, at));
  }

  /** What may happen next; of CPU `prefer` alone, if nobody else's moves matter. */
  moves(state: State, prefer = -1): Move[] {
    const groups = state.nodes.map((_, cpu) => this.#steps.of(state, cpu));
    const able = groups.flatMap((moves, cpu) => (moves.length > 0 ? [cpu] : []));
    if (able.length === 0) return this.#steps.timeouts(state);
    if (!this.#rules.reduce) return groups.flat();
    if (prefer >= 0 && !able.includes(prefer)) return groups.flat();
    if (prefer >= 0) return this.#reduction.single(state, prefer, groups[prefer]!) ?? groups.flat();
    let best = able;
    for (const cpu of able) {
      const single = this.#reduction.single(state, cpu, groups[cpu]!);
      if (single !== null) return single;
      const set = this.#reduction.persistent(state, cpu, able);
      if (set !== null && set.length < best.length) best = set;
    }
    return best.flatMap((cpu) => groups[cpu]!);
  }
}

function keyOf(state: State): string {
  let key = `${state.memory.id}`;
  for (let cpu = 0; cpu < state.nodes.length; cpu++) key += `,${state.nodes[cpu]!.id}.${state.lag[cpu]}`;
  return state.asleep.length === 0 ? key : `${key};${state.asleep.join()}`;
}
