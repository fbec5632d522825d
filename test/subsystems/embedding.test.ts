import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough, Readable } from "node:stream";
import { fileURLToPath, pathToFileURL } from "node:url";
import test from "ava";
import { Machine, MachineError, SpawnError, type SpawnOptions } from "../../userland/index.ts";

const guest = (name: string) => new URL(`../guest/bin/${name}`, import.meta.url);
const fixture = (name: string) => new URL(`fixtures/${name}`, import.meta.url);
const small = { cpus: 1, memory: 64 << 20 };

test.serial("standard streams are web streams, Node streams, text, or nothing", async (t) => {
  await using machine = await Machine.boot({ cpus: 2, memory: 64 << 20 });
  const piped = machine.spawn(guest("echo"), { stdin: "pipe" });
  const writer = piped.stdin.getWriter();
  await writer.write("to a web stream\n");
  await writer.close();
  t.deepEqual(await piped.output(), {
    code: 0,
    signal: null,
    stdout: "to a web stream\n",
    stderr: "copied\n",
  });

  const sink = new PassThrough();
  const node = machine.spawn(guest("echo"), {
    stdin: Readable.from([Buffer.from("through "), Buffer.from("Node\n")]),
    stdout: sink,
    stderr: "ignore",
  });
  t.deepEqual(await node.exited, { code: 0, signal: null });
  t.is(String(await once(sink)), "through Node\n");
  t.throws(() => node.stderr, { instanceOf: TypeError });

  const text = machine.spawn(guest("echo"), { stdin: { text: "text\n" }, stderr: "ignore" });
  t.is((await text.output()).stdout, "text\n");
  const nothing = machine.spawn(guest("echo"), { stderr: "ignore" });
  t.is((await nothing.output()).stdout, "");
});

const once = (stream: Readable) =>
  new Promise<Buffer>((resolve) => {
    const ready = stream.read();
    if (ready === null) stream.once("data", resolve);
    else resolve(ready);
  });

test.serial("more than a pipe holds goes through both ways, and waits for who reads slowly", async (t) => {
  await using machine = await Machine.boot({ cpus: 2, memory: 64 << 20 });
  const bytes = new Uint8Array(1 << 20).map((_, index) => (index * 7) & 0xff);
  const echo = machine.spawn(guest("echo"), { stdin: bytes, stderr: "ignore" });
  const got: Uint8Array[] = [];
  for await (const chunk of echo.stdout) {
    got.push(chunk);
    if (got.length < 4) await new Promise((resolve) => setTimeout(resolve, 5));
  }
  t.deepEqual(Buffer.compare(Buffer.concat(got), bytes), 0);
  t.is((await echo.exited).code, 0);
});

test.serial("arguments, environment, working directory, user", async (t) => {
  await using machine = await Machine.boot(small);
  const { stdout } = await machine
    .spawn(guest("args"), { argv: ["me", "two words"], env: { GUEST: "value" }, cwd: "/tmp", uid: 7, gid: 8 })
    .output();
  t.true(stdout.includes("two words") && stdout.includes("value"), stdout);
  const missing = t.throws(() => machine.spawn(guest("args"), { cwd: "/none" }), { instanceOf: SpawnError });
  t.is((missing as SpawnError).code, "ENOENT");
});

test.serial("errors are typed: no program, not a program, a machine that is gone", async (t) => {
  await using machine = await Machine.boot(small);
  const none = t.throws(() => machine.spawn("nothing"), { instanceOf: SpawnError });
  t.is((none as SpawnError).code, "ENOENT");
  const text = await t.throwsAsync(machine.spawn("/etc/passwd").exited, { instanceOf: SpawnError });
  t.is((text as SpawnError).code, "EACCES");
  await t.throwsAsync(Machine.boot({ ...small, cpus: 99 }), { instanceOf: MachineError });
  await t.throwsAsync(Machine.boot({ ...small, root: "/no/such/folder" }), { instanceOf: MachineError });
  const spinning = machine.spawn(guest("spin"), {
    argv: ["spin"],
    stdout: "ignore",
    stderr: "ignore",
  });
  t.true(spinning.kill("SIGKILL"));
  t.deepEqual(await spinning.exited, { code: null, signal: "SIGKILL" });
  t.false(machine.kill(spinning.pid));
  await machine.shutdown();
  await machine.shutdown();
  t.throws(() => machine.spawn(guest("hello")), { instanceOf: MachineError });
});

test.serial("shutting down ends what runs, and its streams", async (t) => {
  await using machine = await Machine.boot(small);
  const waiting = machine.spawn(guest("echo"), { stdin: "pipe" });
  const reader = waiting.stdout.getReader();
  await waiting.stdin.getWriter().write("read\n");
  t.is(Buffer.from((await reader.read()).value!).toString(), "read\n");
  await machine.shutdown();
  t.true((await reader.read()).done);
  t.deepEqual(await waiting.exited, { code: null, signal: "SIGKILL" });
});

test.serial("many machines live in one process, and know nothing of each other", async (t) => {
  const machines = await Promise.all(
    [1, 2, 3].map((n) => Machine.boot({ ...small, subsystems: n === 3 ? [] : [`kvcache?entries=${n}`] })),
  );
  const kv = async (machine: Machine, ...commands: string[]) =>
    (await machine.spawn(fixture("kv.ts"), { argv: ["kv", ...commands] }).output()).stdout;
  const [one, two, three] = machines as [Machine, Machine, Machine];
  const answers = await Promise.all([
    kv(one, "set a 1", "set b 2", "get a"),
    kv(two, "set a 1", "set b 2", "get a"),
    kv(three, "get a"),
  ]);
  t.is(answers[0], '"OK\\n"\n"OK\\n"\n"MISS\\n"\n');
  t.is(answers[1], '"OK\\n"\n"OK\\n"\n"HIT 1\\n1\\n"\n');
  t.is(answers[2], "-9\n", "no such device there");
  t.deepEqual(Object.keys(three.reports()), []);
  t.regex(one.reports().kvcache!, /^entries 1 of 1\n/);
  await one.shutdown();
  t.is((await two.spawn(guest("hello")).output()).stdout, "hello from riscv64\n");
  t.is(two.stats().cpus.length, 1);
  await Promise.all([two.shutdown(), three.shutdown()]);
});

test.serial("a signal or a timeout ends a process, and `exited` says which", async (t) => {
  await using machine = await Machine.boot(small);
  const spin = (options: SpawnOptions) =>
    machine.spawn(guest("spin"), {
      argv: ["spin"],
      stdout: "ignore",
      stderr: "ignore",
      ...options,
    });
  const timeout = await t.throwsAsync(spin({ timeout: 30 }).exited, { instanceOf: DOMException });
  t.is(timeout!.name, "TimeoutError");
  const control = new AbortController();
  const aborted = spin({ signal: control.signal });
  control.abort(new Error("enough"));
  await t.throwsAsync(aborted.exited, { message: "enough" });
  t.false(aborted.kill(0), "it is gone");
  t.throws(() => spin({ signal: control.signal }), { message: "enough" });
  t.throws(() => spin({ timeout: 1.5 }), { instanceOf: RangeError });
  const quick = machine.spawn(guest("hello"), { timeout: 60_000, signal: new AbortController().signal });
  t.is((await quick.output()).stdout, "hello from riscv64\n");
});

test.serial("a program that makes no call does not hold up the shutdown", async (t) => {
  const log: string[] = [];
  const machine = await Machine.boot({ cpus: 2, memory: 64 << 20, log: (line) => log.push(line) });
  const folder = mkdtempSync(join(tmpdir(), "sternix-"));
  const spinning = machine.spawn(fixture("spin.ts"), { argv: ["spin", join(folder, "spins")] });
  const other = machine.spawn(guest("echo"), { stdin: "pipe" });
  while (!existsSync(join(folder, "spins"))) await new Promise((resolve) => setTimeout(resolve, 5));
  const ends = Promise.allSettled([spinning.exited, other.exited]);
  await machine.shutdown();
  rmSync(folder, { recursive: true });
  const [lost, killed] = await ends;
  t.deepEqual(lost.status === "fulfilled" && lost.value, { code: null, signal: "SIGKILL" });
  t.deepEqual(killed.status === "fulfilled" && killed.value, { code: null, signal: "SIGKILL" });
  t.regex(
    log[0]!,
    /^CPU \d is restarted: pid 2 \(spin\.ts\) was killed and does not come back from its own code$/,
  );
});

test.serial("machines give their memory back", (t) => {
  const boots = fileURLToPath(new URL("fixtures/boots.ts", import.meta.url));
  const run = spawnSync(process.execPath, ["--expose-gc", boots], { encoding: "utf8" });
  t.is(run.status, 0, run.stderr);
  const [first, last] = run.stdout.trim().split("\n").map(Number) as [number, number];
  t.true(last - first < 100, `${first} MiB after 3 boots, ${last} MiB after 10`);
});

test.serial("the README's example works as typed", (t) => {
  const readme = readFileSync(new URL("../../README.md", import.meta.url), "utf8");
  const example = /^```ts\n(import \{ DEFAULT_ENV, Machine \} from "sternix";\n.*?)^```$/ms.exec(readme)?.[1];
  t.truthy(example);
  const folder = mkdtempSync(join(tmpdir(), "sternix-"));
  writeFileSync(join(folder, "example.ts"), example!);
  writeFileSync(
    join(folder, "hello.ts"),
    'import { program } from "sternix";\nexport default program(function* (sys) {\n  yield* sys.print("hello\\n");\n});\n',
  );
  const modules = fileURLToPath(new URL("../../userland/subsystem-modules.ts", import.meta.url));
  const self = `import { registerSelf } from ${JSON.stringify(pathToFileURL(modules).href)}; registerSelf();`;
  const run = spawnSync(
    process.execPath,
    ["--import", `data:text/javascript,${encodeURIComponent(self)}`, "example.ts"],
    { cwd: folder, encoding: "utf8" },
  );
  rmSync(folder, { recursive: true });
  t.is(run.status, 0, run.stderr);
  t.is(run.stdout, "hello\n0 null\n");
});
