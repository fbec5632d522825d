/**
 * What the workloads have in common: options with --help and one-line errors, a seeded generator, and a result whose last line
 * is JSON.
 */
import type { Steps } from "./program.ts";
import type { Sys } from "./sys.ts";

interface NumberOption {
  readonly kind: "number";
  readonly help: string;
  readonly default: number;
  readonly min: number;
  readonly max: number;
  readonly whole: boolean;
}
interface ChoiceOption<T extends string> {
  readonly kind: "choice";
  readonly help: string;
  readonly default: T;
  readonly choices: readonly T[];
}
interface TextOption {
  readonly kind: "text";
  readonly help: string;
  readonly default: string;
}
type Option = NumberOption | ChoiceOption<string> | TextOption;

/** A whole number. */
export const count = (help: string, value: number, min = 1, max = 1e9): NumberOption => ({
  kind: "number",
  help,
  default: value,
  min,
  max,
  whole: true,
});
/** A number with a fraction. */
export const decimal = (help: string, value: number, min: number, max: number): NumberOption => ({
  ...count(help, value, min, max),
  whole: false,
});
export const choice = <const T extends string>(
  help: string,
  choices: readonly [T, ...T[]],
): ChoiceOption<T> => ({
  kind: "choice",
  help,
  default: choices[0],
  choices,
});
export const text = (help: string, value: string): TextOption => ({ kind: "text", help, default: value });

/** Options of every workload. */
export const RUN_OPTIONS = {
  seconds: decimal("how long it runs; 0: until the iterations are over", 1, 0, 86400),
  iterations: count("rounds of each worker; 0: until the time is over", 0, 0),
};

type Values<O extends Readonly<Record<string, Option>>> = {
  readonly [K in keyof O]: O[K] extends ChoiceOption<infer T> ? T : O[K] extends TextOption ? string : number;
};

export interface WorkloadSpec<O extends Readonly<Record<string, Option>>> {
  readonly name: string;
  /** Lines of --help. */
  readonly about: string;
  readonly options: O;
}

/** A mistake in the arguments: one line, status 2. */
class UsageError extends Error {}

/** The options' values; or the exit status, when --help or a mistake ended the program (it is printed). */
export function* readOptions<O extends Readonly<Record<string, Option>>>(
  sys: Sys,
  argv: readonly string[],
  spec: WorkloadSpec<O>,
): Steps<Values<O & typeof RUN_OPTIONS> | number> {
  const options: Readonly<Record<string, Option>> = { ...spec.options, ...RUN_OPTIONS };
  try {
    const given = parse(argv.slice(1), options);
    if (given === null) {
      yield* sys.print(usage(spec.name, spec.about, options));
      return 0;
    }
    const values: Record<string, number | string> = {};
    for (const [name, option] of Object.entries(options)) values[name] = given.get(name) ?? option.default;
    if (given.has("iterations") && values.iterations !== 0 && !given.has("seconds")) values.seconds = 0;
    if (values.seconds === 0 && values.iterations === 0)
      throw new UsageError("--seconds 0 needs --iterations: it would never end");
    return values as Values<O & typeof RUN_OPTIONS>;
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    return yield* usageError(sys, spec.name, error.message);
  }
}

/** One line on standard error, and the exit status of a mistake in the arguments. */
export function* usageError(sys: Sys, name: string, message: string): Steps<number> {
  yield* sys.writeAll(2, `${name}: ${message}; see --help\n`);
  return 2;
}

/** null: help is wanted. */
function parse(
  argv: readonly string[],
  options: Readonly<Record<string, Option>>,
): Map<string, number | string> | null {
  const given = new Map<string, number | string>();
  for (let index = 0; index < argv.length; index++) {
    const word = argv[index]!;
    if (word === "--help" || word === "-h") return null;
    const [, name, inline] = /^--([a-z-]+)(?:=(.*))?$/s.exec(word) ?? [];
    if (name === undefined || !Object.hasOwn(options, name)) throw new UsageError(`unknown argument ${word}`);
    const value = inline ?? argv[++index];
    if (value === undefined) throw new UsageError(`--${name} needs a value`);
    given.set(name, check(name, options[name]!, value));
  }
  return given;
}

function check(name: string, option: Option, value: string): number | string {
  if (option.kind === "text") return value;
  if (option.kind === "choice") {
    if (option.choices.includes(value)) return value;
    throw new UsageError(`--${name} ${value}: give ${option.choices.join(" or ")}`);
  }
  const form = option.whole ? /^\d+$/ : /^\d+(\.\d+)?$/;
  const number = Number(value);
  if (form.test(value) && number >= option.min && number <= option.max) return number;
  const what = option.whole ? "a whole number" : "a number";
  throw new UsageError(`--${name} ${value}: give ${what} from ${option.min} to ${option.max}`);
}

function usage(name: string, about: string, options: Readonly<Record<string, Option>>): string {
  const lines = Object.entries(options).map(([option, { kind, help, ...rest }]) => {
    const value = "choices" in rest ? rest.choices.join("|") : kind === "number" ? "N" : "TEXT";
    const left = `  --${option} ${value}`.padEnd(32);
    return `${left} ${help}${rest.default === "" ? "" : ` (${rest.default})`}\n`;
  });
  return `usage: sternix run [--cpus N] workload:${name} [options]\n\n${about}\n\n${lines.join("")}`;
}

export interface Outcome {
  readonly workload: string;
  readonly operations: number;
  /** What one operation is, in the plural. */
  readonly unit: string;
  readonly seconds: number;
  readonly workers: number;
  readonly cpus: number;
  /** What more there is to know; checked counts among it. */
  readonly details?: Readonly<Record<string, number | string>>;
  /** What only the JSON line has. */
  readonly data?: unknown;
}

/** Version of the JSON line. */
export const OUTCOME_VERSION = 1;

/** Prints the outcome for people, and as a last line of JSON: all of Outcome, `rate` per second and `version`. */
export function* report(sys: Sys, outcome: Outcome): Steps<void> {
  const { workload, operations, unit, seconds, workers, cpus, details = {} } = outcome;
  const rate = seconds > 0 ? operations / seconds : 0;
  const n = (value: number | string) =>
    typeof value === "string" ? value : value.toLocaleString("en-US", { maximumFractionDigits: 2 });
  const plural = (value: number, what: string) => `${n(value)} ${what}${value === 1 ? "" : "s"}`;
  const lines = [
    `${workload}: ${n(Math.round(rate))} ${unit} per second`,
    `  ${n(operations)} ${unit} in ${seconds.toFixed(3)} s, ${plural(workers, "worker")}, ${plural(cpus, "CPU")}`,
    ...Object.entries(details).map(([name, value]) => `  ${name} ${n(value)}`),
    JSON.stringify({ version: OUTCOME_VERSION, ...outcome, rate }),
  ];
  yield* sys.print(`${lines.join("\n")}\n`);
}

/** Random 32-bit numbers from a seed (xorshift32 over a mixed seed): the same in every run. */
export function seeded(seed: number): () => number {
  let state = Math.imul(seed + 1, 0x9e3779b1) | 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}
