/** `sternix bench`: measures, prints a table, writes what was asked for. Returns the exit status. */
import { writeFileSync } from "node:fs";
import { Failure } from "../cli/failure.ts";
import { formatComparison } from "./compare.ts";
import { HangWatch } from "./hang.ts";
import { type BenchOptions, parseBenchOptions } from "./options.ts";
import { plot } from "./plot.ts";
import { createProgress, type Progress } from "./progress.ts";
import { formatResults } from "./report.ts";
import { type Results, type ResultsBuilder, readResults } from "./results.ts";

async function measure(options: BenchOptions, progress: Progress): Promise<ResultsBuilder> {
  switch (options.suite) {
    case "tables":
      return (await import("./tables.ts")).benchTables(options, progress);
    case "rcu":
      return (await import("./rcu.ts")).benchRcu(options, progress);
    case "syscalls":
      return (await import("./syscalls.ts")).benchSyscalls(options, progress);
    case "workloads":
      return (await import("./workloads.ts")).benchWorkloads(options, progress);
  }
}

export async function runBench(argv: readonly string[]): Promise<number> {
  const options = parseBenchOptions(argv);
  const old = options.compare === null ? null : readOld(options.compare, options.suite);
  // Before minutes are spent on it.
  for (const file of [options.json, options.plot]) if (file !== null) write(file, "", "a");
  const watch = new HangWatch(options.stall);
  const progress = createProgress(watch, options.limitMs);
  let built: ResultsBuilder;
  try {
    built = await measure(options, progress);
  } finally {
    watch.stop();
    progress.clear();
  }
  const results = built.finish();
  process.stdout.write(formatResults(results));
  if (old !== null) process.stdout.write(`\n${formatComparison(old, results)}`);
  if (options.json !== null) write(options.json, `${JSON.stringify(results, null, 1)}\n`);
  if (options.plot !== null) write(options.plot, plot(results));
  return 0;
}

function readOld(file: string, suite: string): Results {
  const old = readResults(file);
  if (old.bench !== suite)
    throw new Failure(`--compare ${file}: results of bench ${old.bench}, this is bench ${suite}`);
  return old;
}

function write(file: string, text: string, flag = "w"): void {
  try {
    writeFileSync(file, text, { flag });
  } catch (error) {
    throw new Failure(`cannot write ${file}: ${(error as Error).message}`);
  }
}
