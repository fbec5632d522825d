/**
 * npm run fuzz -- [--minutes N] [--seed N] [--count N] [--cpus N] [--uid N] [--debug | --no-debug] [--keep FOLDER] [--no-shrink]
 * npm run fuzz -- --replay FILE [--times N] [--trace FILE]
 *
 * Random system calls on machine after machine. What finds something is shrunk, printed as a list of calls, and kept as a file that
 * --replay takes. Status 1 when something was found.
 */
import { mkdirSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
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

if (values.show !== undefined) {
  console.log(show(scriptOf(Number(values.show), number("uid"))));
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
  const optional = { count: number("count"), cpus: number("cpus"), uid: number("uid"), debug: values.debug };
  const { cases, rounds, calls, machines } = await hunt({
    seed,
    until: Date.now() + 60_000 * number("minutes")!,
    shrinkMs: values.shrink ? 180_000 : 0,
    log: (line) => console.log(line),
    progress: (line) => console.log(`fuzz: ${line}`),
    ...(Object.fromEntries(Object.entries(optional).filter(([, value]) => value !== undefined)) as object),
  });
  for (const found of cases) {
    mkdirSync(values.keep, { recursive: true });
    const file = join(values.keep, `seed-${found.script.seed}.json`);
    writeFileSync(file, `${JSON.stringify(found)}\n`);
    console.log(`\n${found.problems.join("\n")}\n${show(found.script)}`);
    if (found.after !== undefined)
      console.log(`// not seen again alone; it ran after ${found.after.join(" ")}`);
    console.log(`// npm run fuzz -- --replay ${file}`);
  }
  console.log(`fuzz: ${rounds} rounds, ${calls} calls, ${machines} machines, ${cases.length} found`);
  process.exitCode = cases.length === 0 ? 0 : 1;
}
