import test from "ava";
import { Machine, MachineError } from "../../userland/index.ts";

const fixture = (name: string) => new URL(`fixtures/${name}`, import.meta.url);
const hello = new URL("../guest/bin/hello", import.meta.url);

interface Seen {
  readonly unames: number[];
  readonly call: number;
  readonly read: number;
  readonly proc: string | number;
  readonly state: string;
  readonly faults: string;
}

/** Runs a program that meets the mistake `times`, twice, and an unconcerned one between. */
async function meet(
  bug: string,
  times: number,
  more = "",
): Promise<{ log: string[]; seen: Seen; again: Seen; hello: string }> {
  const log: string[] = [];
  await using machine = await Machine.boot({
    cpus: 1,
    memory: 64 << 20,
    subsystems: [`${fixture("faulty.ts").href}?bug=${bug}${more}`],
    log: (line) => log.push(line.split("\n")[0]!),
  });
  const run = async () => {
    const argv = ["program", String(times)];
    const { stdout, stderr } = await machine.spawn(fixture("faulty-program.ts"), { argv }).output();
    return stderr === "" ? JSON.parse(stdout) : stderr;
  };
  const seen = await run();
  const other = await machine.spawn(hello).output();
  const again = await run();
  await machine.shutdown();
  return { log, seen, again, hello: other.stdout };
}

const OFF = /^subsystem faulty: switched off/;

test.serial("a hook that throws is named, does nothing, and is switched off after ten times", async (t) => {
  const { log, seen, again, hello: other } = await meet("throw", 12);
  t.deepEqual(seen.unames, [0], "calls go on");
  t.is(seen.state, "disabled\n");
  t.is(seen.faults, "10\n");
  t.is(seen.call, -38, "its calls are gone");
  t.is(seen.read, -19);
  t.is(seen.proc, -19);
  t.deepEqual(again.unames, [0]);
  t.is(other, "hello from riscv64\n");
  t.is(log.length, 11);
  for (const line of log.slice(0, 10))
    t.is(line, "subsystem faulty: hook syscallEnter threw Error: a deliberate mistake");
  t.regex(log[10]!, /switched off after 10 faults; echo enabled > \/sys\/kernel\/faulty\/state/);
});

for (const [bug, what] of [
  ["scope", "returned with 1 read scope open"],
  ["unlock", "returned with a scope or lock closed that it had not opened"],
  ["lock", "returned with 1 lock held"],
  ["maplock", "returned with 1 lock held"],
] as const) {
  test.serial(`"${bug}": a hook that ${what} is named and switched off at once`, async (t) => {
    const { log, seen, again, hello: other } = await meet(bug, 2);
    t.deepEqual([seen.unames, again.unames, other], [[0], [0], "hello from riscv64\n"]);
    t.is(log[0], `subsystem faulty: hook syscallEnter ${what}`);
    t.regex(log[1]!, OFF);
    t.is(log.length, 2);
  });
}

test.serial("a lock that an exception left held is given back", async (t) => {
  const { log, seen } = await meet("throw-locked", 1);
  t.deepEqual(seen.unames, [0]);
  t.deepEqual(log.slice(0, 2), [
    "subsystem faulty: hook syscallEnter threw Error: with the lock held",
    "subsystem faulty: hook syscallEnter returned with 1 lock held",
  ]);
  t.regex(log[2]!, OFF);
});

for (const [bug, what] of [
  ["synchronize", /hook syscallEnter threw RcuUsageError: synchronizeRcu inside a read scope/],
  ["promise", /hook syscallEnter returned a promise: a callback runs to its end, it cannot wait/],
  ["wait", /hook syscallEnter waited: a hook cannot block the task/],
  ["reclaimer", /reclaimer drop threw Error: in a reclaimer/],
  ["call", /system call faulty_call threw Error: in a system call/],
  ["device", /read of \/dev\/faulty threw Error: in a device/],
  ["long", /read of \/dev\/faulty threw RangeError: 28 bytes where 8 were asked for/],
  ["proc", /read of \/proc\/faulty threw Error: in a file/],
  ["exit", /hook taskExit threw Error: in taskExit/],
] as const) {
  test.serial(`a mistake of the kind "${bug}" is caught and named`, async (t) => {
    const { log, seen, again, hello: other } = await meet(bug, 1);
    t.deepEqual([seen.unames, again.unames, other], [[0], [0], "hello from riscv64\n"]);
    t.regex(log[0]!, what);
    t.true(
      log.every((line) => line.startsWith("subsystem faulty: ")),
      log.join("\n"),
    );
    t.is(seen.call, bug === "call" ? -5 : bug === "synchronize" ? -38 : 7);
    t.is(seen.read, bug === "device" || bug === "long" ? -5 : bug === "synchronize" ? -19 : 2);
  });
}

test.serial("objects that are left at shutdown are a leak, counted by struct", async (t) => {
  const { log, seen } = await meet("leak", 3);
  t.is(seen.state, "enabled\n");
  t.deepEqual(log, ["subsystem faulty: leaks 6 of struct faulty_thing"]);
});

test.serial("a subsystem that behaves leaves nothing in the log", async (t) => {
  const { log, seen, again } = await meet("", 3);
  t.deepEqual(log, []);
  t.is(seen.proc, "3\n");
  t.is(again.proc, "6\n");
});

test.serial("a subsystem that no CPU can start refuses the boot", async (t) => {
  const log: string[] = [];
  const subsystems = [`${fixture("faulty.ts").href}?bug=cpu`];
  const boot = Machine.boot({ cpus: 1, memory: 64 << 20, subsystems, log: (line) => log.push(line) });
  const error = await t.throwsAsync(boot, { instanceOf: MachineError });
  t.regex(error!.message, /CPUs die before they are up: subsystem faulty: on a CPU that boots/);
});
