import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import test from "ava";
import { Machine } from "../../userland/index.ts";

const fixture = (name: string) => new URL(`fixtures/${name}`, import.meta.url);
const guest = (name: string) => new URL(`../guest/bin/${name}`, import.meta.url);

/** Tables of /proc/sysstat: name to number of calls and total milliseconds. */
function tables(text: string): Record<string, Record<string, { calls: number; total: number }>> {
  const found: Record<string, Record<string, { calls: number; total: number }>> = {};
  for (const block of text.split("\n\n")) {
    const [head, ...rows] = block.trim().split("\n");
    const title = head!.split(/ {2,}/)[0]!;
    found[title] = Object.fromEntries(
      rows.map((row) => {
        const cells = row.trim().split(/ +/);
        const [calls, , , , total] = cells.slice(-5);
        return [cells.slice(0, -5).join(" "), { calls: Number(calls), total: Number(total) }];
      }),
    );
  }
  return found;
}

for (const cpus of [1, 2]) {
  test.serial(`latencies are counted by call, task and program, on ${cpus} CPU(s)`, async (t) => {
    const log: string[] = [];
    await using machine = await Machine.boot({
      cpus,
      memory: 64 << 20,
      subsystems: ["sysstat"],
      log: (line) => log.push(line),
    });
    const before = machine.stats().syscalls;
    for (const name of ["files", "pipe", "thread", "signal"])
      t.is((await machine.spawn(guest(name)).output()).code, 0);
    const { stdout } = await machine.spawn(fixture("cat.ts"), { argv: ["cat", "/proc/sysstat"] }).output();
    const { call, task, "ended program": ended } = tables(stdout);
    // A call that never blocks is counted as often as it was made.
    t.is(call!.unlinkat!.calls, machine.stats().syscalls.unlinkat! - (before.unlinkat ?? 0));
    t.deepEqual(
      Object.keys(task!).map((name) => name.replace(/^\d+ /, "")),
      ["(cat.ts)"],
    );
    t.deepEqual(Object.keys(ended!).sort(), ["files", "pipe", "signal", "thread"]);
    const sum = (rows: Record<string, { calls: number }>) =>
      Object.values(rows).reduce((n, row) => n + row.calls, 0);
    t.is(sum(call!), sum(task!) + sum(ended!), "every call is in one task or program");
    const write = machine.spawn(fixture("write.ts"), { argv: ["write", "/proc/sysstat", "reset"] });
    t.is((await write.output()).code, 0);
    t.false(machine.reports().sysstat!.includes("unlinkat"));
    await machine.shutdown();
    t.deepEqual(log, []);
  });
}

test("sternix run --stats shows it", (t) => {
  const cli = fileURLToPath(new URL("../../userland/cli/main.ts", import.meta.url));
  const run = spawnSync(
    process.execPath,
    [cli, "run", "--cpus", "1", "--subsystem", "sysstat", "--stats", fileURLToPath(guest("hello"))],
    { encoding: "utf8" },
  );
  t.is(run.stdout, "hello from riscv64\n");
  t.regex(run.stderr, /\nsysstat:\ncall +calls +mean us/);
  t.regex(run.stderr, /\nended program.*\nhello +\d+ /);
});
