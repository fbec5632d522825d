import test from "ava";
import fc from "fast-check";
import { operations, randomNumbers } from "../../userland/bench/operations.ts";
import {
  betweenPasses,
  compare,
  geometricMean,
  noiseFloors,
  quantile,
  sampled,
  summarize,
} from "../../userland/bench/statistics.ts";

test("median and quartiles interpolate between order statistics", (t) => {
  t.deepEqual(summarize([5, 1, 3]), { median: 3, low: 2, high: 4 });
  t.deepEqual(summarize([4, 1, 2, 3]), { median: 2.5, low: 1.75, high: 3.25 });
  t.deepEqual(summarize([7]), { median: 7, low: 7, high: 7 });
  t.throws(() => summarize([]));
});

test("a quantile lies between the extremes and grows with p", (t) => {
  const samples = fc.array(fc.double({ min: 0, max: 1e9, noNaN: true }), { minLength: 1 });
  fc.assert(
    fc.property(samples, fc.double({ min: 0, max: 1, noNaN: true }), (values, p) => {
      const sorted = [...values].sort((a, b) => a - b);
      const q = quantile(sorted, p);
      return q >= sorted[0]! && q <= sorted.at(-1)! && q <= quantile(sorted, Math.min(1, p + 0.1)) + 1e-6;
    }),
  );
  t.pass();
});

test("a difference within the spreads, or within the noise floor, is not called real", (t) => {
  const fast = sampled([[10, 11, 12]]);
  const slow = sampled([[20, 21, 22]]);
  t.true(compare(slow, fast).real);
  t.true(compare(fast, slow).real);
  t.true(compare(slow, fast, Math.log(1.5)).real);
  t.false(compare(slow, fast, Math.log(1.95)).real);
  const wide = sampled([[8, 12, 30]]);
  t.false(compare(wide, fast).real);
  t.is(compare(wide, fast).ratio, 12 / 11);
  t.false(compare(fast, fast).real);
});

test("the interval of a ratio holds the ratio, and what slowed both down in turns cancels out when paired", (t) => {
  const disturbed = [1, 1.4, 1.1, 2, 1.2];
  const a = sampled([disturbed.map((by) => 30 * by), disturbed.map((by) => 33 * by)]);
  const b = sampled([disturbed.map((by) => 10 * by), disturbed.map((by) => 11 * by)]);
  const paired = compare(a, b, 0, true);
  const apart = compare(a, b);
  for (const { ratio, low, high } of [paired, apart]) t.true(low <= ratio && ratio <= high);
  t.true(Math.abs(paired.low - 3) < 1e-9 && Math.abs(paired.high - 3) < 1e-9);
  t.true(apart.high - apart.low > 0.5);
});

test("the noise floor of a measurement is its own, or that of its kind, whichever is more", (t) => {
  const one = (kind: string, ratio: number) => ({ kind, passes: [[1], [ratio]] });
  const quiet = Array.from({ length: 120 }, () => one("quiet", 1.02));
  const loud = Array.from({ length: 20 }, () => one("loud", 1.5));
  const odd = one("quiet", 1.3);
  const all = [...quiet, odd, ...loud];
  const floorOf = noiseFloors(
    all,
    ({ kind }) => kind,
    ({ passes }) => passes,
  );
  t.is(betweenPasses(odd.passes), Math.log(1.3));
  t.is(betweenPasses([[1, 2]]), 0);
  t.is(floorOf(quiet[0]!), Math.log(1.02));
  t.is(floorOf(odd), Math.log(1.3));
  t.is(floorOf(loud[0]!), Math.log(1.5));
});

test("the mean of ratios is geometric: twice and half cancel out", (t) => {
  t.is(geometricMean([2, 0.5]), 1);
});

test("operations are the same for a seed, and differ between seeds and threads", (t) => {
  const of = (seed: number, thread: number) => operations(seed, 1000, 10, thread, 2, 4096);
  t.deepEqual(of(1, 0), of(1, 0));
  t.notDeepEqual(of(1, 0), of(2, 0));
  t.notDeepEqual(of(1, 0), of(1, 1));
});

test("writes have the share asked for, and each thread writes entries of its own", (t) => {
  for (const [percent, entries] of [
    [0, 64],
    [1, 1000],
    [50, 7],
    [100, 64],
  ] as const) {
    const length = 1 << 16;
    for (const thread of [0, 1, 2]) {
      const sequence = operations(3, entries, percent, thread, 3, length);
      const writes = [...sequence].filter((n) => n < 0).map((n) => ~n);
      t.true(Math.abs(writes.length / length - percent / 100) < 0.01, `${percent} %: ${writes.length}`);
      t.true(writes.every((n) => n < entries && n % 3 === thread));
      t.true(sequence.every((n) => n < entries));
    }
  }
});

test("keys do not repeat and cover all entries evenly", (t) => {
  const random = randomNumbers(1);
  const first = Array.from({ length: 1 << 16 }, random);
  t.true(new Set(first).size > first.length - 5);
  const counts = new Int32Array(16);
  for (const n of operations(1, 16, 0, 0, 1, 1 << 16)) counts[n]!++;
  for (const count of counts) t.true(Math.abs(count / (1 << 12) - 1) < 0.1, `${count}`);
});
