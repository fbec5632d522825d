/** Measures tables: contenders in turns, under all conditions asked for. `bench tables` and `bench rcu` share it. */
import { rcuIdleEnter, rcuIdleExit, rcuStats } from "../../rcu/index.ts";
import { Budget } from "./budget.ts";
import { type Crew, hireCrew } from "./crew.ts";
import { type Disturbed, Retries } from "./disturbance.ts";
import { type Entrant, enter } from "./entrants.ts";
import type { BenchOptions } from "./options.ts";
import type { Progress } from "./progress.ts";
import type { Reclaim, ResultsBuilder } from "./results.ts";
import type { TableBench } from "./tables/table.ts";
import { createWorld } from "./world.ts";

/**
 * V8 exchanges the code of a loop when it is entered again, and compiles beside it: each loop is entered so often before
 * it is measured, for so long each time.
 */
const ENTRIES = 3;
const ENTRY_MS = 2;
/**
 * Before that a table's own code is warmed on every thread by so many entries of one loop with this share of writes: at one per cent
 * V8 would go on for many measurements to exchange what writes and callbacks run.
 */
const TABLE_ENTRIES = 14;
const TABLE_ENTRY_MS = 6;
const WARM_UP_WRITES = 50;
/** Then it is warmed in lengths of a measurement until one is not faster than the one before by this much... */
const STILL_WARMING = 0.93;
/** ...but not for longer than this. */
const WARM_UPS_MAX = 8;
const WARM_UPS_QUICK = 2;

export interface Conditions {
  readonly entries: number;
  readonly threads: number;
  readonly writes: number;
}

/** One measurement: nanoseconds per operation and thread, and what reclamation did. */
interface Sample extends Disturbed {
  readonly ns: number;
  readonly gracePeriods: number;
  readonly callbacks: number;
  readonly peakPending: number;
}

export interface Plan {
  readonly tables: readonly TableBench[];
  conditionsOf(table: TableBench): readonly Conditions[];
  /** Which contenders take part. */
  wanted(contender: string): boolean;
  /** Who takes part from outside of this process. */
  outsiders?(table: TableBench, conditions: Conditions): readonly Outsider[];
}

/** A contender that is no thread of ours: another program. */
export interface Outsider {
  readonly name: string;
  /** One measurement of so many milliseconds: nanoseconds per operation and thread. */
  measure(ms: number): Promise<Disturbed & { readonly ns: number }>;
}

/** Adds a cell to the results for each table, set of conditions and contender. */
export async function measureTables(
  plan: Plan,
  options: BenchOptions,
  results: ResultsBuilder,
  progress: Progress,
): Promise<void> {
  // Small tables first: all share one dentry cache and one set of caches of the CPU, and large ones stay.
  const parts = plan.tables
    .flatMap((table) => partsOf(table, plan.conditionsOf(table), results))
    .sort((a, b) => a.entries - b.entries);
  const retries = new Retries(options.retryMs, progress.beat);
  const steps = parts.reduce((sum, { cells }) => sum + cells.length, 0) * options.passes;
  const most = Math.max(...parts.flatMap(({ cells }) => cells.map(({ threads }) => threads)));
  const budget = new Budget(options.limitMs, steps);
  for (let pass = 0; parts.length > 0 && pass < options.passes && budget.fits(pass); pass++) {
    results.beginPass(pass);
    await results.takeReference();
    const world = createWorld();
    const crew = await hireCrew(world, most, false);
    const strictCrew = plan.wanted("rcu-strict") ? await hireCrew(world, most, true) : crew;
    const crews = new Set([crew, strictCrew]);
    progress.explain(() => [...crews].map((each) => each.state()).join("\n"));
    for (const part of parts) {
      const { table, entries } = part;
      const one: OneTable = {
        ...part,
        most,
        crews,
        crewOf: ({ strict }) => (strict ? strictCrew : crew),
        budget,
        at: (what) => progress.at(budget.step(), steps, `${table.name}, ${entries} entries, ${what}`),
      };
      await measureTable(one, plan, options, results, retries);
      await results.takeReference();
    }
    progress.explain(null);
    rcuIdleEnter();
    for (const each of crews) await each.dismiss();
    rcuIdleExit();
    world.heap.detach();
  }
  for (const remark of [budget.remark, retries.remark]) if (remark !== null) results.skip(remark);
}

/** A table of one size: filled once, measured under all its conditions. */
interface Part {
  readonly table: TableBench;
  readonly entries: number;
  readonly cells: readonly Conditions[];
}

function partsOf(table: TableBench, conditions: readonly Conditions[], results: ResultsBuilder): Part[] {
  const [most, reason] = table.most ?? [Number.POSITIVE_INFINITY, ""];
  const sizes = [...new Set(conditions.map(({ entries }) => entries))];
  if (sizes.some((entries) => entries > most))
    results.skip(`${table.name} with more than ${most.toLocaleString("en-US")} entries: ${reason}`);
  return sizes
    .filter((entries) => entries <= most)
    .map((entries) => ({ table, entries, cells: conditions.filter((cell) => cell.entries === entries) }));
}

interface OneTable extends Part {
  /** Threads there are. */
  readonly most: number;
  readonly crews: ReadonlySet<Crew>;
  crewOf(entrant: Entrant): Crew;
  readonly budget: Budget;
  /** Says that the next cell begins. */
  at(what: string): void;
}

/** One table of one size, in one pass: under all conditions, contenders in turns. */
async function measureTable(
  one: OneTable,
  plan: Plan,
  options: BenchOptions,
  results: ResultsBuilder,
  retries: Retries,
): Promise<void> {
  const { table, entries, most, crewOf } = one;
  const built = table.build(entries);
  const entrants = enter(table, entries, plan.wanted, results);
  for (const [n, { contender, strict }] of entrants.entries())
    await crewOf(entrants[n]!).tell(most, {
      command: "open",
      table: table.name,
      built,
      entries,
      contender,
      key: `${n}${strict ? " strict" : ""}`,
    });
  const prepare = async ({ threads, writes }: Omit<Conditions, "entries">): Promise<void> => {
    for (const each of new Set(entrants.map(crewOf)))
      await each.tell(threads, { command: "sequence", seed: options.seed, entries, writes, threads });
  };
  const measure = (n: number, threads: number, ms = options.ms): Promise<Sample> => {
    const key = `${n}${entrants[n]!.strict ? " strict" : ""}`;
    return sample(crewOf(entrants[n]!), threads, key, ms, options.clock);
  };
  if (one.cells.some(({ writes }) => writes > 0)) {
    await prepare({ threads: most, writes: WARM_UP_WRITES });
    // The loops of one crew run the same code of the table.
    const warmed = new Set<Crew>();
    for (const [n, entrant] of entrants.entries()) {
      const times = warmed.has(crewOf(entrant)) ? 1 : TABLE_ENTRIES;
      warmed.add(crewOf(entrant));
      for (let entry = 0; entry < times; entry++) await measure(n, most, TABLE_ENTRY_MS);
    }
  }
  for (const conditions of one.cells) {
    one.at(`${conditions.threads} threads, ${conditions.writes} % writes`);
    await prepare(conditions);
    for (const n of entrants.keys()) {
      for (let entry = 0; entry < ENTRIES; entry++) await measure(n, conditions.threads, ENTRY_MS);
      let last = Number.POSITIVE_INFINITY;
      const warmUps = one.budget.behind ? 1 : options.quick ? WARM_UPS_QUICK : WARM_UPS_MAX;
      for (let warm = 0; warm < warmUps; warm++) {
        const { ns } = await measure(n, conditions.threads);
        if (ns > last * STILL_WARMING) break;
        last = ns;
      }
    }
    const outsiders = plan.outsiders?.(table, conditions) ?? [];
    const samples: Sample[][] = entrants.map(() => []);
    const outside: Awaited<ReturnType<Outsider["measure"]>>[][] = outsiders.map(() => []);
    const rounds = one.budget.rounds(options.rounds);
    for (let round = 0; round < rounds; round++) {
      for (const n of entrants.keys())
        samples[n]!.push(await retries.leastDisturbed(() => measure(n, conditions.threads)));
      for (const [n, outsider] of outsiders.entries())
        outside[n]!.push(await retries.leastDisturbed(() => outsider.measure(options.ms)));
    }
    for (const [n, entrant] of entrants.entries()) record(results, table, conditions, entrant, samples[n]!);
    for (const [n, { name }] of outsiders.entries())
      recordTimes(results, table, conditions, name, outside[n]!);
  }
  for (const each of one.crews) await each.tell(most, { command: "close" });
  for (const entrant of entrants) await entrant.close();
}

async function sample(
  crew: Crew,
  threads: number,
  key: string,
  ms: number,
  clock: BenchOptions["clock"],
): Promise<Sample> {
  const before = rcuStats();
  // While it waits, this thread holds no grace period up.
  rcuIdleEnter();
  const runs = await crew.run(threads, key, ms);
  rcuIdleExit();
  const after = rcuStats();
  const operations = runs.reduce((sum, run) => sum + run.operations, 0);
  return {
    ns: runs.reduce((sum, run) => sum + (clock === "cpu" ? run.cpuNs : run.ns), 0) / operations,
    share: 1 - runs.reduce((sum, run) => sum + run.delayNs, 0) / runs.reduce((sum, run) => sum + run.ns, 0),
    gracePeriods: after.gracePeriods - before.gracePeriods,
    callbacks: after.callbacksRun - before.callbacksRun,
    peakPending: runs.reduce((sum, run) => sum + run.peakPending, 0),
  };
}

function record(
  results: ResultsBuilder,
  table: TableBench,
  { entries, threads, writes }: Conditions,
  { name: contender, contender: { kind } }: Entrant,
  samples: readonly Sample[],
): void {
  const sum = (pick: (each: Sample) => number) => samples.reduce((total, each) => total + pick(each), 0);
  const { deferredBytes } = table;
  const bytes = typeof deferredBytes === "number" ? deferredBytes : deferredBytes(entries);
  const reclaim: Reclaim = {
    gracePeriods: sum((each) => each.gracePeriods),
    callbacks: sum((each) => each.callbacks),
    peakUnreclaimedBytes: Math.max(...samples.map((each) => each.peakPending)) * bytes,
  };
  const conditions = { entries, threads, writes };
  recordTimes(results, table, conditions, contender, samples, kind === "protocol" ? reclaim : undefined);
}

function recordTimes(
  results: ResultsBuilder,
  table: TableBench,
  { entries, threads, writes }: Conditions,
  contender: string,
  samples: readonly (Disturbed & { readonly ns: number })[],
  reclaim?: Reclaim,
): void {
  for (const { share } of samples) results.cpuShare(share);
  const conditions = { threads, ...(entries > 1 ? { writes, entries } : {}) };
  results.record(
    { name: table.name, conditions, contender, unit: "ns", better: "less" },
    samples.map(({ ns }) => ns),
    reclaim,
  );
}
