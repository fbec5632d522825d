/** Tries to kill one mutant, with what is quickest first. */

import type { Mutant } from "./derive.ts";
import type { Killer } from "./map.ts";
import type { ModelNews, ModelTry } from "./model-child.ts";
import { probeFor, probesOf } from "./probes.ts";
import { type ModelProcess, testProcess, tortureProcess } from "./processes.ts";

export interface Fate {
  readonly id: string;
  /** Null: it survives. */
  readonly by: "model" | "test" | "torture" | "does not compile" | null;
  /** Name of the scenario (and its memory) or of the file. */
  readonly killer: string;
  readonly what: string;
  readonly ms: number;
}

/** Of the model, so much is tried before the tests of a file are. */
const QUICK = 120;
/** Without news for so long, a mutant hangs: this, and a multiple of what the killer takes on the code as it is. */
const PATIENCE = 4000;
const TIMES = 8;

/** How likely a killer that passes the statement looks at what is wrong there: it passes much else of that file. */
function order(killer: Killer, file: string): number {
  const { base, probes } = probesOf(file)!;
  const inFile = killer.hits.reduce(
    (sum, hit) => sum + (hit >= base && hit < base + probes.length ? 1 : 0),
    0,
  );
  const share = inFile / Math.max(1, probes.length);
  return killer.ms / (share * share + 0.01);
}

export const keyOf = (killer: Killer): string =>
  killer.kind === "model" ? `${killer.name} (${killer.memory})` : killer.name;

export function killersOf(mutant: Mutant, killers: readonly Killer[], first: string | null): Killer[] {
  const probe = probeFor(mutant.file, mutant.edits);
  const passing = killers.filter(({ hits }) => probe < 0 || hits.includes(probe));
  const ordered = passing
    .map((killer) => ({ killer, at: keyOf(killer) === first ? -1 : order(killer, mutant.file) }))
    .sort((one, other) => one.at - other.at);
  return ordered.map(({ killer }) => killer);
}

/** Whose readers a mistake in the file may harm, in torture. */
function flavourOf(file: string): string {
  if (/srcu|waitlist/.test(file)) return "srcu";
  if (/tasks/.test(file)) return "tasks";
  if (/preempt/.test(file)) return "preempt";
  if (/domain|turn|idle|guard/.test(file)) return "domain";
  return "qsbr";
}

export interface Means {
  readonly model: ModelProcess;
  readonly killers: readonly Killer[];
  /** Seconds of torture; 0: none. */
  readonly torture: number;
  /** Killers are tried that take so many milliseconds together on the code as it is, the likeliest first. */
  readonly budget: number;
}

export async function tryMutant(mutant: Mutant, means: Means, first: string | null): Promise<Fate> {
  const since = performance.now();
  const fate = (by: Fate["by"], killer: string, what: string): Fate => ({
    id: mutant.id,
    by,
    killer,
    what: what.slice(0, 300),
    ms: Math.round(performance.now() - since),
  });
  let spent = 0;
  const chosen = killersOf(mutant, means.killers, first).filter(({ ms }) => {
    const fits = spent + ms <= means.budget;
    if (fits) spent += ms;
    return fits;
  });
  const models = chosen.filter(({ kind }) => kind === "model");
  const tests = chosen.filter(({ kind }) => kind === "test");
  const quick = models.filter((one) => one.ms <= QUICK || keyOf(one) === first);
  const slow = models.filter((one) => !quick.includes(one));
  const firstIsTest = tests[0] !== undefined && keyOf(tests[0]) === first;
  const steps: (() => Promise<Fate | null>)[] = [
    () => inModel(quick),
    () => inTests(tests),
    () => inModel(slow),
  ];
  if (firstIsTest) steps.unshift(() => inTests([tests.shift()!]));
  for (const step of steps) {
    const found = await step();
    if (found !== null) return found;
  }
  if (means.torture > 0) {
    const flavour = flavourOf(mutant.file);
    const found = await tortureProcess(mutant, flavour, means.torture);
    if (found !== null) return fate("torture", flavour, found);
  }
  return fate(null, "", "");

  async function inModel(some: readonly Killer[]): Promise<Fate | null> {
    if (some.length === 0) return null;
    let killed: Fate | null = null;
    let now: Killer | undefined = some[0];
    const tries = some.map(
      (one): ModelTry => ({ scenario: one.name, memory: one.memory!, limit: one.states * 2 + 5000 }),
    );
    const hear = (news: ModelNews): void => {
      if ("begins" in news)
        now = some.find((one) => one.name === news.begins.scenario && one.memory === news.begins.memory);
      if ("killed" in news)
        killed = /^SyntaxError/.test(news.what)
          ? fate("does not compile", "", news.what)
          : fate("model", now === undefined ? "" : keyOf(now), news.what);
    };
    const limit = (): number => PATIENCE + TIMES * (now?.ms ?? 0);
    const how = await means.model.work({ mutant, tries }, hear, limit);
    if (killed === null && how !== "over") killed = fate("model", keyOf(now!), how);
    return killed;
  }

  async function inTests(some: readonly Killer[]): Promise<Fate | null> {
    const failed = await fails(some);
    // Not the first file of its process: it has to fail alone as well.
    if (
      failed !== null &&
      !failed.what.endsWith(": hangs") &&
      some.length > 1 &&
      failed.killer !== keyOf(some[0]!)
    ) {
      const at = some.findIndex((one) => keyOf(one) === failed.killer);
      const alone = await fails([some[at]!]);
      return alone ?? inTests(some.slice(at + 1));
    }
    return failed;
  }
  async function fails(some: readonly Killer[]): Promise<Fate | null> {
    if (some.length === 0) return null;
    let now = some[0]!;
    let title = "";
    let killed: Fate | null = null;
    const limit = (): number => PATIENCE + TIMES * now.ms;
    const files = some.map(({ name }) => name);
    const how = await testProcess(mutant, files, limit, (news) => {
      if ("title" in news && !("failed" in news)) {
        now = some.find(({ name }) => name === news.file) ?? now;
        title = news.title;
      }
      if ("done" in news) now = some[some.findIndex(({ name }) => name === news.done) + 1] ?? now;
      if ("failed" in news)
        killed =
          news.title === "(import)" && /^SyntaxError/.test(news.what)
            ? fate("does not compile", "", news.what)
            : fate("test", news.failed, `${news.title}: ${news.what}`);
    });
    if (killed === null && how !== "over") killed = fate("test", now.name, `${title}: ${how}`);
    return killed;
  }
}
