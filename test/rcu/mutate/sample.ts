/** Mutants that the tests try each time, with the scenario that finds each; `npm run mutate -- --sample` writes one in so many. */
import type { MemoryModel } from "../../../userland/check/model/machine.ts";

export const SAMPLE: readonly (readonly [id: string, scenario: string, memory: MemoryModel])[] = [];
