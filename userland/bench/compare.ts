/** `--compare OLD.json`: the cells of two runs side by side. */
import { table } from "../cli/report.ts";
import { type Cell, cellKey, conditionsText, figure, type Results } from "./report.ts";
import { compare, geometricMean } from "./statistics.ts";

export interface Change {
  readonly cell: Cell;
  readonly before: Cell;
  /** Above 1: better than before. */
  readonly ratio: number;
  /** False when the spreads overlap: no change is claimed then. */
  readonly real: boolean;
}

export interface Comparison {
  readonly changes: readonly Change[];
  /** Cells that only one of the runs has. */
  readonly added: number;
  readonly removed: number;
}

export function compareResults(before: Results, after: Results): Comparison {
  const old = new Map(before.cells.map((cell) => [cellKey(cell), cell]));
  const changes: Change[] = [];
  for (const cell of after.cells) {
    const was = old.get(cellKey(cell));
    if (was === undefined) continue;
    const { ratio, real } = cell.better === "less" ? compare(was, cell) : compare(cell, was);
    changes.push({ cell, before: was, ratio, real });
  }
  return {
    changes,
    added: after.cells.length - changes.length,
    removed: before.cells.length - changes.length,
  };
}

export function formatComparison(before: Results, after: Results): string {
  const { changes, added, removed } = compareResults(before, after);
  const lines = [
    `compared with the run of ${before.date} (${before.machine.cpu}, node ${before.versions.node})`,
  ];
  if (before.machine.cpu !== after.machine.cpu)
    lines.push("the machines differ: only ratios within a run mean something");
  const real = changes.filter((change) => change.real);
  const rows = real
    .sort((a, b) => a.ratio - b.ratio)
    .map(({ cell, before: was, ratio }) => [
      `${cell.name} (${conditionsText(cell)}) ${cell.contender}`,
      `${figure(was.median)} ${cell.unit}`,
      `${figure(cell.median)} ${cell.unit}`,
      ratio >= 1 ? `${ratio.toFixed(2)}x better` : `${(1 / ratio).toFixed(2)}x worse`,
    ]);
  if (rows.length > 0) lines.push(table([["", "before", "now", ""], ...rows]));
  lines.push(
    `${real.length} of ${changes.length} cells differ by more than their spreads` +
      (changes.length > 0
        ? `; geometric mean ${geometricMean(changes.map((c) => c.ratio)).toFixed(3)}x`
        : ""),
  );
  if (added > 0) lines.push(`${added} cells are new`);
  if (removed > 0) lines.push(`${removed} cells are gone`);
  return `${lines.join("\n")}\n`;
}
