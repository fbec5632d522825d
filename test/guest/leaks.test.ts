import { fileURLToPath } from "node:url";
import test from "ava";
import { dcacheShrink } from "../../kernel/fs/dcache.ts";
import { Machine } from "../../userland/index.ts";
import { kernelOf } from "../../userland/machine/machine.ts";
import { run } from "./run.ts";

const NAMES = ["hello", "fork", "pipe", "thread", "memory", "poll", "files", "exec", "signal", "flight"];

test("after the last task exits, every kind of kernel object is back to what it was after boot", async (t) => {
  // Node warns of a descriptor that a thread closes for another: it would close the number again when that one ends.
  const foreign: string[] = [];
  const log: string[] = [];
  process.on("warning", ({ message }) => foreign.push(message));
  const host = fileURLToPath(new URL("bin", import.meta.url));
  const machine = await Machine.boot({
    cpus: 2,
    mounts: [{ host, guest: "/guest" }],
    log: (line) => log.push(line),
  });
  const kernel = kernelOf(machine);
  /** Live objects once the dentry cache, which is meant to keep what nobody uses, is empty. */
  const count = async () => {
    for (let pass = 0; pass < 3; pass++) {
      kernel.run(() => dcacheShrink(Number.POSITIVE_INFINITY));
      await kernel.settle();
    }
    return kernel.liveObjects();
  };
  const before = await count();
  for (const name of NAMES) {
    const { status } = await run(machine, `/guest/${name}`);
    t.is(status, 0, name);
  }
  const after = await count();
  await machine.shutdown();
  // Host descriptors: each CPU's three spare ones, and the mount's root.
  const { host_fd: spare = 0, ...rest } = after;
  t.true(spare <= 2 * 3 + 1, `${spare} host descriptors`);
  const { host_fd: _atBoot, ...restBefore } = before;
  t.deepEqual(rest, restBefore);
  t.deepEqual(foreign, []);
  t.deepEqual(log, []);
  t.true(before.task === 1 && before.inode! > 10);
});

test("the last two threads of a process exit at the same time: its timers go with it", async (t) => {
  const host = fileURLToPath(new URL("bin", import.meta.url));
  const meeting = new URL("../subsystems/fixtures/meeting.ts", import.meta.url).href;
  const machine = await Machine.boot({
    cpus: 2,
    mounts: [{ host, guest: "/guest" }],
    subsystems: [meeting],
  });
  const kernel = kernelOf(machine);
  const { status, stdout } = await run(machine, "/guest/exits");
  t.is(status, 0);
  t.is(stdout, "timers 0 0\n");
  await kernel.settle();
  const { timer, posix_timer: posix, itimer } = kernel.liveObjects();
  await machine.shutdown();
  t.deepEqual([timer, posix, itimer], [0, 0, 0]);
});
