/**
 * `--plot FILE.svg`: medians as marks, quartiles as bars, all contenders, logarithmic axes for what spans decades. Times
 * get a row for each thing measured; what was measured at several numbers of CPUs gets a panel of lines, too.
 */
import { type Cell, conditionsText, groups, type Results } from "./results.ts";
import { line, type Mark, mark, markOf, n, polyline, scale, short, text, ticks } from "./svg.ts";

const WIDTH = 860;
/** Of a character of the labels, about. */
const CHARACTER = 6.1;
const RIGHT = 20;
const ROW = 20;
const GREY = "#d8d8d8";
const INK = "#222";
/** More rows than this do not fit a page: a representative set is drawn then. */
const MAX_ROWS = 44;

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
    if (cells[0]!.better === "less") y = dots(parts, y, unit, cells, marks);
    else y = rates(parts, y, cells, marks);
  }
  y = scaling(parts, y, results, marks);
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${n(y + 8)}" font-family="sans-serif" font-size="11" fill="${INK}">` +
    `<title>sternix ${results.command.join(" ")}</title><rect width="100%" height="100%" fill="#fff"/>${parts.join("\n")}</svg>\n`
  );
}

function legend(parts: string[], top: number, marks: ReadonlyMap<string, Mark>): number {
  let x = 16;
  let y = top + 14;
  for (const [name, sign] of marks) {
    const width = 24 + name.length * 6.6;
    if (x + width > WIDTH - 10) {
      x = 16;
      y += 16;
    }
    parts.push(mark(x, y - 4, sign), text(x + 9, y, name));
    x += width;
  }
  return y + 12;
}

/** What is drawn when there is too much: many threads, few writes, a middle size. */
function representative(all: Cell[][]): Cell[][] {
  if (all.length <= MAX_ROWS) return all;
  const values = (name: string): number[] =>
    [...new Set(all.map(([cell]) => cell!.conditions[name]))]
      .filter((value) => typeof value === "number")
      .sort((a, b) => a - b);
  const threads = values("threads").at(-1);
  const writes = values("writes").find((share) => share > 0) ?? 0;
  return all.filter(([cell]) => {
    const { conditions, name } = cell!;
    const sizes = all
      .filter(([other]) => other!.name === name)
      .map(([other]) => Number(other!.conditions.entries))
      .sort((a, b) => a - b);
    const middle = sizes.find((size) => size >= 4096) ?? sizes[0];
    return conditions.threads === threads && conditions.writes === writes && conditions.entries === middle;
  });
}

/** Conditions that all rows share go into the heading. */
function shared(rows: Cell[][]): Record<string, number | string> {
  const common: Record<string, number | string> = { ...rows[0]![0]!.conditions };
  for (const [cell] of rows)
    for (const name of Object.keys(common)) if (cell!.conditions[name] !== common[name]) delete common[name];
  return common;
}

function dots(
  parts: string[],
  top: number,
  unit: string,
  cells: readonly Cell[],
  marks: ReadonlyMap<string, Mark>,
): number {
  const rows = representative(groups(cells));
  if (rows.length === 0) return top;
  const common = shared(rows);
  const drawn = rows.flat();
  const at = ticks(
    Math.min(...drawn.map((cell) => cell.low)),
    Math.max(...drawn.map((cell) => cell.high)),
    true,
  );
  const bottom = top + 26 + rows.length * ROW;
  const labels = rows.map(([first]) => {
    const own = Object.fromEntries(Object.entries(first!.conditions).filter(([name]) => !(name in common)));
    return [first!.name, conditionsText({ conditions: own })].filter((part) => part !== "").join(", ");
  });
  const left = 24 + Math.max(...labels.map((label) => label.length)) * CHARACTER;
  const x = scale([at[0]!, at.at(-1)!], [left, WIDTH - RIGHT], true);
  const where = conditionsText({ conditions: common });
  parts.push(
    text(
      10,
      top + 14,
      `${unit}, less is better${where === "" ? "" : `; ${where}`}`,
      "start",
      'font-weight="bold"',
    ),
  );
  for (const value of at) {
    parts.push(line(x(value), top + 22, x(value), bottom, GREY));
    parts.push(text(x(value), bottom + 12, short(value), "middle"));
  }
  rows.forEach((row, index) => {
    const y = top + 26 + (index + 0.5) * ROW;
    parts.push(text(left - 10, y + 4, labels[index]!, "end"), line(left, y, WIDTH - RIGHT, y, "#eee"));
    // The first contender is what all is compared with: on top of the others.
    for (const cell of [...row].reverse()) {
      const sign = marks.get(cell.contender)!;
      parts.push(line(x(cell.low), y, x(cell.high), y, sign.colour, 2), mark(x(cell.median), y, sign));
    }
  });
  return bottom + 30;
}

interface Point {
  readonly x: number;
  readonly median: number;
  readonly low: number;
  readonly high: number;
}
interface Series {
  readonly contender: string;
  readonly points: readonly Point[];
}

/** Panels of lines, three in a row. */
function panels(
  parts: string[],
  top: number,
  all: readonly { title: string; series: readonly Series[] }[],
  xName: string,
  yName: string,
  marks: ReadonlyMap<string, Mark>,
): number {
  const perRow = 3;
  const width = (WIDTH - 20) / perRow;
  const height = 190;
  all.forEach(({ title, series }, index) => {
    const left = 10 + (index % perRow) * width + 44;
    const right = left + width - 60;
    const up = top + Math.floor(index / perRow) * (height + 40) + 22;
    const down = up + height - 34;
    const points = series.flatMap((each) => each.points);
    const xs = [...new Set(points.map((point) => point.x))].sort((a, b) => a - b);
    const x = scale([xs[0]! * 0.9, xs.at(-1)! * 1.1], [left, right], true);
    const at = ticks(Math.min(...points.map((p) => p.low)), Math.max(...points.map((p) => p.high)), true);
    const y = scale([at[0]!, at.at(-1)!], [down, up], true);
    parts.push(text(left, up - 8, title, "start", 'font-weight="bold"'));
    for (const value of at)
      parts.push(
        line(left, y(value), right, y(value), GREY),
        text(left - 4, y(value) + 4, short(value), "end"),
      );
    for (const value of xs) parts.push(text(x(value), down + 14, String(value), "middle"));
    parts.push(text((left + right) / 2, down + 27, xName, "middle"));
    if (index % perRow === 0)
      parts.push(
        text(16, (up + down) / 2, yName, "middle", `transform="rotate(-90 16 ${n((up + down) / 2)})"`),
      );
    for (const { contender, points: own } of series) {
      const sign = marks.get(contender)!;
      parts.push(
        polyline(
          own.map((point) => [x(point.x), y(point.median)] as const),
          sign.colour,
        ),
      );
      for (const point of own)
        parts.push(
          line(x(point.x), y(point.low), x(point.x), y(point.high), sign.colour, 1.5),
          mark(x(point.x), y(point.median), sign),
        );
    }
  });
  return top + Math.ceil(all.length / perRow) * (height + 40);
}

/** Cells that differ only in one condition, as a series over it. */
function seriesOver(
  cells: readonly Cell[],
  axis: string,
  value: (cell: Cell, at: number) => number,
): Series[] {
  return [...new Set(cells.map((cell) => cell.contender))].map((contender) => ({
    contender,
    points: cells
      .filter((cell) => cell.contender === contender)
      .map((cell) => {
        const ends = [value(cell, cell.low), value(cell, cell.high)];
        return {
          x: Number(cell.conditions[axis]),
          median: value(cell, cell.median),
          low: Math.min(...ends),
          high: Math.max(...ends),
        };
      })
      .sort((a, b) => a.x - b.x),
  }));
}

/** Rates against the number of CPUs. */
function rates(
  parts: string[],
  top: number,
  cells: readonly Cell[],
  marks: ReadonlyMap<string, Mark>,
): number {
  const all = [...new Set(cells.map((cell) => cell.name))].map((name) => ({
    title: name,
    series: seriesOver(
      cells.filter((cell) => cell.name === name),
      "cpus",
      (_cell, at) => at,
    ),
  }));
  return panels(parts, top, all, "CPUs", cells[0]!.unit, marks);
}

/** Tables whose throughput against the number of threads is drawn. */
const SCALED = ["pid", "fd", "dentry", "path4", "vma", "RcuHashMap"];

function scaling(parts: string[], top: number, results: Results, marks: ReadonlyMap<string, Mark>): number {
  const cells = results.cells.filter(
    (cell) => cell.better === "less" && cell.conditions.writes !== undefined,
  );
  const threads = new Set(cells.map((cell) => cell.conditions.threads));
  if (threads.size < 2) return top;
  const writes = cells.some((cell) => cell.conditions.writes === 1) ? 1 : cells[0]!.conditions.writes!;
  const all = SCALED.flatMap((name) => {
    const own = cells.filter((cell) => cell.name === name && cell.conditions.writes === writes);
    const sizes = [...new Set(own.map((cell) => Number(cell.conditions.entries)))].sort((a, b) => a - b);
    const entries = sizes.find((size) => size >= 4096) ?? sizes[0];
    const chosen = own.filter((cell) => cell.conditions.entries === entries);
    if (chosen.length === 0) return [];
    const rate = (cell: Cell, ns: number): number => (Number(cell.conditions.threads) * 1e3) / ns;
    return [{ title: `${name}, ${writes} % writes`, series: seriesOver(chosen, "threads", rate) }];
  });
  return all.length === 0 ? top : panels(parts, top, all, "threads", "million operations a second", marks);
}
