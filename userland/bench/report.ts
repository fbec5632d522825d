/** Results as tables for people. */
import { table } from "../cli/report.ts";
import {
  advantage,
  type Cell,
  conditionsText,
  floorsOf,
  groups,
  type Results,
  type Target,
} from "./results.ts";
import { betweenPasses, quantile, type Ratio, type Summary } from "./statistics.ts";

/** Three significant digits, thousands separated. */
export function figure(value: number): string {
  if (value === 0) return "0";
  if (Math.abs(value) >= 1000) return Math.round(value).toLocaleString("en-US");
  return Math.abs(value) >= 100 ? value.toFixed(0) : value.toPrecision(3);
}

const spread = (cell: Summary): string => `${figure(cell.low)}-${figure(cell.high)}`;

/** "3.1x", or "same" when the difference may be noise. */
export const ratioText = ({ ratio, real }: Ratio): string =>
  real ? `${ratio >= 10 ? ratio.toFixed(0) : ratio.toFixed(2)}x` : "same";

/** Below this share of the CPU times a reader is warned, and nothing is claimed about two runs. */
export const BUSY = 0.95;

const percent = (logarithm: number): string => `${(100 * Math.expm1(logarithm)).toFixed(1)} %`;

/** How far two fresh starts of the same code lie apart. */
export function noiseText(cells: readonly Cell[]): string {
  const distances = cells.map(({ samples }) => betweenPasses(samples)).sort((a, b) => a - b);
  return (
    `noise: from one fresh start to the next the same code differed by ${percent(quantile(distances, 0.5))} (median), ` +
    `${percent(quantile(distances, 0.95))} (95 % of all cells)`
  );
}

/** Tables for people. The last column says how many times the first contender of the group is better. */
export function formatResults(results: Results): string {
  const lines: string[] = [];
  const { machine, versions } = results;
  lines.push(
    `${machine.cpu}, ${machine.cpus} CPUs, load ${machine.load.map((n) => n.toFixed(1)).join(" to ")}; ` +
      Object.entries(versions)
        .map(([name, version]) => `${name} ${version}`)
        .join(", "),
    `median and quartiles of ${results.passes} x ${results.rounds} rounds, contenders in turns; ` +
      '"same": the spreads overlap, or the difference is within the noise',
  );
  if (results.passes > 1 && results.cells.length > 0) lines.push(noiseText(results.cells));
  if (machine.cpuShare !== null && machine.cpuShare < BUSY)
    lines.push(
      `the machine is busy: threads had a CPU for ${(100 * machine.cpuShare).toFixed(0)} % of the time, so these are not the times of a free one`,
    );
  lines.push("");
  const floorOf = floorsOf(results.cells);
  const all = groups(results.cells);
  const alone = all.filter((group) => group.length === 1 && group[0]!.reclaim === undefined);
  for (const group of all.filter((one) => !alone.includes(one))) {
    const first = group[0]!;
    const where = conditionsText(first);
    const showReclaim = group.some((cell) => (cell.reclaim?.callbacks ?? 0) > 0);
    lines.push(`${first.name}${where === "" ? "" : ` (${where})`}, ${first.unit}`);
    const heading = ["", "median", "spread", `${first.contender} is better by`];
    if (showReclaim) heading.push("grace periods", "callbacks", "peak unreclaimed");
    const rows = group.map((cell) => {
      const row = [cell.contender, figure(cell.median), spread(cell)];
      const floor = Math.max(floorOf(first), floorOf(cell));
      row.push(cell === first ? "" : ratioText(advantage(first, cell, floor)));
      if (showReclaim && cell.reclaim !== undefined) {
        const { gracePeriods, callbacks, peakUnreclaimedBytes } = cell.reclaim;
        row.push(figure(gracePeriods), figure(callbacks), `${figure(peakUnreclaimedBytes / 1024)} KiB`);
      }
      return row;
    });
    lines.push(table([heading, ...rows]));
  }
  lines.push(...overview(all.filter((one) => !alone.includes(one))));
  if (alone.length > 0)
    lines.push(table([["", "", "median", "spread", ""], ...alone.map(([cell]) => rowOf(cell!))]));
  if (results.targets.length > 0)
    lines.push("targets", table([["", "target", "measured", ""], ...results.targets.map(targetRow)]));
  for (const line of results.skipped) lines.push(`skipped: ${line}`);
  return `${lines.join("\n").trimEnd()}\n`;
}

/** Few enough to see at a glance. */
const GLANCE = 4;

/** By condition: the value under which most is measured. */
export function usualConditions(cells: readonly Cell[]): ReadonlyMap<string, number | string> {
  const counts = new Map<string, Map<number | string, number>>();
  for (const { conditions } of cells)
    for (const [name, value] of Object.entries(conditions)) {
      const own = counts.get(name) ?? new Map<number | string, number>();
      counts.set(name, own.set(value, (own.get(value) ?? 0) + 1));
    }
  return new Map([...counts].map(([name, own]) => [name, [...own].sort(([, a], [, b]) => b - a)[0]![0]]));
}

/** What is measured against who does it, under the conditions that most have: where a reader would have to leaf through pages. */
function overview(all: readonly (readonly Cell[])[]): string[] {
  const usual = usualConditions(all.map(([first]) => first!));
  const most = all.filter(([first]) =>
    Object.entries(first!.conditions).every(([name, value]) => usual.get(name) === value),
  );
  if (most.length < GLANCE || new Set(most.map(([first]) => first!.unit)).size > 1) return [];
  const contenders = [...new Set(most.flat().map(({ contender }) => contender))];
  const rows = most.map((group) => [
    group[0]!.name,
    ...contenders.map((name) => {
      const cell = group.find(({ contender }) => contender === name);
      return cell === undefined ? "" : figure(cell.median);
    }),
  ]);
  const [{ unit, ...first }] = most[0] as [Cell];
  const where = conditionsText(first);
  return [`medians, ${unit}${where === "" ? "" : ` (${where})`}`, table([["", ...contenders], ...rows])];
}

/** Of what only one contender does. */
function rowOf(cell: Cell): string[] {
  const where = conditionsText(cell);
  const name = `${cell.name}${where === "" ? "" : ` (${where})`}`;
  return [name, cell.contender, figure(cell.median), spread(cell), cell.unit];
}

function targetRow(target: Target): string[] {
  const { what, unit, better, measured, met } = target;
  const by = better === "less" ? measured / target.target : target.target / measured;
  const bound = `${better === "less" ? "at most" : "at least"} ${figure(target.target)} ${unit}`;
  return [
    what,
    bound,
    `${figure(measured)} ${unit}`,
    met ? "met" : `missed by ${((by - 1) * 100).toFixed(0)} %`,
  ];
}
