/**
 * `npm run bench:guest`: the same small riscv64 programs in Sternix and under qemu-riscv64-static, in turns and in the
 * same run. Prints the median of each and the ratio (above 1: Sternix is faster).
 *
 * Without qemu only Sternix's own figures are printed. STERNIX_BUSYBOX names a riscv64 busybox for the whole-process rows.
 * `--rounds N` sets how often each is measured (default 5), `--only NAME` picks rows, `--json FILE` writes the figures.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { FLAGS, riscv64Esbuild } from "../cli/main-job.ts";
import { table } from "../cli/report.ts";
import { Machine } from "../machine/machine.ts";

interface Row {
  readonly name: string;
  readonly unit: string;
  /** What one measurement is divided by to get the unit. */
  readonly per: number;
  inSternix(machine: Machine): Promise<number>;
  /** Nanoseconds, like inSternix; null when qemu is absent. */
  inQemu(): number;
}

const QEMU = "qemu-riscv64-static";
const project = fileURLToPath(new URL("../..", import.meta.url));
const bench = fileURLToPath(new URL("../../test/guest/bin/bench", import.meta.url));

/** The fixture prints "<nanoseconds> <checksum>": both sides must agree on the checksum. */
const checksums = new Map<string, string>();
function reading(name: string, output: string): number {
  const [ns, checksum] = output.trim().split(" ");
  if (!ns || !checksum) throw new Error(`${name}: the benchmark printed ${JSON.stringify(output)}`);
  const known = checksums.get(name) ?? checksum;
  checksums.set(name, known);
  if (known !== checksum) throw new Error(`${name}: checksum ${checksum}, before it was ${known}`);
  return Number(ns);
}

/** A loop of the fixture: `n` rounds after `warmup` ones, per round. */
function loop(name: string, label: string, unit: string, scale: number, n: number, warmup: number): Row {
  const args = [name, String(n), String(warmup)];
  return {
    name: label,
    unit,
    per: n * scale,
    async inSternix(machine) {
      const run = await machine.spawn(pathToFileURL(bench), { args }).output();
      if (run.code !== 0) throw new Error(`${name}: status ${run.code} in Sternix ${run.stderr}`);
      return reading(name, run.stdout);
    },
    inQemu() {
      const run = spawnSync(QEMU, [bench, ...args], { encoding: "utf8" });
      if (run.status !== 0) throw new Error(`${name}: status ${run.status} under qemu ${run.stderr}`);
      return reading(name, run.stdout);
    },
  };
}

const nanoseconds = (work: () => void): number => {
  const start = process.hrtime.bigint();
  work();
  return Number(process.hrtime.bigint() - start);
};

/** A whole process, from an already booted machine. */
function process_(label: string, path: string, args: readonly string[], qemuArgs = args, cwd = "/"): Row {
  return {
    name: label,
    unit: "ms",
    per: 1e6,
    async inSternix(machine) {
      const start = process.hrtime.bigint();
      const run = await machine.spawn(pathToFileURL(path), { args, cwd }).output();
      if (run.code !== 0) throw new Error(`${label}: status ${run.code} in Sternix ${run.stderr}`);
      return Number(process.hrtime.bigint() - start);
    },
    inQemu: () =>
      nanoseconds(() => {
        const run = spawnSync(QEMU, [path, ...qemuArgs], { encoding: "utf8", cwd: project });
        if (run.status !== 0) throw new Error(`${label}: status ${run.status} under qemu ${run.stderr}`);
      }),
  };
}

const median = (values: readonly number[]): number => {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
};
const figure = (value: number): string => (value >= 100 ? value.toFixed(0) : value.toPrecision(3));

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "5" },
    only: { type: "string", multiple: true },
    json: { type: "string" },
  },
});
const rounds = Number(values.rounds);
const output = mkdtempSync(join(tmpdir(), "sternix-bench-"));
const hasQemu = spawnSync(QEMU, ["--version"]).status === 0;

const rows: Row[] = [
  loop("getppid", "getppid", "ns", 1, 500_000, 200_000),
  loop("pipe", "1-byte pipe write + read", "ns", 1, 100_000, 20_000),
  loop("open", "open + close", "ns", 1, 50_000, 10_000),
  loop("fork", "fork + exit + wait", "us", 1e3, 300, 50),
  loop("integer", "integer loop", "ns", 1, 20_000_000, 2_000_000),
  loop("float", "floating-point loop", "ns", 1, 10_000_000, 1_000_000),
  loop("memory", "copy 1 MiB", "us", 1e3, 300, 30),
  loop("call", "calls: fib(32)", "ms", 1e6 / 32, 32, 24),
];
const busybox = process.env.STERNIX_BUSYBOX;
if (busybox) rows.push(process_("busybox true", busybox, ["true"]));
else console.log("skipped: busybox true (STERNIX_BUSYBOX names no riscv64 busybox)");
try {
  const esbuild = await riscv64Esbuild();
  const common = [...FLAGS, "--log-level=warning"];
  rows.push(
    process_(
      "main job",
      esbuild,
      [...common, "--outdir=/out"],
      [...common, `--outdir=${join(output, "qemu")}`],
      "/project",
    ),
  );
} catch (error) {
  console.log(`skipped: main job (${(error as Error).message})`);
}
if (!hasQemu) console.log(`skipped: every comparison (${QEMU} is not on the PATH)`);

const chosen = rows.filter(
  (row) => values.only === undefined || values.only.some((name) => row.name.includes(name)),
);
const machine = await Machine.boot({
  cpus: 2,
  mounts: [
    { host: project, guest: "/project" },
    { host: output, guest: "/out", writable: true },
  ],
});
const lines: string[][] = [["", "unit", "Sternix", "qemu", "qemu / Sternix"]];
const figures: Record<string, { unit: string; sternix: number; qemu: number | null }> = {};
for (const row of chosen) {
  const ours: number[] = [];
  const theirs: number[] = [];
  for (let round = 0; round < rounds; round++) {
    ours.push((await row.inSternix(machine)) / row.per);
    if (hasQemu) theirs.push(row.inQemu() / row.per);
  }
  const sternix = median(ours);
  const qemu = hasQemu ? median(theirs) : null;
  figures[row.name] = { unit: row.unit, sternix, qemu };
  const ratio = qemu === null ? "-" : `${(qemu / sternix).toFixed(2)}x`;
  lines.push([row.name, row.unit, figure(sternix), qemu === null ? "-" : figure(qemu), ratio]);
  if (process.stderr.isTTY) process.stderr.write(`\x1b[K  ${row.name}\r`);
}
await machine.shutdown();
rmSync(output, { recursive: true, force: true });

const where = `${cpus()[0]?.model ?? process.arch}, ${availableParallelism()} CPUs, Node ${process.version}`;
console.log(`median of ${rounds}, ${where}`);
console.log(table(lines));
if (values.json) writeFileSync(values.json, `${JSON.stringify({ where, rounds, figures }, null, 2)}\n`);
process.exit();
