/** The README shows the example that the other tests run. */
import { readFileSync } from "node:fs";
import test from "ava";

test("the program in README is rcu/example/table.ts, importing the package, in under 40 lines", (t) => {
  const readme = readFileSync(new URL("../../README.md", import.meta.url), "utf8");
  const example = readFileSync(new URL("../../rcu/example/table.ts", import.meta.url), "utf8");
  t.true(readme.includes(`\`\`\`ts\n${example}\`\`\``));
  t.true(example.trimEnd().split("\n").length < 40);
});
