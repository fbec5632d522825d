/** Runs one scenario, with one mutant or none, and posts the verdict. */
import { parentPort, workerData } from "node:worker_threads";
import { installMutant } from "../../../rcu/torture/mutants.ts";

const { scenario, mutant } = workerData as { scenario: string; mutant: string | null };
if (mutant !== null) installMutant(mutant);
const { check } = await import("./checker.ts");
const { SCENARIOS, twoScopes } = await import("./scenarios.ts");
const verdict = check(scenario === "two scopes" ? twoScopes() : SCENARIOS[scenario]!());
parentPort!.postMessage({ ...verdict, outcomes: [...verdict.outcomes] });
