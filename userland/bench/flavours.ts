/** `sternix bench rcu`: what a scope of each flavour costs: domains, announcing ones, SRCU. */
import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { Retries } from "./disturbance.ts";
import { type FlavourData, type FlavourResult, SCOPES, type ScopeKind } from "./flavour-worker.ts";
import type { BenchOptions } from "./options.ts";
import type { Progress } from "./progress.ts";
import type { ResultsBuilder } from "./results.ts";

/** What the report calls the measurement. */
export const FLAVOURS = "scope of a flavour";

const workerUrl = new URL(
  import.meta.url.endsWith(".ts") ? "./flavour-worker.ts" : "./bench-flavour-worker.js",
  import.meta.url,
);
/** Measurements before those that count: V8 compiles the loop, and what it calls. */
const WARM_UPS = 4;

/** One pass: a thread and a domain of its own for each kind of scope, all in turns. */
export async function measureFlavours(
  options: BenchOptions,
  results: ResultsBuilder,
  progress: Progress,
  wanted: (contender: string) => boolean,
): Promise<void> {
  const kinds = SCOPES.filter(wanted);
  const workers = new Map<ScopeKind, Worker>();
  for (const scopes of kinds) {
    const workerData: FlavourData = { scopes };
    const worker = new Worker(workerUrl, { workerData });
    await once(worker, "message");
    workers.set(scopes, worker);
  }
  const retries = new Retries(options.retryMs, progress.beat);
  const measure = async (kind: ScopeKind) => {
    const worker = workers.get(kind)!;
    worker.postMessage(options.ms);
    const { operations, ns, delay } = (await once(worker, "message"))[0] as FlavourResult;
    const counted = options.clock === "cpu" ? ns - delay : ns;
    return { ns: counted / operations, share: 1 - delay / ns };
  };
  const samples = new Map(kinds.map((kind) => [kind, [] as number[]]));
  for (let round = -WARM_UPS; round < options.rounds; round++)
    for (const kind of kinds) {
      progress.at(
        (round + WARM_UPS) * kinds.length + 1,
        (options.rounds + WARM_UPS) * kinds.length,
        FLAVOURS,
      );
      if (round < 0) {
        await measure(kind);
        continue;
      }
      const { ns, share } = await retries.leastDisturbed(() => measure(kind));
      results.cpuShare(share);
      samples.get(kind)!.push(ns);
    }
  for (const kind of kinds)
    results.record(
      { name: FLAVOURS, conditions: { threads: 1 }, contender: kind, unit: "ns", better: "less" },
      samples.get(kind)!,
    );
  for (const worker of workers.values()) {
    worker.postMessage(null);
    await once(worker, "exit");
  }
  if (retries.remark !== null) results.skip(retries.remark);
}
