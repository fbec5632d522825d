/**
 * Runs random programs on the engine and under qemu-riscv64-static and compares all that they compute:
 *
 *   node test/riscv64/fuzz.ts [--from SEED] [--count N] [--mode interpreter|translator|default] [--shrink] [--keep FILE]
 *
 * Stops at the first difference; --shrink then looks for a small program that shows it, --keep writes that as an ELF.
 */

import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { DATA_BYTES, writeElf } from "./fuzz-elf.ts";
import type { Outcome } from "./fuzz-host.ts";
import { MODES, machine } from "./fuzz-modes.ts";
import { generate, type Program } from "./fuzz-program.ts";
import { haveQemu, runQemu } from "./fuzz-qemu.ts";
import { differences, listing, shrink } from "./fuzz-shrink.ts";

const { values } = parseArgs({
  options: {
    from: { type: "string", default: "1" },
    count: { type: "string", default: "100" },
    mode: { type: "string", multiple: true, default: [...MODES] },
    shrink: { type: "boolean", default: false },
    keep: { type: "string" },
  },
});

if (!haveQemu) {
  console.error("fuzz: needs qemu-riscv64-static");
  process.exit(1);
}

type Run = (elf: Uint8Array, seed: number) => Outcome;

/** An engine that throws is a finding like any other. */
function attempt(run: Run, elf: Uint8Array, seed: number): Outcome {
  try {
    return run(elf, seed);
  } catch (error) {
    return { output: new Uint8Array(0), end: `threw ${(error as Error).stack}` };
  }
}

const same = (a: Outcome, b: Outcome): boolean =>
  a.end === b.end && Buffer.compare(Buffer.from(a.output), Buffer.from(b.output)) === 0;

function report(program: Program, mode: string, seed: number): void {
  const kept = shrink(program, (elf) => {
    const theirs = runQemu(elf);
    return theirs.end === "exited" && !same(attempt(machine(mode), elf, seed), theirs);
  });
  const set = new Set(kept);
  const elf = writeElf(program.items, program.data, (n) => set.has(n));
  const ours = attempt(machine(mode), elf, seed);
  console.log(listing(program, kept));
  console.log(`${ours.end}\n${differences(ours.output, runQemu(elf).output, DATA_BYTES)}`);
  if (values.keep !== undefined) writeFileSync(values.keep, elf, { mode: 0o755 });
}

const machines = values.mode.map((mode): [string, Run] => [mode, machine(mode)]);
const from = Number(values.from);
const end = from + Number(values.count);
for (let seed = from; seed < end; seed++) {
  const program = generate(seed);
  const elf = writeElf(program.items, program.data);
  const theirs = runQemu(elf);
  if (theirs.end !== "exited") throw new Error(`seed ${seed}: the program itself fails: ${theirs.end}`);
  for (const [mode, run] of machines) {
    const ours = attempt(run, elf, seed);
    if (same(ours, theirs)) continue;
    console.log(`seed ${seed} differs in mode ${mode}: ${ours.end}`);
    console.log(differences(ours.output, theirs.output, DATA_BYTES));
    if (values.shrink) report(program, mode, seed);
    process.exit(1);
  }
}
console.log(`${end - from} programs, ${values.mode.join(", ")}: no differences`);
