/** Panels of lines, three in a row: one quantity against one condition, a line for each contender. */
import type { Cell } from "./results.ts";
import { CHART, line, type Mark, mark, n, polyline, scale, short, text, ticks, widthOf } from "./svg.ts";

interface Point {
  readonly x: number;
  readonly median: number;
  readonly low: number;
  readonly high: number;
}
export interface Series {
  readonly contender: string;
  readonly points: readonly Point[];
}
export interface Panel {
  readonly title: string;
  /** The other conditions; may be empty. */
  readonly note: string;
  /** What is on the horizontal axis. */
  readonly axis: string;
  /** Its values stand at even distances: where 0 is one of them. */
  readonly even?: true;
  readonly series: readonly Series[];
}

const PER_ROW = 3;
const HEIGHT = 165;
const GAP = 38;
/** Between points of different contenders at the same place, so that their bars do not hide each other. */
const STEP = 1.3;

/** Draws them from `top` on; where they end. `yName`: what is on the vertical axes, which are logarithmic. */
export function panels(
  parts: string[],
  top: number,
  all: readonly Panel[],
  yName: string,
  marks: ReadonlyMap<string, Mark>,
): number {
  all.forEach((panel, index) => {
    const up = top + Math.floor(index / PER_ROW) * (HEIGHT + GAP) + 22;
    draw(parts, panel, index % PER_ROW, up, yName, marks);
  });
  return top + Math.ceil(all.length / PER_ROW) * (HEIGHT + GAP);
}

function draw(
  parts: string[],
  { title, note, axis, even, series }: Panel,
  column: number,
  up: number,
  yName: string,
  marks: ReadonlyMap<string, Mark>,
): void {
  const width = (CHART.WIDTH - 20) / PER_ROW;
  const left = 10 + column * width + 44;
  const right = left + width - 60;
  const down = up + HEIGHT - 34;
  const points = series.flatMap((each) => each.points);
  const xs = [...new Set(points.map((point) => point.x))].sort((a, b) => a - b);
  const inner = [left + 18, right - 18] as const;
  const x = even
    ? (value: number): number =>
        inner[0] + (xs.indexOf(value) / Math.max(xs.length - 1, 1)) * (inner[1] - inner[0])
    : scale([xs[0]!, xs.at(-1)!], inner, true);
  const at = ticks(Math.min(...points.map((p) => p.low)), Math.max(...points.map((p) => p.high)), true);
  const y = scale([at[0]!, at.at(-1)!], [down, up], true);
  parts.push(text(left, up - 8, title, "start", 'font-weight="bold"'));
  if (note !== "") parts.push(text(left + widthOf(title, true) + 8, up - 8, note));
  for (const value of at)
    parts.push(
      line(left, y(value), right, y(value), CHART.GREY),
      text(left - 4, y(value) + 4, short(value), "end"),
    );
  for (const value of xs)
    parts.push(text(x(value), down + 14, axis === "entries" ? binary(value) : String(value), "middle"));
  parts.push(text((left + right) / 2, down + 27, axis, "middle"));
  if (column === 0) {
    const middle = (up + down) / 2;
    parts.push(text(16, middle, yName, "middle", `transform="rotate(-90 16 ${n(middle)})"`));
  }
  series.forEach(({ contender, points: own }, index) => {
    const sign = marks.get(contender)!;
    const shift = (index - (series.length - 1) / 2) * STEP;
    const line1 = own.map((point) => [x(point.x) + shift, y(point.median)] as const);
    parts.push(polyline(line1, sign.colour));
    own.forEach((point, i) => {
      const [px, py] = line1[i]!;
      parts.push(line(px, y(point.low), px, y(point.high), sign.colour, 1.2), mark(px, py, sign, 3.4));
    });
  });
}

/** 65536 as "64Ki". */
function binary(value: number): string {
  if (value >= 1 << 20 && value % (1 << 20) === 0) return `${value / (1 << 20)}Mi`;
  if (value >= 1024 && value % 1024 === 0) return `${value / 1024}Ki`;
  return value.toLocaleString("en-US");
}

/** Cells that differ only in one condition, as a series over it. */
export function seriesOver(
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
