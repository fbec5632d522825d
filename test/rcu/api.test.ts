/** rcu/api.md says what the docstrings say, and every export and member has one. */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import test from "ava";

test("rcu/api.md is up to date (npm run api), and nothing that is exported lacks a docstring", (t) => {
  const script = fileURLToPath(new URL("../../rcu/api.mjs", import.meta.url));
  const { status, stderr } = spawnSync(process.execPath, [script, "--check"], { encoding: "utf8" });
  t.is(status, 0, stderr);
});
