import test from "ava";
import { syscalls } from "../../syscalls/table.ts";
import { scriptOf } from "./hunt.ts";
import { encode, type Script, show, usedData } from "./script.ts";
import { shrink } from "./shrink.ts";

test("a seed makes the same script every time", (t) => {
  t.deepEqual(encode(scriptOf(17)), encode(scriptOf(17)));
  t.is(show(scriptOf(17)), show(scriptOf(17)));
  t.notDeepEqual(encode(scriptOf(17)), encode(scriptOf(18)));
});

test("every system call that there is comes up in scripts", (t) => {
  const seen = new Set<string>();
  for (let seed = 0; seed < 400; seed++)
    for (const op of scriptOf(seed).programs.flat()) if (op.op === "call") seen.add(op.name);
  t.deepEqual(
    syscalls.map((call) => call.name).filter((name) => !seen.has(name)),
    [],
  );
});

test("a failing script shrinks to the calls that matter and the memory that they use", async (t) => {
  const culprit = (script: Script) =>
    script.programs.flat().find((op) => op.op === "call" && op.name === "openat" && op.args[1] !== "0x0");
  const seed = Array.from({ length: 100 }, (_, n) => n).find((n) => culprit(scriptOf(n)) !== undefined)!;
  let tries = 0;
  const small = await shrink(
    scriptOf(seed),
    async (script) => ++tries > 0 && culprit(script) !== undefined,
    Number.POSITIVE_INFINITY,
  );
  t.is(small.programs.flat().length, 1);
  const [op] = small.programs.flat();
  t.true(op!.op === "call" && op!.args.filter((arg) => arg !== "0x0").length === 1);
  t.true(usedData(small).length <= 1 && small.data.length <= 1);
  t.true(tries < 2000, `${tries} tries`);
});
