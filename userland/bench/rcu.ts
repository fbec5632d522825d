import type { BenchOptions } from "./options.ts";
import type { Progress } from "./progress.ts";
import { ResultsBuilder } from "./report.ts";
export async function benchRcu(options: BenchOptions, _progress: Progress): Promise<ResultsBuilder> {
  return new ResultsBuilder("rcu", options.command, 1);
}
