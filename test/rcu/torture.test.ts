import test from "ava";
import { MUTANTS } from "../../rcu/torture/mutants.ts";
import { torture } from "../../rcu/torture/torture.ts";

for (const [name, options] of [
  ["plain dereference", { seconds: 2 }],
  ["one reader", { seconds: 1.5, readers: 1 }],
  ["eight readers, two updaters", { seconds: 2, readers: 8, updaters: 2 }],
  ["strict dereference", { seconds: 1.5, strict: true }],
  ["readers that are terminated", { seconds: 2, readers: 1, crash: true }],
  ["tasks preempted in their scopes", { seconds: 2, flavour: "preempt" }],
  ["SRCU", { seconds: 1.5, flavour: "srcu" }],
  ["Tasks RCU", { seconds: 1.5, flavour: "tasks" }],
  ["readers in their event loops", { seconds: 2, flavour: "domain" }],
] as const) {
  test.serial(`torture finds nothing: ${name}`, async (t) => {
    const report = await torture({ ...options, untilMeaningful: true });
    t.deepEqual(report.failures, []);
    t.false(report.tooShort, JSON.stringify(report));
    t.is(
      report.ages.slice(2).reduce((sum, count) => sum + count),
      0,
    );
    if ("crash" in options) t.true(report.crashes > 1);
  });
}

for (const mutant of MUTANTS) {
  // model.test.ts has these, and finds them every time.
  if (mutant.modelOnly === true || mutant.rare === true) continue;
  test.serial(`torture catches ${mutant.name}: ${mutant.why}`, async (t) => {
    const report = await torture({
      ...mutant.options,
      seconds: 60,
      mutant: mutant.name,
      flavour: mutant.flavour ?? "qsbr",
    });
    t.false(report.success);
    t.log(`${report.seconds.toFixed(2)} s: ${report.failures[0]}`);
  });
}
