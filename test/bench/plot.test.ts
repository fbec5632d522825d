/** Charts and overviews: what of many cells is shown where. */
import test from "ava";
import { plot } from "../../userland/bench/plot.ts";
import { formatResults } from "../../userland/bench/report.ts";
import { ResultsBuilder } from "../../userland/bench/results.ts";

/** A star of conditions around 2 threads, 1 %, 4096 entries; RcuList has other sizes. */
function star() {
  const builder = new ResultsBuilder("tables", ["bench", "tables"], 2);
  const tables = ["pid", "fd", "dentry", "RcuHashMap", "RcuList"];
  for (const [index, name] of tables.entries()) {
    const [middle, other] = name === "RcuList" ? [64, 1024] : [4096, 64];
    const conditions = [
      [2, 0, middle],
      [2, 1, middle],
      [2, 50, middle],
      [1, 1, middle],
      [2, 1, other],
    ] as const;
    for (const [threads, writes, entries] of conditions)
      for (const [nth, contender] of ["rcu", "mutex"].entries())
        builder.record(
          { name, conditions: { threads, writes, entries }, contender, unit: "ns", better: "less" },
          [1000 * (index + 1) + 100 * nth + writes + threads, 1000 * (index + 1) + 100 * nth + 7],
        );
  }
  return builder.finish();
}
const count = (text: string, part: string): number => text.split(part).length - 1;

test("each table has a panel for each axis, with the other conditions in its title", (t) => {
  const chart = plot(star());
  t.notRegex(chart, /NaN|undefined|Infinity/);
  for (const [note, panels] of [
    [">1 % writes, 4,096 entries</text>", 4],
    [">2 threads, 4,096 entries</text>", 4],
    [">2 threads, 1 % writes</text>", 4],
  ] as const)
    t.is(count(chart, note), panels, note);
  t.is(count(chart, ">entries</text>"), 4, "RcuList is in the rows only");
});

test("rows share what most of them have in common, and say what differs", (t) => {
  const chart = plot(star());
  t.true(chart.includes("ns, less is better; 2 threads, 1 % writes, 4,096 entries"));
  t.true(chart.includes(">pid</text>"));
  t.true(chart.includes(">RcuList, 64 entries</text>"));
});

test("medians of all tables stand together under the usual conditions", (t) => {
  const [, overview] = formatResults(star()).split("medians, ns (2 threads, 1 % writes, 4,096 entries)\n");
  const lines = overview!.split("\n").map((line) => line.trim().split(/ +/));
  t.deepEqual(lines.slice(0, 5), [
    ["rcu", "mutex"],
    ["pid", "1,005", "1,105"],
    ["fd", "2,005", "2,105"],
    ["dentry", "3,005", "3,105"],
    ["RcuHashMap", "4,005", "4,105"],
  ]);
});
