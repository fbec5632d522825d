/** Measures tables: contenders in turns, under all conditions asked for. `bench tables` and `bench rcu` share it. */
import { rcuIdleEnter, rcuIdleExit, rcuStats } from "../../rcu/index.ts";
import { type Crew, hireCrew } from "./crew.ts";
import { PROTOCOLS } from "./locks.ts";
import type { BenchOptions } from "./options.ts";
import type { Progress } from "./progress.ts";
import type { Cell, Reclaim, ResultsBuilder } from "./report.ts";
import { summarize } from "./statistics.ts";
import type { Contender } from "./table-worker.ts";
import { buildPeer, PEERS, packageVersion } from "./tables/peers.ts";
import type { TableBench } from "./tables/table.ts";
import { createWorld } from "./world.ts";

/** Warm-up goes on, in lengths of a measurement, until one is not faster than the one before by this much... */
const STILL_WARMING = 0.93;
/** ...but not for longer than this. */
const WARM_UPS_MAX = 8;
/** A measurement in which threads waited for a CPU for longer than this leaves is made again, so many times at most. */
const UNDISTURBED = 0.97;
const DISTURBED_TRIES = 6;
/** Before that, the code of writes is warmed by this share of them: one per cent would take too long. */
const WARM_UP_WRITES = 50;
/** More entries than this and sharedmap takes minutes to fill. */
const SHAREDMAP_MAX = 65536;

interface Entrant {
  readonly name: string;
  readonly strict: boolean;
  readonly contender: Contender;
  close(): Promise<void>;
}

interface Conditions {
  readonly threads: number;
  readonly writes: number;
}

/** One measurement: nanoseconds per operation and thread, and what reclamation did. */
interface Sample {
  readonly ns: number;
  readonly gracePeriods: number;
  readonly callbacks: number;
  readonly peakPending: number;
  /** Part of the time for which no thread waited for a CPU. */
  readonly share: number;
}

export interface Plan {
  readonly tables: readonly TableBench[];
  sizesOf(table: TableBench): readonly number[];
  readonly threads: readonly number[];
  readonly writes: readonly number[];
  /** Which contenders take part. */
  wanted(contender: string): boolean;
}

/** Adds a cell to the results for each table, size, number of threads, share of writes and contender. */
export async function measureTables(
  plan: Plan,
  options: BenchOptions,
  results: ResultsBuilder,
  progress: Progress,
): Promise<void> {
  const { tables, threads, writes, wanted } = plan;
  const cells = threads.flatMap((n) =>
    writes.map((percent): Conditions => ({ threads: n, writes: percent })),
  );
  const world = createWorld();
  const most = Math.max(...threads);
  const crew = await hireCrew(world, most, false);
  const strictCrew = wanted("rcu-strict") ? await hireCrew(world, most, true) : crew;
  const crewOf = (entrant: Entrant): Crew => (entrant.strict ? strictCrew : crew);

  const total = tables.reduce((sum, table) => sum + plan.sizesOf(table).length * cells.length, 0);
  let done = 0;
  const shares: number[] = [];
  for (const table of tables) {
    for (const entries of plan.sizesOf(table)) {
      const built = table.build(entries);
      const entrants = await enter(table, entries, wanted, results);
      for (const [n, entrant] of entrants.entries())
        await crewOf(entrant).tell(most, {
          command: "open",
          table: table.name,
          built,
          entries,
          contender: entrant.contender,
          key: String(n),
        });
      const prepare = async ({ threads: count, writes: percent }: Conditions): Promise<void> => {
        const { seed } = options;
        for (const each of new Set(entrants.map(crewOf)))
          await each.tell(count, { command: "sequence", seed, entries, writes: percent, threads: count });
      };
      const measure = (n: number, count: number): Promise<Sample> =>
        sample(crewOf(entrants[n]!), count, String(n), options);
      if (writes.some((percent) => percent > 0)) {
        await prepare({ threads: most, writes: WARM_UP_WRITES });
        for (const n of entrants.keys()) for (let warm = 0; warm < 2; warm++) await measure(n, most);
      }
      for (const conditions of cells) {
        progress.at(++done, total, `${table.name}, ${entries} entries`);
        await prepare(conditions);
        for (const n of entrants.keys()) {
          let last = Number.POSITIVE_INFINITY;
          for (let warm = 0; warm < WARM_UPS_MAX; warm++) {
            const { ns } = await measure(n, conditions.threads);
            if (ns > last * STILL_WARMING) break;
            last = ns;
          }
        }
        const samples: Sample[][] = entrants.map(() => []);
        for (let round = 0; round < options.rounds; round++)
          for (const n of entrants.keys()) {
            let best = await measure(n, conditions.threads);
            for (let again = 0; again < DISTURBED_TRIES && best.share < UNDISTURBED; again++) {
              const other = await measure(n, conditions.threads);
              if (other.share > best.share) best = other;
            }
            samples[n]!.push(best);
            shares.push(best.share);
          }
        for (const [n, entrant] of entrants.entries())
          results.cells.push(cellOf(table, entries, conditions, entrant, samples[n]!));
      }
      for (const each of new Set([crew, strictCrew])) await each.tell(most, { command: "close" });
      for (const entrant of entrants) await entrant.close();
    }
  }
  rcuIdleEnter();
  for (const each of new Set([crew, strictCrew])) await each.dismiss();
  rcuIdleExit();
  world.heap.detach();
  if (shares.length > 0) results.cpuShare(summarize(shares).median);
}

/** Who takes part. */
async function enter(
  table: TableBench,
  entries: number,
  wanted: (name: string) => boolean,
  results: ResultsBuilder,
): Promise<Entrant[]> {
  const close = async (): Promise<void> => {};
  const entrants: Entrant[] = PROTOCOLS.filter(wanted).map((protocol) => ({
    name: protocol,
    strict: protocol === "rcu-strict",
    contender: { kind: "protocol", protocol },
    close,
  }));
  if (table.integers !== true) return entrants;
  for (const peer of PEERS.filter(wanted)) {
    if (peer === "sharedmap" && entries > SHAREDMAP_MAX) {
      results.skip(`sharedmap with more than ${SHAREDMAP_MAX} entries: filling it takes minutes`);
      continue;
    }
    const made = buildPeer(peer, entries);
    if (made === null) {
      results.skip(`${peer}: not installed (npm install --no-save ${peer})`);
      continue;
    }
    const version = packageVersion(peer);
    if (version !== null) results.versions[peer] = version;
    entrants.push({
      name: peer,
      strict: false,
      contender: { kind: "peer", handle: made.handle },
      close: made.close,
    });
  }
  return entrants;
}

async function sample(crew: Crew, threads: number, key: string, options: BenchOptions): Promise<Sample> {
  const { ms, clock } = options;
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
    peakPending: Math.max(...runs.map((run) => run.peakPending)),
  };
}

function cellOf(
  table: TableBench,
  entries: number,
  conditions: Conditions,
  entrant: Entrant,
  samples: readonly Sample[],
): Cell {
  const times = samples.map((each) => each.ns);
  const sum = (pick: (each: Sample) => number) => samples.reduce((total, each) => total + pick(each), 0);
  const reclaim: Reclaim = {
    gracePeriods: sum((each) => each.gracePeriods),
    callbacks: sum((each) => each.callbacks),
    peakUnreclaimedBytes: Math.max(...samples.map((each) => each.peakPending)) * table.deferredBytes,
  };
  return {
    name: table.name,
    conditions: {
      threads: conditions.threads,
      ...(entries > 1 ? { writes: conditions.writes, entries } : {}),
    },
    contender: entrant.name,
    unit: "ns",
    better: "less",
    samples: times,
    ...summarize(times),
    ...(entrant.contender.kind === "protocol" ? { reclaim } : {}),
  };
}
