import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import test from "ava";
import { Counts, readTap, soakOptions } from "./soak.ts";

const ROUND = `TAP version 13
ok 1 - good › one
not ok 2 - good › two
  ---
    name: AssertionError
  ...
ok 3 - later # TODO
not ok 4 - bad.test.ts exited with a non-zero exit code: 1
1..4
`;

test("soak counts what AVA reports, by setting and title", (t) => {
  const run = readTap(ROUND);
  t.deepEqual(run, {
    passed: ["good › one"],
    failed: ["good › two", "bad.test.ts exited with a non-zero exit code: 1"],
  });
  const counts = new Counts();
  counts.add("plain", run);
  counts.add("plain", { passed: ["good › one", "good › two"], failed: [] });
  counts.add("one-core", run);
  t.deepEqual(counts.total, { passed: 4, failed: 4 });
  t.deepEqual(counts.lines(), [
    "1 of 2 failed: plain: good › two",
    "1 of 1 failed: plain: bad.test.ts exited with a non-zero exit code: 1",
    "1 of 1 failed: one-core: good › two",
    "1 of 1 failed: one-core: bad.test.ts exited with a non-zero exit code: 1",
  ]);
});

test("soak's options: what stops it, what it runs, what is wrong", (t) => {
  const options = soakOptions(["--rounds", "3", "a.test.ts", "--", "--match=b*"], "/t");
  t.like(options, {
    rounds: 3,
    minutes: Number.POSITIVE_INFINITY,
    on: ["one-core", "eight-cpus"],
    keep: "/t/soak",
  });
  t.deepEqual(options.tests, ["a.test.ts", "--match=b*"]);
  t.throws(() => soakOptions(["--rounds", "0"], "/t"), { message: /--rounds 0/ });
  t.throws(() => soakOptions(["--minutes", "soon"], "/t"), { message: /--minutes soon/ });
  t.throws(() => soakOptions(["--on", "two-cores"], "/t"), { message: /two-cores.*one-core/ });
  t.throws(() => soakOptions(["--round", "1"], "/t"), { message: /--round/ });
});

test("soak runs the rounds that it is asked for, and keeps the output of one that fails", (t) => {
  const keep = mkdtempSync(join(tmpdir(), "sternix-soak-"));
  t.teardown(() => rmSync(keep, { recursive: true, force: true }));
  const soak = (...args: string[]) =>
    spawnSync(
      process.execPath,
      [
        fileURLToPath(new URL("soak.ts", import.meta.url)),
        ...["--on", "plain", "--load", "1", "--keep", keep],
        ...["test/layering.test.ts", ...args],
      ],
      { encoding: "utf8" },
    );
  const good = soak("--rounds", "2");
  t.regex(good.stdout, /^round 2, plain: \d+ passed, 0 failed$/m);
  t.is(good.status, 0, good.stderr);
  t.deepEqual(readdirSync(keep), []);
  const bad = soak("--rounds", "1", "--", "--match=no test is called so");
  t.regex(bad.stdout, /1 of 1 failed: plain: \(no test ran\)/);
  t.is(bad.status, 1);
  const [log] = readdirSync(keep);
  t.is(log, "round-1-plain.log");
  t.regex(readFileSync(join(keep, log!), "utf8"), /^1\.\.0$/m);
});
