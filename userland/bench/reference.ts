/**
 * A fixed piece of work that has nothing to do with Sternix: how fast the machine is while a benchmark runs. Two runs in which it
 * took different times cannot be compared more finely than that.
 */
const WORDS = 1 << 16;
const STEPS = 1 << 15;
const TIMES = 5;

let memory: Int32Array | null = null;

/** Random steps through 256 KiB, with some arithmetic on the way: the shortest of a few tries, per step. */
export function referenceNs(): number {
  memory ??= Int32Array.from({ length: WORDS }, (_, n) => Math.imul(n, 0x9e3779b1) >>> 16);
  let best = Number.POSITIVE_INFINITY;
  for (let time = 0; time < TIMES; time++) {
    const start = process.hrtime.bigint();
    walk(memory);
    best = Math.min(best, Number(process.hrtime.bigint() - start));
  }
  return best / STEPS;
}

function walk(words: Int32Array): number {
  let at = 1;
  let state = 0x2545f491;
  for (let n = 0; n < STEPS; n++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    at = (words[at]! ^ state) & (WORDS - 1);
  }
  return at;
}
