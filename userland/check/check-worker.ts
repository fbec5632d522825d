/** Runs the checks of one command on a thread of its own, so that a loop without end in a scenario can be ended. */
import { parentPort, workerData } from "node:worker_threads";
import { type CheckOptions, check, isCheckError, type ScenarioReport } from "./run.ts";

export interface Job {
  readonly module: string;
  readonly options: CheckOptions;
  /** [0]: counts up whenever something happens. [1]: what runs, see CheckOptions.watch. */
  readonly pulse: Int32Array<SharedArrayBuffer>;
}
export type Message =
  | { readonly report: ScenarioReport }
  | { readonly doing: string; readonly threads: readonly string[] }
  | { readonly done: true }
  | { readonly wrong: string };

const { module, options, pulse } = workerData as Job;
const say = (message: Message): void => parentPort!.postMessage(message);

const watch = (what: number | string, threads: readonly string[] = []): void => {
  pulse[0]!++;
  if (typeof what === "string") say({ doing: what, threads });
  else pulse[1] = what;
};
try {
  for await (const report of check(module, { ...options, watch })) say({ report });
  say({ done: true });
} catch (error) {
  if (!isCheckError(error)) throw error;
  say({ wrong: error.message });
}
