/**
 * What a benchmark hands out: cells, each a contender under one set of conditions. The JSON form is documented in
 * README.md; `schema` changes when a field changes its meaning or goes away.
 */
import { readFileSync } from "node:fs";
import { arch, availableParallelism, cpus, loadavg, platform, release, totalmem } from "node:os";
import { Failure } from "../cli/failure.ts";
import { table } from "../cli/report.ts";
import { compare, type Ratio, type Summary } from "./statistics.ts";

export const SCHEMA = 1;

/** What memory reclamation did during the rounds of a cell. */
export interface Reclaim {
  readonly gracePeriods: number;
  readonly callbacks: number;
  /** Most bytes that waited for a grace period at one time (callbacks pending, times what one keeps). */
  readonly peakUnreclaimedBytes: number;
}

export interface Cell extends Summary {
  /** What is measured: a table, an operation. */
  readonly name: string;
  /** Under which conditions: numbers and words, such as threads, writes (per cent), entries. */
  readonly conditions: Readonly<Record<string, number | string>>;
  readonly contender: string;
  /** Of median, low, high and samples. */
  readonly unit: string;
  /** Whether less is better (times) or more is (rates). */
  readonly better: "less" | "more";
  /** One for each round, in order. */
  readonly samples: readonly number[];
  readonly reclaim?: Reclaim;
}

/** A figure that the project has promised. */
export interface Target {
  readonly what: string;
  readonly target: number;
  readonly measured: number;
  readonly unit: string;
  readonly better: "less" | "more";
  readonly met: boolean;
}

export interface Results {
  readonly schema: typeof SCHEMA;
  readonly bench: string;
  /** ISO 8601. */
  readonly date: string;
  /** The words after `sternix`. */
  readonly command: readonly string[];
  readonly machine: {
    readonly cpu: string;
    readonly cpus: number;
    readonly memoryBytes: number;
    readonly platform: string;
    /** Load average of the last minute when the benchmark began and when it ended: others used the machine too. */
    readonly load: readonly [number, number];
    /**
     * Part of the time for which threads that could run had a CPU, median of all measurements; 1 on a free machine. With
     * less than about 0.95, times are too long. Null: not known.
     */
    readonly cpuShare: number | null;
  };
  /** sternix, node, v8, and the peers by name. */
  readonly versions: Readonly<Record<string, string>>;
  readonly rounds: number;
  readonly cells: readonly Cell[];
  readonly targets: readonly Target[];
  /** What could not be measured here, and why. */
  readonly skipped: readonly string[];
}

/** Version of this package: package.json lies above dist/ as it lies above userland/bench/. */
function sternixVersion(): string {
  const url = new URL(
    import.meta.url.endsWith(".ts") ? "../../package.json" : "../package.json",
    import.meta.url,
  );
  return JSON.parse(readFileSync(url, "utf8")).version;
}

export class ResultsBuilder {
  readonly cells: Cell[] = [];
  readonly targets: Target[] = [];
  readonly skipped: string[] = [];
  readonly versions: Record<string, string> = {
    sternix: sternixVersion(),
    node: process.versions.node,
    v8: process.versions.v8,
  };
  readonly #bench: string;
  readonly #command: readonly string[];
  readonly #rounds: number;
  readonly #date = new Date().toISOString();
  readonly #load = loadavg()[0]!;

  #share: number | null = null;

  constructor(bench: string, command: readonly string[], rounds: number) {
    this.#bench = bench;
    this.#command = command;
    this.#rounds = rounds;
  }

  /** Says once that something is left out. */
  skip(line: string): void {
    if (!this.skipped.includes(line)) this.skipped.push(line);
  }

  target(what: string, unit: string, better: "less" | "more", target: number, measured: number): void {
    const met = better === "less" ? measured <= target : measured >= target;
    this.targets.push({ what, target, measured, unit, better, met });
  }

  cell(name: string, conditions: Cell["conditions"], contender: string): Cell | undefined {
    const wanted = Object.entries(conditions);
    return this.cells.find(
      (cell) =>
        cell.name === name &&
        cell.contender === contender &&
        wanted.every(([key, value]) => cell.conditions[key] === value),
    );
  }

  /** `contender` is to be at least `times` times better than `against`; nothing when one was not measured. */
  ratioTarget(
    name: string,
    conditions: Cell["conditions"],
    contender: string,
    against: string,
    times: number,
  ): void {
    const ours = this.cell(name, conditions, contender);
    const theirs = this.cell(name, conditions, against);
    if (ours === undefined || theirs === undefined) return;
    const { entries: _, ...where } = conditions;
    const what = `${name}, ${conditionsText({ conditions: where })}: ${contender} against ${against}`;
    this.target(what, "x", "more", times, advantage(ours, theirs).ratio);
  }

  /** See Results.machine.cpuShare. */
  cpuShare(share: number): void {
    this.#share = Math.min(share, 1);
  }

  finish(): Results {
    return {
      schema: SCHEMA,
      bench: this.#bench,
      date: this.#date,
      command: this.#command,
      machine: {
        cpu: cpus()[0]?.model ?? "unknown",
        cpus: availableParallelism(),
        memoryBytes: totalmem(),
        platform: `${platform()} ${release()} ${arch()}`,
        load: [this.#load, loadavg()[0]!],
        cpuShare: this.#share,
      },
      versions: this.versions,
      rounds: this.#rounds,
      cells: this.cells,
      targets: this.targets,
      skipped: this.skipped,
    };
  }
}

/** Identity of a cell between two runs. */
export const cellKey = (cell: Cell): string =>
  JSON.stringify([cell.name, cell.contender, cell.unit, Object.entries(cell.conditions).sort()]);

/** "2 threads, 1 % writes, 4,096 entries". */
export const conditionsText = (cell: Pick<Cell, "conditions">): string =>
  Object.entries(cell.conditions)
    .map(([name, value]) => {
      if (typeof value === "string") return `${name} ${value}`;
      if (name === "writes") return `${value} % writes`;
      const singular = name === "entries" ? "entry" : name.replace(/s$/, "");
      return `${value.toLocaleString("en-US")} ${value === 1 ? singular : name}`;
    })
    .join(", ");

/** Three significant digits, thousands separated. */
export function figure(value: number): string {
  if (value === 0) return "0";
  if (Math.abs(value) >= 1000) return Math.round(value).toLocaleString("en-US");
  return Math.abs(value) >= 100 ? value.toFixed(0) : value.toPrecision(3);
}

const spread = (cell: Summary): string => `${figure(cell.low)}-${figure(cell.high)}`;

/** "3.1x", or "same" when the spreads overlap. */
export const ratioText = ({ ratio, real }: Ratio): string =>
  real ? `${ratio >= 10 ? ratio.toFixed(0) : ratio.toFixed(2)}x` : "same";

/** How many times better the first contender of a group is than this one. */
export function advantage(first: Cell, other: Cell): Ratio {
  return first.better === "less" ? compare(other, first) : compare(first, other);
}

/** Cells of one name and one set of conditions, in the order in which they were measured. */
export function groups(cells: readonly Cell[]): Cell[][] {
  const found = new Map<string, Cell[]>();
  for (const cell of cells) {
    const key = JSON.stringify([cell.name, cell.unit, cell.conditions]);
    const group = found.get(key);
    if (group === undefined) found.set(key, [cell]);
    else group.push(cell);
  }
  return [...found.values()];
}

/** Below this share of the CPU times a reader is warned. */
const BUSY = 0.95;

/** Tables for people. The last column says how many times the first contender of the group is better. */
export function formatResults(results: Results): string {
  const lines: string[] = [];
  const { machine, versions } = results;
  lines.push(
    `${machine.cpu}, ${machine.cpus} CPUs, load ${machine.load.map((n) => n.toFixed(1)).join(" to ")}; ` +
      Object.entries(versions)
        .map(([name, version]) => `${name} ${version}`)
        .join(", "),
    `median and quartiles of ${results.rounds} rounds, contenders in turns; "same": the spreads overlap`,
  );
  if (machine.cpuShare !== null && machine.cpuShare < BUSY)
    lines.push(
      `the machine is busy: threads had a CPU for ${(100 * machine.cpuShare).toFixed(0)} % of the time, so these are not the times of a free one`,
    );
  lines.push("");
  for (const group of groups(results.cells)) {
    const first = group[0]!;
    const where = conditionsText(first);
    const showReclaim = group.some((cell) => (cell.reclaim?.callbacks ?? 0) > 0);
    lines.push(`${first.name}${where === "" ? "" : ` (${where})`}, ${first.unit}`);
    const heading = ["", "median", "spread", `${first.contender} is better by`];
    if (showReclaim) heading.push("grace periods", "callbacks", "peak unreclaimed");
    const rows = group.map((cell) => {
      const row = [cell.contender, figure(cell.median), spread(cell)];
      row.push(cell === first ? "" : ratioText(advantage(first, cell)));
      if (showReclaim && cell.reclaim !== undefined) {
        const { gracePeriods, callbacks, peakUnreclaimedBytes } = cell.reclaim;
        row.push(figure(gracePeriods), figure(callbacks), `${figure(peakUnreclaimedBytes / 1024)} KiB`);
      }
      return row;
    });
    lines.push(table([heading, ...rows]));
  }
  if (results.targets.length > 0)
    lines.push("targets", table([["", "target", "measured", ""], ...results.targets.map(targetRow)]));
  for (const line of results.skipped) lines.push(`skipped: ${line}`);
  return `${lines.join("\n").trimEnd()}\n`;
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

/** Reads a file that --json wrote. Throws Failure. */
export function readResults(file: string): Results {
  let parsed: Results;
  try {
    parsed = JSON.parse(readFileSync(file, "utf8"));
  } catch (error) {
    throw new Failure(`${file}: ${(error as Error).message}`);
  }
  if (parsed?.schema !== SCHEMA || !Array.isArray(parsed.cells))
    throw new Failure(`${file}: not results of this version of sternix bench (schema ${SCHEMA})`);
  return parsed;
}
