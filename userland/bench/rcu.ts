/** `sternix bench rcu`: what the read side costs, how long grace periods take, how many callbacks a second. */
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { atomicStore, Heap, rcuIdleEnter, rcuIdleExit, rcuStats } from "../../rcu/index.ts";
import { type Axis, combinations } from "./axes.ts";
import { type Disturbed, Retries, shareOf, threadTimes } from "./disturbance.ts";
import { SCOPES } from "./flavour-worker.ts";
import { FLAVOURS, measureFlavours } from "./flavours.ts";
import { GRACE_BOARD, type GraceData, type GraceJob, type GraceResult } from "./grace-worker.ts";
import { LIBURCU, Liburcu } from "./liburcu.ts";
import { PROTOCOLS } from "./locks.ts";
import { type BenchOptions, chosen } from "./options.ts";
import type { Progress } from "./progress.ts";
import { bothReclaims, type Reclaim, ResultsBuilder } from "./results.ts";
import { median } from "./statistics.ts";
import { type Conditions, measureTables, type Outsider } from "./table-run.ts";
import { hashMap, lockFreeMap } from "./tables/collections.ts";
import { PEERS } from "./tables/peers.ts";
import { dereference, readScope } from "./tables/scope.ts";
import type { TableBench } from "./tables/table.ts";

/** Safe points of a CPU that makes system calls now and then. */
const QUANTUM_NS = 50_000;
const SYNCHRONIZE_CALLS = 400;
/** What a callRcu record and a kfreeRcu cell of one word take in the heap. */
const BYTES_PER_CALLBACK = 16;

export async function benchRcu(options: BenchOptions, progress: Progress): Promise<ResultsBuilder> {
  const results = new ResultsBuilder("rcu", options.command, options.rounds);
  const { contenders } = options;
  const all = [...PROTOCOLS, ...PEERS, ...LIBURCU, ...SCOPES];
  chosen("contenders", contenders, all, (name) => name, true);
  const wanted = (name: string): boolean => contenders === null || contenders.includes(name);
  const MAPS: readonly TableBench[] = [hashMap, lockFreeMap];
  const TABLES = [readScope, dereference, ...MAPS];
  const names = [FLAVOURS, ...[...TABLES, ...MEASUREMENTS].map(({ name }) => name)];
  const only = new Set(chosen("only", options.only, [...new Set(names)], (name) => name));
  const tables = TABLES.filter(({ name }) => only.has(name));
  const liburcu = LIBURCU.some(wanted) ? Liburcu.build((line) => results.skip(line)) : null;
  if (liburcu !== null) results.versions.liburcu = liburcu.version;
  try {
    await measure();
  } finally {
    liburcu?.close();
  }
  return results;

  async function measure(): Promise<void> {
    if (tables.length > 0)
      await measureTables(
        {
          tables,
          conditionsOf: (table) =>
            combinations({
              entries: every(MAPS.includes(table) ? (options.entries ?? [4096]) : [1]),
              threads: every(options.threads ?? [1, 2]),
              writes: every(options.writes ?? (MAPS.includes(table) ? [0, 100] : [0])),
            }),
          wanted,
          outsiders: (table, conditions) => outsiders(liburcu, table, conditions, options.clock, wanted),
        },
        options,
        results,
        progress,
      );
    const measurements = MEASUREMENTS.filter(({ name }) => only.has(name));
    const flavours = only.has(FLAVOURS) && SCOPES.some(wanted);
    for (let pass = 0; (flavours || measurements.length > 0) && pass < options.passes; pass++) {
      results.beginPass(pass);
      await results.takeReference();
      if (flavours) await measureFlavours(options, results, progress, wanted);
      const calls = wanted("liburcu call_rcu") ? liburcu : null;
      if (measurements.length > 0) await gracePeriods(measurements, options, results, progress, calls);
    }
    addTargets(results);
  }
}

/** liburcu's part in a table: its scopes beside the empty ones, its lock-free hash table beside look-ups without updates. */
function outsiders(
  liburcu: Liburcu | null,
  table: TableBench,
  { threads, entries, writes }: Conditions,
  clock: BenchOptions["clock"],
  wanted: (name: string) => boolean,
): readonly Outsider[] {
  if (liburcu === null || writes > 0) return [];
  const names =
    table === readScope
      ? (["liburcu qsbr", "liburcu memb", "liburcu mb"] as const)
      : table === hashMap
        ? (["liburcu cds_lfht"] as const)
        : [];
  return names.filter(wanted).map((name) => ({
    name,
    async measure(ms) {
      const { operations, ns, share } = await liburcu.run(name, threads, entries, ms);
      return { ns: (clock === "cpu" ? ns * share : ns) / operations, share };
    },
  }));
}

const every = (values: readonly number[]): Axis => ({ values, usual: values[0]!, asked: true });

const workerUrl = new URL(
  import.meta.url.endsWith(".ts") ? "./grace-worker.ts" : "./bench-grace-worker.js",
  import.meta.url,
);

interface Measurement {
  readonly name: string;
  readonly conditions: Readonly<Record<string, number | string>>;
  readonly contender: string;
  /** Jobs of the threads; the first one's result counts, or all of them for rates. */
  readonly jobs: readonly GraceJob[];
}

const MEASUREMENTS: readonly Measurement[] = [
  {
    name: "synchronize",
    conditions: { "other CPU": "passes safe points all the time" },
    contender: "synchronizeRcu",
    jobs: [
      { job: "synchronize", calls: SYNCHRONIZE_CALLS },
      { job: "busy", quantum: 0 },
    ],
  },
  {
    name: "synchronize",
    conditions: { "other CPU": "passes one every 50 us" },
    contender: "synchronizeRcu",
    jobs: [
      { job: "synchronize", calls: SYNCHRONIZE_CALLS },
      { job: "busy", quantum: QUANTUM_NS },
    ],
  },
  {
    name: "synchronize",
    conditions: { "other CPU": "passes one every 50 us" },
    contender: "expedited",
    jobs: [
      { job: "expedited", calls: SYNCHRONIZE_CALLS },
      { job: "busy", quantum: QUANTUM_NS },
    ],
  },
  ...(["callRcu", "kfreeRcu", "callRcuHere"] as const).flatMap((job) =>
    [1, 2].map((cpus) => ({
      name: "callbacks",
      conditions: { cpus },
      contender: job,
      jobs: Array.from({ length: cpus }, () => ({ job })),
    })),
  ),
];

/** One pass: a heap of its own, and two threads. */
async function gracePeriods(
  measurements: readonly Measurement[],
  options: BenchOptions,
  results: ResultsBuilder,
  progress: Progress,
  liburcu: Liburcu | null,
): Promise<void> {
  const heap = Heap.create({ bytes: 256 << 20 });
  const board = new Int32Array(new SharedArrayBuffer(GRACE_BOARD.WORDS * 4));
  const workerData: GraceData = { heap: heap.handle(), board };
  const workers = [0, 1].map(() => new Worker(workerUrl, { workerData }));
  rcuIdleEnter();
  await Promise.all(workers.map((worker) => once(worker, "message")));
  const retries = new Retries(options.retryMs, progress.beat);
  progress.explain(() => `  the threads' jobs: ${current}`);
  const samples: Sample[][] = measurements.map(() => []);
  const all = (options.rounds + 1) * measurements.length;
  let current = "";
  for (let round = -1; round < options.rounds; round++)
    for (const [n, { name, jobs }] of measurements.entries()) {
      progress.at((round + 1) * measurements.length + n + 1, all, name);
      current = jobs.map(({ job }) => job).join(", ");
      const measure = () => measureJobs(workers, board, jobs, options.ms);
      if (round < 0) await measure();
      else samples[n]!.push(await retries.leastDisturbed(measure));
    }
  for (const [n, { name, conditions, contender, jobs }] of measurements.entries()) {
    const rate = isRate(jobs);
    for (const { share } of samples[n]!) results.cpuShare(share);
    results.record(
      { name, conditions, contender, unit: rate ? "calls/s" : "us", better: rate ? "more" : "less" },
      samples[n]!.map(({ figure }) => figure),
      rate ? sumOf(samples[n]!.map(({ reclaim }) => reclaim)) : undefined,
    );
  }
  const calls = measurements.filter(({ contender }) => contender === "callRcu");
  for (const { name, conditions, jobs } of liburcu === null ? [] : calls)
    results.record(
      { name, conditions, contender: "liburcu call_rcu", unit: "calls/s", better: "more" },
      await liburcuCalls(liburcu!, jobs.length, options, retries),
    );
  for (const worker of workers) {
    worker.postMessage(null);
    await once(worker, "exit");
  }
  progress.explain(null);
  if (retries.remark !== null) results.skip(retries.remark);
  rcuIdleExit();
  heap.detach();
}

async function liburcuCalls(
  liburcu: Liburcu,
  threads: number,
  options: BenchOptions,
  retries: Retries,
): Promise<number[]> {
  const rates: number[] = [];
  for (let round = 0; round < options.rounds; round++) {
    const { operations, ns } = await retries.leastDisturbed(() =>
      liburcu.run("liburcu call_rcu", threads, 1, options.ms),
    );
    rates.push((operations * threads * 1e9) / ns);
  }
  return rates;
}

interface Sample extends Disturbed {
  /** Calls a second, or microseconds. */
  readonly figure: number;
  readonly reclaim: Reclaim;
}

const isRate = (jobs: readonly GraceJob[]): boolean =>
  ["callRcu", "kfreeRcu", "callRcuHere"].includes(jobs[0]!.job);

const sumOf = (all: readonly Reclaim[]): Reclaim => all.reduce(bothReclaims);

async function measureJobs(
  workers: readonly Worker[],
  board: Int32Array<SharedArrayBuffer>,
  jobs: readonly GraceJob[],
  ms: number,
): Promise<Sample> {
  const before = rcuStats();
  const threads = threadTimes();
  const answers = await runJobs(workers, board, jobs, ms);
  const share = shareOf(threads, threadTimes(), jobs.length);
  const after = rcuStats();
  const { waits } = answers[0]!;
  const peak = answers.reduce((sum, { peakPending = 0 }) => sum + peakPending, 0);
  return {
    figure:
      waits === undefined
        ? answers.reduce((sum, { calls, ns }) => sum + (calls! * 1e9) / ns!, 0)
        : median(waits) / 1000,
    share,
    reclaim: {
      gracePeriods: after.gracePeriods - before.gracePeriods,
      callbacks: after.callbacksRun - before.callbacksRun,
      peakUnreclaimedBytes: peak * BYTES_PER_CALLBACK,
    },
  };
}

/** Runs the jobs side by side: those that do not end by themselves for `ms` at least. */
async function runJobs(
  workers: readonly Worker[],
  board: Int32Array<SharedArrayBuffer>,
  jobs: readonly GraceJob[],
  ms: number,
): Promise<GraceResult[]> {
  atomicStore(board, GRACE_BOARD.STOP, 0);
  atomicStore(board, GRACE_BOARD.ARRIVED, 0);
  atomicStore(board, GRACE_BOARD.KICK, 0);
  atomicStore(board, GRACE_BOARD.BUSY, 0);
  const running = jobs.map(async (job, n) => {
    workers[n]!.postMessage({ job, threads: jobs.length });
    return (await once(workers[n]!, "message"))[0] as GraceResult;
  });
  if (isRate(jobs)) {
    await sleep(ms);
    atomicStore(board, GRACE_BOARD.STOP, 1);
  }
  return Promise.all(running);
}

/** Bytes waiting for a grace period that count as bounded. */
const BOUND_MIB = 64;

function addTargets(results: ResultsBuilder): void {
  const median = (name: string, conditions: Readonly<Record<string, number | string>>, contender: string) =>
    results.cell(name, conditions, contender)?.median;
  const scope = median("enter + exit", { threads: 1 }, "rcu");
  if (scope !== undefined) results.target("read scope, enter and exit", "ns", "less", 1, scope);
  results.ratioTarget("enter + exit", { threads: 1 }, "rcu", "liburcu qsbr", 1 / 2);
  for (const threads of [1, 2])
    results.ratioTarget("RcuHashMap", { threads, writes: 0 }, "rcu", "liburcu cds_lfht", 1 / 1.5);
  for (const [contender, most] of [
    ["announcing RcuDomain", 20],
    ["fast Srcu", 1],
  ] as const) {
    const cost = median(FLAVOURS, { threads: 1 }, contender);
    if (cost !== undefined) results.target(`${FLAVOURS}: ${contender}`, "ns", "less", most, cost);
  }
  results.ratioTarget("callbacks", { cpus: 1 }, "callRcuHere", "callRcu", 1 / 3);
  // An uncontended pair: each of two threads has a mutex of its own.
  results.ratioTarget("enter + exit", { threads: 2 }, "rcu", "percpu-mutex", 20);
  for (const [against, times] of [
    ["private Map", 1],
    ["mutex", 8],
    ["rwlock", 15],
  ] as const)
    results.ratioTarget("RcuHashMap", { threads: 2, writes: 0 }, "rcu", against, times);
  // Updates that do not wait for each other.
  const [alone, beside] = [1, 2].map((threads) => median("RcuLockFreeMap", { threads, writes: 100 }, "rcu"));
  if (alone !== undefined && beside !== undefined)
    results.target("RcuLockFreeMap, writes at two threads / at one", "x", "more", 1.6, (2 * alone) / beside);
  const every50us = { "other CPU": "passes one every 50 us" };
  const synchronize = median("synchronize", every50us, "synchronizeRcu");
  if (synchronize !== undefined) results.target("synchronize, two busy CPUs", "us", "less", 100, synchronize);
  const expedited = median("synchronize", every50us, "expedited");
  if (expedited !== undefined) results.target("expedited, two busy CPUs", "us", "less", 30, expedited);
  const callbacks = results.cell("callbacks", { cpus: 1 }, "callRcu");
  if (callbacks === undefined) return;
  results.target("callRcu on one CPU", "calls/s", "more", 1e6, callbacks.median);
  const peak = callbacks.reclaim!.peakUnreclaimedBytes / (1 << 20);
  results.target("memory that waits for grace periods meanwhile", "MiB", "less", BOUND_MIB, peak);
}
