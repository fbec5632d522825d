/** `sternix bench tables`: the kernel's tables under RCU, and the same tables behind locks. */
import { PROTOCOLS } from "./locks.ts";
import { type BenchOptions, chosen, usualThreads } from "./options.ts";
import type { Progress } from "./progress.ts";
import { ResultsBuilder } from "./results.ts";
import { measureTables } from "./table-run.ts";
import { TABLES } from "./tables/index.ts";
import { PEERS } from "./tables/peers.ts";

/** What --quick measures: the conditions that the promised figures speak of, without the locks in WebAssembly. */
const QUICK = { threads: [2], writes: [1], entries: 4096 };
const NOT_QUICK = new Set(["wasm-mutex", "wasm-rwlock"]);

export async function benchTables(options: BenchOptions, progress: Progress): Promise<ResultsBuilder> {
  const results = new ResultsBuilder("tables", options.command, options.rounds);
  const { quick, only, contenders } = options;
  const tables = chosen("only", only, TABLES, ({ name }) => name);
  chosen("contenders", contenders, [...PROTOCOLS, ...PEERS], (name) => name, true);
  const plan = {
    tables,
    threads: options.threads ?? (quick ? QUICK.threads : usualThreads()),
    writes: options.writes ?? (quick ? QUICK.writes : [0, 1, 10, 50]),
    sizesOf: ({ sizes }: { readonly sizes: readonly number[] }) =>
      options.entries ?? (quick ? [sizes.includes(QUICK.entries) ? QUICK.entries : sizes[0]!] : sizes),
    wanted: (name: string) => contenders?.includes(name) ?? !(quick && NOT_QUICK.has(name)),
  };
  await measureTables(plan, options, results, progress);
  addTargets(results);
  return results;
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
  const at = { threads: 2, writes: 1, entries: QUICK.entries };
  for (const [table, against, times] of PROMISES) {
    results.ratioTarget(table, at, "rcu", against, times);
  }
}
