/** What a copy of the code sees instead of Atomics, typed arrays, the clocks, the event loop and the process. */
import { applied, type OpKind } from "./access.ts";
import { type Element, viewsOf } from "./views.ts";

/** What Atomics.wait answers, by the numbers of access.ts. */
const ANSWERS = ["ok", "not-equal", "timed-out"] as const;

/** Who runs, and gets the accesses: a program that is explored, or what comes after it. */
export interface Runner {
  access(kind: OpKind, at: number, a: number, b: number): number;
  /** Milliseconds. */
  now(): number;
  /** At the end of the event-loop turn. */
  later(turn: () => void): void;
  print(text: string): void;
}

/** The globals that a copy sees. */
export type Globals = Readonly<Record<Element, unknown>> & {
  readonly Atomics: unknown;
  readonly Date: unknown;
  readonly performance: { now(): number };
  readonly setImmediate: (turn: () => void) => void;
  readonly queueMicrotask: (turn: () => void) => void;
  readonly setTimeout: unknown;
  readonly process: unknown;
  readonly console: unknown;
};

/**
 * The globals of a CPU's copy of the code: every access to the heap goes to whoever runs. `direct`: to the heap itself. `arch` is what
 * process.arch says.
 */
export function globalsOf(direct: () => boolean, runner: () => Runner, arch: string): Globals {
  const access = (words: Int32Array, kind: OpKind, at: number, a = 0, b = 0): number => {
    if (!direct()) return runner().access(kind, at, a, b);
    const old = words[at]!;
    const fresh = applied({ kind, at, a, b }, old);
    if (fresh !== undefined) words[at] = fresh;
    if (kind === "wait" && old === (a | 0))
      throw new Error("nobody can wake it: the world is still being made");
    return kind === "notify" ? 0 : kind === "wait" ? 1 : old;
  };
  const views = viewsOf(access, direct);
  const at = (proxy: object, kind: OpKind, index: number, a = 0, b = 0): number => {
    const { words, start } = views.seen(proxy);
    return access(words, kind, start + index, a, b);
  };
  const now = (): number => (direct() ? 1 : runner().now());
  const later = (turn: () => void): void => runner().later(turn);
  return {
    ...views.constructors,
    Date: new Proxy(Date, { get: (real, key) => (key === "now" ? now : Reflect.get(real, key)) }),
    performance: { now },
    setImmediate: (turn: () => void) => later(turn),
    queueMicrotask: (turn: () => void) => later(turn),
    // No run lasts long enough for a timer to matter.
    setTimeout: () => ({ unref() {}, ref() {} }),
    process: processOf((text) => direct() || runner().print(text), arch),
    console: consoleOf((text) => direct() || runner().print(text)),
    Atomics: {
      load: (p: object, n: number) => at(p, "atomic load", n),
      store: (p: object, n: number, value: number) => {
        at(p, "atomic store", n, value);
        return value;
      },
      add: (p: object, n: number, value: number) => at(p, "add", n, value),
      sub: (p: object, n: number, value: number) => at(p, "add", n, -value),
      and: (p: object, n: number, value: number) => at(p, "and", n, value),
      or: (p: object, n: number, value: number) => at(p, "or", n, value),
      exchange: (p: object, n: number, value: number) => at(p, "exchange", n, value),
      compareExchange: (p: object, n: number, expected: number, value: number) =>
        at(p, "compare", n, expected, value),
      wait: (p: object, n: number, value: number) => ANSWERS[at(p, "wait", n, value)],
      notify: (p: object, n: number, count = 64) => at(p, "notify", n, count),
    },
  };
}

/**
 * The process: copies come and go, so nothing is registered with the real one, and no switch of the environment counts. Its `arch` is a
 * machine's whose memory is modelled: rcu/ does less where that keeps order.
 */
function processOf(print: (text: string) => void, arch: string): unknown {
  const nothing = (): void => {};
  const env = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !name.startsWith("STERNIX_")),
  );
  const own: Readonly<Record<string, unknown>> = {
    env,
    arch,
    on: nothing,
    off: nothing,
    once: nothing,
    emitWarning: (warning: unknown) => print(`warning: ${String(warning)}`),
  };
  return new Proxy(process, {
    get: (real, key) =>
      typeof key === "string" && Object.hasOwn(own, key) ? own[key] : Reflect.get(real, key),
  });
}

/** A program runs again and again: what it prints is shown where a single run is. */
function consoleOf(print: (text: string) => void): unknown {
  const say = (...values: unknown[]): void => print(values.map((value) => String(value)).join(" "));
  return { log: say, info: say, warn: say, error: say, debug: say };
}
