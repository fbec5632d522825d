/** `sternix bench SUITE [options]`. */
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { Failure } from "../cli/failure.ts";

export const SUITES = ["tables", "rcu", "syscalls", "workloads"] as const;
export type Suite = (typeof SUITES)[number];

export interface BenchOptions {
  readonly suite: Suite;
  readonly quick: boolean;
  /** Every combination of conditions. */
  readonly full: boolean;
  readonly json: string | null;
  readonly plot: string | null;
  readonly compare: string | null;
  /** Only what has one of these in its name; empty: all. */
  readonly only: readonly string[];
  /** Null: what the suite measures usually. */
  readonly threads: readonly number[] | null;
  /** Per cent; tables. */
  readonly writes: readonly number[] | null;
  /** Null: the sizes that each table names. */
  readonly entries: readonly number[] | null;
  /** Null: all. */
  readonly contenders: readonly string[] | null;
  /** Fresh starts: new threads, new tables, new machines. */
  readonly passes: number;
  /** Measurements of each contender in each pass, in turns. */
  readonly rounds: number;
  /** Length of one measurement. */
  readonly ms: number;
  /** How long disturbed measurements may be made again, all in all. */
  readonly retryMs: number;
  /** How long the whole benchmark is to take at most, about. */
  readonly limitMs: number;
  /** Seconds without progress after which it is a hang; 0: none is. */
  readonly stall: number;
  readonly seed: number;
  /** `cpu` counts the time that threads had a CPU: for busy machines. It hides the time slept for locks. */
  readonly clock: "wall" | "cpu";
  /** The words after `sternix`. */
  readonly command: readonly string[];
}

const numbers = (name: string, text: string, least: number, most: number): number[] =>
  text.split(",").map((part) => {
    const value = Number(part);
    if (part === "" || !Number.isInteger(value) || value < least || value > most)
      throw new Failure(
        `--${name} ${text}: give whole numbers from ${least} to ${most}, separated by commas`,
      );
    return value;
  });

/**
 * The names that --only or --contenders chose among those there are. Throws Failure, with what there is, for one that chooses
 * nothing. `whole`: the name has to be given in full.
 */
export function chosen<T>(
  option: "only" | "contenders",
  given: readonly string[] | null,
  all: readonly T[],
  nameOf: (one: T) => string,
  whole = false,
): readonly T[] {
  if (given === null || given.length === 0) return all;
  const fits = (one: T, part: string): boolean => (whole ? nameOf(one) === part : nameOf(one).includes(part));
  for (const part of given)
    if (!all.some((one) => fits(one, part)))
      throw new Failure(
        `--${option} ${part}: there ${all.length === 1 ? "is" : "are"} ${all.map(nameOf).join(", ")}`,
      );
  return all.filter((one) => given.some((part) => fits(one, part)));
}

/** 1, 2, 4 ... up to the number of CPUs, and 2 at least. */
export function usualThreads(): number[] {
  const counts = [1, 2];
  for (let n = 4; n <= availableParallelism(); n *= 2) counts.push(n);
  return counts;
}

const MAX_THREADS = 32;
/** --quick is to end within 30 seconds, also on a busy machine. */
const QUICK_LIMIT_MS = 24_000;
/** Without being asked for more. */
const USUAL_LIMIT_MS = 720_000;
/** Part of the limit that goes into measuring again what was disturbed; milliseconds where there is no limit. */
const RETRY_SHARE = 1 / 12;
const RETRY_MS = 120_000;
/** A hang is no progress for so many seconds, and for so many times the length of one measurement. */
const STALL_S = 120;
const STALL_TIMES = 40;

/** The words that say what is measured: not those that name files of this machine. */
function withoutFiles(argv: readonly string[]): string[] {
  const named = /^--(?:json|plot|compare)(=|$)/;
  return argv.filter((word, at) => !named.test(word) && named.exec(argv[at - 1] ?? "")?.[1] !== "");
}

/** Throws Failure for what the user got wrong. */
export function parseBenchOptions(argv: readonly string[]): BenchOptions {
  const text = { type: "string" } as const;
  let parsed: ReturnType<typeof parse>;
  const parse = () =>
    parseArgs({
      args: [...argv],
      allowPositionals: true,
      options: {
        quick: { type: "boolean", default: false },
        full: { type: "boolean", default: false },
        json: text,
        plot: text,
        compare: text,
        only: { type: "string", multiple: true, default: [] },
        threads: text,
        writes: text,
        entries: text,
        contenders: text,
        passes: text,
        rounds: text,
        ms: text,
        seed: text,
        clock: text,
        limit: text,
        stall: text,
      },
    });
  try {
    parsed = parse();
  } catch (error) {
    const [mistake] = (error as Error).message.split(". ");
    throw new Failure(`${mistake}; see \`sternix bench --help\``);
  }
  const { values, positionals } = parsed;
  const [suite, ...rest] = positionals;
  if (suite === undefined || !SUITES.includes(suite as Suite))
    throw new Failure(
      `${suite === undefined ? "no benchmark given" : `unknown benchmark ${suite}`}: ${SUITES.join(", ")}; see \`sternix bench --help\``,
    );
  if (rest.length > 0) throw new Failure(`unexpected ${rest.join(" ")}; see \`sternix bench --help\``);
  const { quick } = values;
  const one = (
    name: "passes" | "rounds" | "ms" | "seed" | "limit" | "stall",
    fallback: number,
    most: number,
    least = 1,
  ): number => {
    const given = values[name];
    return given === undefined ? fallback : numbers(name, given, least, most)[0]!;
  };
  if (values.full && (quick || suite !== "tables"))
    throw new Failure(
      quick
        ? "--full and --quick: give one of them"
        : `--full: bench ${suite} has no use for it; bench tables has`,
    );
  for (const name of ["writes", "entries", "clock", "seed"] as const)
    if ((suite === "syscalls" || suite === "workloads") && values[name] !== undefined)
      throw new Failure(`--${name}: bench ${suite} has no use for it; bench tables has`);
  const clock = values.clock ?? "wall";
  if (clock !== "wall" && clock !== "cpu") throw new Failure(`--clock ${clock}: wall or cpu`);
  const ms = one("ms", quick ? 6 : 25, 100_000);
  // Who says how much is to be measured waits for it.
  const sized = values.full || [values.passes, values.rounds, values.ms].some((given) => given !== undefined);
  const usualLimit = quick ? QUICK_LIMIT_MS : sized ? 0 : USUAL_LIMIT_MS;
  const limitMs = one("limit", usualLimit / 1000, 1_000_000, 0) * 1000 || Number.POSITIVE_INFINITY;
  const endless = values.limit !== undefined && limitMs === Number.POSITIVE_INFINITY;
  return {
    suite: suite as Suite,
    quick,
    full: values.full,
    json: values.json ?? null,
    plot: values.plot ?? null,
    compare: values.compare ?? null,
    only: values.only,
    threads: values.threads === undefined ? null : numbers("threads", values.threads, 1, MAX_THREADS),
    writes: values.writes === undefined ? null : numbers("writes", values.writes, 0, 100),
    entries: values.entries === undefined ? null : numbers("entries", values.entries, 1, 1 << 20),
    contenders: values.contenders?.split(",") ?? null,
    passes: one("passes", 2, 100),
    rounds: one("rounds", quick ? 3 : 4, 1000),
    ms,
    retryMs: endless ? limitMs : Math.min(limitMs * RETRY_SHARE, RETRY_MS),
    limitMs,
    stall: one("stall", Math.max(STALL_S, (ms * STALL_TIMES) / 1000), 1_000_000, 0),
    seed: one("seed", 1, 0x7fff_ffff),
    clock,
    command: ["bench", ...withoutFiles(argv)],
  };
}
