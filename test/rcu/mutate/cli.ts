/**
 * npm run mutate: derives mistakes from the sources of rcu/ and runs the model's scenarios, the tests and torture on each.
 *
 *   npm run mutate -- [--file rcu/srcu.ts] [--rule NAME] [--id ID] [--jobs N] [--torture SECONDS] [--budget SECONDS] [--killer TEXT]... [--fresh] [--list] [--json FILE]
 *
 * The status is 0 when every mutant is killed or explained (survivors.ts), 1 when one is not, or when an explanation is of no survivor.
 */
import { writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { derive, filesOf, type Mutant } from "./derive.ts";
import { RULES } from "./rules.ts";
import { passing, run } from "./run.ts";
import { SURVIVORS } from "./survivors.ts";
import type { Fate } from "./try.ts";

function usage(message: string): never {
  process.stderr.write(
    `${message}\nusage: npm run mutate -- [--file FILE]... [--rule NAME]... [--id ID]... [--jobs N] [--torture SECONDS]\n` +
      "         [--fresh] [--list] [--json FILE]\n",
  );
  process.exit(2);
}
function options() {
  try {
    return parseArgs({
      options: {
        file: { type: "string", multiple: true },
        rule: { type: "string", multiple: true },
        id: { type: "string", multiple: true },
        jobs: { type: "string" },
        torture: { type: "string", default: "2" },
        budget: { type: "string" },
        killer: { type: "string", multiple: true },
        fresh: { type: "boolean", default: false },
        list: { type: "boolean", default: false },
        json: { type: "string" },
      },
    }).values;
  } catch (error) {
    return usage((error as Error).message);
  }
}
const given = options();
const say = (line: string): void => void process.stdout.write(`${line}\n`);

const files = given.file?.map((file) => (file.startsWith("rcu/") ? file : `rcu/${file}`));
for (const file of files ?? [])
  if (!filesOf().includes(file)) usage(`--file ${file}: ${filesOf().join(", ")}`);
for (const rule of given.rule ?? [])
  if (!RULES.some(({ name }) => name === rule))
    usage(`--rule ${rule}: one of ${RULES.map(({ name }) => name).join(", ")}`);
const jobs = Number(given.jobs ?? Math.max(1, availableParallelism() - 1));
if (!Number.isInteger(jobs) || jobs < 1) usage(`--jobs ${given.jobs}: a whole number from 1`);
const torture = Number(given.torture);
if (!(torture >= 0)) usage(`--torture ${given.torture}: seconds, 0 for none`);
// JSON, in which the results are kept, has no Infinity.
const budget = given.budget === undefined ? Number.MAX_SAFE_INTEGER : Number(given.budget) * 1000;
if (!(budget > 0)) usage(`--budget ${given.budget}: seconds`);

const all = (files ?? filesOf()).flatMap((file) => derive(file));
const chosen = all.filter(
  ({ id, rule }) =>
    (given.rule?.includes(rule) ?? true) && (given.id?.some((part) => id.includes(part)) ?? true),
);
if (chosen.length === 0) usage("no mutant is chosen: --list shows them");

const width = Math.max(...RULES.map(({ name }) => name.length));
const shown = ({ before, after, file, line, id }: Mutant): string =>
  `${id}\n    ${file}:${line}\n    - ${before.replace(/\s+/g, " ")}\n    + ${after.replace(/\s+/g, " ")}`;

if (given.list) {
  for (const mutant of chosen) say(shown(mutant));
  say(`${chosen.length} mutants`);
  if (given.id !== undefined)
    for (const mutant of chosen) say(`${mutant.id}: passed by ${(await passing(mutant, say)).join(", ")}`);
  process.exit();
}

let stopped = false;
process.once("SIGINT", () => {
  say("ends with the mutants that are tried now; the same command goes on from there");
  stopped = true;
});
const fates = await run(chosen, {
  jobs,
  torture,
  budget,
  ...(given.killer === undefined ? {} : { only: given.killer }),
  fresh: given.fresh,
  say,
  stop: () => stopped,
  each(fate, mutant) {
    if (fate.by === null && SURVIVORS[fate.id] === undefined) say(`survives: ${shown(mutant)}`);
    else if (given.id !== undefined)
      say(
        `${fate.id}: ${fate.by === null ? `survives, as ${SURVIVORS[fate.id]}` : `killed by ${fate.killer}: ${fate.what}`}`,
      );
  },
});
if (given.json !== undefined) writeFileSync(given.json, JSON.stringify(fates, null, 1));

const of = (by: Fate["by"], some: readonly Fate[]): string =>
  String(some.filter((fate) => fate.by === by).length).padStart(8);
say(`\n${"rule".padEnd(width)}  derived does not compile   model   tests torture survive`);
for (const { name } of [...RULES, { name: "all" }]) {
  const some = fates.filter(({ id }) => name === "all" || chosen.find((one) => one.id === id)?.rule === name);
  if (some.length === 0) continue;
  say(
    `${name.padEnd(width)} ${String(some.length).padStart(8)}${of("does not compile", some).padStart(17)}${of("model", some)}` +
      `${of("test", some)}${of("torture", some)}${of(null, some)}`,
  );
}

const unexplained = fates.filter(({ by, id }) => by === null && SURVIVORS[id] === undefined);
const derived = new Set(
  filesOf()
    .flatMap((file) => derive(file))
    .map(({ id }) => id),
);
const wrong = [
  ...Object.keys(SURVIVORS)
    .filter((id) => !derived.has(id))
    .map((id) => `${id}: there is no such mutant (any more)`),
  ...fates
    .filter(({ by, id }) => by !== null && SURVIVORS[id] !== undefined)
    .map(({ id, killer }) => `${id}: killed by ${killer}`),
];
for (const one of wrong) say(`explained in survivors.ts, but ${one}`);
if (unexplained.length > 0) say(`${unexplained.length} survive without an explanation`);
process.exitCode = stopped || unexplained.length > 0 || wrong.length > 0 ? 1 : 0;
