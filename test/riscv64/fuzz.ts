/**
 * Runs random programs on the engine and under qemu-riscv64-static and compares all that they compute:
 *
 *   node test/riscv64/fuzz.ts [--from SEED] [--count N] [--mode interpreter|translator|careful|default]... [--together N]
 *                             [--shrink] [--keep FILE]
 *
 * --together runs so many programs at a time on one CPU. Stops at the first difference; --shrink then looks for a small
 * program that shows it, --keep writes that as an ELF.
 */

import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { DATA_BYTES, writeElf } from "./fuzz-elf.ts";
import type { Outcome } from "./fuzz-host.ts";
import { MODES, machine, type Run } from "./fuzz-modes.ts";
import { generate } from "./fuzz-program.ts";
import { haveQemu, runQemu } from "./fuzz-qemu.ts";
import { differences, listing, shrink } from "./fuzz-shrink.ts";

const { values } = parseArgs({
  options: {
    from: { type: "string", default: "1" },
    count: { type: "string", default: "100" },
    mode: { type: "string", multiple: true, default: [...MODES] },
    together: { type: "string", default: "1" },
    shrink: { type: "boolean", default: false },
    keep: { type: "string" },
  },
});

if (!haveQemu) {
  console.error("fuzz: needs qemu-riscv64-static");
  process.exit(1);
}

/** An engine that throws is a finding like any other. */
function attempt(run: Run, elfs: readonly Uint8Array[], seed: number): Outcome[] {
  try {
    return run(elfs, seed);
  } catch (error) {
    return elfs.map(() => ({ output: new Uint8Array(0), end: `threw ${(error as Error).stack}` }));
  }
}

const same = (a: Outcome, b: Outcome): boolean => a.end === b.end && Buffer.compare(a.output, b.output) === 0;

/** Shrinks the program of `seed`, which fails alone in `mode`, and shows what is left. */
function report(seed: number, mode: string): void {
  const program = generate(seed);
  const fails = (elf: Uint8Array): boolean => {
    const theirs = runQemu(elf);
    return theirs.end === "exited" && !same(attempt(machine(mode), [elf], seed)[0]!, theirs);
  };
  if (!fails(writeElf(program.items, program.data))) {
    console.log("alone, in a new machine, it does not fail");
    return;
  }
  const kept = shrink(program, fails);
  const set = new Set(kept);
  const elf = writeElf(program.items, program.data, (n) => set.has(n));
  const ours = attempt(machine(mode), [elf], seed)[0]!;
  console.log(listing(program, kept));
  console.log(`${ours.end}\n${differences(ours.output, runQemu(elf).output, DATA_BYTES)}`);
  if (values.keep !== undefined) writeFileSync(values.keep, elf, { mode: 0o755 });
}

const machines = values.mode.map((mode): [string, Run] => [mode, machine(mode)]);
const from = Number(values.from);
const end = from + Number(values.count);
const together = Number(values.together);
for (let first = from; first < end; first += together) {
  const seeds = Array.from({ length: Math.min(together, end - first) }, (_, n) => first + n);
  const elfs = seeds.map((seed) => {
    const { items, data } = generate(seed);
    return writeElf(items, data);
  });
  const theirs = elfs.map((elf) => runQemu(elf));
  for (const [mode, run] of machines) {
    const ours = attempt(run, elfs, first);
    seeds.forEach((seed, n) => {
      if (theirs[n]!.end !== "exited")
        throw new Error(`seed ${seed}: the program itself fails: ${theirs[n]!.end}`);
      if (same(ours[n]!, theirs[n]!)) return;
      console.log(`seed ${seed} (with ${seeds}) differs in mode ${mode}: ${ours[n]!.end}`);
      console.log(differences(ours[n]!.output, theirs[n]!.output, DATA_BYTES));
      if (values.shrink) report(seed, mode);
      process.exit(1);
    });
  }
}
console.log(`${end - from} programs, ${values.mode.join(", ")}: no differences`);
