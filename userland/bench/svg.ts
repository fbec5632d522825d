/** The few parts of SVG that charts need. Numbers are rounded, so that files are small and the same on every machine. */

export const n = (value: number): string => String(Math.round(value * 10) / 10);
export const escapeText = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

/** Of all charts: width, lines behind the data, text. */
export const CHART = { WIDTH: 860, GREY: "#d8d8d8", INK: "#222" } as const;

/** About how wide a text is at the charts' size, in a usual sans-serif: nobody measures it for us. */
export function widthOf(content: string, bold = false): number {
  let width = 0;
  for (const character of content)
    width += /[ilj.,|':;()fIt ]/.test(character)
      ? 4
      : /[mwMW%]/.test(character)
        ? 9.6
        : /[A-Z]/.test(character)
          ? 7.8
          : 6.6;
  return bold ? width * 1.1 : width;
}

type Anchor = "start" | "middle" | "end";

export const text = (x: number, y: number, content: string, anchor: Anchor = "start", style = ""): string =>
  `<text x="${n(x)}" y="${n(y)}" text-anchor="${anchor}"${style === "" ? "" : ` ${style}`}>${escapeText(content)}</text>`;

export const line = (x1: number, y1: number, x2: number, y2: number, stroke: string, width = 1): string =>
  `<path d="M${n(x1)} ${n(y1)}L${n(x2)} ${n(y2)}" stroke="${stroke}" stroke-width="${width}"/>`;

export const polyline = (points: readonly (readonly [number, number])[], stroke: string): string =>
  `<path d="M${points.map(([x, y]) => `${n(x)} ${n(y)}`).join("L")}" stroke="${stroke}" stroke-width="1.5" fill="none"/>`;

/** Shape and colour tell contenders apart: either is enough. */
export interface Mark {
  readonly colour: string;
  readonly shape: number;
}
const COLOURS = [
  ...["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f", "#000000"],
  ...["#882255", "#999933", "#44aa99", "#332288"],
];
const SHAPES = 5;

export const markOf = (index: number): Mark => ({
  colour: COLOURS[index % COLOURS.length]!,
  shape: index % SHAPES,
});

export function mark(x: number, y: number, { colour, shape }: Mark, size = 4): string {
  const at = (dx: number, dy: number): string => `${n(x + dx * size)} ${n(y + dy * size)}`;
  if (shape === 0) return `<circle cx="${n(x)}" cy="${n(y)}" r="${size}" fill="${colour}"/>`;
  const corners = [
    [
      [-0.9, -0.9],
      [0.9, -0.9],
      [0.9, 0.9],
      [-0.9, 0.9],
    ],
    [
      [0, -1.2],
      [1.1, 0.8],
      [-1.1, 0.8],
    ],
    [
      [0, -1.3],
      [1.3, 0],
      [0, 1.3],
      [-1.3, 0],
    ],
    [
      [0, 1.2],
      [1.1, -0.8],
      [-1.1, -0.8],
    ],
  ][shape - 1]!;
  return `<path d="M${corners.map(([dx, dy]) => at(dx!, dy!)).join("L")}Z" fill="${colour}"/>`;
}

/** Powers of ten, with 2 and 5 between them where there is room, around [low, high]; or even steps when not `log`. */
export function ticks(low: number, high: number, log: boolean): number[] {
  if (!log) {
    const step = 10 ** Math.floor(Math.log10(high / 2));
    const wide = [1, 2, 5].map((by) => by * step).find((each) => high / each <= 6) ?? step * 5;
    return Array.from({ length: Math.ceil(high / wide) + 1 }, (_, at) => at * wide);
  }
  const decades = Math.log10(high / low);
  const between = decades < 2.2 ? [1, 2, 5] : [1];
  const found: number[] = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++)
    for (const by of between) found.push(by * 10 ** power);
  const first = found.findLastIndex((value) => value <= low);
  const last = found.findIndex((value) => value >= high);
  return found.slice(Math.max(first, 0), last < 0 ? undefined : last + 1);
}

export function scale(domain: readonly [number, number], range: readonly [number, number], log: boolean) {
  const of = log ? Math.log : (value: number) => value;
  const [a, b] = [of(domain[0]), of(domain[1])];
  return (value: number): number => range[0] + ((of(value) - a) / (b - a || 1)) * (range[1] - range[0]);
}

/** 1200 as "1.2k". */
export function short(value: number): string {
  for (const [size, letter] of [
    [1e9, "G"],
    [1e6, "M"],
    [1e3, "k"],
  ] as const)
    if (value >= size) return `${Number((value / size).toPrecision(3))}${letter}`;
  return String(Number(value.toPrecision(3)));
}
