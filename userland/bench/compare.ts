/** `--compare OLD.json`: the cells of two runs side by side. */
import { table } from "../cli/report.ts";
import { BUSY, figure } from "./report.ts";
import { type Cell, cellKey, conditionsText, floorsOf, type Results } from "./results.ts";
import { compare, geometricMean } from "./statistics.ts";

export interface Change {
  readonly cell: Cell;
  readonly before: Cell;
  /** Above 1: better than before. */
  readonly ratio: number;
  /** 95 % confidence interval of the ratio. */
  readonly low: number;
  readonly high: number;
  /** How far apart the same code may be: as a ratio above 1. */
  readonly floor: number;
  /** False when it may be noise: no change is claimed then. */
  readonly real: boolean;
}

export interface Comparison {
  readonly changes: readonly Change[];
  /** Cells that only one of the runs has. */
  readonly added: number;
  readonly removed: number;
  /** How much slower (above 1) the machine itself was in the second run: the ratio of the reference loops. */
  readonly machine: number;
  /** Why nothing is claimed whatever the figures are; null: it may be. */
  readonly refused: string | null;
}

/**
 * A change is real when the spreads do not overlap and the confidence interval of the ratio lies beyond the noise floor: how far the
 * passes of both runs lie from themselves, widened by what the machine's own speed changed from one run to the other.
 */
export function compareResults(before: Results, after: Results): Comparison {
  const refused = refusal(before, after);
  const old = new Map(before.cells.map((cell) => [cellKey(cell), cell]));
  const floorOf = floorsOf([...before.cells, ...after.cells]);
  const [then, now] = [before.machine.referenceNs, after.machine.referenceNs];
  const machine = then > 0 && now > 0 ? now / then : 1;
  const changes: Change[] = [];
  for (const cell of after.cells) {
    const was = old.get(cellKey(cell));
    if (was === undefined) continue;
    const floor = Math.max(floorOf(was), floorOf(cell)) + Math.abs(Math.log(machine));
    const ratio = cell.better === "less" ? compare(was, cell, floor) : compare(cell, was, floor);
    changes.push({
      cell,
      before: was,
      ...ratio,
      floor: Math.exp(floor),
      real: ratio.real && refused === null,
    });
  }
  return {
    changes,
    added: after.cells.length - changes.length,
    removed: before.cells.length - changes.length,
    machine,
    refused,
  };
}

function refusal(before: Results, after: Results): string | null {
  const [one, other] = [before.machine, after.machine];
  if (one.cpu !== other.cpu || one.cpus !== other.cpus)
    return `the machines differ (${one.cpu}, ${one.cpus} CPUs, then): only ratios within a run mean something`;
  const few = [before, after].find((results) => results.passes < 2);
  if (few !== undefined)
    return `the run of ${few.date} has one pass: how far it differs from itself is not known (--passes 2)`;
  const busy = [before, after].find(({ machine }) => machine.cpuShare !== null && machine.cpuShare < BUSY);
  if (busy !== undefined)
    return `the machine was busy in the run of ${busy.date} (threads had a CPU for ${(100 * busy.machine.cpuShare!).toFixed(0)} % of the time): passes of one run are disturbed alike, so they do not show how far two runs differ`;
  return null;
}

export function formatComparison(before: Results, after: Results): string {
  const { changes, added, removed, machine, refused } = compareResults(before, after);
  const lines = [
    `compared with the run of ${before.date} (sternix ${before.versions.sternix}, node ${before.versions.node}, \`${before.command.join(" ")}\`)`,
  ];
  if (refused !== null) lines.push(`no difference is called real: ${refused}`);
  if (Math.abs(Math.log(machine)) > 0.02)
    lines.push(
      `the machine itself was ${(100 * Math.abs(machine - 1)).toFixed(0)} % ${machine > 1 ? "slower" : "faster"} this time; the noise floor is wider by that`,
    );
  const real = changes.filter((change) => change.real);
  const rows = real
    .sort((a, b) => a.ratio - b.ratio)
    .map(({ cell, before: was, ratio, low, high, floor }) => {
      const better = ratio >= 1;
      const times = (value: number): string => (better ? value : 1 / value).toFixed(2);
      const [from, to] = better ? [low, high] : [high, low];
      return [
        `${cell.name} (${conditionsText(cell)}) ${cell.contender}`,
        `${figure(was.median)} ${cell.unit}`,
        `${figure(cell.median)} ${cell.unit}`,
        `${times(ratio)}x ${better ? "better" : "worse"}`,
        `${times(from)}-${times(to)}`,
        `${floor.toFixed(2)}x`,
      ];
    });
  if (rows.length > 0)
    lines.push(table([["", "before", "now", "", "95 % interval", "noise floor"], ...rows]).trimEnd());
  lines.push(
    `${real.length} of ${changes.length} cells differ by more than their spreads and the noise floor` +
      (changes.length > 0
        ? `; geometric mean ${geometricMean(changes.map((c) => c.ratio)).toFixed(3)}x`
        : ""),
  );
  if (added > 0) lines.push(`${added} cells are new`);
  if (removed > 0) lines.push(`${removed} cells are gone`);
  return `${lines.join("\n")}\n`;
}
