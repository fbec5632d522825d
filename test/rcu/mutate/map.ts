/** What there is to kill a mutant with, how long each takes on the code as it is, and which statements it passes. Measured once. */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { MemoryModel } from "../../../userland/check/model/machine.ts";
import { SCENARIOS } from "../model/scenarios/index.ts";
import { allProbes } from "./probes.ts";
import { modelProcess, testProcess } from "./processes.ts";
import { ROOT } from "./source.ts";

export interface Killer {
  readonly kind: "model" | "test";
  /** Name of the scenario, or path of the test file. */
  readonly name: string;
  readonly memory: MemoryModel | null;
  readonly ms: number;
  /** Of the model: states that were explored. */
  readonly states: number;
  /** Numbers of the probes that it passes. */
  readonly hits: readonly number[];
}

/**
 * Test files that kill no mutant, or not here: of the model and of torture themselves, of texts, of examples in processes of their own, and
 * of the tool that asks.
 */
const NOT_HERE = /^(model|model-machine|torture|mutate|api|readme|examples|platform|packed|trace)\.test\.ts$/;

export function testFiles(): string[] {
  return readdirSync(new URL("test/rcu/", ROOT))
    .filter((name) => name.endsWith(".test.ts") && !NOT_HERE.test(name))
    .map((name) => `test/rcu/${name}`);
}

const folder = fileURLToPath(new URL("node_modules/.cache/sternix-mutate/", ROOT));

/** A number for what mutants are derived from and what kills them: results are good for as long as it stays. */
export function fingerprint(files: readonly string[]): string {
  const key = files.join();
  const known = prints.get(key);
  if (known !== undefined) return known;
  const hash = createHash("sha256");
  for (const file of files) hash.update(file).update(readFileSync(new URL(file, ROOT)));
  const print = hash.digest("hex").slice(0, 16);
  prints.set(key, print);
  return print;
}
const prints = new Map<string, string>();
function sourcesBelow(...folders: string[]): string[] {
  return folders.flatMap((folder) =>
    readdirSync(new URL(folder, ROOT), { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".ts"))
      .map((name) => `${folder}${name}`)
      .sort(),
  );
}
const killerSources = (): string[] => [
  ...sourcesBelow("test/rcu/model/", "userland/check/model/", "rcu/torture/"),
  ...testFiles(),
];
export const toolSources = (): string[] => [
  ...killerSources(),
  ...sourcesBelow("test/rcu/mutate/").filter((file) => /(rules|harness|hook)\.ts$/.test(file)),
];
export const rcuSources = (): string[] =>
  sourcesBelow("rcu/").filter((file) => /^rcu\/[\w-]+\.ts$/.test(file));

export function cached<T>(name: string): T | null {
  const file = `${folder}${name}.json`;
  return existsSync(file) ? (JSON.parse(readFileSync(file, "utf8")) as T) : null;
}
export function keep(name: string, value: unknown): void {
  mkdirSync(folder, { recursive: true });
  writeFileSync(`${folder}${name}.json`, JSON.stringify(value));
}

/** What was measured of a killer: good for as long as its own text stays the same. */
interface Measured {
  readonly mark: string;
  readonly ms: number;
  readonly states: number;
  /** By file of rcu/: its text as it was, and the probes that were passed, by their place in it. */
  readonly passed: Record<string, { readonly mark: string; readonly probes: readonly number[] }>;
}

/** The killers, the quickest first; those that have one of `only` in their name. Measures those that are new or have changed. */
export async function killers(
  say: (line: string) => void,
  only: readonly string[] | undefined = undefined,
): Promise<readonly Killer[]> {
  const known = cached<Record<string, Measured>>("killers") ?? {};
  const marks = new Map<string, string>();
  for (const { name, memory, mark } of scenarioTries()) marks.set(keyOf("model", name, memory), mark);
  for (const file of testFiles()) marks.set(keyOf("test", file, null), fingerprint([file]));
  for (const key of [...marks.keys()]) {
    const [, name] = JSON.parse(key) as [string, string];
    if (only !== undefined && !only.some((part) => name.includes(part))) marks.delete(key);
  }
  const missing = [...marks].filter(([key, mark]) => known[key]?.mark !== mark).map(([key]) => key);
  if (missing.length > 0) {
    say(`measuring what ${missing.length} scenarios and test files pass, on the code as it is`);
    const note = (killer: Killer): void => {
      const key = keyOf(killer.kind, killer.name, killer.memory);
      known[key] = measured(killer, marks.get(key)!);
      keep("killers", known);
    };
    await measureScenarios(missing, note);
    await measureTests(missing, note, say);
  }
  return [...marks.keys()]
    .flatMap((key) => (known[key] === undefined ? [] : [killerOf(key, known[key])]))
    .sort((one, other) => one.ms - other.ms);
}

const keyOf = (kind: Killer["kind"], name: string, memory: MemoryModel | null): string =>
  JSON.stringify([kind, name, memory]);

function measured({ ms, states, hits }: Killer, mark: string): Measured {
  const passed: Measured["passed"] = {};
  for (const { file, base, probes } of allProbes().values()) {
    const inside = hits.filter((hit) => hit >= base && hit < base + probes.length).map((hit) => hit - base);
    if (inside.length > 0) passed[file] = { mark: fingerprint([file]), probes: inside };
  }
  return { mark, ms, states, passed };
}

/** In a file that has changed since, all is taken to be passed. */
function killerOf(key: string, { ms, states, passed }: Measured): Killer {
  const [kind, name, memory] = JSON.parse(key) as [Killer["kind"], string, MemoryModel | null];
  const hits = [...allProbes().values()].flatMap(({ file, base, probes }) => {
    const there = passed[file];
    if (there === undefined) return [];
    const same = there.mark === fingerprint([file]);
    return (same ? there.probes : [...probes.keys()]).map((probe) => base + probe);
  });
  return { kind, name, memory, ms, states, hits };
}

function scenarioTries(): { name: string; memory: MemoryModel; mark: string }[] {
  return SCENARIOS.filter(({ full, allowed }) => full !== true && allowed !== true).flatMap((scenario) => {
    const { name, models = ["tso" as const], fullModels = [] } = scenario;
    const mark = createHash("sha256").update(String(scenario.build)).digest("hex").slice(0, 16);
    return [...models, ...fullModels].map((memory) => ({ name, memory, mark }));
  });
}

async function measureScenarios(keys: readonly string[], note: (killer: Killer) => void): Promise<void> {
  const tries = scenarioTries()
    .filter(({ name, memory }) => keys.includes(keyOf("model", name, memory)))
    .map(({ name, memory }) => ({ scenario: name, memory }));
  if (tries.length === 0) return;
  const model = modelProcess(true);
  await model.work({ mutant: null, tries: tries.slice(0, 3) }, () => {}, 600_000); // It warms up.
  const how = await model.work(
    { mutant: null, tries },
    (news) => {
      if ("killed" in news)
        throw new Error(`${news.killed.scenario} fails on the code as it is: ${news.what}`);
      if (!("holds" in news)) return;
      const { holds, ms, states, hits } = news;
      note({ kind: "model", name: holds.scenario, memory: holds.memory, ms, states, hits });
    },
    600_000,
  );
  model.end();
  if (how !== "over") throw new Error(`the model ${how} on the code as it is`);
}

async function measureTests(
  keys: readonly string[],
  note: (killer: Killer) => void,
  say: (line: string) => void,
): Promise<void> {
  for (const file of testFiles().filter((one) => keys.includes(keyOf("test", one, null))))
    await testProcess(null, [file], 600_000, (news) => {
      if ("failed" in news)
        say(`  ${file} fails on the code as it is (${news.title}: ${news.what}): left out`);
      if ("done" in news)
        note({ kind: "test", name: file, memory: null, ms: news.ms, states: 0, hits: news.hits });
    });
}
