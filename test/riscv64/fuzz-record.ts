/**
 * Rewrites fuzz-corpus.json, seed to sha256 of all that the program writes under qemu: node test/riscv64/fuzz-record.ts [SEED...]
 * Seeds given are added to those recorded (what once failed is worth keeping); all are run again, since a change of the generator changes
 * every program.
 */

import { readFileSync, writeFileSync } from "node:fs";
import { CORPUS, digest } from "./fuzz-corpus.ts";
import { writeElf } from "./fuzz-elf.ts";
import { generate } from "./fuzz-program.ts";
import { haveQemu, runQemu } from "./fuzz-qemu.ts";

if (!haveQemu) {
  console.error("fuzz-record: needs qemu-riscv64-static");
  process.exit(1);
}
const seeds = new Set(
  [...Object.keys(JSON.parse(readFileSync(CORPUS, "utf8"))), ...process.argv.slice(2)].map(Number),
);
const corpus: Record<string, string> = {};
for (const seed of [...seeds].sort((a, b) => a - b)) {
  const { items, data } = generate(seed);
  corpus[seed] = digest(runQemu(writeElf(items, data)).output);
}
writeFileSync(CORPUS, `${JSON.stringify(corpus, null, 2)}\n`);
