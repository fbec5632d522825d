/**
 * The model checker (test/rcu/model/README.md): scenarios over the real code, under every interleaving. What is here takes
 * seconds; `node test/rcu/model/cli.ts --full` explores the larger ones too.
 */
import test from "ava";
import { MUTANTS } from "../../rcu/torture/mutants.ts";
import { check } from "./model/checker.ts";
import { FOUND_BY } from "./model/mutants.ts";
import { SCENARIOS } from "./model/scenarios/index.ts";

const named = (name: string) => {
  const scenario = SCENARIOS.find((one) => one.name === name);
  if (scenario === undefined) throw new Error(`no scenario ${name}`);
  return scenario;
};

for (const scenario of SCENARIOS) {
  if (scenario.full === true) continue;
  for (const model of scenario.models ?? (["tso"] as const)) {
    const verdict = scenario.allowed === true ? "allowed, and found" : "never, in any interleaving";
    test.serial(`${verdict}: ${scenario.name} (${model})`, async (t) => {
      const { violation, incomplete, states, executions, outcomes } = await check(scenario, {
        model,
        ...(scenario.allowed === true ? { shortest: 0 } : {}),
      });
      if (scenario.allowed === true) t.truthy(violation, scenario.about);
      else {
        t.is(violation, null, violation?.trace.join("\n"));
        t.false(incomplete);
        t.true(executions > 1, "there was something to interleave");
      }
      t.log(`${states} states, ${executions.toPrecision(3)} executions, ${outcomes.size} outcomes`);
    });
  }
}

for (const [mutant, { scenario, memory }] of Object.entries(FOUND_BY)) {
  test.serial(`the model finds ${mutant} and prints the interleaving`, async (t) => {
    const options = { mutant, shortest: 20_000, ...(memory === undefined ? {} : { model: memory }) };
    const { violation } = await check(named(scenario), options);
    t.truthy(violation, "the mistake shows");
    t.true(
      violation!.trace.some((line) => /^CPU \d +rcu\/[\w-]+\.ts:\d+ +\S/.test(line)),
      "lines of the code are named",
    );
    t.log(`${violation!.what}: ${violation!.trace.length} lines, ${violation!.changes} changes of CPU`);
  });
}

test("every mutant has a scenario, which holds without the mutant", (t) => {
  t.deepEqual(
    MUTANTS.map(({ name }) => name).filter((name) => FOUND_BY[name] === undefined),
    [],
  );
  for (const { scenario, memory } of Object.values(FOUND_BY)) {
    t.not(named(scenario).full, true);
    t.not(named(scenario).allowed, true);
    if (memory !== undefined) t.true((named(scenario).models ?? ["tso"]).includes(memory));
  }
});
