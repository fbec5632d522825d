/** Entry of a torture worker: installs the mutant, if any, and only then loads what it tests. */
import { workerData } from "node:worker_threads";
import { installMutant } from "./mutants.ts";

if (workerData.mutant !== null) installMutant(workerData.mutant);
const { main } = await import("./body.ts");
await main(workerData);
