/**
 * How long a call keeps its CPU, counted and not timed: the work of the longest piece between two looks at who wants the CPU, as
 * how often functions of the kernel are called in it (work.ts).
 */
import { YIELD } from "../../kernel/sched/block.ts";
import { clearNeedResched, setNeedResched } from "../../kernel/sched/cpus.ts";
import { work } from "./work.ts";

export interface Pieces {
  readonly result: number;
  /** Runs of the call. */
  readonly runs: number;
  /** Calls of functions of the kernel in the longest of them. */
  readonly longest: number;
}

/** Makes the call while somebody wants the CPU all the time; `between` is what a CPU does between two runs. */
export function pieces(run: () => number, between: () => void): Pieces {
  let result = YIELD;
  let longest = 0;
  let runs = 0;
  while (result === YIELD) {
    setNeedResched(0);
    const counts = work(() => {
      result = run();
    });
    clearNeedResched(0);
    between();
    let sum = 0;
    for (const count of counts.values()) sum += count;
    longest = Math.max(longest, sum);
    if (++runs > 100_000) throw new Error("no progress");
  }
  return { result, runs, longest };
}
