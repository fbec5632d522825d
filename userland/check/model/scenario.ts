/** What the engine explores: a world, and the programs that run in it. */
import type { HeapOptions } from "../../../rcu/index.ts";
import type { Wrong } from "./explore.ts";
import type { Library } from "./instance.ts";
import type { MemoryModel } from "./machine.ts";
import type { Body, End } from "./program.ts";

export interface Scenario {
  readonly name: string;
  /** Memories to explore it on. Default: tso. */
  readonly models?: readonly MemoryModel[];
  /** Sleepers may go on by time-out, so often. Default 0: whoever sleeps is woken. */
  readonly timeouts?: number;
  /** Words, by name, whose plain stores may race: the scenario says why. */
  readonly mayRace?: readonly string[];
  readonly limit?: number;
  /** The heap that is made. */
  readonly heap?: HeapOptions;
  /** So many scenarios in one: `build` is called with each number below. */
  readonly variants?: number;
  /** Makes the structs and collections; the heap is new and attached to. Returns the programs, which find them by reference. */
  build(lib: Library, variant: number, subject: unknown): Cast;
}
export interface Cast {
  readonly cpus: readonly Body[];
  /** Struct types, by name, of which every CPU has some cells in its magazines. Default: rcu_head. */
  readonly stock?: readonly string[];
  /** Says what rule the run that has ended breaks, if any. `word` reads the heap as it is then. */
  readonly judge: (
    notes: ReadonlyMap<string, number>,
    word: (at: number) => number,
    ends: readonly End[],
  ) => string | Wrong | null;
  /** What CPUs are called. Default: CPU 0 and so on. */
  readonly names?: readonly string[];
  /** Whether updates of a word may not be lost. Default: nobody looks. */
  readonly updated?: (at: number) => boolean;
}
