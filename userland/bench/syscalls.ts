/**
 * `sternix bench syscalls`: system calls of a riscv64 guest and of a TypeScript program, beside the host kernel, qemu's
 * user mode, node:fs, memfs, node:wasi, and a model of kernels that live in one worker.
 */
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Budget } from "./budget.ts";
import { Retries } from "./disturbance.ts";
import { type BenchOptions, chosen, usualThreads } from "./options.ts";
import type { Progress } from "./progress.ts";
import { ResultsBuilder } from "./results.ts";
import {
  CONTENDERS,
  type Contender,
  contenderVersions,
  findHost,
  type Host,
  startField,
  type Timed,
} from "./syscall-contenders.ts";

/** Operations of test/guest/src/syscalls.c, with what a report calls them. */
const OPERATIONS: readonly (readonly [name: string, label: string])[] = [
  ["null", "null call (getppid)"],
  ["pipe1", "pipe write + read, 1 byte"],
  ["pipe64k", "pipe write + read, 64 KiB"],
  ["file1", "tmpfs write + read, 1 byte"],
  ["file64k", "tmpfs write + read, 64 KiB"],
  ["open", "open + close"],
  ["stat1", "stat, 1 component"],
  ["stat8", "stat, 8 components"],
  ["dup", "dup + close"],
  ["epoll", "eventfd write, epoll_wait, read"],
  ["futex", "futex wake"],
  ["switch", "ping-pong over pipes, 2 switches"],
  ["fork", "fork + exit + wait"],
  ["exec", "fork + exec + exit + wait"],
  ["fault", "page fault"],
  ["mmap", "mmap + munmap"],
  ["signal", "signal to oneself, handler, return"],
];
/** Who takes part in these waits for others to get the CPU, and they for it: that is what is measured, and no disturbance. */
const SWITCHING = new Set(["switch", "fork", "exec"]);

/** What grows with the number of CPUs, and what does not. */
const SCALED: readonly (readonly [name: string, label: string])[] = [
  ["null", "null calls a second"],
  ["pipe1", "1-byte pipe round trips a second"],
  ["open", "opens and closes a second"],
];

/** How much longer these are measured: starting and ending processes is part of them. */
const SCALED_TIMES = 8;
const SCALED_TIMES_QUICK = 3;
/** CPUs of the machine for single calls: a ping-pong may use two. */
const CPUS = 2;

interface Bench {
  readonly options: BenchOptions;
  readonly progress: Progress;
  readonly results: ResultsBuilder;
  readonly host: Host;
  readonly retries: Retries;
  wanted(name: string): boolean;
  /** How often each contender makes each operation: found in the first pass. */
  readonly counts: Map<string, number>;
  readonly budget: Budget;
  /** One step more. */
  step(what: string): void;
}

export async function benchSyscalls(options: BenchOptions, progress: Progress): Promise<ResultsBuilder> {
  const results = new ResultsBuilder("syscalls", options.command, options.rounds);
  const { contenders } = options;
  chosen("contenders", contenders, CONTENDERS, (name) => name, true);
  const all = [
    ...OPERATIONS.map(([name, label]) => ({ name, label, scaled: false })),
    ...SCALED.map(([name, label]) => ({ name, label, scaled: true })),
  ];
  // By the short name, by a part of what the report calls it, or "a second" for all that is measured against CPUs.
  const parts = chosen("only", options.only, all, ({ name, label }) => `${name}: ${label}`);
  const singles = parts.filter(({ scaled }) => !scaled);
  const scaled = parts.filter((part) => part.scaled);
  const cpus = options.threads ?? usualThreads();
  Object.assign(results.versions, contenderVersions());
  const steps = options.passes * (singles.length + scaled.length * cpus.length);
  const budget = new Budget(options.limitMs, steps);
  const retries = new Retries(options.retryMs, progress.beat);
  const work = mkdtempSync(join(tmpdir(), "sternix-bench-"));
  const memory = existsSync("/dev/shm") ? mkdtempSync("/dev/shm/sternix-bench-") : work;
  try {
    const bench: Bench = {
      options,
      progress,
      results,
      host: findHost(work, memory, (line) => results.skip(line)),
      retries,
      wanted: (name) => contenders === null || contenders.includes(name),
      counts: new Map(),
      budget,
      step: (what) => progress.at(budget.step(), steps, what),
    };
    for (let pass = 0; pass < options.passes && budget.fits(pass); pass++) {
      results.beginPass(pass);
      await results.takeReference();
      if (singles.length > 0) await singleCalls(bench, singles);
      if (scaled.length > 0) for (const count of cpus) await callsPerSecond(bench, scaled, count);
    }
  } finally {
    for (const folder of new Set([work, memory])) rmSync(folder, { recursive: true, force: true });
  }
  for (const { label } of scaled) addTarget(results, label);
  for (const remark of [budget.remark, retries.remark]) if (remark !== null) results.skip(remark);
  return results;
}

/** Slow operations are made this often at least; others in multiples of 64, the pages that the page-fault loop maps at a time. */
const FEW = 8;
const MANY = 64;

/**
 * How often it must run to take `ns`: more and more often, until it takes about as long. Where processes are started and ended
 * within the time, that is to be lost in it: it takes ten times as long as one round.
 */
async function calibrate(
  run: (n: number) => Promise<Timed>,
  ns: number,
  least: number,
  started: boolean,
): Promise<number> {
  const wanted = started ? Math.max(ns, 10 * (await run(1)).ns) : ns;
  const rounded = (n: number): number => Math.ceil(n / least) * least;
  for (let n = least; ; ) {
    const { ns: took } = await run(n);
    if (took >= wanted * 0.6) return rounded((n * wanted) / took);
    n = rounded(n * Math.min(8, Math.max(1.5, wanted / took)));
  }
}

/** Contenders in turns; samples[contender][round]. */
async function inTurns(
  { options, retries, counts, results, budget, progress }: Bench,
  key: string,
  contenders: readonly Contender[],
  ms: number,
  run: (contender: Contender, n: number) => Promise<Timed>,
  again: boolean,
  started: boolean,
): Promise<{ readonly n: number; readonly ns: number }[][]> {
  const each: number[] = [];
  for (const contender of contenders) {
    const own = `${key} ${contender.name}`;
    let n = counts.get(own);
    if (n === undefined) {
      const timed = async (times: number): Promise<Timed> => {
        const took = await run(contender, times);
        progress.beat();
        return took;
      };
      n = await calibrate(timed, ms * 1e6, again ? MANY : FEW, started);
      counts.set(own, n);
    }
    each.push(n);
  }
  const samples: { n: number; ns: number }[][] = contenders.map(() => []);
  const rounds = budget.rounds(options.rounds);
  for (let round = 0; round < rounds; round++)
    for (const [index, contender] of contenders.entries()) {
      const n = each[index]!;
      const once = () => run(contender, n);
      const { ns, share } = again ? await retries.leastDisturbed(once) : await once();
      progress.beat();
      if (again) results.cpuShare(share);
      samples[index]!.push({ n, ns });
    }
  return samples;
}

async function singleCalls(
  bench: Bench,
  operations: readonly { readonly name: string; readonly label: string }[],
): Promise<void> {
  const { options, results, host, wanted, step, progress } = bench;
  const field = await startField(CPUS, 1, host, wanted, (line) => results.skip(line));
  progress.explain(field.state);
  for (const { name, label } of operations) {
    step(label);
    const able = field.contenders.filter((contender) => contender.knows(name));
    const run = (contender: Contender, n: number) => contender.run(name, n, warmUp(contender, n));
    const samples = await inTurns(bench, name, able, options.ms, run, !SWITCHING.has(name), false);
    for (const [index, contender] of able.entries())
      results.record(
        {
          name: label,
          conditions: {},
          contender: contender.name,
          unit: "ns",
          better: "less",
          ...(SWITCHING.has(name) ? { switching: true } : {}),
        },
        samples[index]!.map(({ n, ns }) => ns / n),
      );
    await results.takeReference();
  }
  await field.stop();
  progress.explain(null);
}

/** One machine, and the others beside it, for all that is measured on so many CPUs. */
async function callsPerSecond(
  bench: Bench,
  operations: readonly { readonly name: string; readonly label: string }[],
  cpus: number,
): Promise<void> {
  const { options, results, host, wanted, step, progress } = bench;
  const field = await startField(cpus, cpus, host, wanted, (line) => results.skip(line));
  progress.explain(field.state);
  const ms = options.ms * (options.quick ? SCALED_TIMES_QUICK : SCALED_TIMES);
  for (const { name, label } of operations) {
    step(`${label}, ${cpus} CPUs`);
    const able = field.contenders.filter((contender) => contender.scales && contender.knows(name));
    const run = (contender: Contender, n: number) => contender.run(name, n, warmUp(contender, n), cpus);
    const samples = await inTurns(bench, `${name} x${cpus}`, able, ms, run, true, true);
    for (const [index, contender] of able.entries())
      results.record(
        { name: label, conditions: { cpus }, contender: contender.name, unit: "calls/s", better: "more" },
        samples[index]!.map(({ n, ns }) => (n * cpus * 1e9) / ns),
      );
  }
  await field.stop();
  progress.explain(null);
}

/** As much as is measured where code is translated and compiled while it runs; processes of the host need little. */
const warmUp = (contender: Contender, n: number): number =>
  contender.name.startsWith("sternix") ? n : Math.ceil(n / 8);

/** Calls a second from 1 to 2 CPUs: ours grow by this much, and those of a central kernel do not. */
const GROWTH = 1.8;

function addTarget(results: ResultsBuilder, label: string): void {
  for (const [contender, better] of [
    ["sternix guest", "more"],
    ["central (shared memory)", "less"],
  ] as const) {
    const [one, two] = [1, 2].map((cpus) => results.cell(label, { cpus }, contender));
    if (one !== undefined && two !== undefined)
      results.target(
        `${label}, 2 CPUs against 1: ${contender}`,
        "x",
        better,
        GROWTH,
        two.median / one.median,
      );
  }
}
