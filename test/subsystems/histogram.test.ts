import test from "ava";
import { Heap } from "../../rcu/index.ts";
import {
  BUCKETS,
  bucketOf,
  merge,
  newHistogram,
  record,
  summarize,
} from "../../userland/subsystems/sysstat/histogram.ts";

const heap = Heap.create({ bytes: 16 << 20 });
test.after(() => heap.detach());

/** Seeded times from nanoseconds to minutes, spread over the powers of two. */
function times(count: number): number[] {
  let seed = 1;
  const random = () => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return seed / 2 ** 32;
  };
  return Array.from({ length: count }, () => Math.floor(2 ** (random() * 39)));
}

test("counts, sum and percentiles are those of the times", (t) => {
  const all = times(5000);
  const histogram = newHistogram();
  if (histogram === 0) return t.fail();
  for (const time of all) record(histogram, time);
  const { count, sumNs, p50, p99, buckets } = summarize(histogram);
  t.is(count, all.length);
  t.is(
    sumNs,
    all.reduce((sum, time) => sum + time, 0),
    "however long the calls were",
  );
  const sorted = [...all].sort((a, b) => a - b);
  for (const [bound, part] of [
    [p50, 0.5],
    [p99, 0.99],
  ] as const) {
    const exact = sorted[Math.ceil(part * all.length) - 1]!;
    t.true(
      bound / 2 <= Math.max(1, exact) && exact < bound,
      `${part}: ${exact} within ${bound / 2} to ${bound}`,
    );
  }
  for (const [index, calls] of buckets.entries())
    t.is(calls, all.filter((time) => time < 2 ** (index + 1) && (index === 0 || time >= 2 ** index)).length);
});

test("a merged histogram is that of all times", (t) => {
  const all = times(2000);
  const [one, two, whole] = [newHistogram(), newHistogram(), newHistogram()];
  if (one === 0 || two === 0 || whole === 0) return t.fail();
  for (const [n, time] of all.entries()) {
    record(n % 3 === 0 ? one : two, time);
    record(whole, time);
  }
  merge(one, two);
  t.deepEqual(summarize(two), summarize(whole));
});

test("the ends of the range are in the first and the last bucket", (t) => {
  t.deepEqual([0, 1, 2, 3, 4, 2 ** 32 - 1, 2 ** 32].map(bucketOf), [0, 0, 1, 1, 2, 31, 32]);
  t.is(bucketOf(2 ** 52), BUCKETS - 1);
  const none = newHistogram();
  t.deepEqual(none === 0 ? null : { ...summarize(none), buckets: [] }, {
    count: 0,
    sumNs: 0,
    p50: 0,
    p99: 0,
    buckets: [],
  });
});
