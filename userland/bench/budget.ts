/** Part of the limit that starting may take. */
const SLACK = 0.08;
/** By how much a pass may go beyond the limit. */
const OVERTIME = 1.15;

/** Keeps a benchmark within its time: who is behind schedule, because the machine is slow or busy, measures fewer rounds. */
export class Budget {
  readonly #limit: number;
  readonly #steps: number;
  readonly #started = performance.now();
  #done = 0;
  #shortened = 0;
  #passes = 0;

  /** `limit` in milliseconds, Infinity for none, for so many steps of about the same length. */
  constructor(limit: number, steps: number) {
    this.#limit = limit;
    this.#steps = steps;
  }

  /** The next step begins; its number, from 1. */
  step(): number {
    return ++this.#done;
  }

  /** Whether the steps so far took longer than their share, and more than a little. */
  get behind(): boolean {
    return (performance.now() - this.#started) / this.#limit > this.#done / this.#steps + SLACK;
  }

  /** How many of the rounds asked for there is time for: all of them, or one. */
  rounds(asked: number): number {
    if (asked === 1 || !this.behind) return asked;
    this.#shortened++;
    return 1;
  }

  /** Whether there is time for another pass, `passes` having taken what they took; the first one is always made. */
  fits(passes: number): boolean {
    const elapsed = performance.now() - this.#started;
    const fits = passes === 0 || elapsed * (1 + 1 / passes) < this.#limit * OVERTIME;
    if (!fits) this.#passes = passes;
    return fits;
  }

  /** What to tell the reader; null: nothing. */
  get remark(): string | null {
    if (this.#passes > 0)
      return `passes after ${this.#passes}, and rounds: the machine was too busy for more within ${this.#limit / 1000} s (--limit SECONDS, 0: as long as it takes)`;
    return this.#shortened === 0
      ? null
      : `rounds, in ${this.#shortened} of ${this.#steps} steps: there was time for one only within ${this.#limit / 1000} s (--limit SECONDS, 0: as long as it takes)`;
  }
}
