/** Runs scripts on machine after machine, and makes cases of those that find something. */
import type { Syscall } from "../../syscalls/syscall.ts";
import { generate } from "./generate.ts";
import { Random } from "./random.ts";
import { DATA, type Script } from "./script.ts";
import { type MachineConfig, type Reply, Session } from "./session.ts";
import { shrink } from "./shrink.ts";
import { hex } from "./values.ts";

export interface Options {
  /** Seed of the first script; each next one has the next seed. */
  readonly seed: number;
  /** When to stop (Date.now()). */
  readonly until: number;
  /** Fixed, or chosen anew for each machine. */
  readonly cpus?: number;
  readonly uid?: number;
  readonly debug?: boolean;
  /** Calls to make scripts of. Default: all. */
  readonly calls?: readonly Syscall[];
  /** At most so many scripts. */
  readonly count?: number;
  /** Milliseconds for shrinking a failing script; 0 does not. */
  readonly shrinkMs: number;
  readonly log: (line: string) => void;
  /** Called after each machine that found nothing. */
  readonly progress?: (line: string) => void;
}

/** What found something: a script, the machine, and what was seen. */
export interface Case {
  readonly config: MachineConfig;
  readonly problems: readonly string[];
  readonly script: Script;
  /** Seeds of the scripts that ran before on the same machine, when the script alone finds nothing. */
  readonly after?: readonly number[];
}

export interface Outcome {
  readonly cases: readonly Case[];
  readonly rounds: number;
  readonly calls: number;
  readonly machines: number;
}

const ROUNDS = 40;
const MEMORY = 128 << 20;
/** Opens the mounted folder, whose descriptor stays, and that is all. */
const FIRST: Script = {
  seed: 0,
  uid: 0,
  programs: [
    [{ op: "call", name: "openat", nr: 56, args: [hex(-100), hex(DATA), hex(0o200000), "0x0"], slot: 0 }],
  ],
  data: [{ at: DATA, hex: Buffer.from("host\0").toString("hex") }],
};

/** The machine that scripts from `seed` on run on. */
function configOf(seed: number, options: Options): MachineConfig {
  const random = new Random(seed);
  const [cpus, debug] = [random.pick([1, 2, 2, 4]), random.chance(50)];
  return { cpus: options.cpus ?? cpus, debug: options.debug ?? debug, memory: MEMORY };
}

export const scriptOf = (seed: number, uid?: number, calls?: readonly Syscall[]): Script =>
  generate(seed, uid ?? (seed & 1 ? 1000 : 0), calls);

/** A machine that is warm: what it needs from its first program on is there. */
export async function warm(config: MachineConfig, trace?: number): Promise<Session> {
  const session = await Session.start(config, trace);
  const { problems } = await session.round(FIRST);
  if (problems.length > 0)
    throw new Error(`a machine that did nothing yet has problems: ${problems.join("\n")}`);
  return session;
}

export async function hunt(options: Options): Promise<Outcome> {
  const cases: Case[] = [];
  let [rounds, calls, machines, seed] = [0, 0, 0, options.seed];
  /** One script runs, however long the machine took to boot. */
  const done = () =>
    (rounds > 0 && Date.now() >= options.until) || rounds >= (options.count ?? Number.POSITIVE_INFINITY);
  while (!done()) {
    const config = configOf(seed, options);
    const session = await warm(config);
    machines++;
    const before: number[] = [];
    let reply: Reply | null = null;
    let script = FIRST;
    while (!done() && before.length < ROUNDS) {
      script = scriptOf(seed++, options.uid, options.calls);
      reply = await session.round(script);
      rounds++;
      calls += reply.calls;
      if (reply.problems.length > 0) break;
      before.push(script.seed);
    }
    if (reply === null || reply.problems.length === 0) reply = await session.end();
    else session.kill();
    if (reply.problems.length === 0) {
      options.progress?.(`${rounds} rounds, ${calls} calls, next seed ${seed}`);
      continue;
    }
    options.log(
      `seed ${script.seed} (cpus ${config.cpus}${config.debug ? ", debug" : ""}): ${reply.problems.join("\n")}`,
    );
    cases.push(await caseOf(config, script, reply.problems, before, options));
  }
  return { cases, rounds, calls, machines };
}

/** Runs a script alone on a fresh machine, `times` times or until something is found: that. */
export async function replay(
  config: MachineConfig,
  script: Script,
  times = 1,
  trace?: number,
): Promise<readonly string[]> {
  const session = await warm(config, trace);
  for (let n = 0; n < times; n++) {
    const { problems } = await session.round(script);
    if (problems.length === 0) continue;
    session.kill();
    return problems;
  }
  return (await session.end()).problems;
}

async function caseOf(
  config: MachineConfig,
  script: Script,
  problems: readonly string[],
  before: readonly number[],
  options: Options,
): Promise<Case> {
  if (options.shrinkMs === 0) return { config, problems, script };
  const again = await replay(config, script, 5);
  if (again.length === 0) return { config, problems, script, after: before };
  const kind = kindOf(again);
  let seen = again;
  // As long as nothing is found but leaks, the machine is as good as a fresh one.
  let session: Session | null = null;
  const fails = async (candidate: Script): Promise<boolean> => {
    for (let n = 0; n < 2; n++) {
      session ??= await warm(config);
      const reply = await session.round(candidate);
      if (reply.problems.length === 0) continue;
      if (!reply.problems.every((line) => line.startsWith("leak: "))) {
        session.kill();
        session = null;
      }
      if (kindOf(reply.problems) !== kind) return false;
      seen = reply.problems;
      return true;
    }
    return false;
  };
  const small = await shrink(script, fails, Date.now() + options.shrinkMs);
  (session as Session | null)?.kill();
  return { config, problems: seen, script: small };
}

/** The same fault has the same first words, whatever numbers and places are in them. */
export function kindOf(problems: readonly string[]): string {
  const oops = problems.find((line) => /Oops|died|uncaught|Error/.test(line)) ?? problems[0]!;
  return oops
    .replace(/pid \d+ \([^)]*\)/, "")
    .replace(/\d+/g, "N")
    .split("\n")
    .slice(0, 2)
    .join(" ")
    .slice(0, 160);
}
