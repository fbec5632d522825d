import test from "ava";
import { Machine } from "../../userland/index.ts";

const fixture = (name: string) => new URL(`fixtures/${name}`, import.meta.url);
const guest = (name: string) => new URL(`../guest/bin/${name}`, import.meta.url);

for (const cpus of [1, 2]) {
  test.serial(`processes share one bounded cache, on ${cpus} CPU(s)`, async (t) => {
    const log: string[] = [];
    await using machine = await Machine.boot({
      cpus,
      memory: 64 << 20,
      subsystems: ["kvcache?entries=3&valueMax=20"],
      log: (line) => log.push(line),
    });
    const kv = async (...commands: string[]) => {
      const { stdout } = await machine
        .spawn(fixture("kv.ts"), { argv: ["kv", ...commands], uid: 5 })
        .output();
      return stdout
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line));
    };
    t.deepEqual(await kv("set a first value\n", "set b ", "get b"), ["OK\n", "OK\n", "HIT 0\n\n"]);
    t.deepEqual(await kv("get a", "get c", "set a other", "get a"), [
      "HIT 11\nfirst value\n",
      "MISS\n",
      "OK\n",
      "HIT 5\nother\n",
    ]);
    t.deepEqual(await kv("set c 3", "set d 4", "get a", "get d"), ["OK\n", "OK\n", "MISS\n", "HIT 1\n4\n"]);
    t.deepEqual(await kv("del d", "del d", "get d"), ["OK\n", "MISS\n", "MISS\n"]);
    t.deepEqual(await kv(`set long ${"x".repeat(21)}`, "nonsense", "get ", "set"), [-7, -22, -22, -22]);
    const ioctl = JSON.parse((await machine.spawn(fixture("kv-ioctl.ts")).output()).stdout);
    t.deepEqual(ioctl.results, [-2, 0, -34, 11, 0, -2, -22, -14, -25]);
    t.is(ioctl.value, "seven bytes");
    const stats = await machine.spawn(fixture("cat.ts"), { argv: ["cat", "/proc/kvcache"] }).output();
    t.regex(stats.stdout, /^entries 2 of 3\nhits \d+\nmisses \d+\nevictions [1-9]\d*\n$/);
    await machine.shutdown();
    t.deepEqual(log, []);
  });
}

test.serial(
  "a value always belongs to its key while processes and evictions race, and nothing is left",
  async (t) => {
    const log: string[] = [];
    await using machine = await Machine.boot({
      cpus: 4,
      memory: 64 << 20,
      subsystems: ["kvcache?entries=8"],
      log: (line) => log.push(line),
    });
    const storms = [1, 2].map(() => machine.spawn(fixture("kv-storm.ts"), { argv: ["storm", "4"] }).output());
    for (const { code, stderr } of await Promise.all(storms)) t.deepEqual([code, stderr], [0, ""]);
    const { kvcache } = machine.reports();
    t.regex(kvcache!, /^entries 8 of 8\n/);
    await machine.shutdown();
    t.deepEqual(log, []);
  },
);

test.serial(
  "it answers as a model does: oldest out first, any bytes, an update keeps its place",
  async (t) => {
    const log: string[] = [];
    await using machine = await Machine.boot({
      cpus: 1,
      memory: 64 << 20,
      subsystems: ["kvcache?entries=5"],
      log: (line) => log.push(line),
    });
    const { stdout, stderr } = await machine.spawn(fixture("kv-model.ts"), { argv: ["model", "5"] }).output();
    t.is(stderr, "");
    t.is(stdout, "same -7\n", "a value that takes more than one write is too long, not cut");
    const huge = await t.throwsAsync(Machine.boot({ subsystems: ["kvcache?valueMax=2000000"] }));
    t.is(huge!.message, "subsystem kvcache: valueMax=2000000: give a number of bytes, 0 to 983025");
    await machine.shutdown();
    t.deepEqual(log, []);
  },
);

test.serial("riscv64 guests find the device like any other", async (t) => {
  await using machine = await Machine.boot({ cpus: 1, memory: 64 << 20, subsystems: ["kvcache"] });
  const { code, stdout } = await machine.spawn(guest("hello")).output();
  await machine.shutdown();
  t.deepEqual([code, stdout], [0, "hello from riscv64\n"]);
});
