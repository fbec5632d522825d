/**
 * How long a call keeps its CPU, counted and not timed: the work of the longest piece between two looks at who wants the CPU, as
 * how often functions of the kernel are called in it (work.ts).
 */
import test from "ava";
import { YIELD } from "../../kernel/sched/block.ts";
import { clearNeedResched, setNeedResched } from "../../kernel/sched/cpus.ts";
import { doLater } from "../../kernel/sched/later.ts";
import type { Ref } from "../../rcu/index.ts";
import { call } from "./ipc/machine.ts";
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

/** Twice as much to do, and the longest piece may be so much longer: parts begin and end where they do. */
const FLAT = 1.35;
/** A piece of so few calls is no matter. */
const SMALL = 6000;

/** A system call and its arguments, or work that answers YIELD while there is more to do. */
type Work = [string, ...number[]] | (() => number);

export interface PieceTests {
  /** A call of the preparations, made to its end: not counted, since there are thousands of them. */
  sys(name: string, ...args: number[]): number;
  /**
   * A test that prepares `size` things and does the work on them that `prepare` answers, then on twice as many; `end` takes away what is
   * left.
   */
  flat(
    what: string,
    size: number,
    prepare: (size: number) => Work,
    end?: () => void,
    expected?: (result: number) => boolean,
  ): void;
}

/** For a test file whose current task is `task`. */
export function pieceTests(task: Ref<"task">): PieceTests {
  /** What the last call has put off is done in parts as well: the longest of them. */
  function longestLater(): number {
    let longest = 0;
    for (let done = false; !done; ) {
      const part = pieces(
        () => {
          done = doLater(task, () => true);
          return 0;
        },
        () => {},
      );
      longest = Math.max(longest, part.longest);
    }
    return longest;
  }
  return {
    sys(name, ...args) {
      for (;;) {
        const result = call(task, name, ...args);
        doLater(task, () => false);
        if (result !== YIELD) return result;
      }
    },
    flat(what, size, prepare, end = () => {}, expected = (result) => result >= 0) {
      test.serial(`${what}: however many there are, no piece gets longer`, (t) => {
        const longest = [size, size, 2 * size].map((count) => {
          const prepared = prepare(count);
          const [name, ...args] = typeof prepared === "function" ? [""] : prepared;
          const run = typeof prepared === "function" ? prepared : () => call(task, name, ...args);
          const all = pieces(run, () => {});
          const later = longestLater();
          end();
          t.true(expected(all.result), `${what}: ${all.result}`);
          return Math.max(all.longest, later);
        });
        const [, once, twice] = longest as [number, number, number];
        t.true(twice < SMALL || twice < once * FLAT, `${once} calls in the longest piece, then ${twice}`);
      });
    },
  };
}
