/** Mistakes of an embedding program: each is an exception of its own kind that names what was given. */
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { pathToFileURL } from "node:url";
import test from "ava";
import { findTask } from "../../kernel/task/pid.ts";
import { Task } from "../../kernel/task/task.ts";
import { groupUsage } from "../../kernel/task/usage.ts";
import { type Ref, rcuReadLock, rcuReadUnlock } from "../../rcu/index.ts";
import {
  DEFAULT_ENV,
  Machine,
  MachineError,
  type MachineOptions,
  SpawnError,
  SubsystemError,
} from "../../userland/index.ts";
import { kernelOf } from "../../userland/machine/machine.ts";
import { fixture } from "../guest/cases.ts";

const folder = mkdtempSync(join(tmpdir(), "sternix-machine-"));
test.after.always(() => rmSync(folder, { recursive: true, force: true }));
const at = (name: string) => join(folder, name);
const guest = (name: string) => pathToFileURL(fixture(name));

let machine: Machine;
test.before("boot", async () => {
  machine = await Machine.boot({ cpus: 1, memory: 64 << 20 });
});
test.after.always("shut down", () => machine?.shutdown());

for (const [what, options, message] of [
  ["no CPU", { cpus: 0 }, /^0 CPUs: a machine has 1 to 30$/],
  ["memory for nothing", { memory: 5 }, /^memory of 5 bytes is too little/],
  ["memory that is no number", { memory: Number.NaN }, /^memory of NaN bytes/],
  ["more memory than there can be", { memory: 2 ** 40 }, /does not fit in 4 GiB/],
  ["a heap for nothing", { heap: 5 }, /^heap of 5 bytes: give a size from/],
  [
    "a root that is not there",
    { root: at("none") },
    /^root .*none: there is no such folder on this machine$/,
  ],
  ["a root that is a file", { root: fixture("hello") }, /^root .*hello: is not a folder on this machine$/],
  [
    "a mount of nothing",
    { mounts: [{ host: at("none"), guest: "/x" }] },
    /^cannot mount .*none on \/x: No such file/,
  ],
  [
    "a mount on a relative path",
    { mounts: [{ host: folder, guest: "x" }] },
    /^mount .* on x: give an absolute path/,
  ],
  [
    "an option that does not exist",
    { cpu: 2 } as object,
    /^Machine\.boot: there is no option cpu; did you mean cpus\?$/,
  ],
  ["an option like none", { something: 1 } as object, /^Machine\.boot: there is no option something$/],
  ["a number as text", { cpus: "2" } as object, /^Machine\.boot: cpus "2" is not a number$/],
  ["a switch as text", { debug: "yes" } as object, /^Machine\.boot: debug "yes" is not true or false$/],
  [
    "a mount as text",
    { mounts: ["/a:/b"] } as object,
    /^Machine\.boot, mounts\[0\]: "\/a:\/b" is not an object/,
  ],
  [
    "a mount of the wrong word",
    { mounts: [{ host: "/", path: "/x" }] } as object,
    /mounts\[0\]: there is no option path/,
  ],
  [
    "half a mount",
    { mounts: [{ host: folder }] } as object,
    /^Machine\.boot, mounts\[0\]: guest is missing$/,
  ],
  ["no object", null as unknown as object, /^Machine\.boot: null is not an object of options$/],
  ["a time for nothing", { subsystemTimeout: 0 }, /^subsystemTimeout 0: give milliseconds/],
  ["a trace to nowhere", { strace: 12345 }, /^strace 12345: there is no such open descriptor$/],
] as const satisfies readonly (readonly [string, MachineOptions, RegExp])[])
  test(`${what} refuses the boot`, async (t) => {
    const error = await t.throwsAsync(Machine.boot(options), { instanceOf: MachineError, message });
    t.regex((error as MachineError).code, /^ERR_MACHINE/);
  });

test("a program of this machine that cannot run is a SpawnError with a code and a reason, before a guest sees it", (t) => {
  writeFileSync(at("plain"), "text", { mode: 0o755 });
  writeFileSync(at("locked"), "#!/bin/sh\n", { mode: 0o644 });
  for (const [path, code, reason] of [
    [at("none"), "ENOENT", "there is no such program on this machine"],
    [folder, "EISDIR", "is a folder, not a program"],
    [process.execPath, "ENOEXEC", /^is made for .*; Sternix runs riscv64 Linux programs$/],
    [at("plain"), "ENOEXEC", "is not a program: neither ELF, nor #!, nor a .ts or .js file"],
    [at("locked"), "EACCES", "is not executable: chmod +x makes it so"],
  ] as const) {
    const error = t.throws(() => machine.spawn(pathToFileURL(path)), {
      instanceOf: SpawnError,
    }) as SpawnError;
    t.like(error, { code, path, syscall: "execve" });
    if (typeof reason === "string") t.is(error.reason, reason);
    else t.regex(error.reason, reason);
    t.is(error.message, `${path}: ${error.reason}`);
  }
});

test("a guest path that only this machine has says so", async (t) => {
  const message =
    /: there is no such program in the guest; this machine's is there when its folder is mounted$/;
  await t.throwsAsync(machine.spawn(fixture("hello")).exited, { instanceOf: SpawnError, message });
  t.throws(() => machine.spawn(""), { instanceOf: SpawnError });
  const folderError = t.throws(() => machine.spawn(guest("hello"), { cwd: folder }), {
    instanceOf: SpawnError,
  });
  t.like(folderError, { code: "ENOENT", syscall: "chdir", path: folder });
});

test("options that no process can have are TypeErrors and RangeErrors", (t) => {
  for (const [options, message] of [
    [{ args: ["a\0b"] }, /^argv\[1\]: holds a NUL/],
    [{ argv: ["a"], args: [] }, /^give argv, which begins with the program's own name, or args, not both$/],
    [{ env: { "A=B": "" } }, /^env: "A=B" is no name$/],
    [{ env: { A: "a\0b" } }, /^env\.A: holds a NUL/],
    [{ killSignal: "SIGNONE" as NodeJS.Signals }, /^signal SIGNONE: there is no such signal; give a name/],
  ] as const)
    t.throws(() => machine.spawn(guest("hello"), options), { instanceOf: TypeError, message });
  for (const [options, message] of [
    [{ args: "echo hi" }, /^spawn: args "echo hi" is not an array of strings, such as \["echo", "hi"\]$/],
    [{ arg: ["x"] }, /^spawn: there is no option arg; did you mean args\?$/],
    [{ args: [1] }, /^argv\[1\]: is not a string$/],
    [{ stdin: "text" }, /^spawn: stdin "text" is not "pipe", "ignore", "inherit" or a Uint8Array/],
    [
      { stdout: console.log },
      /^spawn: stdout a function is not "pipe", "ignore", "inherit" or a WritableStream/,
    ],
    [{ uid: "0" }, /^spawn: uid "0" is not a number$/],
    [{ env: ["A=B"] }, /^spawn: env \[\.\.\.\] is not an object$/],
    [{ signal: "SIGTERM" }, /^spawn: signal "SIGTERM" is not an AbortSignal$/],
  ] as const)
    t.throws(() => machine.spawn(guest("hello"), options as object), {
      instanceOf: TypeError,
      code: "ERR_SPAWN_OPTION",
      message,
    });
  t.throws(() => machine.spawn(5 as unknown as string), { instanceOf: TypeError });
  t.throws(() => machine.spawn(guest("hello"), { timeout: 2 ** 40 }), { instanceOf: RangeError });
  t.throws(() => machine.spawn(guest("hello"), { uid: -1 }), {
    instanceOf: RangeError,
    message: /^uid -1: /,
  });
  t.throws(() => machine.kill(1, 65), {
    instanceOf: TypeError,
    code: "ERR_UNKNOWN_SIGNAL",
    message: /^signal 65: there is no such signal; give a name like "SIGTERM" or a number from 0 to 64$/,
  });
  t.false(machine.kill(1, "SIGKILL"), "the kernel's own process takes none");
});

/** Values of every kind, for options of every kind. */
const ODD: readonly unknown[] = [
  ...[5, 0, -1, Number.NaN, 1.5, Number.POSITIVE_INFINITY, 2 ** 40, 10n, true, null, Symbol("s"), () => {}],
  ...[
    "",
    "x",
    "a\0b",
    "x".repeat(5000),
    [],
    [5],
    [null],
    [{}],
    ["x"],
    {},
    { A: 5 },
    new Date(),
    new URL("http://x/"),
  ],
  ...[[{ host: "/tmp\0", guest: "/y" }], [{ host: "/tmp", guest: `/${"y".repeat(5000)}` }], [Symbol("s")]],
  ...[
    [{ module: 5 }],
    [{ module: "kvcache", options: 5 }],
    [{ module: "kvcache", optoins: {} }],
    ["file:///%"],
  ],
];
/** What is neither an error of ours nor one with a code. */
function untyped(what: string, error: unknown): string[] {
  const { code, name } = error as { code?: unknown; name?: unknown };
  const ours = error instanceof MachineError || error instanceof SubsystemError;
  if (ours && typeof code === "string") return [];
  const coded = (error instanceof TypeError || error instanceof RangeError) && typeof code === "string";
  return coded && code.startsWith("ERR_") && !code.startsWith("ERR_INVALID")
    ? []
    : [`${what}: ${name} ${code} ${error}`];
}
/** Which of the odd values an option takes, by their places. */
const TAKES: Readonly<Record<string, readonly number[]>> = {
  cpus: [0],
  subsystemTimeout: [0],
  mounts: [16],
  subsystems: [16],
  debug: [8],
  rootWritable: [8],
  log: [11],
};

test("whatever is wrong with an option of a machine, it is an error with a code", async (t) => {
  const names = "cpus memory heap root rootWritable mounts subsystems subsystemTimeout debug strace log";
  const wrong: string[] = [];
  for (const name of names.split(" "))
    for (const [n, value] of ODD.entries()) {
      if (TAKES[name]?.includes(n)) continue;
      // strace takes descriptors: which ones this process has is not for a test to know.
      if (name === "strace" && (value === 5 || value === 0)) continue;
      const what = `${name}, value ${n}`;
      const booted = await Machine.boot({ cpus: 1, memory: 64 << 20, [name]: value }).then(
        async (machine) => {
          await machine.shutdown();
          return [`${what}: boots`];
        },
        (error: unknown) => untyped(what, error),
      );
      wrong.push(...booted);
    }
  t.deepEqual(wrong, []);
});

test("a trace goes to what can be written", async (t) => {
  const reading = openSync(at("."), "r");
  await t.throwsAsync(Machine.boot({ strace: reading }), {
    code: "ERR_MACHINE_OPTION",
    message: /neither a file/,
  });
  closeSync(reading);
  writeFileSync(at("trace"), "");
  const readOnly = openSync(at("trace"), "r");
  await t.throwsAsync(Machine.boot({ strace: readOnly }), {
    code: "ERR_MACHINE_OPTION",
    message: /not open for writing/,
  });
  closeSync(readOnly);
});

test("whatever is wrong with what a method is given, it is an error with a code", async (t) => {
  const wrong: string[] = [];
  const names = "args argv env cwd uid gid signal timeout killSignal stdio stdin stdout stderr";
  const tried = async (what: string, run: () => unknown): Promise<void> => {
    try {
      const result = run();
      if (result instanceof Object && "exited" in result)
        await (result as { exited: Promise<unknown> }).exited;
    } catch (error) {
      if ((error as Error).name !== "TimeoutError") wrong.push(...untyped(what, error));
    }
  };
  for (const name of names.split(" "))
    for (const [n, value] of ODD.entries())
      await tried(`spawn ${name}, value ${n}`, () => machine.spawn(guest("hello"), { [name]: value }));
  for (const [n, value] of ODD.entries()) {
    await tried(`spawn of value ${n}`, () => machine.spawn(value as string));
    await tried(`kill of value ${n}`, () => machine.kill(value as number, 0));
    await tried(`kill by value ${n}`, () => machine.kill(12345, value as number));
    await tried(`spawn with value ${n}`, () => machine.spawn(guest("hello"), value as object));
  }
  for (const url of ["file://host/x", "file:///x%00y", `file:///${"x".repeat(5000)}`])
    await tried(url, () => machine.spawn(new URL(url)));
  t.deepEqual(wrong, []);
});

test("args stand behind the program's name, undefined variables are not there", async (t) => {
  const { stdout } = await machine
    .spawn(guest("args"), { args: ["two words"], env: { ...DEFAULT_ENV, GUEST: "value", NONE: undefined } })
    .output();
  t.true(stdout.startsWith("argv[0]=(program)\nargv[1]=two words\nargv ends"), stdout);
  t.true(stdout.includes("env GUEST=value\n") && !stdout.includes("NONE"), stdout);
});

test("output() has waited until a given stream got everything", async (t) => {
  const sink = new PassThrough({ highWaterMark: 1 });
  const got: Buffer[] = [];
  sink.on("data", (bytes: Buffer) => {
    got.push(bytes);
    sink.pause();
    setTimeout(() => sink.resume(), 5);
  });
  const text = "line\n".repeat(40_000);
  const echo = machine.spawn(guest("echo"), { stdin: { text }, stdout: sink });
  t.deepEqual(await echo.output(), { code: 0, signal: null, stdout: "", stderr: "copied\n" });
  t.throws(() => echo.stdout, { instanceOf: TypeError });
  sink.end();
  await new Promise((resolve) => sink.once("end", resolve));
  t.is(Buffer.concat(got).toString(), text);
});

test("stats() names calls, and the engines' counters are there once the machine was shut down", async (t) => {
  const other = await Machine.boot({ cpus: 1, memory: 64 << 20 });
  await other.spawn(guest("hello")).output();
  t.is(other.stats().syscalls.exit_group, 1);
  t.deepEqual(other.stats().engine, {});
  await other.shutdown();
  const { engine, syscalls, crashes } = other.stats();
  t.true(engine.enters! > 0);
  t.deepEqual([syscalls.exit_group, crashes], [1, 0]);
  t.deepEqual(other.reports(), {});
});

test("a process's time counts while it runs, for those who look from another CPU", async (t) => {
  const two = await Machine.boot({ cpus: 2, memory: 64 << 20 });
  const spinning = two.spawn(guest("spin"));
  for await (const _ of spinning.stdout) break;
  const kernel = kernelOf(two);
  const used = (): number =>
    kernel.run(() => {
      const task = findTask(rcuReadLock(), spinning.pid) as Ref<"task">;
      rcuReadUnlock();
      return groupUsage(Task.group.get(task)).utime; // It lives: nobody else ends it.
    });
  // Nothing takes the CPU from it: two tasks that run have a CPU each, and nobody else is there.
  const first = used();
  const until = performance.now() + 10_000;
  while (used() === first && performance.now() < until)
    await new Promise((resolve) => setTimeout(resolve, 1));
  t.true(used() > first);
  t.true(spinning.kill("SIGKILL"));
  await two.shutdown();
});

test.serial(
  "signal 0 asks whether the process is there; input that is neither text nor bytes is refused",
  async (t) => {
    await using machine = await Machine.boot({ cpus: 1, memory: 64 << 20 });
    const junk = new ReadableStream<Uint8Array>({
      pull: (controller) => controller.enqueue({ length: undefined } as unknown as Uint8Array),
    });
    const echo = machine.spawn(new URL("../guest/bin/echo", import.meta.url), { stdin: junk });
    await echo.exited;
    // Its input never comes: one without input may have ended by itself between two looks.
    const input = new ReadableStream<Uint8Array>();
    const waiting = machine.spawn(new URL("../guest/bin/echo", import.meta.url), { stdin: input });
    t.true(waiting.kill(0));
    t.true(waiting.kill("SIGKILL"));
    t.is((await waiting.exited).signal, "SIGKILL");
    await t.throwsAsync(Machine.boot({ mounts: [{ host: ".", guest: "/a\0b" }] }), {
      code: "ERR_MACHINE_OPTION",
      message: /holds no NUL/,
    });
  },
);
