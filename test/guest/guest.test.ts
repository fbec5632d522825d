import { spawnSync } from "node:child_process";
import { pathToFileURL } from "node:url";
import test from "ava";
import { Machine } from "../../userland/index.ts";
import { cases, expectedOutcomes, fixture, labelOf } from "./cases.ts";
import { run, testCpus } from "./run.ts";

/** One machine with one CPU and one with four: a fixture must not be able to tell the difference. */
const CPUS = testCpus([1, 4]);
const machines = new Map<number, Machine>();
/** What the kernels had to report: nothing. In a debug heap (STERNIX_DEBUG_HEAP=1) that would be uses after free. */
const log: string[] = [];
const expected = expectedOutcomes();

test.before("boot", async () => {
  for (const cpus of CPUS) machines.set(cpus, await Machine.boot({ cpus, log: (line) => log.push(line) }));
});
test.after.always("shut down", async () => {
  for (const machine of machines.values()) await machine.shutdown();
});

for (const cpus of CPUS) {
  for (const guest of cases) {
    const label = labelOf(guest);
    test.serial(
      `${label} on ${cpus} CPU${cpus > 1 ? "s" : ""} prints and returns what Linux does`,
      async (t) => {
        const [name, ...args] = guest.argv;
        const outcome = await run(machines.get(cpus)!, pathToFileURL(fixture(name!)), {
          args,
          env: guest.env ?? {},
          stdin: guest.stdin ?? "",
        });
        t.deepEqual(outcome, expected[label]);
      },
    );
  }
}

test.serial("no guest made a kernel report anything", (t) => {
  t.deepEqual(log, []);
  for (const machine of machines.values()) t.is(machine.stats().crashes, 0);
});

test("the recorded answers are those of qemu-riscv64-static, where there is one", (t) => {
  if (spawnSync("qemu-riscv64-static", ["--version"]).status !== 0) {
    t.log("qemu-riscv64-static is not on the PATH: compared with the recorded answers only");
    t.pass();
    return;
  }
  for (const guest of cases.filter(
    (one) => !one.byHand && one.argv[0] !== "spin" && one.argv[0] !== "signal",
  )) {
    const [name, ...args] = guest.argv;
    const theirs = spawnSync("qemu-riscv64-static", [fixture(name!), ...args], {
      env: { ...guest.env },
      input: guest.stdin ?? "",
      encoding: "latin1",
    });
    t.is(theirs.stdout, expected[labelOf(guest)]!.stdout, labelOf(guest));
  }
});
