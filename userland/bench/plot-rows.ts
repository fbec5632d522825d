/** Rows of a chart: one for each thing measured under one set of conditions, a mark for each contender on a logarithmic axis. */
import { usualConditions } from "./report.ts";
import { type Cell, conditionsText, groups } from "./results.ts";
import { CHART, line, type Mark, mark, scale, short, text, ticks, widthOf } from "./svg.ts";

const RIGHT = 20;
const ROW = 24;
/** How far apart in height contenders of a row are drawn at most, so that their marks and bars do not hide each other. */
const SPREAD = 13;
/** More rows than this do not fit a page: a representative set is drawn then. */
const MAX_ROWS = 44;

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
    const own = all.filter(([other]) => other!.name === name).map(([other]) => other!);
    return (
      conditions.threads === threads && conditions.writes === writes && conditions.entries === middleSize(own)
    );
  });
}

/** The number of entries under which most is measured: 4096, or what comes next. */
export function middleSize(cells: readonly Cell[]): number | undefined {
  const sizes = [...new Set(cells.map(({ conditions }) => Number(conditions.entries)))].sort((a, b) => a - b);
  return sizes.find((size) => size >= 4096) ?? sizes[0];
}

/** Draws the cells from `top` on; where they end. */
export function rows(
  parts: string[],
  top: number,
  unit: string,
  cells: readonly Cell[],
  marks: ReadonlyMap<string, Mark>,
): number {
  const all = representative(groups(cells));
  if (all.length === 0) return top;
  // Conditions that most rows share go into the heading: the others say what differs.
  const firsts = all.map(([first]) => first!);
  const common = new Map(
    [...usualConditions(firsts)].filter(
      ([name, value]) =>
        firsts.filter(({ conditions }) => conditions[name] === value).length > all.length / 2,
    ),
  );
  const drawn = all.flat();
  const at = ticks(
    Math.min(...drawn.map((cell) => cell.low)),
    Math.max(...drawn.map((cell) => cell.high)),
    true,
  );
  const bottom = top + 26 + all.length * ROW;
  const labels = all.map(([first]) => {
    const own = Object.entries(first!.conditions).filter(([name, value]) => common.get(name) !== value);
    const where = conditionsText({ conditions: Object.fromEntries(own) });
    return [first!.name, where].filter((part) => part !== "").join(", ");
  });
  const left = 24 + Math.max(...labels.map((label) => widthOf(label)));
  const x = scale([at[0]!, at.at(-1)!], [left, CHART.WIDTH - RIGHT], true);
  const where = conditionsText({ conditions: Object.fromEntries(common) });
  const heading = `${unit}, less is better${where === "" ? "" : `; ${where}`}`;
  parts.push(text(10, top + 14, heading, "start", 'font-weight="bold"'));
  for (const value of at) {
    parts.push(line(x(value), top + 22, x(value), bottom, CHART.GREY));
    parts.push(text(x(value), bottom + 12, short(value), "middle"));
  }
  all.forEach((row, index) => {
    const y = top + 26 + (index + 0.5) * ROW;
    if (index % 2 === 1) parts.push(band(left, y - ROW / 2, CHART.WIDTH - RIGHT - left, ROW));
    parts.push(text(left - 10, y + 4, labels[index]!, "end"));
    const step = SPREAD / Math.max(row.length - 1, 1);
    row.forEach((cell, at) => {
      const sign = marks.get(cell.contender)!;
      const own = y + (at - (row.length - 1) / 2) * step;
      parts.push(
        line(x(cell.low), own, x(cell.high), own, sign.colour, 1.5),
        mark(x(cell.median), own, sign, 3.4),
      );
    });
  });
  return bottom + 30;
}

const band = (x: number, y: number, width: number, height: number): string =>
  `<rect x="${x.toFixed(1)}" y="${y.toFixed(1)}" width="${width.toFixed(1)}" height="${height}" fill="#000" fill-opacity="0.03"/>`;
