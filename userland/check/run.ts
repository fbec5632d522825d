/** Checks the scenarios of a module: every interleaving if there are not too many, else as many as can be, and random ones. */
import { existsSync } from "node:fs";
import { fileURLToPath, pathToFileURL } from "node:url";
import { beginLoading, describeLoadError } from "../programs/load.ts";
import { CheckError, isScenario, type Memory, type Scenario } from "./inside/check.ts";
import { type Block, blocksOf, type Place, placeOfError } from "./lines.ts";
import type { Violation } from "./model/explore.ts";
import type { Code } from "./model/instance.ts";
import { borrow } from "./model/seat.ts";
import { LOADING, Subject, told } from "./world.ts";

export type ViolationKind =
  | "use after free"
  | "double free"
  | "stale value"
  | "lost update"
  | "data race"
  | "leak"
  | "deadlock"
  | "missed wake-up"
  | "broken invariant"
  | "misuse of sternix/rcu"
  | "endless loop";

export interface CheckOptions {
  /** Memories to explore: those of the scenario among these. Default: all of the scenario. */
  readonly memory?: readonly Memory[];
  /** Only scenarios whose names contain this. */
  readonly only?: string;
  /** States to explore of one scenario on one memory, at most. Default: 100 000. */
  readonly states?: number;
  /** Preemptions up to which all interleavings are explored where there are more states. Default: as many as the states allow. */
  readonly preemptions?: number;
  /** Random schedules where not everything was explored. Default: 1000. */
  readonly schedules?: number;
  /** Seed of the first one; the next has the next number. Default: 1. */
  readonly seed?: number;
  /** Ordered events that a random schedule looks for: priorities change once less. Default: 3. */
  readonly depth?: number;
  /** Run the random schedule of this seed, and nothing else. */
  readonly replay?: number;
  /** Is told what is being done; a number: what runs (-1 setup, 0 the checker, n the n-th thread). */
  readonly watch?: (what: number | string, threads?: readonly string[]) => void;
}

export interface ViolationReport {
  readonly kind: ViolationKind;
  /** In one sentence. */
  readonly what: string;
  /** Where it shows, or where what leaked was allocated. */
  readonly place: Place | null;
  readonly trace: readonly Block[];
  /** Changes from a thread that could go on to another one. */
  readonly preemptions: number;
  /** No interleaving with fewer preemptions shows it. */
  readonly shortest: boolean;
  /** Of the random schedule that showed it; null: exploration did. */
  readonly seed: number | null;
}
export interface ScenarioReport {
  readonly scenario: string;
  readonly memory: Memory;
  /** "proved": no interleaving shows a mistake. "bounded": none of those that were tried. */
  readonly verdict: "proved" | "bounded" | "violated";
  readonly states: number;
  /** Interleavings, with those counted once that differ in the order of independent accesses only. */
  readonly interleavings: number;
  /** Different outcomes: results and what was observed. */
  readonly outcomes: number;
  /** All interleavings with up to so many preemptions were explored. Infinity: all. */
  readonly preemptions: number;
  /** Random schedules that were run, and the seed of the first. */
  readonly schedules: number;
  readonly seed: number;
  readonly violation: ViolationReport | null;
}

const STATES = 100_000;
const SCHEDULES = 1000;
const DEPTH = 3;

const IN_SOURCE = import.meta.url.endsWith(".ts");
/** A file of this project as the copies import it: in the package they lie as modules of their own in dist/model. */
const file = (path: string): string =>
  new URL(IN_SOURCE ? `../../${path}.ts` : `./model/${path}.js`, import.meta.url).href;
const INSIDE = {
  rcu: file("rcu/index"),
  kernel: file("rcu/kernel"),
  check: file("userland/check/inside/check"),
  sternix: file("userland/check/inside/sternix"),
};
const NAMES: Readonly<Record<string, string>> = {
  "sternix/rcu": INSIDE.rcu,
  "sternix/rcu/kernel": INSIDE.kernel,
  "sternix/check": INSIDE.check,
  sternix: INSIDE.sternix,
  // The subsystems that come with Sternix import it by its files.
  ...(IN_SOURCE
    ? { [file("userland/index")]: INSIDE.sternix, [file("userland/check/index")]: INSIDE.check }
    : {}),
};

interface Found {
  readonly name: string;
  readonly scenario: Scenario;
  readonly pick: (module: unknown) => Scenario;
}

/** Checks each scenario of a module on each memory, in turn, and yields what came of it. Rejects with CheckError. */
export async function* check(
  module: string | URL,
  options: CheckOptions = {},
): AsyncGenerator<ScenarioReport> {
  const path = module instanceof URL ? fileURLToPath(module) : module;
  const subject = pathToFileURL(path);
  if (!existsSync(subject)) throw new CheckError("ERR_CHECK_MODULE", `${path}: there is no such file`);
  const code: Code = {
    library: new URL(file("userland/check/model/library")),
    subject,
    names: NAMES,
    keepCallbacks: true,
    loading: () => options.watch?.(LOADING),
  };
  const all = await scenariosOf(code, path);
  options.watch?.(0);
  const chosen = all.filter(({ name }) => options.only === undefined || name.includes(options.only));
  if (chosen.length === 0)
    throw new CheckError(
      "ERR_CHECK_OPTION",
      `no scenario has "${options.only}" in its name; there are ${all.map(({ name }) => name).join(", ")}`,
    );
  let any = false;
  for (const found of chosen)
    for (const memory of found.scenario.memory ?? (["sc", "tso", "weak"] as const)) {
      if (options.memory !== undefined && !options.memory.includes(memory)) continue;
      any = true;
      yield await checkOne({ ...code, weak: memory === "weak" }, found, memory, options);
    }
  if (!any)
    throw new CheckError("ERR_CHECK_OPTION", `no scenario is for ${options.memory!.join(" or ")} memory`);
}

async function scenariosOf(code: Code, path: string): Promise<Found[]> {
  beginLoading();
  let module: Readonly<Record<string, unknown>>;
  try {
    module = (await borrow(code, 0)).instance.subject as never;
  } catch (error) {
    if (isCheckError(error)) throw new CheckError(error.code, `${path}: ${error.message}`, { cause: error });
    throw new CheckError("ERR_CHECK_MODULE", describeLoadError(path, error), { cause: error });
  }
  const found: Found[] = [];
  for (const [key, value] of Object.entries(module)) {
    const several = Array.isArray(value) && value.length > 0 && value.every(isScenario);
    const list = several ? (value as Scenario[]) : isScenario(value) ? [value] : [];
    for (const [n, scenario] of list.entries())
      found.push({
        name: scenario.name ?? (several ? `${key}[${n}]` : key),
        scenario,
        pick: (copy) => {
          const other = (copy as typeof module)[key];
          return (Array.isArray(other) ? other[n] : other) as Scenario;
        },
      });
  }
  if (found.length === 0)
    throw new CheckError(
      "ERR_CHECK_MODULE",
      `${path}: it exports no scenario: \`export default scenario({ ... })\` of sternix/check, ` +
        `or several under names of their own${Object.keys(module).length === 0 ? "" : `; it exports ${Object.keys(module).join(", ")}`}`,
    );
  return found;
}

export const isCheckError = (error: unknown): error is CheckError =>
  error instanceof Error && error.name === "CheckError";

async function checkOne(
  code: Code,
  { name, scenario, pick }: Found,
  memory: Memory,
  options: CheckOptions,
): Promise<ScenarioReport> {
  const watch = options.watch ?? (() => {});
  watch(`${name}, ${memory} memory`, Object.keys(scenario.threads));
  let subject: Subject;
  try {
    // Copies for all threads, loaded before anything runs.
    for (let n = 1; n <= Object.keys(scenario.threads).length; n++) await borrow(code, n);
    watch(0);
    subject = await Subject.make(code, scenario, name, pick, watch);
  } catch (error) {
    if (!isCheckError(error)) throw error;
    const place = placeOfError(error.cause ?? error);
    const at = place === null ? "" : ` (${place.file}:${place.line})`;
    throw new CheckError(error.code, `scenario ${name}: ${error.message}${at}`, { cause: error });
  }
  const { world } = subject;
  const { states = STATES, schedules = SCHEDULES, seed = 1, depth = DEPTH } = options;
  const report = (
    verdict: ScenarioReport["verdict"],
    more: Partial<ScenarioReport>,
    violation: ViolationReport | null = null,
  ): ScenarioReport => ({
    scenario: name,
    memory,
    verdict,
    states: 0,
    interleavings: 0,
    outcomes: subject.outcomes.size,
    preemptions: -1,
    schedules: 0,
    seed,
    ...more,
    violation,
  });
  if (options.replay !== undefined) {
    const sampled = world.sample(memory, options.replay, 1, depth);
    const more = { schedules: 1, seed: options.replay };
    if (sampled === null) return report("bounded", more);
    return report("violated", more, violationOf(subject, sampled.violation, false, sampled.seed));
  }
  const whole = options.preemptions === undefined ? world.explore(memory, states) : null;
  if (whole !== null && whole.violation === null && !whole.incomplete)
    return report("proved", {
      states: whole.states,
      interleavings: whole.executions,
      preemptions: Number.POSITIVE_INFINITY,
    });
  const bounded = world.bounded(memory, states, options.preemptions);
  const counted = { states: Math.max(whole?.states ?? 0, bounded.states), preemptions: bounded.preemptions };
  const shown = bounded.violation ?? whole?.violation ?? null;
  if (shown !== null)
    return report("violated", counted, violationOf(subject, shown, bounded.violation !== null, null));
  if (bounded.preemptions === Number.POSITIVE_INFINITY) return report("proved", counted);
  const sampled = world.sample(memory, seed, schedules, depth);
  const tried = sampled === null ? schedules : sampled.seed - seed + 1;
  if (sampled === null) return report("bounded", { ...counted, schedules: tried });
  return report(
    "violated",
    { ...counted, schedules: tried },
    violationOf(subject, sampled.violation, false, sampled.seed),
  );
}

function violationOf(
  subject: Subject,
  violation: Violation,
  shortest: boolean,
  seed: number | null,
): ViolationReport {
  const { world, names } = subject;
  // A thread may fail before it shares anything.
  const nodes = violation.moves.at(-1)?.to.nodes ?? world.programs.map((program) => program.root);
  const failing = nodes.findIndex((node) => node.end?.error != null);
  const error = nodes[failing]?.end?.error ?? null;
  const thrown = violation.kind !== "exception" ? null : (error ?? (subject.thrown as Error | null));
  if (isCheckError(thrown)) throw thrown;
  const lost = violation.kind === "leak" ? violation.at : -1;
  const { blocks, allocated } = blocksOf(violation.moves, world.programs, names, world.names, lost);
  const moves = violation.moves.filter((move) => move.kind === "step");
  const preempted = (n: number): boolean => {
    const before = moves[n - 1]!;
    const { nodes, asleep } = before.to;
    return moves[n]!.cpu !== before.cpu && nodes[before.cpu]!.op !== null && !asleep.includes(before.cpu);
  };
  const what =
    allocated === null
      ? violation.what
      : `${violation.what}, allocated by ${allocated.thread} at ${allocated.place.file}:${allocated.place.line}`;
  const lastPlace = blocks.at(-1)?.lines.at(-1)?.place ?? null;
  return {
    kind: kindOf(violation, thrown),
    what: thrown === null ? what : `${error === null ? "check" : names[failing]} throws ${told(thrown)}`,
    place: thrown !== null ? placeOfError(thrown) : (allocated?.place ?? lastPlace),
    trace: blocks,
    preemptions: moves.filter((_, n) => n > 0 && preempted(n)).length,
    shortest,
    seed,
  };
}
function kindOf({ kind }: Violation, thrown: unknown): ViolationKind {
  if (kind === "race") return "data race";
  if (kind !== "exception" && kind !== "broken rule") return kind;
  const { code, message } = thrown as { code?: string; message?: string };
  if (code === "ERR_RCU_DOUBLE_FREE") return "double free";
  if (message?.startsWith("use after free") === true) return "use after free";
  if (message?.endsWith("it runs in circles") === true) return "endless loop";
  return code?.startsWith("ERR_RCU_") === true ? "misuse of sternix/rcu" : "broken invariant";
}
