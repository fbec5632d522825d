/**
 * Explores the scenarios of the model checker and prints what came of each.
 *
 *   node test/rcu/model/cli.ts [--scenario TEXT] [--memory tso|weak|sc] [--full] [--mutant NAME] [--limit STATES] [--unreduced]
 *   node test/rcu/model/cli.ts --list | --list-mutants | --mutants
 *
 * With --mutant, the scenarios run on code with that mistake in it, and the interleaving that shows it is printed. --mutants
 * does so for every mutant. The status is 0 when every scenario has come out as it must, 1 if not, 2 for bad options.
 */
import { parseArgs } from "node:util";
import { findMutant, MUTANTS } from "../../../rcu/torture/mutants.ts";
import type { MemoryModel } from "../../../userland/check/model/machine.ts";
import { check, type Verdict } from "./checker.ts";
import { FOUND_BY } from "./mutants.ts";
import type { Scenario } from "./scenario.ts";
import { SCENARIOS } from "./scenarios/index.ts";

const MEMORIES: readonly MemoryModel[] = ["sc", "tso", "weak"];

function usage(message: string): never {
  process.stderr.write(
    `${message}\nusage: node test/rcu/model/cli.ts [--scenario TEXT] [--memory tso|weak|sc] [--full] [--mutant NAME]\n` +
      "         [--limit STATES] [--unreduced] [--list] [--list-mutants] [--mutants]\n",
  );
  process.exit(2);
}

function options() {
  try {
    return parseArgs({
      options: {
        scenario: { type: "string" },
        memory: { type: "string" },
        mutant: { type: "string" },
        limit: { type: "string" },
        full: { type: "boolean", default: false },
        unreduced: { type: "boolean", default: false },
        list: { type: "boolean", default: false },
        "list-mutants": { type: "boolean", default: false },
        mutants: { type: "boolean", default: false },
      },
    }).values;
  } catch (error) {
    return usage((error as Error).message);
  }
}
const given = options();
process.stdout.on("error", () => process.exit(1)); // Nobody reads on.
const say = (line: string): void => void process.stdout.write(`${line}\n`);

const chosen = SCENARIOS.filter((scenario) =>
  given.scenario === undefined
    ? given.full || scenario.full !== true
    : scenario.name.toLowerCase().includes(given.scenario.toLowerCase()),
);
if (chosen.length === 0) usage(`no scenario has "${given.scenario}" in its name: --list shows them`);
if (given.memory !== undefined && !MEMORIES.includes(given.memory as MemoryModel))
  usage(`--memory ${given.memory}: one of ${MEMORIES.join(", ")}`);
if (given.limit !== undefined && !(Number(given.limit) >= 1))
  usage(`--limit ${given.limit}: a number of states`);

const amount = (n: number): string => (n < 1e9 ? Math.round(n).toLocaleString("en") : n.toExponential(2));

/** Whether the scenario came out as it must. */
async function report(scenario: Scenario, model: MemoryModel, mutant: string | null): Promise<boolean> {
  const verdict = await check(scenario, {
    model,
    mutant,
    reduce: !given.unreduced,
    ...(given.limit === undefined ? {} : { limit: Number(given.limit) }),
  });
  const wanted = mutant !== null || scenario.allowed === true;
  say(
    `${scenario.name.padEnd(42)} ${model.padEnd(5)} ${told(verdict, wanted).padEnd(10)} ${amount(verdict.states).padStart(11)} states ` +
      `${amount(verdict.executions).padStart(12)} executions ${String(verdict.outcomes.size).padStart(3)} outcomes`,
  );
  if (verdict.incomplete)
    say(`  never with up to ${verdict.preemptions} preemptions; what needs more is not proved`);
  if (given.scenario !== undefined)
    for (const outcome of verdict.outcomes) if (outcome !== "") say(`  ${outcome}`);
  if (
    verdict.violation !== null &&
    (mutant !== null || scenario.allowed !== true || given.scenario !== undefined)
  ) {
    say(`  ${verdict.violation.what}`);
    say(`  after ${verdict.violation.trace.length} lines, ${verdict.violation.changes} changes of CPU:`);
    for (const line of verdict.violation.trace) say(`    ${line}`);
    say("");
  }
  return verdict.violation !== null ? wanted : !wanted && !verdict.incomplete;
}
function told(verdict: Verdict, wanted: boolean): string {
  if (verdict.violation !== null) return wanted ? "found" : "VIOLATED";
  if (verdict.incomplete) return "incomplete";
  return wanted ? "NOT FOUND" : "never";
}
const memoriesOf = (scenario: Scenario): readonly MemoryModel[] => {
  if (given.memory !== undefined) return [given.memory as MemoryModel];
  const usual = scenario.models ?? ["tso"];
  return given.full ? [...usual, ...(scenario.fullModels ?? [])] : usual;
};

let good = true;
if (given.list) {
  for (const scenario of SCENARIOS)
    say(
      `${scenario.name.padEnd(42)} ${(scenario.models ?? ["tso"]).join(",").padEnd(12)} ${scenario.full ? "--full " : ""}${scenario.about}`,
    );
} else if (given["list-mutants"]) {
  for (const mutant of MUTANTS)
    say(`${mutant.name.padEnd(22)} ${FOUND_BY[mutant.name]?.scenario ?? "(no scenario)"}: ${mutant.why}`);
} else if (given.mutants) {
  for (const mutant of MUTANTS) {
    const by = FOUND_BY[mutant.name];
    say(`== ${mutant.name}: ${mutant.why}`);
    const scenario = SCENARIOS.find(({ name }) => name === by?.scenario);
    if (by === undefined || scenario === undefined) good = false;
    else good = (await report(scenario, by.memory ?? scenario.models?.[0] ?? "tso", mutant.name)) && good;
    if (scenario === undefined) say("  no scenario finds it");
  }
} else if (given.mutant !== undefined) {
  const name = given.mutant;
  try {
    findMutant(name);
  } catch (error) {
    usage((error as Error).message);
  }
  const by = FOUND_BY[name];
  const scenarios =
    given.scenario === undefined ? SCENARIOS.filter((one) => one.name === by?.scenario) : chosen;
  if (scenarios.length === 0) usage(`no scenario is known to find ${name}: name one with --scenario`);
  good = false;
  for (const scenario of scenarios)
    for (const model of given.memory === undefined && by?.memory !== undefined
      ? [by.memory]
      : memoriesOf(scenario))
      good = (await report(scenario, model, name)) || good;
} else {
  for (const scenario of chosen)
    for (const model of memoriesOf(scenario)) good = (await report(scenario, model, null)) && good;
}
process.exitCode = good ? 0 : 1;
