/** `sternix check` as a command: what it says of bad input, its statuses, seeds that replay. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import test from "ava";
import { OPTIONS } from "../../userland/check/options.ts";

const main = fileURLToPath(new URL("../../userland/cli/main.ts", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "sternix-check-"));
// As `npm init -y` makes it.
writeFileSync(join(folder, "package.json"), JSON.stringify({ name: "mine", type: "commonjs" }));
test.after.always(() => rmSync(folder, { recursive: true }));

const HEAD = `import { scenario } from "sternix/check";
import { alloc, atomic, RcuHashMap, struct } from "sternix/rcu";
const Count = struct("count", { n: atomic() });
const setup = () => ({ count: alloc(Count) });
`;
let files = 0;
function run(source: string | null, ...words: string[]) {
  const name = `case${files++}.check.ts`;
  if (source !== null) writeFileSync(join(folder, name), source);
  const args = [main, "check", ...(source === null ? [] : [name]), ...words];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { cwd: folder, encoding: "utf8" });
  return { status, stdout, stderr, name };
}

/** Source, words, what standard error says. All end with status 2 and one line. */
const BAD: readonly (readonly [string, string | null, readonly string[], RegExp])[] = [
  ["no module", null, [], /check: no module given; see `sternix check --help`/],
  ["a file that is not there", null, ["./none.check.ts"], /none\.check\.ts: there is no such file/],
  ["an unknown option", null, ["x.ts", "--colour"], /check: unknown option --colour/],
  [
    "a number that is none",
    null,
    ["x.ts", "--states", "many"],
    /--states many: give a whole number, 1 or more/,
  ],
  [
    "an unknown memory",
    null,
    ["x.ts", "--memory", "tso,arm"],
    /--memory arm: the memories are sc, tso and weak/,
  ],
  ["a syntax error", `${HEAD}const x = ;\n`, [], /case\d+\.check\.ts:5:11: /],
  [
    "an import of what is not there",
    `import { nothing } from "sternix/rcu";\n`,
    [],
    /does not provide an export named 'nothing'/,
  ],
  [
    "a top level that throws",
    `${HEAD}throw new Error("not today");\n`,
    [],
    /case\d+\.check\.ts:5:7: not today/,
  ],
  ["no scenario", `${HEAD}export const table = 1;\n`, [], /it exports no scenario: .* it exports table/],
  [
    "a scenario without threads",
    `${HEAD}export default scenario({ setup } as never);\n`,
    [],
    /scenario\(\.\.\.\): there is no threads/,
  ],
  [
    "five threads",
    `${HEAD}const f = () => 1;\nexport default scenario({ setup, threads: { a: f, b: f, c: f, d: f, e: f } });\n`,
    [],
    /threads: there are 5: give one to four/,
  ],
  [
    "a property that is none",
    `${HEAD}export default scenario({ setup, threads: { a: () => 1 }, thread: 1 } as never);\n`,
    [],
    /thread: there is no such property/,
  ],
  [
    "setup that throws",
    `${HEAD}export default scenario({\n  setup() {\n    throw new Error("no paint");\n  },\n  threads: { a: () => 1 },\n});\n`,
    [],
    /scenario default: setup throws Error: no paint \(case\d+\.check\.ts:7\)/,
  ],
  [
    "setup that returns a collection",
    `${HEAD}export default scenario({ setup: () => ({ map: new RcuHashMap() }), threads: { a: () => 1 } });\n`,
    [],
    /it\.map is a RcuHashMap; return references/,
  ],
  [
    "a thread that returns a promise",
    `${HEAD}export default scenario({ setup, threads: { a: async () => 1 } });\n`,
    [],
    /thread a returns a promise: threads run to their end/,
  ],
  [
    "no scenario of that name",
    `${HEAD}export default scenario({ setup, threads: { a: () => 1 } });\n`,
    ["--only", "blue"],
    /no scenario has "blue" in its name; there are default/,
  ],
  [
    "a thread that loops",
    `${HEAD}export default scenario({\n  setup,\n  threads: {\n    a() {\n      for (;;);\n    },\n  },\n});\n`,
    ["--timeout", "3"],
    /thread a has not come to an end nor touched shared memory for 3 seconds at case\d+\.check\.ts:9: it loops/,
  ],
  [
    "a top level that loops",
    `${HEAD}for (;;);\n`,
    ["--timeout", "3"],
    /the top level of the module has not come to an end/,
  ],
];
for (const [what, source, words, wanted] of BAD)
  test.serial(`${what}: status 2 and one line`, (t) => {
    const { status, stdout, stderr } = run(source, ...words);
    t.regex(stderr, wanted);
    t.is(status, 2);
    t.is(stdout, "");
    t.is(
      stderr
        .trimEnd()
        .split("\n")
        .filter((line) => line.startsWith("sternix: ")).length,
      1,
    );
  });

const LOST = `${HEAD}const add = ({ count }) => {
  const n = Count.n.load(count);
  Count.n.store(count, n + 1);
};
export default scenario({ setup, threads: { one: add, other: add }, mayOverwrite: ["count.n"], check({ count }) {
  if (Count.n.load(count) !== 2) throw new Error("one is lost");
} });
`;
test.serial("what exploration does not reach random schedules find, by a seed that replays", (t) => {
  const first = run(LOST, "--memory", "sc", "--preemptions", "0", "--seed", "100");
  t.is(first.status, 1, first.stderr);
  const seed = /again: --memory sc --replay (\d+)/.exec(first.stdout)?.[1];
  t.truthy(seed, first.stdout);
  const again = run(LOST, "--memory", "sc", "--replay", seed!);
  t.is(again.status, 1);
  const trace = (text: string) => text.slice(text.indexOf("\n\n")).replaceAll(/case\d+/g, "case");
  t.is(trace(again.stdout), trace(first.stdout));
});
test.serial("what was only sampled is not called proved", (t) => {
  const { status, stdout } = run(LOST, "--memory", "sc", "--preemptions", "0", "--schedules", "0");
  t.is(status, 0);
  t.regex(
    stdout,
    /nothing found, not proved: all interleavings with up to 0 preemptions explored \(\d+ states\); /,
  );
  t.regex(stdout, /^0 proved, 1 explored in part$/m);
});
test.serial("--json prints an object for each scenario and memory", (t) => {
  const { status, stdout } = run(LOST, "--json", "--memory", "sc,tso");
  t.is(status, 1);
  const reports = stdout
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));
  t.deepEqual(
    reports.map(({ memory, verdict, violation }) => [memory, verdict, violation.kind]),
    [
      ["sc", "violated", "broken invariant"],
      ["tso", "violated", "broken invariant"],
    ],
  );
});
test.serial("variables of a module are each run's own", (t) => {
  const { status, stdout, stderr } = run(
    `${HEAD}let calls = 0;\nconst seen = new Map();\nexport default scenario({ setup, threads: {\n` +
      "  one({ count }) { calls++; seen.set(calls, Count.n.add(count, 1)); return [calls, seen.size]; },\n" +
      "  other({ count }) { Count.n.add(count, 1); } },\n" +
      "  check(_count, { one }) { if (one.join() !== '1,1') throw new Error(one.join()); } });\n",
  );
  t.is(status, 0, stdout + stderr);
});
test.serial("--help names each option, and README.md does", (t) => {
  const { status, stdout } = run(null, "--help");
  t.is(status, 0);
  const readme = readFileSync(
    fileURLToPath(new URL("../../userland/check/README.md", import.meta.url)),
    "utf8",
  );
  for (const name of Object.keys(OPTIONS)) {
    t.true(stdout.includes(`--${name}`), name);
    t.true(readme.includes(`\`--${name}`), `README.md: ${name}`);
  }
});
