/**
 * `npm run soak`: runs the tests again and again under load, on one core and with machines of eight CPUs, and counts how often each test
 * passed and failed. A test that failed once has a cause: its output is kept.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";

export const USAGE = `usage: npm run soak -- [options] [TEST FILE...] [-- AVA OPTIONS]
  --rounds N     stop after N rounds (default: when told to, by Ctrl-C)
  --minutes N    start no round after N minutes
  --load N       threads that do nothing but keep cores busy (default: one for each core)
  --on LIST      settings of a round: plain, one-core, eight-cpus (default: one-core,eight-cpus)
  --keep DIR     where the output of runs with failures is kept (default: soak in the folder of temporary files)
A round runs the tests once in each setting.`;

/** What is different in each setting. */
export const SETTINGS: Readonly<
  Record<string, { readonly before: readonly string[]; readonly env: Readonly<Record<string, string>> }>
> = {
  plain: { before: [], env: {} },
  "one-core": { before: ["taskset", "-c", "0"], env: {} },
  "eight-cpus": { before: [], env: { STERNIX_TEST_CPUS: "8" } },
};

export interface SoakOptions {
  readonly rounds: number;
  readonly minutes: number;
  readonly load: number;
  readonly on: readonly string[];
  readonly keep: string;
  /** Arguments for AVA. */
  readonly tests: readonly string[];
}

/** Throws an Error that names what is wrong. */
export function soakOptions(args: readonly string[], temporary: string): SoakOptions {
  const end = args.indexOf("--");
  const { values, positionals } = parseArgs({
    args: end < 0 ? [...args] : args.slice(0, end),
    allowPositionals: true,
    options: {
      rounds: { type: "string" },
      minutes: { type: "string" },
      load: { type: "string" },
      on: { type: "string", default: "one-core,eight-cpus" },
      keep: { type: "string", default: join(temporary, "soak") },
    },
  });
  const number = (name: "rounds" | "minutes" | "load", least: number, otherwise: number): number => {
    const text = values[name];
    if (text === undefined) return otherwise;
    const value = Number(text);
    if (!(value >= least) || (name !== "minutes" && !Number.isInteger(value)))
      throw new Error(`--${name} ${text}: not a number of ${name === "load" ? "threads" : name}`);
    return value;
  };
  const on = values.on.split(",");
  for (const setting of on)
    if (!Object.hasOwn(SETTINGS, setting))
      throw new Error(`--on ${setting}: there are ${Object.keys(SETTINGS).join(", ")}`);
  return {
    rounds: number("rounds", 1, Number.POSITIVE_INFINITY),
    minutes: number("minutes", 0, Number.POSITIVE_INFINITY),
    load: number("load", 0, availableParallelism()),
    on,
    keep: values.keep,
    tests: [...positionals, ...(end < 0 ? [] : args.slice(end + 1))],
  };
}

/** Passes and failures of one test, in one setting. */
export interface Count {
  passed: number;
  failed: number;
}

/** Reads what AVA's TAP reporter prints: what passed and what did not, by title. */
export function readTap(tap: string): { readonly passed: string[]; readonly failed: string[] } {
  const passed: string[] = [];
  const failed: string[] = [];
  for (const line of tap.split("\n")) {
    const result = /^(not )?ok \d+ - (.*)$/.exec(line);
    if (result === null || / # (SKIP|TODO)/.test(result[2]!)) continue;
    (result[1] === undefined ? passed : failed).push(result[2]!);
  }
  return { passed, failed };
}

/** Counts by setting and title. */
export class Counts {
  readonly #counts = new Map<string, Count>();

  add(
    setting: string,
    run: { readonly passed: readonly string[]; readonly failed: readonly string[] },
  ): void {
    for (const title of run.passed) this.#of(setting, title).passed++;
    for (const title of run.failed) this.#of(setting, title).failed++;
  }
  #of(setting: string, title: string): Count {
    const key = `${setting}: ${title}`;
    const count = this.#counts.get(key) ?? { passed: 0, failed: 0 };
    this.#counts.set(key, count);
    return count;
  }
  get total(): Count {
    const total = { passed: 0, failed: 0 };
    for (const { passed, failed } of this.#counts.values()) {
      total.passed += passed;
      total.failed += failed;
    }
    return total;
  }
  /** A line for each test that failed, those that failed most often first. */
  lines(): string[] {
    return [...this.#counts]
      .filter(([, { failed }]) => failed > 0)
      .sort(([, one], [, other]) => other.failed - one.failed)
      .map(([key, { passed, failed }]) => `${failed} of ${passed + failed} failed: ${key}`);
  }
}

const root = fileURLToPath(new URL("..", import.meta.url));
const running = new Set<ChildProcess>();
let told = false;

function start(
  command: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): ChildProcess {
  // A group of its own: Ctrl-C is for this program, which then ends the run.
  const child = spawn(command, args, {
    cwd: root,
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
    detached: true,
  });
  running.add(child);
  child.once("close", () => running.delete(child));
  return child;
}

/** Ends a process of ours with all that it started. */
function end(child: ChildProcess): void {
  try {
    if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL");
  } catch {
    // It has ended by itself.
  }
}

async function runOnce(
  setting: string,
  tests: readonly string[],
): Promise<{ text: string; status: number | null }> {
  const { before, env } = SETTINGS[setting]!;
  const ava = [process.execPath, join(root, "node_modules/ava/entrypoints/cli.js"), "--tap", ...tests];
  const [command, ...args] = [...before, ...ava];
  const child = start(command!, args, env);
  let text = "";
  child.stdout!.setEncoding("utf8").on("data", (part) => (text += part));
  child.stderr!.setEncoding("utf8").on("data", (part) => (text += part));
  const { promise, resolve, reject } = Promise.withResolvers<number | null>();
  child.once("error", (error) => reject(new Error(`${setting}: cannot start ${command}: ${error.message}`)));
  child.once("close", resolve);
  const status = await promise;
  return { text, status };
}

/** Resolves with the exit status of the command. */
export async function soak(options: SoakOptions, print: (line: string) => void): Promise<number> {
  const counts = new Counts();
  rmSync(options.keep, { recursive: true, force: true });
  mkdirSync(options.keep, { recursive: true });
  for (let n = 0; n < options.load; n++) start(process.execPath, ["-e", "for (;;);"]);
  const until = performance.now() + options.minutes * 60_000;
  let round = 0;
  try {
    while (!told && round < options.rounds && (round === 0 || performance.now() < until)) {
      round++;
      for (const setting of options.on) {
        const { text, status } = await runOnce(setting, options.tests);
        if (told) break; // Cut short: what failed then failed for that.
        const { passed, failed } = readTap(text);
        if (passed.length + failed.length === 0) failed.push("(no test ran)");
        else if (failed.length === 0 && status !== 0) failed.push(`(the run itself: status ${status})`);
        counts.add(setting, { passed, failed });
        print(`round ${round}, ${setting}: ${passed.length} passed, ${failed.length} failed`);
        if (failed.length === 0) continue;
        const file = join(options.keep, `round-${round}-${setting}.log`);
        writeFileSync(file, text);
        for (const title of failed) print(`  ${title}`);
        print(`  output: ${file}`);
      }
    }
  } finally {
    for (const child of running) end(child);
  }
  const { passed, failed } = counts.total;
  for (const line of counts.lines()) print(line);
  print(`${round} round(s): ${passed} passed, ${failed} failed`);
  return failed === 0 && passed > 0 ? 0 : 1;
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const args = process.argv.slice(2);
  if (args.includes("--help")) console.log(USAGE);
  else {
    for (const signal of ["SIGINT", "SIGTERM"] as const)
      process.on(signal, () => {
        told = true;
        for (const child of running) end(child);
      });
    try {
      const { tmpdir } = await import("node:os");
      process.exitCode = await soak(soakOptions(args, tmpdir()), console.log);
    } catch (error) {
      console.error(`soak: ${(error as Error).message}\n${USAGE}`);
      process.exitCode = 2;
    }
  }
}
