/**
 * All interleavings of the programs. The state of a run is where each program is (a node of its tree), the memory, and
 * who sleeps on what; equal states are expanded once. Complete executions are counted as paths through that graph.
 * What may happen in a state: steps.ts. What of it has to be tried: reduction.ts; `reduce: false` explores everything, to compare.
 */
import * as layout from "../../../rcu/layout.ts";
import type { MemoryModel } from "./machine.ts";
import { type End, type Program, UseAfterFree } from "./program.ts";
import { Reduction } from "./reduction.ts";
import type { Sharing } from "./sharing.ts";
import { type Guarded, type Move, type State, Steps } from "./steps.ts";

const { GP_SEQ } = layout.RCU;

export type Kind =
  | "use after free"
  | "stale value"
  | "lost update"
  | "race"
  | "leak"
  | "deadlock"
  | "missed wake-up"
  | "exception"
  | "broken rule";
/** What is wrong. */
export interface Wrong {
  readonly kind: Kind;
  readonly what: string;
  /** The word that it is about; -1: none. */
  readonly at: number;
}
export interface Violation extends Wrong {
  readonly moves: readonly Move[];
}

export interface Exploration {
  readonly states: number;
  /** Complete executions: paths through the graph of states. A double; beyond 2^53 not exact. */
  readonly executions: number;
  readonly outcomes: ReadonlySet<string>;
  readonly violation: Violation | null;
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
  readonly guarded: Guarded;
  /** What each CPU writes into a lock that it owns. */
  readonly owners: readonly number[];
  /** What a word, and a CPU, is called. */
  name(at: number): string;
  cpu(number: number): string;
  /** Whether a run that has come to its end breaks a rule: then says how. */
  judge(
    notes: ReadonlyMap<string, number>,
    word: (at: number) => number,
    ends: readonly End[],
  ): string | Wrong | null;
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
    this.#steps = new Steps(programs, sharing, image, cellOf, rules.model, rules.timeouts, rules.guarded);
    this.#reduction = new Reduction(sharing, this.#steps, rules.model);
  }

  /** Every state, depth first. */
  explore(): Exploration {
    const seen = new Map<string, number>();
    const outcomes = new Set<string>();
    const frames: Frame[] = [];
    const path: Move[] = [];
    let timeouts = 0;
    const done = (violation: Wrong | null, incomplete: boolean, executions: number): Exploration => ({
      states: seen.size,
      executions,
      outcomes,
      violation: violation === null ? null : { ...violation, moves: path.slice() },
      incomplete,
      timeouts,
    });
    const enter = (state: State): Wrong | null => {
      const failed = this.failure(state);
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
      const what = this.verdict(state, outcomes);
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
        const racing = this.fault(move);
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
   * The violation with the fewest preemptions (changes from a CPU that could go on), so that it can be read; null when none is found
   * within the limit of states, or with `most` preemptions. Breadth first by their number: `preemptions` is the most that were explored
   * whole, Infinity when that is everything.
   */
  shortest(
    limit: number,
    most = Number.POSITIVE_INFINITY,
  ): { violation: Violation | null; preemptions: number; states: number } {
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
    for (let count = 0; level.length > 0; count++) {
      if (count > most) return { violation: null, preemptions: most, states: seen.size };
      const next: Step[] = [];
      while (level.length > 0) {
        const step = level.pop()!;
        const last = step.move?.cpu ?? -1;
        const key = `${last};${keyOf(step.state)}`;
        if (seen.has(key)) continue;
        if (seen.size >= limit) return { violation: null, preemptions: count - 1, states: seen.size };
        seen.add(key);
        const failed = this.failure(step.state);
        const found = (wrong: Wrong, moves: Move[]) => ({
          violation: { ...wrong, moves },
          preemptions: count,
          states: seen.size,
        });
        if (failed !== null) return found(failed, unwind(step));
        const moves = this.moves(step.state, last);
        if (moves.length === 0) {
          const what = this.verdict(step.state, new Set());
          if (what !== null) return found(what, unwind(step));
        }
        const stuck = last < 0 || !this.#goesOn(step.state, last);
        for (const move of moves) {
          const racing = this.fault(move);
          if (racing !== null) return found(racing, [...unwind(step), move]);
          const same = move.cpu === last || stuck || move.kind === "drain";
          (same ? level : next).push({ state: move.to, move, before: step });
        }
      }
      level = next;
    }
    return { violation: null, preemptions: Number.POSITIVE_INFINITY, states: seen.size };
  }

  #goesOn(state: State, cpu: number): boolean {
    return state.nodes[cpu]!.op !== null && !state.asleep.includes(cpu);
  }

  /** Whether a state is wrong before its run has ended. */
  failure(state: State): Wrong | null {
    for (const [cpu, { end }] of state.nodes.entries()) {
      if (end === null || end.error === null) continue;
      const name = this.#rules.cpu(cpu);
      const { error } = end;
      if (error instanceof UseAfterFree)
        return {
          kind: "use after free",
          what: `${name} uses ${this.#rules.name(error.at)} after it was freed`,
          at: error.at,
        };
      return { kind: "exception", what: `${name} throws: ${error.message}`, at: -1 };
    }
    return null;
  }
  fault(move: Move): Wrong | null {
    if (move.fault === null) return null;
    const { kind, at } = move.fault;
    const name = this.#rules.name(at);
    const cpu = this.#rules.cpu(move.cpu);
    switch (kind) {
      case "race":
        return { kind, at, what: `stores to ${name} race, one of them a plain one` };
      case "stale value":
        return { kind, at, what: `${cpu} reads ${name} as it was before the reference to it was published` };
      case "lost update":
        return { kind, at, what: `${cpu} overwrites ${name}, which was changed after it had read it` };
      default:
        return { kind, at, what: `${cpu} writes to ${name} after it was freed` };
    }
  }

  /** A run has come to its end: what it saw, and whether that may be. */
  verdict(state: State, outcomes: Set<string>): Wrong | null {
    if (state.asleep.length > 0) return this.#asleep(state);
    const ends = state.nodes.map((node) => node.end!);
    const notes = new Map(ends.flatMap((end) => [...end.notes]));
    outcomes.add(
      [...notes]
        .map(([name, value]) => `${name}=${value}`)
        .sort()
        .join(" "),
    );
    const wrong = this.#rules.judge(notes, (at) => this.#steps.word(state, at), ends);
    return typeof wrong === "string" ? { kind: "broken rule", what: wrong, at: -1 } : wrong;
  }

  /** Sleepers that nobody wakes: each waits for another one, or for a lock that is never given back; or it was not woken. */
  #asleep(state: State): Wrong {
    const { owners } = this.#rules;
    const what = state.asleep
      .toSorted((a, b) => a - b)
      .map((cpu) => {
        const { at } = state.nodes[cpu]!.op!;
        const owner = owners.indexOf(this.#steps.word(state, at) & 0x7fff_ffff);
        const held = owner < 0 ? "" : `, which ${this.#rules.cpu(owner)} holds`;
        return `${this.#rules.cpu(cpu)} sleeps for ever on ${this.#rules.name(at)}${held}`;
      })
      .join(", ");
    const first = state.nodes[state.asleep[0]!]!.op!;
    for (const cpu of state.asleep) {
      const op = state.nodes[cpu]!.op!;
      const now = this.#steps.word(state, op.at);
      if (now !== (op.a | 0)) continue;
      const owner = owners.indexOf(now & 0x7fff_ffff);
      if (owner >= 0) return { kind: "deadlock", what, at: op.at };
    }
    // Without a lock in it: whoever waits for readers waits for one that sleeps in its scope.
    const waiting = state.asleep.filter((cpu) => state.nodes[cpu]!.op!.at === GP_SEQ);
    if (waiting.length > 0 && waiting.length < state.asleep.length)
      return { kind: "deadlock", what, at: GP_SEQ };
    return { kind: "missed wake-up", what, at: first.at };
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
  if (state.asleep.length > 0) key += `;${state.asleep.join()}`;
  for (let cpu = 0; cpu < state.missed.length; cpu++)
    if (state.missed[cpu]!.length > 0) key += `!${cpu}:${state.missed[cpu]!.join()}`;
  return key;
}
