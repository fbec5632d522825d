/**
 * Reduction: in a state where some CPUs' next accesses can be in conflict with nothing that the other CPUs may still do (as far
 * as their trees are known), only those CPUs are moved: persistent sets. The trees grow while this goes on; when one grows by
 * an access that was relied not to be there (`relied`), exploration is repeated, until a pass has relied on nothing that was wrong. Why
 * this loses no outcome: userland/check/model/README.md.
 */
import { effect, isPlainStore, type Op, WRITES } from "./access.ts";
import { buffered, type MemoryModel } from "./machine.ts";
import type { Node } from "./program.ts";
import type { Sharing } from "./sharing.ts";
import type { Move, State, Steps } from "./steps.ts";

export class Reduction {
  readonly #sharing: Sharing;
  readonly #steps: Steps;
  readonly #model: MemoryModel;

  constructor(sharing: Sharing, steps: Steps, model: MemoryModel) {
    this.#sharing = sharing;
    this.#steps = steps;
    this.#model = model;
  }

  /** One access of one CPU, if it is in conflict with nothing that others may do and commutes with the CPU's own buffer. */
  single(state: State, cpu: number, moves: readonly Move[]): Move[] | null {
    const op = state.nodes[cpu]!.op;
    const buffering = this.#model === "tso" && op !== null && isPlainStore(op);
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
  persistent(state: State, first: number, able: readonly number[]): number[] | null {
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
    const word = this.#steps.wordOf(state.nodes[cpu]!);
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
    if (this.#model === "weak") {
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
}

const meets = (mine: number, theirs: number): boolean =>
  theirs !== 0 && ((mine & WRITES) !== 0 || (theirs & WRITES) !== 0);

/** weak: an atomic load is in conflict with every atomic store, by the common view. */
function meetsCommon(op: Op, node: Node): boolean {
  if (op.kind === "load" || isPlainStore(op)) return false;
  const takes = op.kind !== "atomic store" && op.kind !== "notify";
  const leaves = op.kind !== "atomic load";
  return (takes && node.leaves) || (leaves && node.takes);
}
