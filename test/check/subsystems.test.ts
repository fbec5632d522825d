/** The scenarios of the subsystems that come with Sternix: as far as a few seconds go. */
import { fileURLToPath } from "node:url";
import test from "ava";
import { check } from "../../userland/check/run.ts";

for (const [name, states] of [
  ["sysstat/histogram", 3000],
  ["kvcache/kvcache", 300],
  ["syscall-policy/syscall-policy", 500],
  ["sysstat/sysstat", 60],
] as const)
  test.serial(`no mistake in ${name}.check.ts`, async (t) => {
    const module = fileURLToPath(new URL(`../../userland/subsystems/${name}.check.ts`, import.meta.url));
    for await (const { scenario, memory, violation, verdict, ...rest } of check(module, {
      states,
      schedules: 5,
    })) {
      t.is(violation, null, `${scenario} (${memory}): ${violation?.what}`);
      t.true(rest.states > 0 && rest.outcomes > 0);
      t.log(`${scenario} (${memory}): ${verdict}, ${rest.states} states, ${rest.outcomes} outcomes`);
    }
  });
