import { once } from "node:events";
import { Worker } from "node:worker_threads";
import test from "ava";
import type { Verdict } from "./model/checker.ts";

type Posted = Omit<Verdict, "outcomes"> & { outcomes: string[] };

async function explore(scenario: string, mutant: string | null = null): Promise<Posted> {
  const worker = new Worker(new URL("./model/model-worker.ts", import.meta.url), {
    workerData: { scenario, mutant },
  });
  const [verdict] = (await once(worker, "message")) as [Posted];
  await worker.terminate();
  return verdict;
}

for (const scenario of [
  "RCU+sync+free",
  "RCU+sync+free, reader leaves and enters idle",
  "RCU+sync+free, two readers",
  "a scope inside the scope, and what a safe point does between",
  "two updates in turn",
  "RCU+sync+free while another CPU starts grace periods",
  "kfreeRcu while another CPU starts grace periods",
  "a key of RcuHashMap while it is updated",
  "a key of RcuHashMap while the table grows",
  "MP+onceassign+derefonce",
  "RCU+sync+read",
  "C-RW-G+RW-R",
]) {
  test.serial(`never, in any interleaving: ${scenario}`, async (t) => {
    const verdict = await explore(scenario);
    t.deepEqual(verdict.violation, null);
    t.false(verdict.incomplete);
    t.true(verdict.outcomes.length > 1, "different interleavings have different outcomes");
    t.log(`${verdict.states} states, ${verdict.outcomes.length} outcomes`);
  });
}

test.serial("one grace period against two read scopes: allowed, and found", async (t) => {
  const verdict = await explore("two scopes");
  t.is(verdict.violation?.what, "allowed: found");
});

for (const [mutant, scenario] of [
  ["publish-plain", "RCU+sync+free while another CPU starts grace periods"],
  ["active-unmarked", "RCU+sync+free, reader leaves and enters idle"],
  ["first-report-ends", "RCU+sync+free"],
  ["last-slot-forgotten", "RCU+sync+free, two readers"],
  ["one-boundary", "RCU+sync+free while another CPU starts grace periods"],
  ["late-report", "two updates in turn"],
  ["nested-enter", "a scope inside the scope, and what a safe point does between"],
  ["free-at-once", "kfreeRcu while another CPU starts grace periods"],
  ["update-by-reinsert", "a key of RcuHashMap while it is updated"],
  ["resize-loses-readers", "a key of RcuHashMap while the table grows"],
  ["local-stamp", "kfreeRcu while another CPU starts grace periods"],
] as const) {
  test.serial(`the model finds ${mutant}, and prints the interleaving`, async (t) => {
    const { violation, states } = await explore(scenario, mutant);
    t.not(violation, null);
    t.true(violation!.trace.length > 5);
    t.log(`${violation!.what}: ${violation!.trace.length} steps, ${states} states`);
  });
}
