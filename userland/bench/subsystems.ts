/**
 * `node userland/bench/subsystems.ts`: what subsystems cost a system call. The same guest calls getppid on machines with no
 * subsystem, with one that has no call hooks, with hooks that do nothing, and with sysstat: in turns, nanoseconds per call.
 *
 * The second must not differ from the first: both have the same entry function.
 */
import { parseArgs } from "node:util";
import { table } from "../cli/report.ts";
import { Machine } from "../machine/machine.ts";
import type { SubsystemSpec } from "../subsystem-modules.ts";
import { compare, sampled } from "./statistics.ts";

const { values } = parseArgs({ options: { rounds: { type: "string", default: "11" } } });
const rounds = Number(values.rounds);
const CALLS = 1_000_000;
const WARMUP = 200_000;
const guest = new URL("../../test/guest/bin/bench", import.meta.url);

const CONTENDERS: readonly (readonly [string, readonly SubsystemSpec[]])[] = [
  ["no subsystem", []],
  ["kvcache: no call hooks", ["kvcache"]],
  ["hooks that do nothing", [new URL("idle-hooks.ts", import.meta.url)]],
  ["sysstat", ["sysstat"]],
];

const machines = await Promise.all(
  CONTENDERS.map(([, subsystems]) => Machine.boot({ cpus: 1, memory: 64 << 20, subsystems })),
);
const samples = CONTENDERS.map((): number[] => []);
for (let round = 0; round < rounds; round++) {
  for (const [index, machine] of machines.entries()) {
    const argv = ["bench", "getppid", String(CALLS), String(WARMUP)];
    const { stdout } = await machine.spawn(guest, { argv }).output();
    samples[index]!.push(Number(stdout.split(" ")[0]) / CALLS);
  }
}
for (const machine of machines) await machine.shutdown();

const plain = sampled([samples[0]!]);
process.stdout.write(
  table([
    ["system call (getppid), riscv64 guest", "ns", "quartiles", "against none"],
    ...CONTENDERS.map(([name], index) => {
      const one = sampled([samples[index]!]);
      const { ratio, real } = compare(one, plain, 0, true);
      const difference = index === 0 ? "" : real ? `${ratio.toFixed(2)}x` : "no difference (spreads overlap)";
      return [name, one.median.toFixed(1), `${one.low.toFixed(1)} - ${one.high.toFixed(1)}`, difference];
    }),
  ]),
);
