/**
 * Every system call with the boundary values of each argument, and of each field of what arguments point to, as user 1000: the same
 * answers as Linux, and nothing else happens. The calls are made from the argument types that the literals state (vectors.ts) and
 * from the layouts of structures (contents.ts); Linux's answers are recorded (record.ts).
 */

import { pathToFileURL } from "node:url";
import test from "ava";
import type { Syscall } from "../../syscalls/syscall.ts";
import { syscalls } from "../../syscalls/table.ts";
import { Machine } from "../../userland/index.ts";
import { fixture } from "../guest/cases.ts";
import { run } from "../guest/run.ts";
import { ANSWERS, CONTENTS, recorded, unpack } from "./answers.ts";
import { contentsOf } from "./contents.ts";
import { DIFFERENT } from "./differences.ts";
import { LEFT_OUT, line, type Vector, vectorsOf } from "./vectors.ts";

const WAITS = "b";
/** RLIMIT_CPU of 0 seconds kills a process at the next tick, which may come before it has said how its call ended. */
const LIMITS = ["prlimit64", "setrlimit"];
const KILLED = "s9";
const log: string[] = [];
let machine: Machine;
test.before("boot", async () => {
  machine = await Machine.boot({ cpus: 2, log: (text) => log.push(text) });
});
test.after.always("shut down", () => machine?.shutdown());

/** A table of calls, and what Linux answered to them. */
interface Table {
  readonly of: (call: Syscall) => Vector[];
  readonly linux: ReadonlyMap<string, readonly string[]>;
}
const tableOf = (of: Table["of"], file: URL): Table => ({
  of,
  linux: new Map(Object.entries(recorded(file)).map(([name, packed]) => [name, unpack(packed)])),
});
const ARGUMENTS = tableOf(vectorsOf, ANSWERS);
const FIELDS = tableOf(contentsOf, CONTENTS);

/** What each call that differs gave, as differences.ts writes it, with the first arguments that showed it. */
async function differences(
  { of, linux }: Table,
  calls: readonly Syscall[],
  folder: string,
): Promise<Map<string, string>> {
  const vectors = calls.flatMap((call) =>
    of(call).map((vector, n) => ({ vector, expected: linux.get(call.name)?.[n] })),
  );
  const stdin = vectors
    .map(({ vector, expected }) => line(vector, expected === WAITS || expected === undefined))
    .join("");
  const options = { uid: 1000, gid: 1000, cwd: "/tmp", args: [folder], stdin };
  const { status, stdout } = await run(machine, pathToFileURL(fixture("boundary")), options);
  const answers = stdout.trimEnd().split("\n");
  if (status !== 0 || answers.length !== vectors.length)
    throw new Error(`${answers.length} of ${vectors.length} calls, status ${status}: ${stdout.slice(-200)}`);
  const found = new Map<string, string>();
  vectors.forEach(({ vector: { call, index, args, memory }, expected }, n) => {
    const answer = answers[n]!;
    if (expected === undefined || expected === WAITS || answer === WAITS || answer === expected) return;
    if (answer === KILLED && LIMITS.includes(call.name)) return;
    const key = `${call.name} ${index} ${expected} ${answer}`;
    const last = memory?.at(-1);
    const with_ = last === undefined ? "" : ` 0x${BigInt.asUintN(64, BigInt(last[2])).toString(16)}`;
    if (!found.has(key)) found.set(key, `${args.map((arg) => `0x${arg.toString(16)}`).join(", ")}${with_}`);
  });
  return found;
}

const calls = syscalls.filter((call) => !(call.name in LEFT_OUT));

for (const { table, what, isListed } of [
  {
    table: ARGUMENTS,
    what: "arguments",
    isListed: (key: string) => /^-?\d+$/.test(key.split(" ")[1]!),
  },
  {
    table: FIELDS,
    what: "what arguments point to",
    isListed: (key: string) => !/^-?\d+$/.test(key.split(" ")[1]!),
  },
])
  test.serial(
    `boundary values of ${what}: every call answers as Linux does, but for what is listed`,
    async (t) => {
      t.timeout(240_000);
      // In two halves, one a CPU.
      const halves = await Promise.all(
        [0, 1].map((half) =>
          differences(
            table,
            calls.filter((_, n) => n % 2 === half),
            `${table === FIELDS ? "fields" : "half"}${half}`,
          ),
        ),
      );
      const found = new Map(halves.flatMap((half) => [...half]));
      const listed = new Set(Object.values(DIFFERENT).flat().filter(isListed));
      const news = [...found].filter(([key]) => !listed.has(key)).map(([key, args]) => `${key}: (${args})`);
      t.deepEqual(
        news,
        [],
        "call, argument or field, what Linux answers, what we answer: (the arguments, what is pointed to)",
      );
      const gone = [...listed].filter((key) => !found.has(key));
      t.deepEqual(gone, [], "no longer different: remove from differences.ts");
      t.deepEqual(log, [], "the kernel has nothing to report");
    },
  );

test("a call that Linux was not asked about is recorded, or only riscv64 has it", (t) => {
  const unknown = calls.filter((call) => !ARGUMENTS.linux.has(call.name)).map((call) => call.name);
  t.deepEqual(unknown.sort(), ["fchmodat2", "riscv_flush_icache", "riscv_hwprobe", "rt_sigreturn"]);
  for (const { of, linux } of [ARGUMENTS, FIELDS])
    for (const call of calls)
      if (linux.has(call.name))
        t.is(linux.get(call.name)!.length, of(call).length, `${call.name}: run test/syscalls/record.ts anew`);
});
