import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import test from "ava";
import { differences } from "../../userland/cli/main-job.ts";

test("files that differ are named with the first byte that does", (t) => {
  const of = (files: Record<string, string>) =>
    new Map(Object.entries(files).map(([name, text]) => [name, Buffer.from(text)]));
  t.deepEqual(differences(of({ a: "same", b: "" }), of({ a: "same", b: "" })), []);
  t.deepEqual(differences(of({ a: "abcx", b: "1", d: "ab" }), of({ a: "abcy", c: "1", d: "abc" })), [
    "a: 4 bytes in Sternix, 4 on the host, first difference at byte 3",
    "b: only in Sternix's output",
    "c: missing in Sternix's output",
    "d: 2 bytes in Sternix, 3 on the host, first difference at byte 2",
  ]);
});

test("the main job: riscv64 esbuild makes the same bundle in Sternix as the host's esbuild", (t) => {
  const job = fileURLToPath(new URL("../../userland/cli/main-job.ts", import.meta.url));
  const run = spawnSync(process.execPath, [job], { encoding: "utf8", timeout: 300_000 });
  t.is(run.status, 0, run.stdout + run.stderr);
  const output = run.stdout + run.stderr;
  t.true(output.includes("is identical to the host's"), output);
  t.regex(run.stdout, /system calls +[\d,]+ \(CPU 0: [1-9][\d,]*, CPU 1: [1-9][\d,]*\)/);
  t.regex(run.stdout, /grace periods +[1-9]/);
  t.regex(run.stdout, /RCU callbacks run +[1-9]/);
});
