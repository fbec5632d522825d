import { globSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import test from "ava";
import { defineSubsystem, Machine, SubsystemError, type SubsystemSpec } from "../../userland/index.ts";

const fixture = (name: string) => new URL(`fixtures/${name}`, import.meta.url);
const guest = (name: string) => new URL(`../guest/bin/${name}`, import.meta.url);

/** "name value" lines. */
const counters = (text: string) =>
  Object.fromEntries(
    text
      .trim()
      .split("\n")
      .map((line) => [line.split(" ")[0]!, Number(line.split(" ")[1])]),
  );

for (const cpus of [1, 2]) {
  test.serial(`every part of the interface works on ${cpus} CPU${cpus > 1 ? "s" : ""}`, async (t) => {
    const log: string[] = [];
    await using machine = await Machine.boot({
      cpus,
      memory: 64 << 20,
      subsystems: [`${fixture("probe.ts").href}?answer=34&loud`],
      log: (line) => log.push(line),
    });
    const { code, stdout, stderr } = await machine.spawn(fixture("probe-program.ts")).output();
    t.is(stderr, "");
    t.is(code, 0);
    const results = JSON.parse(stdout);
    const hello = await machine.spawn(guest("exec")).output();
    t.is(hello.code, 0);
    const after = await machine.spawn(fixture("cat.ts"), { argv: ["cat", "/proc/probe"] }).output();
    await machine.shutdown();
    t.is(results.answer, 42, "a system call sees tables that init filled, with options from the URL");
    t.is(results.defer, 0);
    t.is(results.chdir, -1, "syscallEnter denies with an errno, by the path that the call really means");
    t.is(results.letter, "a letter", "a reader of a device waits until wake()");
    t.deepEqual(results.state, [77, 77], "a device keeps a word per open file");
    t.is(results.pollNew, 1, "a pollable file that was not read is readable");
    t.is(results.text, "first\n");
    t.deepEqual(results.pollRead, 0, "and is not once it was read");
    t.is(results.refused, -1);
    t.is(results.pollWoken, 1, "notify() wakes who polls");
    t.is(results.changed, "changed\n");
    t.is(results.pollAgain, 0);
    t.is(results.interrupted, -4);
    t.is(results.mount, 0);
    t.is(results.state2, "enabled\n");
    const counts = counters(after.stdout);
    for (const name of ["taskCreate", "taskExec", "taskExit", "contextSwitch", "gracePeriod", "safePoint"])
      t.true(counts[name]! > 0, name);
    t.is(counts.mount, 1, "mount hook");
    t.is(counts.reclaimed, 1, "callRcu ran the reclaimer");
    t.is(counts.released, 1, "queueRelease ran the releaser in the task's context");
    t.is(counts.interrupted, 1, "syscallExit reports a call that a signal ended");
    t.true(counts.syscallEnter! >= counts.syscallExit! && counts.syscallExit! > 50);
    t.deepEqual(log, ["probe: hello!"], "nothing is reported about a subsystem that behaves");
  });
}

test("what cannot be used is refused with a SubsystemError that names it", async (t) => {
  const refused = async (...specs: SubsystemSpec[]) =>
    (
      await t.throwsAsync(Machine.boot({ cpus: 1, memory: 64 << 20, subsystems: specs }), {
        instanceOf: SubsystemError,
      })
    ).message;
  const probe = fixture("probe.ts").href;
  t.regex(
    await refused(`${probe}?nonsense=1`),
    /^subsystem probe: there is no option nonsense; there are answer/,
  );
  t.regex(await refused(`${probe}?answer=many`), /^subsystem probe: option answer=many is not a number$/);
  t.regex(await refused(fixture("none.ts").href), /there is no such module; bundled ones are/);
  t.regex(await refused("kvcach"), /^subsystem kvcach: there is no such module; bundled ones are/);
  t.regex(await refused("https://example.org/a.ts"), /there is no such module/);
  t.regex(
    await refused(fixture("cat.ts").href),
    /cat\.ts: its default export is not defineSubsystem\(\.\.\.\)/,
  );
  t.regex(
    await refused(probe, probe),
    /^subsystem probe: is there twice: a machine has one subsystem of a name$/,
  );
  t.regex(
    await refused("kvcache?entries=0"),
    /^subsystem kvcache: table cache: RcuCache: capacity 0 is not a positive integer$/,
  );
});

test("those that come with Sternix import nothing but sternix, sternix/rcu and sternix/check", (t) => {
  const folder = fileURLToPath(new URL("../../userland/subsystems/", import.meta.url));
  const files = globSync("*/*.ts", { cwd: folder });
  t.true(files.length >= 6);
  for (const file of files)
    for (const [, from] of readFileSync(folder + file, "utf8").matchAll(/ from "(.+?)";/g))
      t.regex(
        from!,
        /^(\.\/[a-z]+\.ts|\.\.\/\.\.\/index\.ts|\.\.\/\.\.\/check\/index\.ts|\.\.\/\.\.\/\.\.\/rcu\/index\.ts|node:.+)$/,
        file,
      );
});

test("a literal of a wrong shape is refused by the property that is wrong", (t) => {
  const wrong = (literal: object, message: RegExp) =>
    t.throws(() => defineSubsystem({ name: "wrong", ...literal } as never), {
      instanceOf: TypeError,
      message,
    });
  t.throws(() => defineSubsystem({ name: "two words" }), { message: /^subsystem name "two words": give/ });
  t.throws(() => defineSubsystem(undefined as never), { instanceOf: TypeError });
  t.throws(() => defineSubsystem({} as never), { message: /^subsystem name undefined: give/ });
  wrong({ hook: {} }, /^subsystem wrong: there is no hook; there are name, options, tables/);
  wrong({ hooks: { syscallenter() {} } }, /there is no hooks\.syscallenter; there are taskCreate/);
  wrong({ hooks: { taskExit: 1 } }, /: hooks\.taskExit is not a function$/);
  wrong({ tables: { a: new Map() } }, /: tables\.a is not a table: give table\.map/);
  wrong({ devices: { "a/b": {} } }, /: a device cannot be named a\/b$/);
  wrong({ devices: { a: { reed() {} } } }, /: there is no devices\.a\.reed; there are mode, open, read/);
  wrong({ devices: { a: { mode: 0o7777 } } }, /: devices\.a\.mode is not permission bits/);
  wrong({ sys: { state: {} } }, /: a file in \/sys\/kernel cannot be named state$/);
  wrong({ proc: "text" }, /: proc is not an object$/);
  wrong({ proc: { pollable: 1 } }, /: proc\.pollable is not true or false$/);
  wrong({ options: { a: [] } }, /: options\.a is not a default/);
  wrong({ syscalls: [{ nr: 460 }] }, /: syscalls\.0 is not what syscall\(/);
  wrong({ reclaimers: { a: 1 } }, /: reclaimers\.a is not a function$/);
  wrong({ init: "soon" }, /: init is not a function$/);
});

test("a table that the heap has no room for refuses the boot, and one that grows too large is named", async (t) => {
  const small = { cpus: 1, memory: 64 << 20, heap: 48 << 20 };
  const boot = (options: { atBoot?: boolean }) =>
    Machine.boot({
      ...small,
      subsystems: [{ module: fixture("greedy.ts"), options }],
      log: (line) => log.push(line),
    });
  const log: string[] = [];
  await t.throwsAsync(boot({ atBoot: true }), {
    instanceOf: SubsystemError,
    message: /^subsystem greedy: table big: the shared heap is full|^subsystem greedy: table big: /,
  });
  await using machine = await boot({});
  const cat = async (path: string) =>
    (await machine.spawn(fixture("cat.ts"), { argv: ["cat", path] }).output()).stdout;
  t.is(await cat("/proc/greedy"), "", "its read fails");
  t.regex(await cat("/proc/meminfo"), /^MemTotal/, "others go on");
  await machine.shutdown();
  t.regex(log[0]!, /^subsystem greedy: read of \/proc\/greedy in pid \d+ \(cat\.ts\) threw HeapFullError/);
  t.is(log.length, 1, log.join("\n"));
});

for (const cpus of [1, 2])
  test.serial(
    `a device has positions and is mapped; lists, ids and the like are tables: ${cpus} CPU(s)`,
    async (t) => {
      const log: string[] = [];
      await using machine = await Machine.boot({
        cpus,
        memory: 64 << 20,
        debug: true,
        subsystems: [fixture("ramdisk.ts")],
        log: (line) => log.push(line),
      });
      const { stdout, stderr } = await machine.spawn(fixture("ramdisk-program.ts")).output();
      await machine.shutdown();
      t.is(stderr, "");
      const [results, tables] = stdout.split("\n");
      t.deepEqual(JSON.parse(results!), [
        12288,
        12282,
        6,
        -28,
        4094,
        4,
        4098,
        6,
        "tail a",
        0,
        true,
        "abcd",
        4,
        "aBcd",
      ]);
      t.is(tables, "6@12282 4@4094 0=12282.5 1=4094.5 12282:6 4094:4");
      t.deepEqual(log, []);
    },
  );

test("a file in /proc can be opened with O_TRUNC, as a shell's > does", async (t) => {
  await using machine = await Machine.boot({ cpus: 1, memory: 64 << 20, subsystems: [fixture("probe.ts")] });
  const argv = ["write", "/sys/kernel/probe/text", "from a shell\n", "truncate"];
  t.is((await machine.spawn(fixture("write.ts"), { argv }).output()).code, 0);
  const text = await machine.spawn(fixture("cat.ts"), { argv: ["cat", argv[1]!] }).output();
  t.is(text.stdout, "from a shell\n");
});
