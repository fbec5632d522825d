/** Runs test files under harness.ts, one after another, and tells its parent what comes of them; the first failure ends it. */
import { setEnvironmentData } from "node:worker_threads";
import { runSuite, takeSuite } from "./harness.ts";
import { probeCount } from "./probes.ts";
import { ROOT } from "./source.ts";

export interface TestsJob {
  readonly files: readonly string[];
  /** Measures which probes each file passes. */
  readonly probing: boolean;
}
export type TestsNews =
  | { readonly file: string; readonly title: string }
  | { readonly done: string; readonly ms: number; readonly hits: number[] }
  | { readonly failed: string; readonly title: string; readonly what: string }
  | { readonly over: true };

const tell = (news: TestsNews): Promise<void> =>
  new Promise((sent) => {
    process.send!(news, undefined, {}, () => sent());
  });

let file = "";
let title = "";
async function fail(error: unknown): Promise<never> {
  const what = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  await tell({ failed: file, title, what });
  process.exit(1);
}

async function run({ files, probing }: TestsJob): Promise<void> {
  const hits = probing ? new Int32Array(new SharedArrayBuffer(4 * probeCount())) : null;
  if (hits !== null) {
    setEnvironmentData("sternix probes", hits);
    (await import("./probes.ts")).hitInto(hits);
  }
  for (file of files) {
    title = "(import)";
    const since = process.cpuUsage();
    await import(`${ROOT}${file}`);
    await runSuite(takeSuite(), (test) => {
      title = test;
      void tell({ file, title });
    });
    const used = process.cpuUsage(since);
    const passed = hits === null ? [] : [...hits.keys()].filter((n) => hits[n] !== 0);
    await tell({ done: file, ms: (used.user + used.system) / 1000, hits: passed });
    hits?.fill(0);
  }
  await tell({ over: true });
  process.exit(0);
}

process.on("uncaughtException", (error) => void fail(error));
process.on("unhandledRejection", (error) => void fail(error));
process.on("message", (job: TestsJob) => {
  run(job).catch(fail);
});
process.on("disconnect", () => process.exit());
