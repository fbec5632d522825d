/** A subsystem for each mistake, in fixtures/faults/: all in one machine, which goes on and names them. */
import test from "ava";
import { Machine } from "../../userland/index.ts";

const fixture = (name: string) => new URL(`fixtures/${name}`, import.meta.url);
const hello = new URL("../guest/bin/hello", import.meta.url);

/** Faults that switch a subsystem off at once, and those that do it after ten times. */
type Outcome = "off" | "on";
const IN_TASK = String.raw`in pid \d+ \(faulty-program\.\)`;
const HOOK = `hook syscallEnter ${IN_TASK}`;

/** What the log says of each mistake, and whether the subsystem is still switched on. */
const MISTAKES: Readonly<Record<string, readonly [Outcome, ...RegExp[]]>> = {
  throws: ["on", new RegExp(`^${HOOK} threw Error: a deliberate mistake$`)],
  recursion: ["on", new RegExp(`^${HOOK} threw RangeError: Maximum call stack`)],
  scope: ["off", new RegExp(`^${HOOK} returned with 1 read scope open$`)],
  unlock: ["off", new RegExp(`^${HOOK} returned with a scope or lock closed that it had not opened$`)],
  spinlock: ["off", new RegExp(`^${HOOK} returned with 1 lock held$`)],
  mutex: ["off", new RegExp(`^${HOOK} returned with 1 mutex held$`)],
  rwlock: ["off", new RegExp(`^${HOOK} returned with 1 lock held$`)],
  maplock: ["off", new RegExp(`^${HOOK} returned with 1 lock held$`)],
  "throws-locked": [
    "off",
    new RegExp(`^${HOOK} threw Error: with locks held$`),
    new RegExp(`^${HOOK} returned with 1 lock held and 1 mutex held$`),
  ],
  synchronize: ["off", /threw \w+: synchronizeRcu inside a read scope/, /returned with 1 read scope open/],
  promise: ["on", /returned a promise: a callback runs to its end, it cannot wait$/],
  waits: ["on", /waited: a hook cannot block the task$/],
  denies: ["on", new RegExp(`^${HOOK} answered 13: give 0 or nothing to allow, -1 to -4095`)],
  "denies-far": ["on", new RegExp(`^${HOOK} answered -5001: give 0 or nothing`)],
  "frees-twice": ["on", new RegExp(`^${HOOK} threw \\w+: kfreeRcu: object \\d+ was handed to RCU twice`)],
  "frees-freed": ["on", new RegExp(`^${HOOK} threw \\w+: kfreeRcu: object \\d+ was freed already`)],
  "writes-freed": [
    "on",
    new RegExp(`^${HOOK} threw \\w+: struct faulty_freed: the object at \\d+ was freed before it was`),
  ],
  "calls-rcu-twice": ["on", /^reclaimer forget.* threw \w+: double free: cell \d+/],
  reclaimer: ["on", /^reclaimer drop.* threw Error: in a reclaimer$/],
  releaser: ["on", new RegExp(`^releaser drop ${IN_TASK} threw Error: in a releaser$`)],
  "release-loop": ["on", /^releaser again.* threw Error: 1000 releasers in a row queued releases: a loop/],
  "no-such-name": ["on", /threw Error: no-such-name has no device or pollable file \/dev\/nothing$/],
  device: ["on", new RegExp(`^read of /dev/faulty-device ${IN_TASK} threw Error: in a device$`)],
  "device-long": ["on", /answered a string of 28: at most 8 bytes were asked for$/],
  "device-type": ["on", /answered undefined: give a string, bytes, 0 or -errno$/],
  call: ["on", new RegExp(`^system call faulty_call ${IN_TASK} threw Error: in a system call$`)],
  "call-type": ["on", /^system call faulty_type.* answered undefined: give an integer >= 0, or -errno$/],
  "call-block": ["on", /answered BLOCK: without waitOn, nothing would ever wake the task$/],
  file: ["on", new RegExp(`^read of /proc/file ${IN_TASK} threw Error: in a file$`)],
  "file-type": ["on", /^read of \/proc\/file-type.* answered 7: give a string, bytes, or -errno$/],
  "hook-task-create": ["on", /^hook taskCreate in pid \d+ .* threw Error: in taskCreate$/],
  "hook-task-exit": ["on", /^hook taskExit in pid \d+ .* threw Error: in taskExit$/],
  "hook-syscall-exit": ["on", /^hook syscallExit in pid \d+ .* threw Error: in syscallExit$/],
  "hook-context-switch": ["on", /^hook contextSwitch in pid \d+ .* threw Error: in contextSwitch$/],
  "hook-grace-period": ["on", /^hook gracePeriod (in pid|on CPU) \d+.* threw Error: in gracePeriod$/],
  "hook-safe-point": ["on", /^hook safePoint (in pid|on CPU) \d+.* threw Error: in safePoint$/],
  "hook-mount": ["on", /^hook mount in pid \d+ .* threw Error: in mount$/],
  srcu: ["on", /^table sessions: 1 read scope entered on CPU \d+ never left$/],
  leaks: [
    "on",
    /^leaks (?=.*1 of struct faulty_thing of hook syscallEnter)(?=.*1 of struct faulty_hidden of hook syscallEnter)/,
  ],
};
/** Reported when the machine stops: no faults while it runs. */
const AT_THE_END = ["leaks", "srcu"];
const names = Object.keys(MISTAKES);
/** How many faults are counted when the mistake is made once. */
const faultsOf = (name: string): number => (AT_THE_END.includes(name) ? 0 : MISTAKES[name]!.length - 1);
const OFF = /^switched off at once; echo enabled > \/sys\/kernel\/[a-z-]+\/state switches it on again$/;

interface Seen {
  readonly unames: number[];
  readonly calls: number[];
  readonly read: number;
  readonly file: string | number;
  readonly state: string;
  readonly faults: string;
}

for (const cpus of [1, 2]) {
  test.serial(
    `every kind of mistake is caught and named, and the machine goes on: ${cpus} CPU(s)`,
    async (t) => {
      const log: string[] = [];
      await using machine = await Machine.boot({
        cpus,
        memory: 64 << 20,
        debug: true,
        subsystems: names.map((name) => fixture(`faults/${name}.ts`)),
        log: (line) => log.push(line.split("\n")[0]!),
      });
      const run = async (...words: string[]): Promise<Record<string, Seen>> => {
        const argv = ["program", ...words];
        const { stdout, stderr } = await machine.spawn(fixture("faulty-program.ts"), { argv }).output();
        t.is(stderr, "");
        return JSON.parse(stdout);
      };
      const seen = await run(...names.map((name) => `${name}=1:${faultsOf(name)}`));
      t.is((await machine.spawn(hello).output()).stdout, "hello from riscv64\n");
      const often = await run("throws=12:10", "device=1:2");
      await machine.shutdown();
      for (const [name, [outcome, ...reports]] of Object.entries(MISTAKES)) {
        const one = seen[name]!;
        t.deepEqual(one.unames, [0], `${name}: the call is allowed`);
        t.is(one.state, outcome === "off" ? "disabled\n" : "enabled\n", name);
        const lines = log.flatMap((line) =>
          line.startsWith(`subsystem ${name}: `) ? [line.slice(`subsystem ${name}: `.length)] : [],
        );
        for (const [index, report] of reports.entries()) t.regex(lines[index] ?? "nothing", report, name);
        if (outcome === "off") t.regex(lines[reports.length]!, OFF, name);
        t.is(one.faults, `${faultsOf(name)}\n`, `${name}: ${lines.join("; ")}`);
      }
      t.deepEqual([seen.device!.read, seen["device-long"]!.read, seen["device-type"]!.read], [-5, -5, -5]);
      t.deepEqual(seen.throws!.calls, [7, 7, 7]);
      t.deepEqual(
        [seen.call!.calls, seen["call-type"]!.calls, seen["call-block"]!.calls],
        [
          [-5, 7, 7],
          [7, -5, 7],
          [7, 7, -5],
        ],
      );
      t.deepEqual([seen.file!.file, seen["file-type"]!.file], [-5, -5]);
      // One that goes on making mistakes is switched off.
      t.is(often.throws!.state, "disabled\n");
      t.is(often.throws!.faults, "10\n");
      t.regex(
        log.find((line) => line.startsWith("subsystem throws: switched off"))!,
        /after 10 faults; echo enabled > \/sys\/kernel\/throws\/state/,
      );
      const strays = log.filter((line) => !names.some((name) => line.startsWith(`subsystem ${name}: `)));
      t.deepEqual(strays, [], "nothing else is the matter");
      // Not of the others: what they allocated is gone.
      t.deepEqual(
        log.filter((line) => line.includes(": leaks ")).map((line) => line.split(" ")[1]),
        ["leaks:"],
      );
      const leaks = log.find((line) => line.startsWith("subsystem leaks: "));
      t.regex(
        leaks!,
        /, 2 strings or arrays \(\d+ bytes\) of hook syscallEnter|2 strings or arrays \(\d+ bytes\)/,
      );
    },
  );
}
