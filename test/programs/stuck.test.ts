/** A loop between two yields: what kills the program ends its CPU, and nothing else does. */
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "ava";
import { CpuLostError, type GuestProcess, Machine, type SpawnOptions } from "../../userland/index.ts";

const endless = new URL("programs/endless.ts", import.meta.url);
const guest = (name: string) => new URL(`../guest/bin/${name}`, import.meta.url);

const folder = mkdtempSync(join(tmpdir(), "sternix-"));
test.after.always(() => rmSync(folder, { recursive: true }));

let markers = 0;
/** Starts the program and waits until so many of it are where they never come back from. */
async function start(
  machine: Machine,
  how: string,
  count = 1,
  options: SpawnOptions = {},
): Promise<GuestProcess> {
  const marker = join(folder, String(markers++));
  const one = machine.spawn(endless, { args: [how, marker], ...options });
  while ((statSync(marker, { throwIfNoEntry: false })?.size ?? 0) < count)
    await new Promise((resolve) => setTimeout(resolve, 5));
  return one;
}

/** How it loops, by what it is killed, and what it dies of. Each on one number of CPUs: a restart takes its time. */
const LOOPS: readonly (readonly [number, string, readonly NodeJS.Signals[], string])[] = [
  [1, "plain", ["SIGTERM"], "SIGTERM"],
  // Caught: it takes a second one, as a user would press Ctrl-C again.
  [1, "caught", ["SIGINT", "SIGINT"], "SIGKILL"],
  [2, "handler", ["SIGINT"], "SIGINT"],
  // What it reads and writes of its memory goes through the kernel, where no CPU is ended.
  [2, "memory", ["SIGKILL"], "SIGKILL"],
  [4, "plain", ["SIGHUP"], "SIGHUP"],
];

for (const cpus of [1, 2, 4])
  test.serial(`a loop in a TypeScript program ends by what kills it, ${cpus} CPUs`, async (t) => {
    const log: string[] = [];
    await using machine = await Machine.boot({ cpus, log: (line) => log.push(line) });
    const beside = machine.spawn(guest("echo"), { stdin: "pipe" });
    const loops = LOOPS.filter(([on]) => on === cpus);
    for (const [, how, signals, signal] of loops) {
      const one = await start(machine, how);
      for (const sent of signals) t.true(one.kill(sent));
      t.deepEqual(await one.exited, { code: null, signal }, how);
    }
    t.is(machine.stats().crashes, loops.length);
    const restarts = log.filter((line) =>
      /^CPU \d is restarted: pid \d+ \(endless\.ts\) was killed/.test(line),
    );
    t.is(restarts.length, loops.length, log.join("\n"));
    // A riscv64 program knows nothing of it.
    const input = beside.stdin.getWriter();
    await input.write("still here\n");
    await input.close();
    t.is((await beside.output()).stdout, "still here\n");
  });

test.serial("a loop ends by the signal option of spawn, which `exited` rejects with", async (t) => {
  await using machine = await Machine.boot({ cpus: 2, log: () => {} });
  const control = new AbortController();
  const aborted = await start(machine, "plain", 1, { signal: control.signal });
  control.abort(new Error("enough"));
  await t.throwsAsync(aborted.exited, { message: "enough" });
  t.is(machine.stats().crashes, 1);
});

test.serial(
  "workers on all CPUs end with their group; programs that lived there die, and say of what",
  async (t) => {
    const log: string[] = [];
    await using machine = await Machine.boot({ cpus: 2, log: (line) => log.push(line) });
    const waits = await start(machine, "waits");
    const workers = await start(machine, "workers", 2);
    machine.kill(-workers.pid, "SIGTERM");
    t.deepEqual(await workers.exited.catch((error: Error) => error.name), { code: null, signal: "SIGTERM" });
    await t.throwsAsync(waits.exited, { instanceOf: CpuLostError });
    const named = log.filter((line) =>
      /^pid 2 \(endless\.ts\) is killed: its steps were lost with CPU \d$/.test(line),
    );
    t.is(named.length, 1, log.join("\n"));
    t.is((await machine.spawn(guest("hello")).output()).stdout, "hello from riscv64\n");
  },
);

test.serial("a signal that a program catches waits for it, however slow it is", async (t) => {
  await using machine = await Machine.boot({ cpus: 1, log: () => {} });
  const caught = await start(machine, "caught");
  caught.kill("SIGINT");
  const first = await Promise.race([
    caught.exited.then(() => "ended"),
    new Promise((resolve) => setTimeout(resolve, 1000, "runs")),
  ]);
  t.is(first, "runs");
  t.is(machine.stats().crashes, 0);
  caught.kill("SIGKILL");
  t.deepEqual(await caught.exited, { code: null, signal: "SIGKILL" });
});
