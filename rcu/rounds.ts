/**
 * Rounds: what a thread has to do every so often while it waits, by elapsed time. A sleep that ends early is no reason to put a duty
 * off: on a busy system every sleep ends early, since whatever happens wakes those who wait, and a duty that hangs on a time-out is
 * never done there.
 *
 *   const rounds = new Rounds(100);
 *   while (!done()) {
 *     rounds.sleep(word, seen);
 *     if (rounds.due()) look();
 *   }
 */
import { i32 } from "./memory.ts";
import { park } from "./park.ts";

/** The time that stalls are measured by: milliseconds in 31 bits, which is what a word of the heap holds; the same on all threads. */
export const stallClock = (): number => Date.now() & 0x7fff_ffff;

/** The rounds of one thread in one wait. */
export class Rounds {
  readonly #every: number;
  #next: number;
  #timedOut = false;

  /** The first round is due after `ms` milliseconds, each further one so long after the last. */
  constructor(ms: number) {
    this.#every = ms;
    this.#next = performance.now() + ms;
  }

  /** Milliseconds until the next round: how long to sleep at most. */
  left(): number {
    return Math.max(0, this.#next - performance.now());
  }

  /** Atomics.wait until the next round, or for `most` milliseconds. */
  sleep(word: number, value: number, most = Number.POSITIVE_INFINITY): void {
    const left = this.left();
    this.#timedOut = park(i32, word, value, Math.min(left, most)) === "timed-out" && left <= most;
  }

  /** Whether a round is due, after whatever ended the last sleep. Then it counts as made. */
  due(): boolean {
    const now = performance.now();
    if (!this.#timedOut && now < this.#next) return false;
    this.#timedOut = false;
    this.#next = now + this.#every;
    return true;
  }
}
