/**
 * Latencies in the shared heap: an array of words that every CPU adds to. Bucket n counts calls that took from 2^n up to
 * 2^(n+1) nanoseconds (the first also shorter ones, the last also longer ones); behind the buckets stands the sum of their times.
 */
import { arrayAdd, arrayLoad, type Ref, tryAllocArray } from "../../../rcu/index.ts";

/** The last bucket begins at 2^47 ns, a day and a half. */
export const BUCKETS = 48;
const SUM_LOW = BUCKETS;
const SUM_HIGH = BUCKETS + 1;
const WORDS = BUCKETS + 2;
const WORD = 2 ** 32;

export const newHistogram = (): Ref<"array"> | 0 => tryAllocArray(WORDS);

/** The bucket of a time. */
export function bucketOf(ns: number): number {
  const low = ns < WORD ? ns >>> 0 : Math.floor(ns / WORD) >>> 0;
  const bucket = 31 - Math.clz32(low | 1) + (ns < WORD ? 0 : 32);
  return Math.min(bucket, BUCKETS - 1);
}

export function record(histogram: Ref<"array">, ns: number): void {
  const time = Math.max(0, Math.round(ns));
  arrayAdd(histogram, bucketOf(time), 1);
  addSum(histogram, time);
}

/** Adds to the 64-bit sum: low word first, its carry after. */
function addSum(histogram: Ref<"array">, time: number): void {
  const low = time % WORD;
  const before = arrayAdd(histogram, SUM_LOW, low | 0) >>> 0;
  const high = Math.floor(time / WORD) + (before + low >= WORD ? 1 : 0);
  if (high > 0) arrayAdd(histogram, SUM_HIGH, high);
}

/** Adds what `from` counted, and nobody adds to any more, to `to`. */
export function merge(from: Ref<"array">, to: Ref<"array">): void {
  for (let bucket = 0; bucket < BUCKETS; bucket++) {
    const calls = arrayLoad(from, bucket);
    if (calls !== 0) arrayAdd(to, bucket, calls);
  }
  addSum(to, sumOf(from));
}

const sumOf = (histogram: Ref<"array">): number =>
  (arrayLoad(histogram, SUM_HIGH) >>> 0) * WORD + (arrayLoad(histogram, SUM_LOW) >>> 0);

export interface Summary {
  readonly count: number;
  readonly sumNs: number;
  /** Upper bounds in nanoseconds: half, 99 in 100 of the calls took no longer. */
  readonly p50: number;
  readonly p99: number;
  /** Calls by bucket. */
  readonly buckets: readonly number[];
}

/** What a histogram says. Calls that are recorded meanwhile may be in a bucket and not yet in the sum. */
export function summarize(histogram: Ref<"array">): Summary {
  const buckets = Array.from({ length: BUCKETS }, (_, index) => arrayLoad(histogram, index) >>> 0);
  const count = buckets.reduce((sum, calls) => sum + calls, 0);
  const percentile = (part: number): number => {
    let seen = 0;
    for (const [index, calls] of buckets.entries()) {
      seen += calls;
      if (seen >= part * count && calls > 0) return 2 ** (index + 1);
    }
    return 0;
  };
  return { count, sumNs: sumOf(histogram), p50: percentile(0.5), p99: percentile(0.99), buckets };
}
