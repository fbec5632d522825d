/**
 * Notices that others had the CPUs while something was measured: then it is measured again. The scheduler's own statistics decide
 * (Linux: /proc/PID/task/TID/schedstat, time on a CPU and time spent waiting for one), not the figure measured.
 */
import { readdirSync, readFileSync } from "node:fs";

/** A measurement in which threads waited for a CPU for longer than this leaves is made again... */
const UNDISTURBED = 0.97;
/** ...so many times at most. The least disturbed one counts. */
const TRIES = 6;

export interface Disturbed {
  /** Part of the time for which threads that could run had a CPU; 1 where the system does not tell. */
  readonly share: number;
}

/** How much time a whole run may spend on measuring again. */
export class Retries {
  readonly #allowed: number;
  readonly #beat: () => void;
  #left: number;
  #refused = 0;

  /** `beat` is called after each measurement. */
  constructor(milliseconds: number, beat: () => void) {
    this.#allowed = milliseconds;
    this.#left = milliseconds;
    this.#beat = beat;
  }

  /** Measures until a measurement was not disturbed, or there were enough of them. */
  async leastDisturbed<T extends Disturbed>(measure: () => Promise<T>): Promise<T> {
    let best = await measure();
    this.#beat();
    if (best.share < UNDISTURBED && this.#left <= 0) this.#refused++;
    for (let again = 0; again < TRIES && best.share < UNDISTURBED && this.#left > 0; again++) {
      const start = performance.now();
      const other = await measure();
      this.#beat();
      this.#left -= performance.now() - start;
      if (other.share > best.share) best = other;
    }
    return best;
  }

  /** What to tell the reader; null: nothing. */
  get remark(): string | null {
    return this.#refused === 0
      ? null
      : `second tries of ${this.#refused} disturbed measurements: the machine was busy, and ${this.#allowed / 1000} s had gone into others (--limit 0: as long as it takes)`;
  }
}

/** Nanoseconds on a CPU, and waiting for one. */
interface Times {
  readonly run: number;
  readonly delay: number;
}
/** By thread id. */
export type ThreadTimes = ReadonlyMap<string, Times>;

function schedstat(path: string): Times | null {
  try {
    const [run, delay] = readFileSync(path, "latin1").split(" ").map(Number);
    return { run: run!, delay: delay! };
  } catch {
    return null; // Not Linux, or the thread has ended.
  }
}

/** Nanoseconds that this thread has waited for a CPU so far; 0 where the system does not tell. */
export const runDelay = (): number => schedstat("/proc/thread-self/schedstat")?.delay ?? 0;

/** All threads of this process. */
export function threadTimes(): ThreadTimes {
  const found = new Map<string, Times>();
  let threads: string[] = [];
  try {
    threads = readdirSync("/proc/self/task");
  } catch {
    return found;
  }
  for (const thread of threads) {
    const times = schedstat(`/proc/self/task/${thread}/schedstat`);
    if (times !== null) found.set(thread, times);
  }
  return found;
}

/** Share of the `busiest` threads of this process that ran most in between: those that were measured. */
export function shareOf(before: ThreadTimes, after: ThreadTimes, busiest: number): number {
  const spent = [...after].map(([thread, { run, delay }]) => {
    const was = before.get(thread) ?? { run: 0, delay: 0 };
    return { run: run - was.run, delay: delay - was.delay };
  });
  spent.sort((a, b) => b.run - a.run);
  let [run, delay] = [0, 0];
  for (const one of spent.slice(0, busiest)) {
    run += one.run;
    delay += one.delay;
  }
  return run === 0 ? 1 : run / (run + delay);
}
