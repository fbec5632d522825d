import test from "ava";
import { bootGuest } from "../../userland/cli/guest.ts";
import { fixture } from "./cases.ts";

test("after the last task exits, every kind of kernel object is back to what it was after boot", async (t) => {
  const machine = await bootGuest({ cpus: 2 });
  const run = (name: string) =>
    machine.run({ program: { kind: "host", path: fixture(name), name }, capture: true });
  const round = async () => {
    for (const name of ["hello", "fork", "pipe", "thread", "memory", "poll", "files", "exec", "signal"])
      await run(name);
    await machine.machine.settle();
    return machine.machine.liveObjects();
  };
  // The first round fills caches that are meant to stay: dentries and inodes of the programs, their pages.
  const first = await round();
  const second = await round();
  await machine.shutdown();
  t.deepEqual(second, first);
});
