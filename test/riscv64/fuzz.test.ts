import { readFileSync } from "node:fs";
import test from "ava";
import { CORPUS, digest } from "./fuzz-corpus.ts";
import { DATA_BYTES, writeElf } from "./fuzz-elf.ts";
import { MODES, machine } from "./fuzz-modes.ts";
import { generate } from "./fuzz-program.ts";
import { haveQemu, runQemu } from "./fuzz-qemu.ts";
import { differences } from "./fuzz-shrink.ts";

const corpus: Record<string, string> = JSON.parse(readFileSync(CORPUS, "utf8"));

for (const mode of MODES) {
  test(`${mode}: random programs end in the state that riscv64 recorded for them`, (t) => {
    const run = machine(mode);
    for (const [seed, expected] of Object.entries(corpus)) {
      const { items, data } = generate(Number(seed));
      const { output, end } = run(writeElf(items, data), Number(seed));
      t.is(end, "exited", `seed ${seed}`);
      t.is(
        digest(output),
        expected,
        `seed ${seed}: see fuzz.ts --from ${seed} --count 1 --mode ${mode} --shrink`,
      );
    }
  });
}

(haveQemu ? test : test.skip)("programs never seen before end as under qemu, in every mode", (t) => {
  const first = 1_000_000 + (Date.now() % 1_000_000_000);
  const machines = MODES.map((mode) => ({ mode, run: machine(mode) }));
  for (let seed = first; seed < first + 8; seed++) {
    const { items, data } = generate(seed);
    const elf = writeElf(items, data);
    const theirs = runQemu(elf);
    for (const { mode, run } of machines) {
      const ours = run(elf, seed);
      t.is(ours.end, theirs.end, `seed ${seed}, ${mode}`);
      t.is(differences(ours.output, theirs.output, DATA_BYTES), "", `seed ${seed}, ${mode}`);
    }
  }
});
