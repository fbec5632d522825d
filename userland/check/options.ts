/** The words of `sternix check`. */
import { parseArgs } from "node:util";
import { Failure } from "../cli/failure.ts";
import type { Memory } from "./inside/check.ts";
import type { CheckOptions } from "./run.ts";

/** Status of wrong usage, and of a module that cannot be checked. */
export const WRONG_USAGE = 2;

export const OPTIONS = {
  memory: { hint: "sc,tso,weak", about: "memories to explore (default: all that the scenario names)" },
  only: { hint: "TEXT", about: "only scenarios that have TEXT in their names" },
  states: { hint: "N", about: "states of one scenario on one memory before it is bounded (default 100000)" },
  preemptions: {
    hint: "N",
    about:
      "explore up to so many preemptions (default: all, and where that is too much as many as N states allow)",
  },
  schedules: { hint: "N", about: "random schedules where not everything was explored (default 1000)" },
  seed: { hint: "N", about: "seed of the first of them (default 1)" },
  depth: { hint: "N", about: "ordered events that they look for (default 3)" },
  replay: { hint: "SEED", about: "run the random schedule of that seed, and nothing else" },
  timeout: {
    hint: "SECONDS",
    about: "a thread that does not touch shared memory for so long loops (default 20)",
  },
  verbose: { hint: "", about: "show every access of an interleaving, those inside of RCU too" },
  json: { hint: "", about: "print one JSON object for each scenario and memory" },
} as const;
type Name = keyof typeof OPTIONS;

export interface Command {
  readonly modules: readonly string[];
  readonly options: CheckOptions;
  readonly timeoutMs: number;
  readonly verbose: boolean;
  readonly json: boolean;
}

const wrong = (text: string): never => {
  throw new Failure(`check: ${text}; see \`sternix check --help\``, WRONG_USAGE);
};

/** Throws Failure. */
export function parseCheckOptions(words: readonly string[]): Command {
  let parsed: ReturnType<typeof parse>;
  try {
    parsed = parse(words);
  } catch (error) {
    const unknown = /^Unknown option '(.+?)'/.exec((error as Error).message);
    return wrong(
      unknown === null ? (error as Error).message.split(". ")[0]! : `unknown option ${unknown[1]}`,
    );
  }
  const { values, positionals } = parsed;
  const number = (name: Name, least: number): number | undefined => {
    const text = values[name];
    if (text === undefined) return undefined;
    if (
      typeof text !== "string" ||
      !/^\d+$/.test(text) ||
      Number(text) < least ||
      !Number.isSafeInteger(Number(text))
    )
      wrong(`--${name} ${String(text)}: give a whole number, ${least} or more`);
    return Number(text);
  };
  if (positionals.length === 0) wrong("no module given");
  const memory = values.memory?.split(",") as Memory[] | undefined;
  for (const one of memory ?? [])
    if (!["sc", "tso", "weak"].includes(one)) wrong(`--memory ${one}: the memories are sc, tso and weak`);
  const given = {
    memory,
    only: values.only,
    states: number("states", 1),
    preemptions: number("preemptions", 0),
    schedules: number("schedules", 0),
    seed: number("seed", 0),
    depth: number("depth", 1),
    replay: number("replay", 0),
  };
  return {
    modules: positionals,
    options: Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)),
    timeoutMs: (number("timeout", 1) ?? 20) * 1000,
    verbose: values.verbose === true,
    json: values.json === true,
  };
}

function parse(words: readonly string[]) {
  const text = { type: "string" } as const;
  const flag = { type: "boolean" } as const;
  return parseArgs({
    args: [...words],
    allowPositionals: true,
    options: {
      memory: text,
      only: text,
      states: text,
      preemptions: text,
      schedules: text,
      seed: text,
      depth: text,
      replay: text,
      timeout: text,
      verbose: flag,
      json: flag,
    },
  });
}
