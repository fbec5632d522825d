/** What `--compare` claims: nothing between two runs of the same code, and what a contender really lost. */
import test from "ava";
import { compareResults, formatComparison } from "../../userland/bench/compare.ts";
import { randomNumbers } from "../../userland/bench/operations.ts";
import { type CellName, type Results, ResultsBuilder } from "../../userland/bench/results.ts";

const CONTENDERS = ["rcu", "rcu-strict", "mutex", "rwlock", "seqlock"];
const TABLES = 20;
const PASSES = 2;
const ROUNDS = 4;

/** Normally distributed numbers (Box and Muller) from a seed. */
function normals(seed: number): () => number {
  const random = randomNumbers(seed);
  const uniform = () => (random() + 1) / 0x1_0000_0001;
  return () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
}

/**
 * A run as benchmarks have them: every fresh start draws a level for each cell, whose rounds then lie close to it. Locks
 * that threads fight for are noisier. `slowed`: how many times as long a contender takes.
 */
function run(seed: number, slowed: Readonly<Record<string, number>> = {}, referenceNs = 5): Results {
  const normal = normals(seed);
  const builder = new ResultsBuilder("tables", ["bench", "tables"], ROUNDS);
  for (let pass = 0; pass < PASSES; pass++) {
    builder.beginPass(pass);
    for (let table = 0; table < TABLES; table++)
      for (const contender of CONTENDERS) {
        const of: CellName = {
          name: `table ${table}`,
          conditions: { threads: 2 },
          contender,
          unit: "ns",
          better: "less",
        };
        const loud = contender === "mutex" || contender === "rwlock" ? 4 : 1;
        const level = (20 + table) * (slowed[contender] ?? 1) * Math.exp(0.04 * loud * normal());
        builder.record(
          of,
          Array.from({ length: ROUNDS }, () => level * Math.exp(0.01 * loud * normal())),
        );
      }
  }
  const results = builder.finish();
  return { ...results, machine: { ...results.machine, referenceNs } };
}

const claims = (before: Results, after: Results) =>
  compareResults(before, after).changes.filter(({ real }) => real);

test("between runs of the same code hardly ever a difference is claimed", (t) => {
  let [claimed, overlapping, cells] = [0, 0, 0];
  for (let seed = 1; seed <= 10; seed++) {
    const [before, after] = [run(2 * seed), run(2 * seed + 1)];
    const { changes } = compareResults(before, after);
    claimed += changes.filter(({ real }) => real).length;
    overlapping += changes.filter(
      ({ cell, before: was }) => cell.low > was.high || cell.high < was.low,
    ).length;
    cells += changes.length;
  }
  t.is(cells, 10 * TABLES * CONTENDERS.length);
  t.true(claimed / cells < 0.005, `${claimed} of ${cells}`);
  // What it would be by the quartiles alone.
  t.true(overlapping / cells > 0.1, `${overlapping} of ${cells}`);
});

test("a contender that takes 1.5 times as long is named, and nobody else", (t) => {
  const [before, after] = [run(1), run(2, { rcu: 1.5 })];
  const found = claims(before, after);
  t.true(found.length >= 0.9 * TABLES, `${found.length} of ${TABLES}`);
  for (const { cell, ratio, low, high } of found) {
    t.is(cell.contender, "rcu");
    t.true(ratio < 0.8 && low <= ratio && ratio <= high && high < 1);
  }
  const text = formatComparison(before, after);
  t.regex(text, /table 3 \(2 threads\) rcu .* 1\.\d\dx worse /);
  t.notRegex(text, /mutex|better/);
  t.regex(text, new RegExp(`${found.length} of ${TABLES * CONTENDERS.length} cells differ`));
});

test("no difference is claimed that the machine itself explains", (t) => {
  const [before, after] = [run(1), run(2, { rcu: 1.5 }, 8)];
  t.deepEqual(claims(before, after), []);
  t.regex(formatComparison(before, after), /the machine itself was 60 % slower this time/);
});

test("nothing is claimed between machines, or where a run does not know its own noise", (t) => {
  const [before, after] = [run(1), run(2, { rcu: 5 })];
  const elsewhere = { ...before, machine: { ...before.machine, cpu: "another" } };
  t.deepEqual(claims(elsewhere, after), []);
  t.regex(formatComparison(elsewhere, after), /no difference is called real: the machines differ \(another/);
  const once = { ...before, passes: 1 };
  t.deepEqual(claims(once, after), []);
  t.regex(formatComparison(once, after), /has one pass: .* \(--passes 2\)/);
  const share = (cpuShare: number) => ({ ...after, machine: { ...after.machine, cpuShare } });
  t.deepEqual(claims(before, share(0.6)), []);
  t.regex(formatComparison(before, share(0.6)), /the machine was busy in the run of .* a CPU for 60 % of/);
  t.not(claims(before, share(0.99)).length, 0);
});

test("cells that only one run has are counted; rates that fell are worse", (t) => {
  const rate = (name: string, values: number[]) => {
    const builder = new ResultsBuilder("syscalls", [], 2);
    for (const pass of [0, 1]) {
      builder.beginPass(pass);
      builder.record(
        { name, conditions: { cpus: 1 }, contender: "a", unit: "calls/s", better: "more" },
        values,
      );
      builder.record(
        { name: "both", conditions: {}, contender: "a", unit: "calls/s", better: "more" },
        values,
      );
    }
    const results = builder.finish();
    return { ...results, machine: { ...results.machine, referenceNs: 5 } };
  };
  const comparison = compareResults(rate("gone", [10, 10]), rate("new", [5, 5]));
  t.deepEqual([comparison.added, comparison.removed], [1, 1]);
  t.like(comparison.changes[0], { ratio: 0.5, real: true });
});
