import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "ava";
import { compareResults, formatComparison } from "../../userland/bench/compare.ts";
import { parseBenchOptions } from "../../userland/bench/options.ts";
import {
  advantage,
  type Cell,
  cellKey,
  conditionsText,
  formatResults,
  ResultsBuilder,
  readResults,
} from "../../userland/bench/report.ts";
import { summarize } from "../../userland/bench/statistics.ts";
import { Failure } from "../../userland/cli/failure.ts";

const cell = (contender: string, samples: number[], more: Partial<Cell> = {}): Cell => ({
  name: "pid",
  conditions: { threads: 2, writes: 1 },
  contender,
  unit: "ns",
  better: "less",
  samples,
  ...summarize(samples),
  ...more,
});
const results = (cells: readonly Cell[]) => {
  const builder = new ResultsBuilder("tables", ["bench", "tables"], 3);
  builder.cells.push(...cells);
  return builder.finish();
};

test("a contender is better by the ratio of medians, whether less or more is better", (t) => {
  t.deepEqual(advantage(cell("a", [10, 10, 10]), cell("b", [30, 30, 30])), { ratio: 3, real: true });
  const rate = { unit: "calls/s", better: "more" } as const;
  t.deepEqual(advantage(cell("a", [90, 90], rate), cell("b", [30, 30], rate)), { ratio: 3, real: true });
});

test("the report refuses to call overlapping spreads a difference", (t) => {
  const text = formatResults(
    results([cell("rcu", [10, 11, 12]), cell("mutex", [9, 14, 30]), cell("rwlock", [44, 44, 44])]),
  );
  const [rcu, mutex, rwlock] = ["rcu ", "mutex", "rwlock"].map((name) =>
    text.split("\n").find((line) => line.trim().startsWith(name)),
  );
  t.truthy(rcu);
  t.true(mutex!.endsWith("same"));
  t.true(rwlock!.endsWith("4.00x"));
});

test("targets are met or missed by a share of the target", (t) => {
  const builder = new ResultsBuilder("rcu", [], 1);
  builder.target("scope", "ns", "less", 1.5, 3);
  builder.target("rate", "calls/s", "more", 1e6, 2e6);
  builder.cells.push(cell("rcu", [10]), cell("mutex", [25]));
  builder.ratioTarget("pid", { threads: 2 }, "rcu", "mutex", 3);
  builder.ratioTarget("pid", { threads: 4 }, "rcu", "mutex", 3);
  const { targets } = builder.finish();
  t.deepEqual(
    targets.map((target) => [target.met, target.measured]),
    [
      [false, 3],
      [true, 2e6],
      [false, 2.5],
    ],
  );
  t.regex(formatResults(builder.finish()), /scope.*missed by 100 %/);
});

test("two runs are compared cell by cell; only differences beyond the spreads are claimed", (t) => {
  const before = results([cell("rcu", [20, 20, 20]), cell("mutex", [50, 60, 70]), cell("gone", [1])]);
  const after = results([cell("rcu", [10, 10, 10]), cell("mutex", [55, 65, 75]), cell("new", [1])]);
  const { changes, added, removed } = compareResults(before, after);
  t.deepEqual(
    changes.map(({ cell: { contender }, ratio, real }) => [contender, ratio, real]),
    [
      ["rcu", 2, true],
      ["mutex", 60 / 65, false],
    ],
  );
  t.deepEqual([added, removed], [1, 1]);
  const text = formatComparison(before, after);
  t.regex(text, /rcu.*2\.00x better/);
  t.regex(text, /1 of 2 cells differ/);
  t.notRegex(text, /mutex/);
});

test("rates that fell are worse", (t) => {
  const rate = { unit: "calls/s", better: "more" } as const;
  const [change] = compareResults(
    results([cell("a", [10, 10], rate)]),
    results([cell("a", [5, 5], rate)]),
  ).changes;
  t.deepEqual([change!.ratio, change!.real], [0.5, true]);
});

test("a cell's identity is what and how, not in which order its conditions stand", (t) => {
  const turned = cell("rcu", [1], { conditions: { writes: 1, threads: 2 } });
  t.is(cellKey(cell("rcu", [9])), cellKey(turned));
  t.not(cellKey(cell("rcu", [9])), cellKey(cell("rcu", [9], { conditions: { writes: 2, threads: 2 } })));
  t.is(conditionsText(turned), "1 % writes, 2 threads");
  t.is(conditionsText({ conditions: { threads: 1, entries: 4096 } }), "1 thread, 4,096 entries");
});

test("files that hold no results are refused in one line", (t) => {
  const folder = mkdtempSync(join(tmpdir(), "sternix-bench-test-"));
  const file = join(folder, "old.json");
  t.throws(() => readResults(file), { instanceOf: Failure, message: /old\.json/ });
  writeFileSync(file, '{"schema": 0, "cells": []}');
  t.throws(() => readResults(file), { instanceOf: Failure, message: /schema 1/ });
  const good = results([cell("rcu", [1])]);
  writeFileSync(file, JSON.stringify(good));
  t.deepEqual(readResults(file), good);
});

test("options are read, and mistakes are named", (t) => {
  const options = parseBenchOptions(["tables", "--quick", "--threads", "1,4", "--only=pid", "--only", "fd"]);
  t.like(options, {
    suite: "tables",
    quick: true,
    threads: [1, 4],
    only: ["pid", "fd"],
    rounds: 3,
    writes: null,
  });
  const files = parseBenchOptions(["rcu", "--json", "a", "--plot=b", "--quick", "--compare", "c"]);
  t.deepEqual(files.command, ["bench", "rcu", "--quick"]);
  for (const [words, message] of [
    [[], /no benchmark given: tables, rcu, syscalls/],
    [["pids"], /unknown benchmark pids/],
    [["tables", "rcu"], /unexpected rcu/],
    [["tables", "--threads", "0"], /--threads 0: give whole numbers from 1/],
    [["tables", "--writes", "1,x"], /--writes 1,x/],
    [["tables", "--frob"], /Unknown option '--frob'; see/],
    [["tables", "--clock", "sun"], /--clock sun: wall or cpu/],
  ] as const)
    t.throws(() => parseBenchOptions(words), { instanceOf: Failure, message });
});
