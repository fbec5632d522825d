import test from "ava";
import { Machine } from "../../userland/index.ts";

const swap = new URL("fixtures/swap.ts", import.meta.url);
const guest = new URL("../guest/bin/seen", import.meta.url);

for (const [cpus, debug] of [
  [1, true],
  [2, false],
] as const) {
  test(`a call reads what the subsystem saw, whatever stands in memory since, on ${cpus} CPU(s)`, async (t) => {
    const log: string[] = [];
    await using machine = await Machine.boot({
      cpus,
      debug,
      memory: 64 << 20,
      subsystems: [swap.pathname],
      log: (line) => log.push(line),
    });
    const { stdout } = await machine.spawn(guest).output();
    await machine.shutdown();
    t.deepEqual(stdout.trim().split("\n"), [
      "open a",
      "memory /tmp/secrets-f",
      "sendmsg sent",
      "received m",
      "connect connected",
      "peer /tmp/allowed-s",
      "memory /tmp/secrets-s",
    ]);
    t.deepEqual(
      log,
      ["openat /tmp/allowed-f", "sendmsg /tmp/allowed-d", "connect /tmp/allowed-s"].map(
        (line) => `swap: ${line}`,
      ),
      "each call was judged once, the one that blocked too; nothing is left behind",
    );
  });
}
