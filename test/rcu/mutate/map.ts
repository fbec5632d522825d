/** What there is to kill a mutant with, how long each takes on the code as it is, and which statements it passes. Measured once. */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { MemoryModel } from "../../../userland/check/model/machine.ts";
import { SCENARIOS } from "../model/scenarios/index.ts";
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
  const hash = createHash("sha256");
  for (const file of files) hash.update(file).update(readFileSync(new URL(file, ROOT)));
  return hash.digest("hex").slice(0, 16);
}
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

/** The killers, the quickest first. */
export async function killers(say: (line: string) => void): Promise<readonly Killer[]> {
  const name = `killers-${fingerprint([...rcuSources(), ...killerSources()])}`;
  const known = cached<Killer[]>(name);
  if (known !== null) return known;
  say("measuring what the scenarios and tests pass, on the code as it is");
  const found = [...(await scenarios()), ...(await tests(say))].sort((one, other) => one.ms - other.ms);
  keep(name, found);
  return found;
}

async function scenarios(): Promise<Killer[]> {
  const found: Killer[] = [];
  const tries = SCENARIOS.filter(({ full, allowed }) => full !== true && allowed !== true).flatMap(
    ({ name, models = ["tso" as const], fullModels = [] }) =>
      [...models, ...fullModels].map((memory) => ({ scenario: name, memory })),
  );
  const model = modelProcess(true);
  await model.work({ mutant: null, tries: tries.slice(0, 3) }, () => {}, 600_000); // It warms up.
  await model.work(
    { mutant: null, tries },
    (news) => {
      if ("killed" in news)
        throw new Error(`${news.killed.scenario} fails on the code as it is: ${news.what}`);
      if (!("holds" in news)) return;
      const { holds, ms, states, hits } = news;
      found.push({ kind: "model", name: holds.scenario, memory: holds.memory, ms, states, hits });
    },
    600_000,
  );
  model.end();
  return found;
}

async function tests(say: (line: string) => void): Promise<Killer[]> {
  const found: Killer[] = [];
  for (const file of testFiles()) {
    await testProcess(null, [file], 600_000, (news) => {
      if ("failed" in news)
        say(`  ${file} fails on the code as it is (${news.title}: ${news.what}): left out`);
      if ("done" in news)
        found.push({ kind: "test", name: file, memory: null, ms: news.ms, states: 0, hits: news.hits });
    });
  }
  return found;
}
