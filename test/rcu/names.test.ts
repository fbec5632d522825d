/** rcu/linux.md and rcu/liburcu.md name what there is: whatever their right columns put in code is in rcu/api.md. */
import { readFileSync } from "node:fs";
import test from "ava";

const read = (name: string): string => readFileSync(new URL(`../../rcu/${name}`, import.meta.url), "utf8");
/** Every word of the interface: exports, their members, options. */
const known = new Set(read("api.md").match(/[A-Za-z_$][\w$]*/g));

/** Words of JavaScript, and of C. Commands and what stands behind "without" are left out. */
const OTHERS = new Set([
  "new",
  "true",
  "false",
  "null",
  "using",
  "Atomics",
  "wait",
  "then",
  "work",
  "container_of",
]);

function unknown(name: string): string[] {
  const missing: string[] = [];
  let rows = 0;
  for (const line of read(name).split("\n")) {
    const here = /^\| (?!---|Linux|liburcu \|).* \| (.*) \|$/.exec(line)?.[1];
    if (here === undefined) continue;
    rows++;
    if (!/^(same|as|no|missing|here)\b/.test(here)) missing.push(`a row that says nothing: ${here}`);
    for (const [, code] of here.replace(/\bwithout .*/, "").matchAll(/`([^`]+)`/g))
      for (const word of code!
        .replaceAll(/"[^"]*"|^sternix .*|^STERNIX_.*/g, "")
        .match(/[A-Za-z_$][\w$]*/g) ?? [])
        if (!known.has(word) && !OTHERS.has(word)) missing.push(`${word} (${here})`);
  }
  if (rows < 20) missing.push(`only ${rows} rows were found`);
  return missing;
}

for (const name of ["linux.md", "liburcu.md"])
  test(`every name that rcu/${name} says is here is in rcu/api.md`, (t) => {
    t.deepEqual(unknown(name), []);
  });
