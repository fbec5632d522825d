/**
 * npm run fuzz -- [--minutes N] [--seed N] [--count N] [--cpus N] [--uid N] [--debug | --no-debug] [--keep FOLDER] [--no-shrink]
 *   [--calls read,write | --calls not,clone,execve]
 * npm run fuzz -- --replay FILE [--times N] [--trace FILE]
 *
 * Random system calls on machine after machine. What finds something is shrunk, printed as a list of calls, and kept as a file that
 * --replay takes. Status 1 when something was found.
 */
import { mkdirSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import type { Syscall } from "../../syscalls/syscall.ts";
import { syscalls } from "../../syscalls/table.ts";
import { type Case, hunt, replay, scriptOf } from "./hunt.ts";
import { show } from "./script.ts";

const { values } = parseArgs({
  allowNegative: true,
  options: {
    minutes: { type: "string", default: "1" },
    seed: { type: "string" },
    count: { type: "string" },
    cpus: { type: "string" },
    uid: { type: "string" },
    debug: { type: "boolean" },
    shrink: { type: "boolean", default: true },
    keep: { type: "string", default: "fuzz-cases" },
    replay: { type: "string" },
    times: { type: "string", default: "5" },
    trace: { type: "string" },
    show: { type: "string" },
    calls: { type: "string" },
  },
});

function number(name: "minutes" | "seed" | "count" | "cpus" | "uid" | "times"): number | undefined {
  const text = values[name];
  if (text === undefined) return undefined;
  const value = Number(text);
  if (Number.isFinite(value) && value >= 0) return value;
  console.error(`fuzz: --${name} ${text}: give a number`);
  process.exit(2);
}

/** The calls that `--calls` names, or all but those. */
function calls(): Syscall[] | undefined {
  if (values.calls === undefined) return undefined;
  const names = values.calls.split(",");
  const without = names[0] === "not";
  if (without) names.shift();
  const unknown = names.find((name) => !syscalls.some((call) => call.name === name));
  if (unknown === undefined) return syscalls.filter((call) => names.includes(call.name) !== without);
  console.error(`fuzz: --calls ${unknown}: there is no such call`);
  process.exit(2);
}

if (values.show !== undefined) {
  console.log(show(scriptOf(Number(values.show), number("uid"), calls())));
} else if (values.replay !== undefined) {
  const { config, script }: Case = JSON.parse(readFileSync(values.replay, "utf8"));
  console.log(show(script));
  const trace = values.trace === undefined ? undefined : openSync(values.trace, "w");
  const chosen = { ...config, cpus: number("cpus") ?? config.cpus, debug: values.debug ?? config.debug };
  const problems = await replay(chosen, script, number("times")!, trace);
  console.log(problems.length === 0 ? "finds nothing" : problems.join("\n"));
  process.exitCode = problems.length === 0 ? 0 : 1;
} else {
  const seed = number("seed") ?? Date.now() % 1_000_000_000;
  console.log(`fuzz: from seed ${seed}`);
  const optional = {
    count: number("count"),
    cpus: number("cpus"),
    uid: number("uid"),
    debug: values.debug,
    calls: calls(),
  };
  const outcome = await hunt({
    seed,
    until: Date.now() + 60_000 * number("minutes")!,
    shrinkMs: values.shrink ? 180_000 : 0,
    log: (line) => console.log(line),
    progress: (line) => console.log(`fuzz: ${line}`),
    ...(Object.fromEntries(Object.entries(optional).filter(([, value]) => value !== undefined)) as object),
  });
  for (const found of outcome.cases) {
    mkdirSync(values.keep, { recursive: true });
    const file = join(values.keep, `seed-${found.script.seed}.json`);
    writeFileSync(file, `${JSON.stringify(found)}\n`);
    console.log(`\n${found.problems.join("\n")}\n${show(found.script)}`);
    if (found.after !== undefined)
      console.log(`// not seen again alone; it ran after ${found.after.join(" ")}`);
    console.log(`// npm run fuzz -- --replay ${file}`);
  }
  console.log(
    `fuzz: ${outcome.rounds} rounds, ${outcome.calls} calls, ${outcome.machines} machines, ${outcome.cases.length} found`,
  );
  process.exitCode = outcome.cases.length === 0 ? 0 : 1;
}
