/**
 * `sternix bench syscalls`: system calls of a riscv64 guest and of a TypeScript program, beside the host kernel, qemu's
 * user mode, node:fs, memfs, and a model of kernels that live in one worker.
 */
import { spawnSync } from "node:child_process";
import * as nodeFs from "node:fs";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type BootedGuest, bootGuest } from "../cli/guest.ts";
import { type Central, startCentral } from "./central.ts";
import { fsOperations, loadMemfs } from "./node-fs.ts";
import type { BenchOptions } from "./options.ts";
import type { Progress } from "./progress.ts";
import { ResultsBuilder } from "./report.ts";
import { summarize } from "./statistics.ts";
import { packageVersion } from "./tables/peers.ts";

/** Operations of test/guest/src/syscalls.c, with what a report calls them. Slow ones are measured for longer. */
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
/** What TypeScript programs do not have: exec of themselves, and what blocks in the same process. */
const NOT_IN_PROGRAMS = new Set(["epoll", "switch", "exec"]);

const QEMU = "qemu-riscv64-static";
const fromSources = import.meta.url.endsWith(".ts");
const beside = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
const guestProgram = beside(fromSources ? "../../test/guest/bin/syscalls" : "./bench-syscalls-guest");
const typeScriptProgram = beside(fromSources ? "./syscall-program.ts" : "./bench-syscall-program.js");
/** Not in the published package. */
const guestSource = beside("../../test/guest/src/syscalls.c");

/** Runs an operation `n` times after `warmup` times; the nanoseconds that the n took. */
interface Contender {
  readonly name: string;
  run(operation: string, n: number, warmup: number): Promise<number>;
  knows(operation: string): boolean;
}

export async function benchSyscalls(options: BenchOptions, progress: Progress): Promise<ResultsBuilder> {
  const results = new ResultsBuilder("syscalls", options.command, options.rounds);
  const work = mkdtempSync(join(tmpdir(), "sternix-bench-"));
  const memory = existsSync("/dev/shm") ? mkdtempSync("/dev/shm/sternix-bench-") : work;
  try {
    const host = buildHost(work, results);
    await singleCalls(options, progress, results, host, memory);
    await callsPerSecond(options, progress, results, host, memory);
  } finally {
    for (const folder of new Set([work, memory])) rmSync(folder, { recursive: true, force: true });
  }
  return results;
}

/** The same source as a program of this host; null without a compiler. */
function buildHost(work: string, results: ResultsBuilder): string | null {
  if (process.platform !== "linux" || !existsSync(guestSource)) {
    results.skip("the host kernel: not Linux, or no source here");
    return null;
  }
  const program = join(work, "syscalls");
  const built = spawnSync("gcc", ["-O2", "-w", "-static", "-DHOST", "-o", program, guestSource]);
  if (built.status === 0) return program;
  results.skip("the host kernel: gcc cannot build test/guest/src/syscalls.c here");
  return null;
}

const reading = (what: string, output: string, status: number | null, errors: string): number => {
  const ns = Number(output.trim());
  if (status !== 0 || !(ns > 0)) throw new Error(`${what}: status ${status}, ${output} ${errors}`);
  return ns;
};

function process_(command: string, args: readonly string[]): number {
  const { status, stdout, stderr } = spawnSync(command, args, { encoding: "utf8" });
  return reading(args.join(" "), stdout, status, stderr);
}

const words = (operation: string, n: number, warmup: number, dir: string, children?: number): string[] => [
  operation,
  String(n),
  String(warmup),
  dir,
  ...(children === undefined ? [] : [String(children)]),
];

async function inGuest(machine: BootedGuest, args: readonly string[]): Promise<number> {
  const program = { kind: "host", path: guestProgram, name: "syscalls" } as const;
  const run = await machine.run({ program, args, capture: true });
  return reading(`guest ${args.join(" ")}`, run.stdout, run.status, run.stderr);
}

async function inProgram(machine: BootedGuest, args: readonly string[]): Promise<number> {
  const program = { kind: "module", path: typeScriptProgram } as const;
  const run = await machine.run({ program, args, capture: true });
  return reading(`program ${args.join(" ")}`, run.stdout, run.status, run.stderr);
}

const hasQemu = (): boolean => spawnSync(QEMU, ["--version"]).status === 0;

/** Everybody who can do single calls. */
function contendersOf(
  machine: BootedGuest,
  host: string | null,
  dir: string,
  central: { shared: Central; messages: Central },
  results: ResultsBuilder,
): Contender[] {
  const all = (): boolean => true;
  const found: Contender[] = [];
  if (existsSync(guestProgram))
    found.push({
      name: "sternix guest",
      knows: all,
      run: (operation, n, warmup) => inGuest(machine, words(operation, n, warmup, "/tmp")),
    });
  else results.skip("riscv64 guests: the benchmark's guest program is not here");
  found.push({
    name: "sternix program",
    knows: (operation) => !NOT_IN_PROGRAMS.has(operation),
    run: (operation, n, warmup) => inProgram(machine, [operation, String(n), String(warmup)]),
  });
  if (host !== null)
    found.push({
      name: "host kernel",
      knows: all,
      run: async (operation, n, warmup) => process_(host, words(operation, n, warmup, dir)),
    });
  if (!hasQemu()) results.skip(`${QEMU}: not on the PATH`);
  else if (existsSync(guestProgram))
    found.push({
      name: "qemu-riscv64",
      knows: all,
      run: async (operation, n, warmup) =>
        process_(QEMU, [guestProgram, ...words(operation, n, warmup, dir)]),
    });
  const memfs = loadMemfs();
  if (memfs === null) results.skip("memfs: not installed (npm install --no-save memfs)");
  for (const [name, fs, folder] of [
    ["node:fs", nodeFs, dir],
    ["memfs", memfs, "/bench"],
  ] as const) {
    if (fs === null) continue;
    const operations = fsOperations(fs, folder);
    found.push({
      name,
      knows: (operation) => operation in operations,
      run: async (operation, n, warmup) => {
        operations[operation]!(warmup);
        const start = process.hrtime.bigint();
        operations[operation]!(n);
        return Number(process.hrtime.bigint() - start);
      },
    });
  }
  for (const [name, model] of [
    ["central, shared memory", central.shared],
    ["central, postMessage", central.messages],
  ] as const)
    found.push({
      name,
      knows: (operation) => operation === "null",
      run: async (_operation, n, warmup) => {
        await model.run(warmup);
        return model.run(n);
      },
    });
  return found;
}

/** How often at first. */
const FIRST = 64;
/** Warm-up is this much of a measurement: code is translated and compiled while it runs. */
const WARM_UP = 1;

/** How often it must run to take `ns`: more and more often, until it takes about as long. */
async function calibrate(run: (n: number) => Promise<number>, ns: number): Promise<number> {
  for (let n = FIRST; ; ) {
    const took = await run(n);
    if (took >= ns * 0.6) return Math.max(FIRST, Math.round((n * ns) / took));
    n = Math.ceil(n * Math.min(8, Math.max(1.5, ns / took)));
  }
}

async function singleCalls(
  options: BenchOptions,
  progress: Progress,
  results: ResultsBuilder,
  host: string | null,
  dir: string,
): Promise<void> {
  const machine = await bootGuest({ cpus: 2 });
  const central = { shared: await startCentral(1, false), messages: await startCentral(1, true) };
  const contenders = contendersOf(machine, host, dir, central, results).filter(
    ({ name }) => options.contenders === null || options.contenders.includes(name),
  );
  const version = packageVersion("memfs");
  if (version !== null) results.versions.memfs = version;
  const operations = OPERATIONS.filter(
    ([name, label]) =>
      options.only.length === 0 || options.only.some((part) => name === part || label.includes(part)),
  );
  for (const [done, [operation, label]] of operations.entries()) {
    progress.at(done, operations.length, label);
    const able = contenders.filter((contender) => contender.knows(operation));
    const counts: number[] = [];
    for (const contender of able)
      counts.push(await calibrate((n) => contender.run(operation, n, n * WARM_UP), options.ms * 1e6));
    const samples: number[][] = able.map(() => []);
    for (let round = 0; round < options.rounds; round++)
      for (const [n, contender] of able.entries()) {
        const count = counts[n]!;
        samples[n]!.push((await contender.run(operation, count, count * WARM_UP)) / count);
      }
    for (const [n, contender] of able.entries())
      results.cells.push({
        name: label,
        conditions: {},
        contender: contender.name,
        unit: "ns",
        better: "less",
        samples: samples[n]!,
        ...summarize(samples[n]!),
      });
  }
  await central.shared.stop();
  await central.messages.stop();
  await machine.shutdown();
}

/** What grows with the number of CPUs, and what does not. */
const SCALED: readonly (readonly [name: string, label: string])[] = [
  ["null", "null calls a second"],
  ["pipe1", "1-byte pipe round trips a second"],
  ["open", "opens and closes a second"],
];

/** How much longer these are measured: starting and ending processes is part of them. */
const SCALED_TIMES = 8;
const SCALED_TIMES_QUICK = 3;

async function callsPerSecond(
  options: BenchOptions,
  progress: Progress,
  results: ResultsBuilder,
  host: string | null,
  dir: string,
): Promise<void> {
  const wanted = (name: string): boolean => options.contenders === null || options.contenders.includes(name);
  const cpus = options.threads ?? [1, 2];
  const times = options.quick ? SCALED_TIMES_QUICK : SCALED_TIMES;
  const chosen = SCALED.filter(
    ([name]) => options.only.length === 0 || options.only.includes(name) || options.only.includes("scaling"),
  );
  for (const [operation, label] of chosen) {
    for (const count of cpus) {
      progress.at(cpus.indexOf(count), cpus.length, `${label}, ${count} CPUs`);
      const runs: { name: string; run(n: number): Promise<number>; stop(): Promise<unknown> }[] = [];
      const nothing = async (): Promise<void> => {};
      if (wanted("sternix guest") && existsSync(guestProgram)) {
        const machine = await bootGuest({ cpus: count });
        runs.push({
          name: "sternix guest",
          run: (n) => inGuest(machine, words(operation, n, n, "/tmp", count)),
          stop: () => machine.shutdown(),
        });
      }
      if (operation === "null")
        for (const byMessages of [false, true]) {
          const name = `central, ${byMessages ? "postMessage" : "shared memory"}`;
          if (!wanted(name)) continue;
          const central = await startCentral(count, byMessages);
          runs.push({ name, run: (n) => central.run(n), stop: () => central.stop() });
        }
      if (wanted("host kernel") && host !== null)
        runs.push({
          name: "host kernel",
          run: async (n) => process_(host, words(operation, n, n, dir, count)),
          stop: nothing,
        });
      if (wanted("qemu-riscv64") && hasQemu() && existsSync(guestProgram))
        runs.push({
          name: "qemu-riscv64",
          run: async (n) => process_(QEMU, [guestProgram, ...words(operation, n, n, dir, count)]),
          stop: nothing,
        });
      const counts: number[] = [];
      // Starting and ending the processes is to be lost in it: longer than usual.
      for (const { run } of runs) counts.push(await calibrate(run, options.ms * 1e6 * times));
      const samples: number[][] = runs.map(() => []);
      for (let round = 0; round < options.rounds; round++)
        for (const [n, { run }] of runs.entries())
          samples[n]!.push((counts[n]! * count * 1e9) / (await run(counts[n]!)));
      for (const [n, { name }] of runs.entries())
        results.cells.push({
          name: label,
          conditions: { cpus: count },
          contender: name,
          unit: "calls/s",
          better: "more",
          samples: samples[n]!,
          ...summarize(samples[n]!),
        });
      for (const { stop } of runs) await stop();
    }
    const [one, two] = [1, 2].map((count) => results.cell(label, { cpus: count }, "sternix guest"));
    if (one !== undefined && two !== undefined)
      results.target(`${label}, 2 CPUs against 1`, "x", "more", 1.8, two.median / one.median);
  }
}
