import test from "ava";
import { Machine, SubsystemError } from "../../userland/index.ts";

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
  const refused = async (spec: string) =>
    t.throwsAsync(Machine.boot({ cpus: 1, memory: 64 << 20, subsystems: [spec] }), {
      instanceOf: SubsystemError,
    });
  const probe = fixture("probe.ts").href;
  t.regex(
    (await refused(`${probe}?nonsense=1`)).message,
    /^subsystem probe: there is no option nonsense; there are answer/,
  );
  t.regex((await refused(`${probe}?answer=many`)).message, /option answer=many is not a number/);
  t.regex((await refused(fixture("none.ts").href)).message, /there is no such module; bundled ones are/);
  t.regex((await refused(fixture("cat.ts").href)).message, /its default export is not defineSubsystem/);
  t.regex(
    (await refused(`${fixture("faulty.ts").href}?bug=init`)).message,
    /^subsystem faulty: init of a bad day$/,
  );
  t.regex(
    (await refused(`${fixture("faulty.ts").href}?bug=number`)).message,
    /numbers of subsystems are 448 to 510, not 64/,
  );
});

test("a file in /proc can be opened with O_TRUNC, as a shell's > does", async (t) => {
  await using machine = await Machine.boot({ cpus: 1, memory: 64 << 20, subsystems: [fixture("probe.ts")] });
  const argv = ["write", "/sys/kernel/probe/text", "from a shell\n", "truncate"];
  t.is((await machine.spawn(fixture("write.ts"), { argv }).output()).code, 0);
  const text = await machine.spawn(fixture("cat.ts"), { argv: ["cat", argv[1]!] }).output();
  t.is(text.stdout, "from a shell\n");
});
