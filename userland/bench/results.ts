/**
 * What a benchmark hands out: cells, each a contender under one set of conditions. The JSON form is documented in
 * README.md; `schema` changes when a field changes its meaning or goes away.
 */
import { readFileSync } from "node:fs";
import { arch, availableParallelism, cpus, loadavg, platform, release, totalmem } from "node:os";
import { Failure } from "../cli/failure.ts";
import { Reference } from "./reference.ts";
import {
  compare,
  median,
  noiseFloors,
  type Passes,
  type Ratio,
  type Sampled,
  sampled,
} from "./statistics.ts";

export const SCHEMA = 2;

/** What memory reclamation did during the rounds of a cell. */
export interface Reclaim {
  readonly gracePeriods: number;
  readonly callbacks: number;
  /** Most bytes that waited for a grace period at one time: callbacks that each thread had queued, times what one keeps. */
  readonly peakUnreclaimedBytes: number;
}

/** Which measurement it is. */
export interface CellName {
  /** What is measured: a table, an operation. */
  readonly name: string;
  /** Under which conditions: numbers and words, such as threads, writes (per cent), entries. */
  readonly conditions: Readonly<Record<string, number | string>>;
  readonly contender: string;
  /** Of median, low, high and samples. */
  readonly unit: string;
  /** Whether less is better (times) or more is (rates). */
  readonly better: "less" | "more";
  /** Noisier than others of its contender: who takes part waits for others to get a CPU. */
  readonly switching?: true;
}

export interface Cell extends CellName, Sampled {
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
    /** Nanoseconds of a fixed loop that has nothing to do with Sternix (reference.ts), median over the run; 0: not taken. */
    readonly referenceNs: number;
  };
  /** sternix, node, v8, and the peers by name. */
  readonly versions: Readonly<Record<string, string>>;
  /** Fresh starts, and samples of each cell in each of them. */
  readonly passes: number;
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

interface Collected {
  readonly of: CellName;
  /** What `of` and `samples` are now; null: samples came since. */
  cell: Cell | null;
  readonly samples: number[][];
  reclaim: Reclaim | undefined;
}

export class ResultsBuilder {
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
  readonly #collected = new Map<string, Collected>();
  readonly #shares: number[] = [];
  #reference: Reference | null = null;
  #pass = 0;
  #passes = 1;

  constructor(bench: string, command: readonly string[], rounds: number) {
    this.#bench = bench;
    this.#command = command;
    this.#rounds = rounds;
  }

  /** From now on, samples come from a fresh start. */
  beginPass(pass: number): void {
    this.#pass = pass;
    this.#passes = Math.max(this.#passes, pass + 1);
  }

  /** Measures how fast the machine is right now; benchmarks call it every now and then. */
  async takeReference(): Promise<void> {
    this.#reference ??= new Reference();
    await this.#reference.take();
  }

  /** Adds the samples of one pass to a cell. */
  record(of: CellName, samples: readonly number[], reclaim?: Reclaim): void {
    const key = cellKey(of);
    let collected = this.#collected.get(key);
    if (collected === undefined) {
      collected = { of, cell: null, samples: [], reclaim: undefined };
      this.#collected.set(key, collected);
    }
    const pass = (collected.samples[this.#pass] ??= []);
    pass.push(...samples);
    collected.cell = null;
    if (reclaim !== undefined) collected.reclaim = bothReclaims(collected.reclaim, reclaim);
  }

  get cells(): readonly Cell[] {
    return [...this.#collected.values()].map((collected) => this.#cellOf(collected));
  }

  #cellOf(collected: Collected): Cell {
    const { of, samples, reclaim } = collected;
    collected.cell ??= {
      ...of,
      ...sampled(samples.filter((pass) => pass !== undefined)),
      ...(reclaim === undefined ? {} : { reclaim }),
    };
    return collected.cell;
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

  /** Of one measurement: see Results.machine.cpuShare. */
  cpuShare(share: number): void {
    this.#shares.push(Math.min(share, 1));
  }

  finish(): Results {
    void this.#reference?.stop();
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
        cpuShare: this.#shares.length === 0 ? null : median(this.#shares),
        referenceNs: this.#reference?.ns ?? 0,
      },
      versions: this.versions,
      passes: this.#passes,
      rounds: this.#rounds,
      cells: this.cells,
      targets: this.targets,
      skipped: this.skipped,
    };
  }
}

/** Of two measurements together. */
export function bothReclaims(one: Reclaim | undefined, other: Reclaim): Reclaim {
  if (one === undefined) return other;
  return {
    gracePeriods: one.gracePeriods + other.gracePeriods,
    callbacks: one.callbacks + other.callbacks,
    peakUnreclaimedBytes: Math.max(one.peakUnreclaimedBytes, other.peakUnreclaimedBytes),
  };
}

/** Identity of a cell between two runs. */
export const cellKey = (cell: CellName): string =>
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

/** Cells of a kind are about equally noisy: one contender, with so many threads or CPUs, switching or not. */
const kindOf = ({ contender, conditions, switching }: CellName): string =>
  JSON.stringify([contender, conditions.threads ?? conditions.cpus ?? 0, switching ?? false]);

/** How much each cell differs from itself, see noiseFloors: over the cells of one run, or of two. */
export const floorsOf = (cells: readonly Cell[]): ((cell: Cell) => number) =>
  noiseFloors<Cell>(cells, kindOf, ({ samples }: { readonly samples: Passes }) => samples);

/** How many times better the first contender of a group is than this one; both were measured in turns. */
export function advantage(first: Cell, other: Cell, floor = 0): Ratio {
  return first.better === "less" ? compare(other, first, floor, true) : compare(first, other, floor, true);
}

/** Cells of one name and one set of conditions: names in the order in which they were first measured, so their conditions. */
export function groups(cells: readonly Cell[]): Cell[][] {
  const found = new Map<string, Cell[]>();
  for (const cell of cells) {
    const key = JSON.stringify([cell.name, cell.unit, cell.conditions]);
    const group = found.get(key);
    if (group === undefined) found.set(key, [cell]);
    else group.push(cell);
  }
  const names = [...new Set(cells.map(({ name }) => name))];
  return [...found.values()].sort(([a], [b]) => names.indexOf(a!.name) - names.indexOf(b!.name));
}

/** Reads a file that --json wrote. Throws Failure. */
export function readResults(file: string): Results {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const why = code === "ENOENT" ? "there is no such file" : message;
    throw new Failure(`${file}: ${why}; give a file that \`sternix bench ... --json FILE\` wrote`);
  }
  let parsed: Results;
  try {
    parsed = JSON.parse(text);
  } catch {
    throw new Failure(`${file}: is not JSON; give a file that \`sternix bench ... --json FILE\` wrote`);
  }
  if (typeof parsed?.schema !== "number" || !Array.isArray(parsed.cells))
    throw new Failure(`${file}: holds no results of sternix bench; give a file that its --json wrote`);
  if (parsed.schema !== SCHEMA)
    throw new Failure(
      `${file}: results of schema ${parsed.schema}, this version reads schema ${SCHEMA}; ` +
        `measure again with this version, or compare with the version that wrote it (sternix ${parsed.versions?.sternix ?? "unknown"})`,
    );
  return parsed;
}
