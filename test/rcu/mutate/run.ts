/** Runs mutants, several at a time, and keeps what came of them. */
import type { Mutant } from "./derive.ts";
import { cached, fingerprint, keep, killers, rcuSources, toolSources } from "./map.ts";
import { modelProcess } from "./processes.ts";
import { type Fate, keyOf, killersOf, tryMutant } from "./try.ts";

export interface RunOptions {
  readonly jobs: number;
  readonly torture: number;
  /** Milliseconds of killers for each mutant. */
  readonly budget: number;
  /** Only killers that have one of these in their name. Who survives those is not known to survive the others. */
  readonly only?: readonly string[];
  /** Try again what is known. */
  readonly fresh: boolean;
  readonly say: (line: string) => void;
  readonly each?: (fate: Fate, mutant: Mutant) => void;
  readonly stop?: () => boolean;
}

/** What is known from before: fates of the code as it is, and what killed in code that has changed since, which is tried first. */
interface Known {
  readonly mark: string;
  readonly fates: Record<string, Fate & { readonly mark: string; readonly budget: number }>;
}

export async function run(mutants: readonly Mutant[], options: RunOptions): Promise<Fate[]> {
  const { say } = options;
  const { only } = options;
  const all = await killers(say, only);
  const mark = fingerprint([...rcuSources(), ...toolSources()]);
  const known: Known = cached<Known>("fates") ?? { mark, fates: {} };
  const fates: Fate[] = [];
  const lately = new Map<string, string>();
  const left = mutants.filter((mutant) => {
    const fate = known.fates[mutant.id];
    if (
      fate !== undefined &&
      fate.mark === mark &&
      (fate.by !== null || (only === undefined && fate.budget >= options.budget)) &&
      !options.fresh
    ) {
      fates.push(fate);
      options.each?.(fate, mutant);
      return false;
    }
    return true;
  });
  if (fates.length > 0) say(`${fates.length} are known from before`);
  let done = 0;
  let saved = performance.now();
  const save = (): void => {
    const merged = cached<Known>("fates")?.fates ?? {};
    keep("fates", { mark, fates: { ...merged, ...known.fates } });
    saved = performance.now();
  };
  const since = performance.now();
  const next = left[Symbol.iterator]();
  const work = async (): Promise<void> => {
    const model = modelProcess();
    for (const mutant of next) {
      if (options.stop?.() === true) break;
      const around = mutant.id.slice(0, mutant.id.indexOf("/", mutant.id.indexOf("/") + 1));
      const first = known.fates[mutant.id]?.killer || lately.get(around) || null;
      const { torture, budget } = options;
      const fate = await tryMutant(mutant, { model, killers: all, torture, budget }, first);
      known.fates[mutant.id] = { ...fate, mark, budget: only === undefined ? options.budget : 0 };
      if (fate.killer !== "") lately.set(around, fate.killer);
      fates.push(fate);
      options.each?.(fate, mutant);
      done++;
      if (performance.now() - saved > 10_000) {
        save();
        const survivors = fates.filter(({ by }) => by === null).length;
        const minutes = (performance.now() - since) / 60_000;
        say(
          `${fates.length} of ${mutants.length}: ${fates.length - survivors} killed, ${survivors} survive; ` +
            `${minutes.toFixed(1)} min, ${((minutes / done) * (left.length - done)).toFixed(1)} to go`,
        );
      }
    }
    model.end();
  };
  await Promise.all(Array.from({ length: options.jobs }, work));
  save();
  return fates;
}

/** Names of the killers that pass a mutant's statement. */
export async function passing(mutant: Mutant, say: (line: string) => void): Promise<string[]> {
  return killersOf(mutant, await killers(say), null).map(keyOf);
}
