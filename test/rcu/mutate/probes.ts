/**
 * Which statements of rcu/ a killer passes: a probe in front of each, in blocks, branches and bodies of arrow functions. A mutant is
 * tried with those killers only that pass the statement that it is in.
 */
import { filesOf } from "./derive.ts";
import type { Edit } from "./rules.ts";
import { isFunction, readSource, type Source, statementsOf, walk } from "./source.ts";

export interface Probe {
  readonly start: number;
  readonly end: number;
  /** A bare statement under an if or a loop, or an expression: something must be put around it. */
  readonly kind: "statement" | "bare" | "expression";
}
export interface Probes {
  readonly file: string;
  /** Number of the first. */
  readonly base: number;
  readonly probes: readonly Probe[];
}

function find(source: Source): Probe[] {
  const probes: Probe[] = [];
  walk(source, ({ node, parents }) => {
    const parent = parents.at(-1);
    if (parent === undefined || !parents.some(isFunction)) return;
    const { start, end } = node;
    if (statementsOf(parent)?.includes(node)) probes.push({ start, end, kind: "statement" });
    else if (parent.type === "ArrowFunctionExpression" && parent.body === node) {
      if (node.type !== "BlockStatement") probes.push({ start, end, kind: "expression" });
    } else if (
      node.type !== "BlockStatement" &&
      ((parent.type === "IfStatement" && parent.test !== node) ||
        (/^(For|While|DoWhile|ForOf|ForIn)Statement$/.test(parent.type) &&
          (parent as { body?: unknown }).body === node))
    )
      probes.push({ start, end, kind: "bare" });
  });
  return probes;
}

let all: Map<string, Probes> | null = null;
export function allProbes(): ReadonlyMap<string, Probes> {
  if (all !== null) return all;
  all = new Map();
  let base = 0;
  for (const file of filesOf()) {
    const probes = find(readSource(file));
    all.set(file, { file, base, probes });
    base += probes.length;
  }
  return all;
}
export const probesOf = (file: string): Probes | null => allProbes().get(file) ?? null;
export const probeCount = (): number =>
  [...allProbes().values()].reduce((sum, { probes }) => sum + probes.length, 0);

/** Number of the probe that tells whether a change was passed; -1 where a module is loaded. */
export function probeFor(file: string, edits: readonly Edit[]): number {
  const { base, probes } = probesOf(file)!;
  const at = edits[0]!.start;
  let best = -1;
  for (const [n, { start, end }] of probes.entries())
    if (start <= at && at < end && (best < 0 || end - start <= probes[best]!.end - probes[best]!.start))
      best = n;
  return best < 0 ? -1 : base + best;
}

/** The text with its probes, line by line where it was. */
export function withProbes(text: string, { base, probes }: Probes): string {
  const pieces: [at: number, order: number, text: string][] = [];
  for (const [n, { start, end, kind }] of probes.entries()) {
    const hit = `globalThis.sternixHit(${base + n})`;
    pieces.push([start, 1, kind === "statement" ? `${hit};` : kind === "bare" ? `{${hit};` : `(${hit}, `]);
    if (kind !== "statement") pieces.push([end, 0, kind === "bare" ? "}" : ")"]);
  }
  // Where one ends and another begins, the end comes first; of those that end in one place, all close.
  pieces.sort((one, other) => one[0] - other[0] || one[1] - other[1]);
  let made = "";
  let from = 0;
  for (const [at, , piece] of pieces) {
    made += text.slice(from, at) + piece;
    from = at;
  }
  return made + text.slice(from);
}

/** Where this thread's probes report. */
export function hitInto(hits: Int32Array): void {
  (globalThis as unknown as { sternixHit(n: number): void }).sternixHit = (n) => {
    hits[n] = 1;
  };
}
