/**
 * What the threads of a table benchmark do: a long random sequence of reads and writes, made before the clock starts.
 * A short sequence would be learnt by the branch predictor and the prefetcher.
 */

/** Operations in one thread's sequence, which is repeated: 2^18 of them are 1 MiB of keys. */
export const SEQUENCE = 1 << 18;

/** xorshift32: the same seed gives the same numbers on every machine. */
export function randomNumbers(seed: number): () => number {
  let state = Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) | 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}

/**
 * Entry numbers below `entries`; ~n (negative) for a write of entry n. Threads write entries of their own
 * (n % threads === thread), as tasks change their own tables, and read all.
 */
export function operations(
  seed: number,
  entries: number,
  writePercent: number,
  thread: number,
  threads: number,
  length = SEQUENCE,
): Int32Array {
  const random = randomNumbers(seed * 64 + thread + 1);
  const limit = Math.round((writePercent / 100) * 0x1_0000_0000);
  const sequence = new Int32Array(length);
  for (let at = 0; at < length; at++) {
    const write = random() < limit;
    // The high bits: the low ones of xorshift are the weaker.
    const entry = Math.floor((random() / 0x1_0000_0000) * entries);
    if (!write) {
      sequence[at] = entry;
      continue;
    }
    const own = entry - (entry % threads) + thread;
    sequence[at] = ~(own < entries ? own : thread % entries);
  }
  return sequence;
}
