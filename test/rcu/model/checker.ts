/** Explores a scenario of ours, on the code as it is or with a mutant in it. */
import { findMutant, mutate } from "../../../rcu/torture/mutants.ts";
import {
  type Options as EngineOptions,
  explore,
  type Verdict,
} from "../../../userland/check/model/checker.ts";
import type { Edit } from "../../../userland/check/model/instance.ts";
import type { Scenario } from "./scenario.ts";

export type { Verdict };
export interface Options extends Omit<EngineOptions, "library" | "edits"> {
  /** Mistake to make, by its name in rcu/torture/mutants.ts. */
  readonly mutant?: string | null;
}

const LIBRARY = new URL("./library.ts", import.meta.url);

/** Explores a scenario. One at a time: the copies of the code are used again. */
export function check(scenario: Scenario, { mutant, ...options }: Options = {}): Promise<Verdict> {
  const edits = mutant == null ? [] : [editOf(mutant)];
  return explore(scenario, { ...options, library: LIBRARY, edits });
}

/** Mutants of torture's own updater apply to the model's, which has the same lines. */
function editOf(name: string): Edit {
  const mutant = findMutant(name);
  const file = mutant.file === "torture/updater.ts" ? "test/rcu/model/updater.ts" : `rcu/${mutant.file}`;
  return { name, file, apply: (text) => mutate(mutant, text) };
}
