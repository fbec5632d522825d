/** What a scenario is, and the world that most of them begin in. */
import type { Held, Ref } from "../../../rcu/index.ts";
import type { MemoryModel } from "../../../userland/check/model/machine.ts";
import type { Cpu, Body as EngineBody } from "../../../userland/check/model/program.ts";
import type {
  Cast as EngineCast,
  Scenario as EngineScenario,
} from "../../../userland/check/model/scenario.ts";
import { POISON } from "./structs.ts";

export type Library = typeof import("./library.ts");

export interface Body extends EngineBody {
  boot?(lib: Library, cpu: Cpu): unknown;
  run(lib: Library, cpu: Cpu, booted: never): void;
  died?(lib: Library, cpu: Cpu): void;
}
export interface Cast extends EngineCast {
  readonly cpus: readonly Body[];
}
export interface Scenario extends EngineScenario {
  /** One line: what is at stake. */
  readonly about: string;
  /** Others, which take longer: explored by `cli.ts --full`. */
  readonly fullModels?: readonly MemoryModel[];
  /** Too large for the tests: explored by `cli.ts --full`. */
  readonly full?: true;
  /** The rule is one that may be broken, and the exploration must find how. */
  readonly allowed?: true;
  build(lib: Library, variant: number): Cast;
}

export type RootRef = Ref<"model_root">;
export type ThingRef = Ref<"model_thing">;

/** A lock is held, for functions that want proof: the scenario has one updater. */
export const HELD = 1 as Held;

export { type Cpu, POISON };

export interface World {
  readonly root: RootRef;
  /** What `root.current` points to; its value is 1. */
  readonly old: ThingRef;
  /** Not published yet, value 0. */
  readonly fresh: ThingRef;
}
export function world(lib: Library): World {
  const root = lib.alloc(lib.Root) as RootRef;
  const old = lib.alloc(lib.Thing) as ThingRef;
  const fresh = lib.alloc(lib.Thing) as ThingRef;
  lib.Thing.value.init(old, 1);
  lib.Root.current.init(root, old);
  return { root, old, fresh };
}

/** Reads what root.current points to, in a scope, and notes the value. */
export function look(lib: Library, cpu: Cpu, root: RootRef, name: string): void {
  const scope = lib.rcuReadLock();
  const thing = lib.Root.current.deref(scope, root);
  if (thing !== 0) cpu.note(name, lib.Thing.value.get(thing));
  lib.rcuReadUnlock();
}

/** A judge: none of the notes is POISON. */
export function noPoison(notes: ReadonlyMap<string, number>): string | null {
  for (const [name, value] of notes) if (value === POISON) return `${name}: freed memory was read`;
  return null;
}

/** Judges that so many callbacks have run. */
export const counts = (lib: Library, root: RootRef, wanted: number) => {
  const at = root + lib.Root.x.offset;
  return (_notes: ReadonlyMap<string, number>, word: (at: number) => number): string | null =>
    word(at) === wanted ? null : `${word(at)} callbacks ran, not ${wanted}`;
};
