/** `sternix torture`: runs the torture test and prints what rcutorture would. */
import { closeSync, openSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { findMutant, MUTANTS, type Mutant, mutantsAvailable } from "./mutants.ts";
import { formatReport } from "./report.ts";
import { FLAVOURS, type Flavour } from "./state.ts";
import { MAX_ACTORS, MAX_CPUS, type TortureOptions, torture } from "./torture.ts";

const usage = (
  command: string,
): string => `usage: ${command} [--seconds N] [--cpus N] [--readers N] [--updaters N]
    [--flavour ${FLAVOURS.join("|")}] [--strict] [--crash] [--mutant NAME] [--list-mutants] [--json FILE]

  --seconds N      length of the run (10)
  --cpus N         threads that host the readers and updaters, several to a thread if need be (2)
  --readers N      readers (one to a CPU)
  --updaters N     updaters (one to two CPUs)
  --flavour NAME   whose readers and updaters (qsbr): the kernel's CPUs, tasks preempted in their scopes,
                   SRCU, Tasks RCU, or workers that live in their event loop
  --strict         dereference by atomic load
  --crash          terminate a reading thread now and then
  --mutant NAME    switch a mistake on, to see it caught (in a source tree only)
  --list-mutants   name them, with the mistake each one makes; (model): only the model checker finds it
  --json FILE      write the report there too

Barriers, floods, hotplug, idle threads, deliberate stalls and threads that exit right after a read have threads of
their own. Status: 0 if the test held, 1 if it failed, 2 for wrong usage. Ctrl-C ends the run early.`;

type Values = ReturnType<typeof parse>["values"];

interface Plan {
  readonly options: TortureOptions;
  readonly json: string | undefined;
}

/** Runs with the given arguments, as the command of that name; returns the exit status: 0 success, 1 failure, 2 wrong usage. */
export async function tortureMain(args: string[], command = "sternix torture"): Promise<number> {
  let plan: Plan;
  try {
    const { values } = parse(args);
    if (values.help === true) {
      console.log(usage(command));
      return 0;
    }
    if (values["list-mutants"] === true) {
      console.log(listMutants());
      return 0;
    }
    plan = planOf(values);
    if (plan.json !== undefined) closeSync(openSync(plan.json, "a")); // Better now than after the run.
  } catch (error) {
    console.error(`${command}: ${(error as Error).message}; see \`${command} --help\``);
    return 2;
  }
  const interrupt = new AbortController();
  process.once("SIGINT", () => interrupt.abort());
  const seconds = plan.options.seconds!;
  const report = await torture({
    ...plan.options,
    signal: interrupt.signal,
    progress: progressLine(seconds),
  });
  if (process.stderr.isTTY) process.stderr.write("\r\x1b[K");
  if (interrupt.signal.aborted) console.log(`Interrupted after ${report.seconds.toFixed(1)} s.`);
  if (plan.json !== undefined) writeFileSync(plan.json, `${JSON.stringify(report, null, 2)}\n`);
  console.log(formatReport(report));
  return report.success ? 0 : 1;
}

function parse(args: string[]) {
  return parseArgs({
    args,
    options: {
      help: { type: "boolean", short: "h" },
      seconds: { type: "string" },
      cpus: { type: "string" },
      readers: { type: "string" },
      updaters: { type: "string" },
      flavour: { type: "string" },
      strict: { type: "boolean" },
      crash: { type: "boolean" },
      mutant: { type: "string" },
      "list-mutants": { type: "boolean" },
      json: { type: "string" },
    },
  });
}

/** What the arguments ask for. Throws an error that names the argument and what it may be. */
function planOf(values: Values): Plan {
  const mutant = values.mutant === undefined ? null : usableMutant(values.mutant);
  const flavour = flavourOf(values.flavour, mutant);
  const cpus = integer(values, "cpus", MAX_CPUS);
  const readers = integer(values, "readers", MAX_ACTORS);
  const updaters = integer(values, "updaters", MAX_ACTORS);
  return {
    options: {
      ...mutant?.options,
      seconds: seconds(values.seconds ?? "10"),
      ...(cpus === undefined ? {} : { cpus }),
      ...(readers === undefined ? {} : { readers }),
      ...(updaters === undefined ? {} : { updaters }),
      flavour,
      strict: values.strict === true,
      crash: values.crash === true,
      mutant: mutant?.name ?? null,
    },
    json: values.json,
  };
}

function usableMutant(name: string): Mutant {
  const mutant = findMutant(name);
  if (!mutantsAvailable)
    throw new Error(
      `--mutant ${name}: mutants exist in a source tree only; this is a build, which has no hook`,
    );
  if (mutant.modelOnly !== undefined)
    throw new Error(
      `--mutant ${name}: ${mutant.modelOnly}; the model checker finds it: node test/rcu/model/cli.ts --mutant ${name}`,
    );
  return mutant;
}

function flavourOf(given: string | undefined, mutant: Mutant | null): Flavour {
  if (given !== undefined && !FLAVOURS.includes(given as Flavour))
    throw new Error(`--flavour ${given}: one of ${FLAVOURS.join(", ")}`);
  const needed = mutant?.flavour;
  if (needed !== undefined && given !== undefined && given !== needed)
    throw new Error(`--mutant ${mutant!.name} harms the flavour ${needed}; leave --flavour ${given} out`);
  return (given as Flavour | undefined) ?? needed ?? "qsbr";
}

function integer(values: Values, name: "cpus" | "readers" | "updaters", most: number): number | undefined {
  const text = values[name];
  if (text === undefined) return undefined;
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < 1 || value > most)
    throw new Error(`--${name} ${text}: a whole number from 1 to ${most}`);
  return value;
}

function seconds(text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !(value > 0 && value <= 1e6))
    throw new Error(`--seconds ${text}: a number above 0, at most 1000000`);
  return value;
}

function listMutants(): string {
  return MUTANTS.map(
    ({ name, flavour = "qsbr", why, modelOnly }) =>
      `${name.padEnd(22)} ${(modelOnly === undefined ? flavour : "(model)").padEnd(8)} ${why}`,
  ).join("\n");
}

/** Four times a second on a terminal; elsewhere a line every ten seconds. */
function progressLine(seconds: number): (ms: number, gracePeriods: number) => void {
  const tty = process.stderr.isTTY;
  const step = tty ? 250 : 10_000;
  let next = step;
  return (ms, gracePeriods) => {
    if (ms < next) return;
    next = ms + step;
    const text = `torture: ${(ms / 1000).toFixed(1)} of ${seconds} s, ${gracePeriods} grace periods`;
    process.stderr.write(tty ? `\r\x1b[K${text}` : `${text}\n`);
  };
}

if (import.meta.main) process.exit(await tortureMain(process.argv.slice(2)));
