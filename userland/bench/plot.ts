/**
 * `--plot FILE.svg`: medians as marks, quartiles as bars, all contenders, logarithmic axes for what spans decades. Times
 * get a row for each thing measured; what was measured at several numbers of CPUs, threads, entries or shares of writes gets panels of
 * lines, too.
 */
import { type Panel, panels, seriesOver } from "./plot-panels.ts";
import { middleSize, rows } from "./plot-rows.ts";
import { type Cell, conditionsText, type Results } from "./results.ts";
import { CHART, type Mark, mark, markOf, n, text, widthOf } from "./svg.ts";

export function plot(results: Results): string {
  const contenders = [...new Set(results.cells.map((cell) => cell.contender))];
  const marks = new Map(contenders.map((name, index) => [name, markOf(index)]));
  const parts: string[] = [];
  let y = 20;
  const { machine, versions } = results;
  parts.push(text(10, y, `sternix ${results.command.join(" ")}`, "start", 'font-weight="bold"'));
  y += 16;
  parts.push(
    text(
      10,
      y,
      `${machine.cpu}, ${machine.cpus} CPUs, node ${versions.node}, ${results.date.slice(0, 10)}; marks: medians of ${results.passes} x ${results.rounds} rounds, bars: quartiles`,
    ),
  );
  y += 12;
  y = legend(parts, y, marks);
  const units = [...new Set(results.cells.map((cell) => cell.unit))];
  // Calls a second against CPUs is the chart that matters: it comes first.
  if (results.bench === "syscalls") units.reverse();
  for (const unit of units) {
    const cells = results.cells.filter((cell) => cell.unit === unit);
    if (cells[0]!.better === "less") y = rows(parts, y, unit, cells, marks);
    else y = panels(parts, y, rates(cells), unit, marks);
  }
  y = panels(parts, y, axes(results), "million operations a second", marks);
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${CHART.WIDTH} ${n(y + 8)}" font-family="sans-serif" font-size="11" fill="${CHART.INK}">` +
    `<title>sternix ${results.command.join(" ")}</title><rect width="100%" height="100%" fill="#fff"/>${parts.join("\n")}</svg>\n`
  );
}

function legend(parts: string[], top: number, marks: ReadonlyMap<string, Mark>): number {
  let x = 16;
  let y = top + 14;
  for (const [name, sign] of marks) {
    const width = 30 + widthOf(name);
    if (x + width > CHART.WIDTH - 10) {
      x = 16;
      y += 16;
    }
    parts.push(mark(x, y - 4, sign), text(x + 9, y, name));
    x += width;
  }
  return y + 12;
}

/** Rates against the number of CPUs. */
function rates(cells: readonly Cell[]): Panel[] {
  return [...new Set(cells.map((cell) => cell.name))].map((name) => ({
    title: name,
    note: "",
    axis: "CPUs",
    series: seriesOver(
      cells.filter((cell) => cell.name === name),
      "cpus",
      (_cell, at) => at,
    ),
  }));
}

/** Tables that get panels of their own where there are many: one of each kind. */
const PANELS = ["pid", "fd", "dentry", "path4", "mount", "vma", "RcuHashMap"];
const FEW = 3;
const AXES = [
  ["threads", "threads"],
  ["writes", "writes, %"],
  ["entries", "entries"],
] as const;

const without = (conditions: Cell["conditions"], name: string): Cell["conditions"] =>
  Object.fromEntries(Object.entries(conditions).filter(([other]) => other !== name));

/** Throughput of tables against each condition that was varied, the others at what most was measured at: a row for each table. */
function axes({ cells }: Results): Panel[] {
  const own = cells.filter((cell) => cell.better === "less" && cell.conditions.writes !== undefined);
  const names = [...new Set(own.map((cell) => cell.name))];
  const shown = names.length <= FEW ? names : PANELS.filter((name) => names.includes(name));
  const numbersOf = (of: readonly Cell[], axis: string): number[] =>
    [...new Set(of.map(({ conditions }) => Number(conditions[axis])))].sort((a, b) => a - b);
  return shown.flatMap((name) => {
    const table = own.filter((cell) => cell.name === name);
    const writes = numbersOf(table, "writes");
    const middle: Readonly<Record<string, number | undefined>> = {
      threads: numbersOf(table, "threads").at(-1),
      writes: writes.includes(1) ? 1 : writes[0],
      entries: middleSize(table),
    };
    return AXES.flatMap(([axis, label]): Panel[] => {
      const chosen = table.filter(({ conditions }) =>
        AXES.every(([other]) => other === axis || conditions[other] === middle[other]),
      );
      if (numbersOf(chosen, axis).length < 2) return [];
      const rate = (cell: Cell, ns: number): number => (Number(cell.conditions.threads) * 1e3) / ns;
      return [
        {
          title: name,
          note: conditionsText({ conditions: without(chosen[0]!.conditions, axis) }),
          axis: label,
          ...(axis === "writes" ? { even: true } : {}),
          series: seriesOver(chosen, axis, rate),
        },
      ];
    });
  });
}
