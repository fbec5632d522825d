import test from "ava";
import { formatReport, type Report, table } from "../../userland/cli/report.ts";

const report: Report = {
  version: 1,
  elapsedNs: 2_500_000,
  syscalls: {
    read: 5,
    write: 15,
    ...Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`call${i}`, 1])),
  },
  unknownSyscalls: { "0x1f4": 2 },
  unknownArguments: { "0x1f4": ["0x1", "0x0"] },
  contextSwitches: 1234,
  preemptions: 7,
  rcu: { gracePeriods: 3, callbacksRun: 44, callbacksPending: 1, delayedReleases: 9 },
  cpus: [
    { cpu: 0, syscalls: 45, contextSwitches: 1000, preemptions: 7, steals: 2, busyNs: 1e6, idleNs: 2e6 },
    { cpu: 1, syscalls: 15, contextSwitches: 234, preemptions: 0, steals: 0, busyNs: 5e5, idleNs: 0 },
  ],
  crashes: 0,
  engine: { "units translated": 12 },
};

test("a table aligns its columns, the first to the left", (t) => {
  t.is(
    table([
      ["a", "1"],
      ["long", "100"],
    ]),
    "  a       1\n  long  100\n",
  );
});

test("the report names every figure, with the most frequent calls first and the rest summed up", (t) => {
  const text = formatReport(report);
  const lines = text.split("\n");
  t.is(lines[0], "system calls: 60");
  t.regex(lines[1]!, /write\s+15\s+25\.0 %/);
  t.regex(lines[2]!, /read\s+5\s+8\.3 %/);
  t.regex(text, /12 others\s+12/);
  t.true(text.includes("syscall_0x1f4(0x1, 0x0) 2 times"));
  t.regex(text, /0\s+45\s+75\.0 %\s+1,000\s+7\s+2\s+1\.0 ms\s+2\.0 ms/);
  t.true(text.includes("3 grace periods, 44 callbacks run (1 pending), 9 delayed releases"));
  t.true(text.includes("context switches: 1,234, of which preemptions: 7"));
  t.true(text.includes("units translated: 12"));
});
