/**
 * How the work of kernel code grows with the number of things it is done for, counted and not timed: how often each function
 * of the kernel was called, from V8's precise coverage. The same on every machine, however busy it is.
 */
import { type Profiler, Session } from "node:inspector";

const session = new Session();
session.connect();
session.post("Profiler.enable");
// On from the beginning to the end: code that V8 optimized without it would not count.
session.post("Profiler.startPreciseCoverage", { callCount: true, detailed: false });

const isKernel = (url: string): boolean => /\/(kernel|rcu|syscalls)\//.test(url) && !url.includes("/test/");
/** What only debug heaps do for every word of a cell, where others move memory. */
const DEBUG = new Set(["checkPoison", "assertLive"]);

/** How often each function was called since this was asked last. */
function taken(): Map<string, number> {
  const counts = new Map<string, number>();
  session.post("Profiler.takePreciseCoverage", (error, answer: Profiler.TakePreciseCoverageReturnType) => {
    if (error !== null) throw error;
    for (const { url, functions } of answer.result)
      if (isKernel(url))
        for (const { functionName, ranges } of functions)
          if (!DEBUG.has(functionName))
            counts.set(
              `${functionName} in ${url.replace(/^.*\//, "")}:${ranges[0]!.startOffset}`,
              ranges[0]!.count,
            );
  });
  return counts;
}

/** The calls of each function that `run` makes. */
export function work(run: () => void): Map<string, number> {
  taken();
  run();
  return taken();
}

/** What is run this often for each thing tells how the work grows; what is run seldom tells of thresholds. */
const OFTEN = 8;

/**
 * Does it for `size` things and for twice as many: by how much that multiplies the work of the piece of code where it grows most,
 * and where that is. 2 is linear, 4 the square.
 */
export function growth(size: number, run: (size: number) => void): { factor: number; where: string } {
  const once = work(() => run(size));
  const twice = work(() => run(2 * size));
  let most = { factor: 0, where: "nowhere" };
  for (const [where, count] of twice) {
    const before = once.get(where) ?? 0;
    const factor = before === 0 ? 0 : count / before;
    if (count >= OFTEN * 2 * size && factor > most.factor) most = { factor, where };
  }
  return most;
}
