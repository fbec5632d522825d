/** System calls in the proportions of a summary: what a program that was traced asks of the kernel, without the program. */
import { readFileSync } from "node:fs";
import { ENOENT, ERRNO } from "../../../kernel/uapi/errno.ts";
import { syscalls } from "../../../syscalls/table.ts";
import { Crew, type CrewResult, Worker } from "../crew.ts";
import { program, type Steps } from "../program.ts";
import type { Sys } from "../sys.ts";
import { count, readOptions, report, seeded, text, usageError } from "../workload.ts";
import { MIX_CALLS } from "./mix/calls.ts";
import { ALIASES, LEFT_OUT } from "./mix/names.ts";
import { MixWorld } from "./mix/world.ts";
import { DEFAULT_SUMMARY, parseSummary, type SummaryRow } from "./strace-summary.ts";

interface Mix {
  /** By the kernel's names. */
  readonly rows: readonly SummaryRow[];
  /** The shares of the summary's calls that the mix makes, and that it leaves out with the reason. */
  readonly covered: number;
  readonly leftOut: readonly { readonly name: string; readonly share: number; readonly reason: string }[];
  readonly calls: number;
}

export default program(
  function* (sys, argv) {
    const options = yield* readOptions(sys, argv, {
      name: "mix",
      about:
        "Makes random calls with the weights of a summary (strace -c -o FILE, or sternix run --stats=FILE).\n" +
        "Calls that failed there fail here in the same share, where a harmless way to fail is known.\n" +
        "The file is looked up in the guest, then on the host. Without one: esbuild bundling this project.",
      options: {
        from: text("the summary", ""),
        workers: count("processes", (yield* sys.cpus()).length, 1, 256),
        seed: count("seed of the random choices", 1, 0),
      },
    });
    if (typeof options === "number") return options;
    const { from, workers, seed, iterations, seconds } = options;
    const summary = from === "" ? DEFAULT_SUMMARY : yield* readSummary(sys, from);
    if (summary === null)
      return yield* usageError(sys, "mix", `--from ${from}: cannot be read, in the guest or on the host`);
    const mix = mixOf(parseSummary(summary));
    if (mix.calls === 0)
      return yield* usageError(sys, "mix", `--from ${from}: holds no summary of system calls`);
    if (mix.rows.length === 0)
      return yield* usageError(sys, "mix", `--from ${from}: names no call that can be made safely`);
    yield* sys.print(leftOutText(from === "" ? "the built-in summary" : from, mix));

    const crew = yield* Crew.create(sys, { workers, iterations, counters: 1 + 2 * mix.rows.length });
    const weights = mix.rows.map(({ name, calls, errors }) => `${name}:${calls}:${errors}`).join(",");
    const folder = `/tmp/mix.${yield* sys.getpid()}`;
    for (let i = 0; i < workers; i++) yield* crew.add("caller", [weights, `${folder}.${i}`, seed + i]);
    const result = yield* crew.run(seconds);
    if (result === null) return 1;
    yield* reportMix(sys, mix, result, workers, crew.cpus.length);
    return 0;
  },
  {
    *caller(sys, argv) {
      const worker = new Worker(sys, argv);
      const [weights, folder, seed] = worker.args as [string, string, string];
      const rows = weights.split(",").map((row) => row.split(":") as [string, string, string]);
      const random = seeded(Number(seed));
      const world = yield* MixWorld.make(sys, folder);
      let total = 0;
      const table = rows.map(([name, calls, errors]) => {
        const call = MIX_CALLS.get(name)!;
        total += Number(calls);
        return { name, call, below: total, failing: Number(errors) / Number(calls), made: 0, failed: 0 };
      });
      yield* worker.begin();
      while (worker.goesOn()) {
        const at = (random() / 2 ** 32) * total;
        const row = table[firstAbove(table, at)]!;
        const failing =
          row.call.failing !== undefined && random() / 2 ** 32 < row.failing ? row.call.failing : null;
        const result = yield* (failing ?? row.call).run(world);
        const errno = failing?.errno ?? row.call.ends;
        if (errno === undefined ? result < 0 : result !== -errno)
          throw new Error(surprise(row.name, result, errno));
        row.made++;
        if (failing !== null) row.failed++;
        worker.operations++;
      }
      yield* world.remove(folder);
      return yield* worker.end(world.support, ...table.flatMap(({ made, failed }) => [made, failed]));
    },
  },
);

/** Index of the row whose share of the line the number hits. */
function firstAbove(table: readonly { readonly below: number }[], at: number): number {
  let [low, high] = [0, table.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (table[middle]!.below > at) high = middle;
    else low = middle + 1;
  }
  return low;
}

function surprise(name: string, result: number, errno: number | undefined): string {
  const code = (n: number) => ERRNO.get(n)?.name ?? String(n);
  const got = result < 0 ? code(-result) : String(result);
  return `${name} returned ${got} instead of ${errno === undefined ? "a success" : code(errno)}`;
}

function* readSummary(sys: Sys, path: string): Steps<string | null> {
  const inGuest = yield* sys.readFile(path);
  if (typeof inGuest === "string") return inGuest;
  if (inGuest !== -ENOENT) return null;
  try {
    return readFileSync(path, "utf8");
  } catch {
    return null;
  }
}

/** What of a summary can be made. */
export function mixOf(summary: readonly SummaryRow[]): Mix {
  const total = summary.reduce((sum, { calls }) => sum + calls, 0);
  const known = new Set(syscalls.map(({ name }) => name));
  const rows = new Map<string, SummaryRow>();
  const leftOut: { name: string; share: number; reason: string }[] = [];
  for (const row of summary) {
    const name = MIX_CALLS.has(row.name) ? row.name : (ALIASES[row.name] ?? row.name);
    if (!MIX_CALLS.has(name)) {
      const reason = LEFT_OUT[name] ?? (known.has(name) ? "has no safe form here" : "not in Sternix");
      leftOut.push({ name: row.name, share: row.calls / total, reason });
      continue;
    }
    const same = rows.get(name);
    rows.set(name, { name, calls: row.calls + (same?.calls ?? 0), errors: row.errors + (same?.errors ?? 0) });
  }
  const covered = [...rows.values()].reduce((sum, { calls }) => sum + calls, 0);
  return { rows: [...rows.values()], covered: total === 0 ? 0 : covered / total, leftOut, calls: total };
}

const percent = (share: number): string => `${(100 * share).toFixed(share > 0 && share < 0.001 ? 3 : 1)} %`;

function leftOutText(source: string, { rows, covered, leftOut, calls }: Mix): string {
  const lines = [
    `${rows.length} calls of ${source}: ${percent(covered)} of the ${calls.toLocaleString("en-US")} that it counts`,
  ];
  for (const { name, share, reason } of leftOut)
    lines.push(`  left out: ${name} (${percent(share)}), ${reason}`);
  return `${lines.join("\n")}\n`;
}

function* reportMix(sys: Sys, mix: Mix, result: CrewResult, workers: number, cpus: number): Steps<void> {
  const [support, ...counts] = result.counters as [number, ...number[]];
  const weight = mix.rows.reduce((sum, { calls }) => sum + calls, 0);
  const made: Record<string, number> = {};
  const failed: Record<string, number> = {};
  const lines = [
    `${"call".padEnd(20)}${"weight".padStart(10)}${"made".padStart(12)}${"failed".padStart(12)}`,
  ];
  for (const [index, { name, calls }] of mix.rows.entries()) {
    made[name] = counts[2 * index]!;
    failed[name] = counts[2 * index + 1]!;
    const cells = [
      percent(calls / weight).padStart(10),
      String(made[name]).padStart(12),
      String(failed[name]).padStart(12),
    ];
    lines.push(`${name.padEnd(20)}${cells.join("")}`);
  }
  yield* sys.print(`${lines.join("\n")}\n`);
  yield* report(sys, {
    workload: "mix",
    unit: "calls",
    operations: result.operations,
    seconds: result.seconds,
    workers,
    cpus,
    details: { support, "left out": percent(1 - mix.covered) },
    data: { made, failed, covered: mix.covered, leftOut: mix.leftOut },
  });
}
