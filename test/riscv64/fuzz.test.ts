import { readFileSync } from "node:fs";
import test from "ava";
import { CORPUS, digest } from "./fuzz-corpus.ts";
import { DATA_BYTES, writeElf } from "./fuzz-elf.ts";
import { MODES, machine } from "./fuzz-modes.ts";
import { generate } from "./fuzz-program.ts";
import { haveQemu, runQemu } from "./fuzz-qemu.ts";
import { differences } from "./fuzz-shrink.ts";

const corpus: Record<string, string> = JSON.parse(readFileSync(CORPUS, "utf8"));

function programOf(seed: number): Uint8Array {
  const { items, data } = generate(seed);
  return writeElf(items, data);
}

for (const mode of MODES) {
  test(`${mode}: random programs end in the state that riscv64 recorded for them`, (t) => {
    const run = machine(mode);
    for (const [seed, expected] of Object.entries(corpus)) {
      const [outcome] = run([programOf(Number(seed))], Number(seed));
      t.is(outcome!.end, "exited", `seed ${seed}`);
      t.is(
        digest(outcome!.output),
        expected,
        `node test/riscv64/fuzz.ts --from ${seed} --count 1 --mode ${mode} --shrink`,
      );
    }
  });
}

test("programs that share a CPU do not disturb each other", (t) => {
  const run = machine("default");
  const seeds = Object.keys(corpus);
  for (let at = 0; at + 4 <= seeds.length; at += 4) {
    // The first program twice: two address spaces with the same code, which each modifies for itself.
    const together = [seeds[at]!, seeds[at]!, seeds[at + 1]!, seeds[at + 2]!];
    const outcomes = run(
      together.map((seed) => programOf(Number(seed))),
      at,
    );
    t.deepEqual(
      outcomes.map(({ output, end }) => [end, digest(output)]),
      together.map((seed) => ["exited", corpus[seed]]),
      `seeds ${together}`,
    );
  }
});

(haveQemu ? test : test.skip)("programs never seen before end as under qemu, in every mode", (t) => {
  const first = 1_000_000 + (Date.now() % 1_000_000_000);
  const machines = MODES.map((mode) => ({ mode, run: machine(mode) }));
  for (let seed = first; seed < first + 8; seed++) {
    const elf = programOf(seed);
    const theirs = runQemu(elf);
    for (const { mode, run } of machines) {
      const [ours] = run([elf], seed);
      t.is(ours!.end, theirs.end, `seed ${seed}, ${mode}`);
      t.is(differences(ours!.output, theirs.output, DATA_BYTES), "", `seed ${seed}, ${mode}`);
    }
  }
});
