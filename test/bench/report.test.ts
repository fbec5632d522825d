import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "ava";
import { chosen, parseBenchOptions } from "../../userland/bench/options.ts";
import { formatResults } from "../../userland/bench/report.ts";
import {
  advantage,
  type Cell,
  cellKey,
  conditionsText,
  ResultsBuilder,
  readResults,
} from "../../userland/bench/results.ts";
import { sampled } from "../../userland/bench/statistics.ts";
import { Failure } from "../../userland/cli/failure.ts";

const cell = (contender: string, samples: number[], more: Partial<Cell> = {}): Cell => ({
  name: "pid",
  conditions: { threads: 2, writes: 1 },
  contender,
  unit: "ns",
  better: "less",
  ...sampled([samples]),
  ...more,
});
const results = (cells: readonly Cell[]) => {
  const builder = new ResultsBuilder("tables", ["bench", "tables"], 3);
  for (const { samples, median: _, low: __, high: ___, ...of } of cells)
    for (const [pass, own] of samples.entries()) {
      builder.beginPass(pass);
      builder.record(of, own);
    }
  return builder.finish();
};

test("a contender is better by the ratio of medians, whether less or more is better", (t) => {
  t.like(advantage(cell("a", [10, 10, 10]), cell("b", [30, 30, 30])), {
    ratio: 3,
    low: 3,
    high: 3,
    real: true,
  });
  const rate = { unit: "calls/s", better: "more" } as const;
  t.like(advantage(cell("a", [90, 90], rate), cell("b", [30, 30], rate)), { ratio: 3, real: true });
});

test("samples of a cell are gathered by pass, and reclaim counts are added up", (t) => {
  const builder = new ResultsBuilder("tables", [], 2);
  const { samples: _, median: __, low: ___, high: ____, ...of } = cell("rcu", [1]);
  for (const pass of [0, 1]) {
    builder.beginPass(pass);
    builder.record(of, [10 + pass, 20 + pass], {
      gracePeriods: 2,
      callbacks: 5,
      peakUnreclaimedBytes: 100 - pass,
    });
  }
  const { passes, rounds, cells, machine } = builder.finish();
  t.deepEqual([passes, rounds], [2, 2]);
  t.deepEqual(cells[0]!.samples, [
    [10, 20],
    [11, 21],
  ]);
  t.is(cells[0]!.median, 15.5);
  t.deepEqual(cells[0]!.reclaim, { gracePeriods: 4, callbacks: 10, peakUnreclaimedBytes: 100 });
  t.is(machine.referenceNs, 0);
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
  for (const [contender, ns] of [
    ["rcu", 10],
    ["mutex", 25],
  ] as const) {
    const { samples: _, median: __, low: ___, high: ____, ...of } = cell(contender, [ns]);
    builder.record(of, [ns]);
  }
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

test("a cell's identity is what and how, not in which order its conditions stand", (t) => {
  const turned = cell("rcu", [1], { conditions: { writes: 1, threads: 2 } });
  t.is(cellKey(cell("rcu", [9])), cellKey(turned));
  t.not(cellKey(cell("rcu", [9])), cellKey(cell("rcu", [9], { conditions: { writes: 2, threads: 2 } })));
  t.is(conditionsText(turned), "1 % writes, 2 threads");
  t.is(conditionsText({ conditions: { threads: 1, entries: 4096 } }), "1 thread, 4,096 entries");
});

test("files that hold no results are refused in one line that says what to do", (t) => {
  const folder = mkdtempSync(join(tmpdir(), "sternix-bench-test-"));
  const file = join(folder, "old.json");
  const refused = (message: RegExp) => t.throws(() => readResults(file), { instanceOf: Failure, message });
  refused(/old\.json: there is no such file; give a file that `sternix bench \.\.\. --json FILE` wrote/);
  writeFileSync(file, "cells");
  refused(/is not JSON; give a file/);
  writeFileSync(file, '{"cells": 1}');
  refused(/holds no results of sternix bench/);
  writeFileSync(file, '{"schema": 1, "cells": [], "versions": {"sternix": "0.0.9"}}');
  refused(/schema 1, this version reads schema 2; measure again .* \(sternix 0\.0\.9\)/);
  t.throws(() => readResults(folder), { instanceOf: Failure, message: /EISDIR/ });
  const good = results([cell("rcu", [1])]);
  writeFileSync(file, JSON.stringify(good));
  t.deepEqual(readResults(file), good);
});

test("names that choose nothing are answered with those there are", (t) => {
  const all = ["rcu", "rcu-strict", "mutex"];
  const name = (one: string) => one;
  t.deepEqual(chosen("only", [], all, name), all);
  t.deepEqual(chosen("only", ["rcu"], all, name), ["rcu", "rcu-strict"]);
  t.deepEqual(chosen("contenders", ["rcu"], all, name, true), ["rcu"]);
  const message = "--only rcu2: there are rcu, rcu-strict, mutex";
  t.throws(() => chosen("only", ["mutex", "rcu2"], all, name), { instanceOf: Failure, message });
});

test("options are read, and mistakes are named", (t) => {
  const options = parseBenchOptions(["tables", "--quick", "--threads", "1,4", "--only=pid", "--only", "fd"]);
  t.like(options, {
    suite: "tables",
    quick: true,
    threads: [1, 4],
    only: ["pid", "fd"],
    passes: 2,
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
    [["tables", "--passes", "0"], /--passes 0: give whole numbers from 1/],
    [["syscalls", "--entries", "64"], /--entries: bench syscalls has no use for it; bench tables has/],
    [["tables", "--clock", "sun"], /--clock sun: wall or cpu/],
  ] as const)
    t.throws(() => parseBenchOptions(words), { instanceOf: Failure, message });
});
