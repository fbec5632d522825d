/**
 * `sternix/check` as a module of scenarios sees it: what declares a scenario. It runs in every thread's copy of the code, so it
 * does nothing but check the shape of what it is given.
 */
import type { RcuDomain } from "../../../rcu/index.ts";

export { type FakeCall, type FakeTask, fakeCall, fakeFile, fakeTask, type Plugged, plug } from "./plug.ts";

export type Memory = "sc" | "tso" | "weak";
/** How threads live: see ScenarioOptions.flavour. */
export type Flavour = "domain" | "announcing" | "cpu";

/** A mistake in a scenario, or in what is asked of the checker. */
export class CheckError extends Error {
  readonly code:
    | "ERR_CHECK_MODULE"
    | "ERR_CHECK_SCENARIO"
    | "ERR_CHECK_SETUP"
    | "ERR_CHECK_THREAD"
    | "ERR_CHECK_OPTION"
    | "ERR_CHECK_ENDLESS";
  constructor(code: CheckError["code"], message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
CheckError.prototype.name = "CheckError";

/** What a thread function is given beside its handles. */
export interface Thread {
  /** Its name in `threads`; "check" for the check. */
  readonly name: string;
  /** This thread's registration in the domain of the scenario. Throws CheckError in the flavour "cpu". */
  readonly domain: RcuDomain;
  /**
   * The thread waits until this holds: runs in which it does not hold here end for this thread as if it waited for ever, and are
   * not checked further. In place of a loop that spins. (GenMC: assume.)
   */
  assume(condition: unknown): asserts condition;
  /** The end of an event-loop turn: microtasks run, and the thread is quiescent. In the flavour "cpu": passes a quiescent state. */
  turn(): void;
}

export interface ScenarioOptions {
  /** In reports; default: the name of the export. */
  readonly name?: string;
  /** Memories to explore. Default: all three. */
  readonly memory?: readonly Memory[];
  /**
   * How the threads live. "domain" (default): Node workers of an RcuDomain, idle until their first scope. "announcing": those of
   * an announcing domain. "cpu": CPUs of the kernel, active from the beginning, that use rcuReadLock and pass quiescent states.
   */
  readonly flavour?: Flavour;
  /** Sleeping calls with a time limit may time out this often in each thread, when nobody else can go on. Default: 0. */
  readonly timeouts?: number;
  /** false: what is allocated and not reachable at the end is no mistake. Default: true. */
  readonly leaks?: boolean;
  /**
   * true: results and what `observe` says must be those of the threads one after another, in some order: an outcome that no order gives is
   * reported as a lost update. Default: false.
   */
  readonly serializable?: boolean;
  /** Fields ("struct.field") that may be stored to although another thread changed them after this one had read them. */
  readonly mayOverwrite?: readonly string[];
  /** Fields that several threads may store to plainly. */
  readonly mayRace?: readonly string[];
}

/** Thread functions, by the types of what they return. */
export type Threads<H, R> = { readonly [K in keyof R]: (handles: H, thread: Thread) => R[K] };

/** A scenario without `open`: threads get what `setup` returned. */
export interface SharedLiteral<S, R> extends ScenarioOptions {
  /** Makes what the threads share, in a new heap. Returns plain data (references, numbers, text): each thread gets a copy. */
  setup(): S;
  readonly open?: undefined;
  /** One to four functions. They run to their end, without await; an exception is a violation. */
  readonly threads: Threads<S, R>;
  /** When all threads have ended and all callbacks have run. An exception is a violation. */
  check?(handles: S, results: R, thread: Thread): void;
  /** What else makes up the outcome of a run: plain data. */
  observe?(handles: S, thread: Thread): unknown;
}
/** A scenario whose threads open what they use. */
export interface OpenLiteral<S, H, R> extends ScenarioOptions {
  setup(): S;
  /** In each thread, before it begins: collections by their references, say. Others have not begun either. */
  open(shared: S, thread: Thread): H;
  readonly threads: Threads<H, R>;
  check?(handles: H, results: R, thread: Thread): void;
  observe?(handles: H, thread: Thread): unknown;
}

const SCENARIO = Symbol.for("sternix.check.scenario");

/** A scenario whose types nobody needs to know: what `scenario` returns. */
export interface Scenario extends ScenarioOptions {
  setup(): unknown;
  open?(shared: unknown, thread: Thread): unknown;
  readonly threads: Readonly<Record<string, (handles: unknown, thread: Thread) => unknown>>;
  check?(handles: unknown, results: Readonly<Record<string, unknown>>, thread: Thread): void;
  observe?(handles: unknown, thread: Thread): unknown;
}

const FIELDS: Readonly<Record<string, (value: unknown) => string | null>> = {
  setup: isFunction,
  open: isFunction,
  check: isFunction,
  observe: isFunction,
  threads: threadsProblem,
  name: (value) => (typeof value === "string" && value !== "" ? null : "give a text"),
  memory: (value) =>
    Array.isArray(value) && value.length > 0 && value.every((one) => ["sc", "tso", "weak"].includes(one))
      ? null
      : 'give a list of "sc", "tso" and "weak"',
  flavour: (value) =>
    ["domain", "announcing", "cpu"].includes(value as string) ? null : 'give "domain", "announcing" or "cpu"',
  timeouts: (value) =>
    Number.isInteger(value) && (value as number) >= 0 && (value as number) <= 10
      ? null
      : "give a number, 0 to 10",
  leaks: isBoolean,
  serializable: isBoolean,
  mayOverwrite: isTexts,
  mayRace: isTexts,
};
function isFunction(value: unknown): string | null {
  return typeof value === "function" ? null : "give a function";
}
function isBoolean(value: unknown): string | null {
  return typeof value === "boolean" ? null : "give true or false";
}
function isTexts(value: unknown): string | null {
  return Array.isArray(value) && value.every((one) => typeof one === "string")
    ? null
    : "give a list of texts";
}
function threadsProblem(value: unknown): string | null {
  if (typeof value !== "object" || value === null) return "give an object of functions";
  const functions = Object.values(value);
  if (functions.length < 1 || functions.length > 4) return `there are ${functions.length}: give one to four`;
  const other = Object.entries(value).find(([, one]) => typeof one !== "function");
  return other === undefined ? null : `${other[0]} is not a function`;
}

/** Declares a scenario. Throws CheckError for what has another shape. */
export function scenario<S, R>(literal: SharedLiteral<S, R>): Scenario;
export function scenario<S, H, R>(literal: OpenLiteral<S, H, R>): Scenario;
export function scenario(literal: object): Scenario {
  const wrong = (text: string): never => {
    throw new CheckError("ERR_CHECK_SCENARIO", `scenario(...): ${text}`);
  };
  if (typeof literal !== "object" || literal === null) wrong("give an object with setup and threads");
  const given = literal as Readonly<Record<string, unknown>>;
  for (const name of ["setup", "threads"]) if (given[name] === undefined) wrong(`there is no ${name}`);
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined) continue;
    const problem = Object.hasOwn(FIELDS, name) ? FIELDS[name]!(value) : "there is no such property";
    if (problem !== null) wrong(`${name}: ${problem}`);
  }
  return Object.freeze({ ...given, [SCENARIO]: true }) as unknown as Scenario;
}

export const isScenario = (value: unknown): value is Scenario =>
  typeof value === "object" && value !== null && SCENARIO in value;
