/**
 * Random schedules by PCT (Burckhardt, Kothari, Musuvathi, Nagarakatte: A Randomized Scheduler with Probabilistic Guarantees of
 * Finding Bugs, ASPLOS 2010): CPUs have random priorities, the first that can go on does, and at d - 1 random points of the
 * run the CPU that runs there gets a priority below all others. A mistake that needs d ordered accesses is found by a run with a
 * probability of 1 / (n k^(d-1)) at least, where n is the number of CPUs and k that of accesses.
 *
 * Everything that is random follows from the seed and from how many accesses a CPU has made, whichever of them are scheduling points: the
 * same seed is the same schedule, in another process too.
 */
import type { Explorer, Violation } from "./explore.ts";
import type { Program } from "./program.ts";
import type { Move, State, Steps } from "./steps.ts";

/** A point of a run: CPU `cpu` has made `access` accesses. */
interface Change {
  readonly cpu: number;
  readonly access: number;
}
export interface Plan {
  readonly seed: number;
  readonly order: readonly number[];
  readonly changes: readonly Change[];
}

/** A number below 2^32 that looks random, from others (Murmur3's finish). */
function mixed(...from: readonly number[]): number {
  let hash = 0x9e3779b9;
  for (const value of from) {
    hash = Math.imul(hash ^ value, 0x85ebca6b);
    hash ^= hash >>> 13;
    hash = Math.imul(hash, 0xc2b2ae35);
    hash ^= hash >>> 16;
  }
  return hash >>> 0;
}

/** The schedule of a seed. `lengths`: how many accesses each CPU makes when it is alone. */
export function planOf(seed: number, lengths: readonly number[], depth: number): Plan {
  const order = lengths.map((_, cpu) => cpu);
  for (let n = order.length - 1; n > 0; n--) {
    const other = mixed(seed, 1, n) % (n + 1);
    [order[n], order[other]] = [order[other]!, order[n]!];
  }
  const total = lengths.reduce((sum, length) => sum + length, 0);
  const changes = Array.from({ length: depth - 1 }, (_, n): Change => {
    let access = mixed(seed, 2, n) % Math.max(1, total);
    let cpu = 0;
    while (cpu < lengths.length - 1 && access >= lengths[cpu]!) access -= lengths[cpu++]!;
    return { cpu, access };
  });
  return { seed, order, changes };
}

/** One run. */
export function follow(
  explorer: Explorer,
  steps: Steps,
  plan: Plan,
): { violation: Violation | null; moves: Move[] } {
  const moves: Move[] = [];
  const order = plan.order.slice();
  let pending = plan.changes.slice();
  let state: State = steps.initial();
  const wrong = (found: ReturnType<Explorer["failure"]>) => ({ violation: { ...found!, moves }, moves });
  for (;;) {
    const failed = explorer.failure(state);
    if (failed !== null) return wrong(failed);
    const groups = state.nodes.map((_, cpu) => steps.of(state, cpu));
    let cpu = order.find((one) => groups[one]!.length > 0);
    if (cpu === undefined) {
      const late = steps.timeouts(state);
      if (late.length === 0) break;
      const move = late[mixed(plan.seed, 5, moves.length) % late.length]!;
      moves.push(move);
      state = move.to;
      continue;
    }
    const due = pending.filter(
      (change) => state.nodes[change.cpu]!.accesses >= change.access && change.cpu === cpu,
    );
    if (due.length > 0) {
      pending = pending.filter((change) => !due.includes(change));
      order.splice(order.indexOf(cpu), 1);
      order.push(cpu);
      cpu = order.find((one) => groups[one]!.length > 0)!;
    }
    const group = groups[cpu]!;
    const { accesses } = state.nodes[cpu]!;
    // Stores leave a buffer late, mostly; loads give the last value, mostly.
    const drains = group.filter((move) => move.kind === "drain");
    const others = group.filter((move) => move.kind !== "drain");
    const dice = mixed(plan.seed, 3, cpu, accesses, state.lag[cpu]!);
    const from = others.length === 0 || (drains.length > 0 && dice % 4 === 0) ? drains : others;
    const pick = mixed(plan.seed, 4, cpu, accesses);
    const move = pick % 2 === 0 ? from.at(-1)! : from[(pick >>> 1) % from.length]!;
    moves.push(move);
    const fault = explorer.fault(move);
    if (fault !== null) return wrong(fault);
    state = move.to;
  }
  const verdict = explorer.verdict(state, new Set());
  return verdict === null ? { violation: null, moves } : wrong(verdict);
}

/** How many accesses each CPU makes in a run without preemptions. */
export function lengthsOf(explorer: Explorer, steps: Steps, programs: readonly Program[]): number[] {
  const plan = { seed: 0, order: programs.map((_, cpu) => cpu), changes: [] };
  const last = follow(explorer, steps, plan).moves.at(-1)?.to ?? steps.initial();
  return last.nodes.map((node) => Math.max(1, node.accesses));
}
