/** `sternix bench tables`: the kernel's tables under RCU, and the same tables behind locks. */
import { type Axis, combinations } from "./axes.ts";
import { PROTOCOLS } from "./locks.ts";
import { type BenchOptions, chosen, usualThreads } from "./options.ts";
import type { Progress } from "./progress.ts";
import { ResultsBuilder } from "./results.ts";
import { type Conditions, measureTables } from "./table-run.ts";
import { TABLES } from "./tables/index.ts";
import { PEERS } from "./tables/peers.ts";
import type { TableBench } from "./tables/table.ts";

/** What varies departs from this, one at a time; --quick measures nothing else, at 2 threads: what the promised figures speak of. */
const USUAL = { writes: 1, entries: 4096 };
const WRITES = [0, 1, 10, 50];
const QUICK_THREADS = 2;
/** Left out of --quick: the second measurement of the same walk, and of the same locks. */
const NOT_QUICK = new Set(["path1-negative", "path12-negative", "wasm-mutex", "wasm-rwlock"]);

export async function benchTables(options: BenchOptions, progress: Progress): Promise<ResultsBuilder> {
  const results = new ResultsBuilder("tables", options.command, options.rounds);
  const { quick, full, only, contenders } = options;
  const asked = chosen("only", only, TABLES, ({ name }) => name);
  chosen("contenders", contenders, [...PROTOCOLS, ...PEERS], (name) => name, true);
  const tables = asked.filter(({ name }) => !quick || only.length > 0 || !NOT_QUICK.has(name));
  const conditionsOf = (table: TableBench): readonly Conditions[] => combinations(axesOf(table, options));
  await measureTables(
    {
      tables,
      conditionsOf,
      wanted: (name) => contenders?.includes(name) ?? !(quick && NOT_QUICK.has(name)),
    },
    options,
    results,
    progress,
  );
  if (quick) results.skip(`${[...NOT_QUICK].join(", ")}, and other conditions than these: by --quick`);
  else if (!full) {
    const count = (all: (table: TableBench) => readonly Conditions[]): number =>
      tables.reduce((sum, table) => sum + all(table).length, 0);
    const [some, all] = [count(conditionsOf), count((table) => combinations(axesOf(table, options, true)))];
    if (some < all)
      results.skip(
        `${all - some} of ${all} combinations of threads, writes and entries: one of them at a time departs from ` +
          `${options.threads?.at(-1) ?? usualThreads().at(-1)} threads, ${USUAL.writes} % writes, ${USUAL.entries} entries (--full: all)`,
      );
  }
  addTargets(results);
  return results;
}

/** `full`: as --full has it. */
function axesOf(
  { sizes }: TableBench,
  { quick, threads, writes, entries, ...options }: BenchOptions,
  full = options.full,
): Readonly<Record<keyof Conditions, Axis>> {
  const size = sizes.includes(USUAL.entries) ? USUAL.entries : sizes[0]!;
  const axis = (given: readonly number[] | null, usually: readonly number[], usual: number): Axis =>
    given === null
      ? { values: quick ? [usual] : usually, usual, asked: full }
      : { values: given, usual, asked: true };
  return {
    entries: axis(entries, sizes, size),
    threads: axis(threads, usualThreads(), quick ? QUICK_THREADS : usualThreads().at(-1)!),
    writes: axis(writes, WRITES, USUAL.writes),
  };
}

/** Figures promised for 2 threads and 1 % writes, at the size that --quick takes. */
const PROMISES: readonly (readonly [table: string, against: string, times: number])[] = [
  ["pid", "rwlock", 5],
  ["pid", "mutex", 3],
  ["fd", "rwlock", 5],
  ["fd", "mutex", 3],
  ["dentry", "rwlock", 5],
  ["dentry", "mutex", 3],
  ["RcuHashMap", "sharedmap", 20],
  ["RcuHashMap", "lmdb", 10],
];

function addTargets(results: ResultsBuilder): void {
  const at = { threads: QUICK_THREADS, ...USUAL };
  for (const [table, against, times] of PROMISES) {
    results.ratioTarget(table, at, "rcu", against, times);
  }
}
