/** `sternix bench rcu`: what the read side costs, how long grace periods take, how many callbacks a second. */
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { atomicStore, Heap, rcuIdleEnter, rcuIdleExit, rcuStats } from "../../rcu/index.ts";
import { GRACE_BOARD, type GraceData, type GraceJob, type GraceResult } from "./grace-worker.ts";
import type { BenchOptions } from "./options.ts";
import type { Progress } from "./progress.ts";
import { ResultsBuilder } from "./report.ts";
import { quantile, summarize } from "./statistics.ts";
import { measureTables } from "./table-run.ts";
import { hashMap } from "./tables/collections.ts";
import { dereference, readScope } from "./tables/scope.ts";

/** Safe points of a CPU that makes system calls now and then. */
const QUANTUM_NS = 50_000;
const SYNCHRONIZE_CALLS = 400;
/** What a callRcu record and a kfreeRcu cell of one word take in the heap. */
const BYTES_PER_CALLBACK = 16;

export async function benchRcu(options: BenchOptions, progress: Progress): Promise<ResultsBuilder> {
  const results = new ResultsBuilder("rcu", options.command, options.rounds);
  const wanted = (name: string): boolean => options.contenders === null || options.contenders.includes(name);
  const measured = (name: string): boolean =>
    options.only.length === 0 || options.only.some((part) => name.includes(part));
  const tables = [readScope, dereference, hashMap].filter((table) => measured(table.name));
  if (tables.length > 0)
    await measureTables(
      {
        tables,
        threads: options.threads ?? [1, 2],
        writes: options.writes ?? [0],
        sizesOf: (table) => (table === hashMap ? (options.entries ?? [4096]) : [1]),
        wanted,
      },
      options,
      results,
      progress,
    );
  if (measured("grace periods")) await gracePeriods(options, results, progress);
  addTargets(results);
  return results;
}

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
  ...(["callRcu", "kfreeRcu"] as const).flatMap((job) =>
    [1, 2].map((cpus) => ({
      name: "callbacks",
      conditions: { cpus },
      contender: job,
      jobs: Array.from({ length: cpus }, () => ({ job })),
    })),
  ),
];

async function gracePeriods(
  options: BenchOptions,
  results: ResultsBuilder,
  progress: Progress,
): Promise<void> {
  const heap = Heap.create({ bytes: 256 << 20 });
  const board = new Int32Array(new SharedArrayBuffer(GRACE_BOARD.WORDS * 4));
  const workerData: GraceData = { heap: heap.handle(), board };
  const workers = [0, 1].map(() => new Worker(workerUrl, { workerData }));
  rcuIdleEnter();
  await Promise.all(workers.map((worker) => once(worker, "message")));
  const samples: number[][] = MEASUREMENTS.map(() => []);
  const reclaims = MEASUREMENTS.map(() => ({ gracePeriods: 0, callbacks: 0, peakUnreclaimedBytes: 0 }));
  for (let round = -1; round < options.rounds; round++)
    for (const [n, measurement] of MEASUREMENTS.entries()) {
      progress.at(
        (round + 1) * MEASUREMENTS.length + n,
        (options.rounds + 1) * MEASUREMENTS.length,
        measurement.name,
      );
      const before = rcuStats();
      const answers = await runJobs(workers, board, measurement.jobs, options.ms);
      const after = rcuStats();
      if (round < 0) continue; // Warm-up.
      const reclaim = reclaims[n]!;
      const { waits } = answers[0]!;
      if (waits !== undefined)
        samples[n]!.push(
          quantile(
            [...waits].sort((a, b) => a - b),
            0.5,
          ) / 1000,
        );
      else {
        samples[n]!.push(answers.reduce((sum, answer) => sum + (answer.calls! * 1e9) / answer.ns!, 0));
        reclaim.callbacks += after.callbacksRun - before.callbacksRun;
        reclaim.gracePeriods += after.gracePeriods - before.gracePeriods;
        const peak = Math.max(...answers.map((answer) => answer.peakPending!));
        reclaim.peakUnreclaimedBytes = Math.max(reclaim.peakUnreclaimedBytes, peak * BYTES_PER_CALLBACK);
      }
    }
  for (const [n, { name, conditions, contender, jobs }] of MEASUREMENTS.entries()) {
    const rate = jobs[0]!.job === "callRcu" || jobs[0]!.job === "kfreeRcu";
    results.cells.push({
      name,
      conditions,
      contender,
      unit: rate ? "calls/s" : "us",
      better: rate ? "more" : "less",
      samples: samples[n]!,
      ...summarize(samples[n]!),
      ...(rate ? { reclaim: reclaims[n]! } : {}),
    });
  }
  for (const worker of workers) {
    worker.postMessage(null);
    await once(worker, "exit");
  }
  rcuIdleExit();
  heap.detach();
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
  if (jobs.every((job) => job.job === "callRcu" || job.job === "kfreeRcu")) {
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
  if (scope !== undefined) results.target("read scope, enter and exit", "ns", "less", 1.5, scope);
  // An uncontended pair: each of two threads has a mutex of its own.
  results.ratioTarget("enter + exit", { threads: 2 }, "rcu", "percpu-mutex", 20);
  for (const [against, times] of [
    ["private Map", 1],
    ["mutex", 8],
    ["rwlock", 15],
  ] as const)
    results.ratioTarget("RcuHashMap", { threads: 2, writes: 0 }, "rcu", against, times);
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
