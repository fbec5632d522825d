/** Explores scenarios of the model checker on mutated code: a process that stays, since its engine gets faster with use. */

import { explore } from "../../../userland/check/model/checker.ts";
import type { Edit as CodeEdit } from "../../../userland/check/model/instance.ts";
import type { MemoryModel } from "../../../userland/check/model/machine.ts";
import { SCENARIOS } from "../model/scenarios/index.ts";
import { apply, type Mutant } from "./derive.ts";
import { allProbes, hitInto, probeCount, withProbes } from "./probes.ts";
import { schemaOf, takesTurns } from "./schema.ts";

export interface ModelTry {
  readonly scenario: string;
  readonly memory: MemoryModel;
  /** States after which it is given up. */
  readonly limit?: number;
}
export interface ModelJob {
  /** Null: the code as it is, with probes. */
  readonly mutant: Mutant | null;
  readonly tries: readonly ModelTry[];
}
export type ModelNews =
  | { readonly begins: ModelTry }
  | { readonly holds: ModelTry; readonly ms: number; readonly states: number; readonly hits: number[] }
  | { readonly killed: ModelTry; readonly what: string }
  | { readonly over: true; readonly bytes: number };

const LIBRARY = new URL("../model/library.ts", import.meta.url);
/** Of a processor, since then: what else the machine does must not count. */
const cpu = (since: NodeJS.CpuUsage): number => {
  const { user, system } = process.cpuUsage(since);
  return (user + system) / 1000;
};
const tell = (news: ModelNews): void => void process.send!(news);

function editsOf({ mutant }: ModelJob): CodeEdit[] {
  globalThis.sternixMutant = mutant?.number ?? -1;
  if (mutant !== null && takesTurns(mutant))
    return [
      { name: `mutants of ${mutant.file}`, file: mutant.file, apply: (text) => schemaOf(mutant.file, text) },
    ];
  if (mutant !== null)
    return [{ name: mutant.id, file: mutant.file, apply: (text) => apply(text, mutant.edits) }];
  return [...allProbes().values()].map((probes) => ({
    name: `probes ${probes.file}`,
    file: probes.file,
    apply: (text) => withProbes(text, probes),
  }));
}

async function run(job: ModelJob): Promise<void> {
  const edits = editsOf(job);
  const hits = new Int32Array(job.mutant === null ? probeCount() : 0);
  hitInto(hits);
  for (const one of job.tries) {
    tell({ begins: one });
    const scenario = SCENARIOS.find(({ name }) => name === one.scenario)!;
    const since = process.cpuUsage();
    try {
      const { violation, states } = await explore(scenario, {
        library: LIBRARY,
        edits,
        model: one.memory,
        shortest: 0,
        ...(one.limit === undefined ? {} : { limit: one.limit }),
      });
      if (violation !== null) {
        tell({ killed: one, what: violation.what });
        break;
      }
      const passed = [...hits.keys()].filter((n) => hits[n] !== 0);
      tell({ holds: one, ms: cpu(since), states, hits: passed });
      hits.fill(0);
    } catch (error) {
      tell({ killed: one, what: `${(error as Error).name}: ${(error as Error).message}` });
      break;
    }
  }
  tell({ over: true, bytes: process.memoryUsage().rss });
}

process.on("uncaughtException", (error) => {
  process.send!({
    killed: { scenario: "(uncaught)", memory: "tso" },
    what: String(error),
  } satisfies ModelNews);
  process.exit(1);
});
process.on("message", (job: ModelJob) => void run(job));
process.on("disconnect", () => process.exit());
