/** The checker models words, bytes, text and doubles of the heap. */
import { fileURLToPath } from "node:url";
import test from "ava";
import { check } from "../../userland/check/run.ts";

const module = fileURLToPath(new URL("./fixtures/heap.check.ts", import.meta.url));

/** Scenario, and the memories on which it goes wrong. */
for (const [only, wrong] of [
  ["torn", ["sc", "tso", "weak"]],
  ["neighbours", []],
  ["announced", []],
  ["unannounced", ["weak"]],
  ["collections", []],
] as const)
  test.serial(`${only}: ${wrong.length === 0 ? "never" : wrong.join(", ")}`, async (t) => {
    for await (const report of check(module, { only, states: 4000, schedules: 20 })) {
      if (report.scenario !== only) continue;
      const expected = (wrong as readonly string[]).includes(report.memory);
      t.is(report.verdict === "violated", expected, `${report.memory}: ${report.violation?.what}`);
      if (expected) t.is(report.violation!.kind, "broken invariant");
    }
  });
