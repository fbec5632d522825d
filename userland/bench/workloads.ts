/** `sternix bench workloads`: the TypeScript workloads of userland/programs/workloads, operations a second against CPUs. */
import { pathToFileURL } from "node:url";
import { kernelOf, Machine } from "../machine/machine.ts";
import { WORKLOADS, type WorkloadName, workloadPath } from "../programs/workloads/index.ts";
import { Budget } from "./budget.ts";
import { type Disturbed, Retries, shareOf, threadTimes } from "./disturbance.ts";
import { type BenchOptions, chosen, usualThreads } from "./options.ts";
import type { Progress } from "./progress.ts";
import { ResultsBuilder } from "./results.ts";

/** How much longer than --ms a workload runs: its workers start and end within its own clock. */
const TIMES = 8;
const CONTENDERS = ["sternix program"];

interface Rate extends Disturbed {
  readonly rate: number;
  /** What one operation is, in the plural. */
  readonly unit: string;
}

async function runOnce(machine: Machine, name: WorkloadName, ms: number, cpus: number): Promise<Rate> {
  const before = threadTimes();
  const args = ["--seconds", String(ms / 1000)];
  const run = machine.spawn(pathToFileURL(workloadPath(name)), { args });
  const { stdout, stderr, code, signal } = await run.output();
  if (code !== 0) throw new Error(`workload ${name}: status ${code ?? signal}, ${stderr}`);
  const { rate, unit } = JSON.parse(stdout.trimEnd().split("\n").at(-1)!) as { rate: number; unit: string };
  return { rate, unit, share: shareOf(before, threadTimes(), cpus) };
}

export async function benchWorkloads(options: BenchOptions, progress: Progress): Promise<ResultsBuilder> {
  const results = new ResultsBuilder("workloads", options.command, options.rounds);
  chosen("contenders", options.contenders, CONTENDERS, (name) => name, true);
  const names = chosen("only", options.only, WORKLOADS, (name) => name);
  const cpus = options.threads ?? usualThreads();
  const steps = options.passes * cpus.length * names.length;
  const budget = new Budget(options.limitMs, steps);
  const retries = new Retries(options.retryMs, progress.beat);
  for (let pass = 0; pass < options.passes && budget.fits(pass); pass++) {
    results.beginPass(pass);
    await results.takeReference();
    for (const count of cpus) {
      const machine = await Machine.boot({ cpus: count });
      progress.explain(() => kernelOf(machine).showState());
      for (const name of names) {
        progress.at(budget.step(), steps, `${name}, ${count} CPUs`);
        const measure = () => runOnce(machine, name, options.ms * TIMES, count);
        await measure(); // Warm-up.
        progress.beat();
        const samples: Rate[] = [];
        const rounds = budget.rounds(options.rounds);
        for (let round = 0; round < rounds; round++) samples.push(await retries.leastDisturbed(measure));
        for (const { share } of samples) results.cpuShare(share);
        results.record(
          {
            name: `${name}, ${samples[0]!.unit}`,
            conditions: { cpus: count },
            contender: CONTENDERS[0]!,
            unit: "per second",
            better: "more",
          },
          samples.map(({ rate }) => rate),
        );
        await results.takeReference();
      }
      await machine.shutdown();
      progress.explain(null);
    }
  }
  for (const remark of [budget.remark, retries.remark]) if (remark !== null) results.skip(remark);
  return results;
}
