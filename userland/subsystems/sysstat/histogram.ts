/**
 * Latencies in the shared heap: an array of words that every CPU adds to. Bucket n counts calls that took from 2^n up to
 * 2^(n+1) nanoseconds; behind the buckets stand the number of calls and the sum of their times.
 */
import { allocArray, arrayAdd, arrayLoad, type Ref } from "../../../rcu/index.ts";

const BUCKETS = 32;
const COUNT = BUCKETS;
const SUM_LOW = BUCKETS + 1;
const SUM_HIGH = BUCKETS + 2;
const WORDS = BUCKETS + 3;
const LONGEST = 2 ** 32 - 1;

export const newHistogram = (): Ref<"array"> | 0 => allocArray(WORDS);

export function record(histogram: Ref<"array">, ns: number): void {
  const time = Math.min(LONGEST, Math.max(1, Math.round(ns))) >>> 0;
  arrayAdd(histogram, 31 - Math.clz32(time), 1);
  arrayAdd(histogram, COUNT, 1);
  const before = arrayAdd(histogram, SUM_LOW, time | 0) >>> 0;
  if (before + time > LONGEST) arrayAdd(histogram, SUM_HIGH, 1);
}

/** Adds what `from` counted, and nobody adds to any more, to `to`. */
export function merge(from: Ref<"array">, to: Ref<"array">): void {
  for (let word = 0; word < WORDS; word++) {
    const by = arrayLoad(from, word);
    const before = by === 0 ? 0 : arrayAdd(to, word, by) >>> 0;
    if (word === SUM_LOW && before + (by >>> 0) > LONGEST) arrayAdd(to, SUM_HIGH, 1);
  }
}

export interface Summary {
  readonly count: number;
  readonly sumNs: number;
  /** Upper bounds in nanoseconds: half, 99 in 100 of the calls took no longer. */
  readonly p50: number;
  readonly p99: number;
}

/** Adds histograms up. Calls that are recorded meanwhile may be in one number and not yet in another. */
export function summarize(histograms: readonly Ref<"array">[]): Summary {
  const words = (index: number) => histograms.reduce((sum, one) => sum + (arrayLoad(one, index) >>> 0), 0);
  const buckets = Array.from({ length: BUCKETS }, (_, index) => words(index));
  const count = words(COUNT);
  const percentile = (part: number): number => {
    let seen = 0;
    for (const [index, calls] of buckets.entries()) {
      seen += calls;
      if (seen >= part * count && calls > 0) return 2 ** (index + 1);
    }
    return 0;
  };
  return {
    count,
    sumNs: words(SUM_HIGH) * 2 ** 32 + words(SUM_LOW),
    p50: percentile(0.5),
    p99: percentile(0.99),
  };
}
