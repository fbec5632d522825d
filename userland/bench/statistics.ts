/**
 * Order statistics of a few samples, and when a difference between two of them may be called one.
 *
 * What makes two measurements of the same code differ is less the noise from one moment to the next than what is drawn once for
 * every start: addresses, what the compiler decided, what else the machine did. So everything is measured in several passes, each
 * from a fresh start, and how far the passes of the same code lie apart is the noise floor under every claim.
 */
import { randomNumbers } from "./operations.ts";

export interface Summary {
  readonly median: number;
  /** First and third quartile: the spread that tables and charts show. */
  readonly low: number;
  readonly high: number;
}

/** Samples in the order in which they were taken, one list for each pass. */
export type Passes = readonly (readonly number[])[];

export interface Sampled extends Summary {
  readonly samples: Passes;
}

/** Quantile by linear interpolation between order statistics; `sorted` is not empty. */
export function quantile(sorted: ArrayLike<number>, p: number): number {
  const at = (sorted.length - 1) * p;
  const below = Math.floor(at);
  const first = sorted[below]!;
  return first + ((sorted[below + 1] ?? first) - first) * (at - below);
}

const ascending = (a: number, b: number): number => a - b;

export const median = (samples: readonly number[]): number => quantile([...samples].sort(ascending), 0.5);

export function summarize(samples: readonly number[]): Summary {
  if (samples.length === 0) throw new Error("no samples");
  const sorted = [...samples].sort(ascending);
  return { median: quantile(sorted, 0.5), low: quantile(sorted, 0.25), high: quantile(sorted, 0.75) };
}

/** The summary of all passes together. */
export const sampled = (samples: Passes): Sampled => ({ samples, ...summarize(samples.flat()) });

export interface Ratio {
  /** Median of `a` over median of `b`. */
  readonly ratio: number;
  /** 95 % confidence interval of the ratio, by bootstrap. */
  readonly low: number;
  readonly high: number;
  /** False: the difference may be noise, and is not called one. */
  readonly real: boolean;
}

const RESAMPLES = 400;
const CONFIDENCE = 0.95;

/**
 * How many times `a` is of `b`. The difference is real when the spreads do not overlap, and when the ratio lies beyond `floor` (a
 * logarithm: how much the same code differs from itself), its whole confidence interval beyond three quarters of that.
 *
 * The interval is a hierarchical bootstrap (Efron and Tibshirani, "An Introduction to the Bootstrap", chapter 8): passes are drawn
 * with replacement, then the rounds in each. `paired`: both were measured in turns, so a round of one goes with the same of the
 * other, and what slowed both down cancels out.
 */
export function compare(a: Sampled, b: Sampled, floor = 0, paired = false): Ratio {
  const ratio = a.median / b.median;
  const [low, high] = bootstrap(a.samples, b.samples, paired);
  const apart = a.low > b.high || a.high < b.low;
  const beyond = Math.abs(Math.log(ratio)) > floor;
  const margin = Math.exp(0.75 * floor);
  return { ratio, low, high, real: apart && beyond && (low / margin > 1 || high * margin < 1) };
}

function bootstrap(a: Passes, b: Passes, paired: boolean): readonly [number, number] {
  const random = randomNumbers(1);
  // The high bits of xorshift are the better ones.
  const below = (limit: number): number => Math.floor((random() / 0x1_0000_0000) * limit);
  const together =
    paired && a.length === b.length && a.every((pass, index) => pass.length === b[index]!.length);
  const drawnA = new Float64Array(a.flat().length);
  const drawnB = new Float64Array(b.flat().length);
  const ratios = new Float64Array(RESAMPLES);
  for (let resample = 0; resample < RESAMPLES; resample++) {
    let [atA, atB] = [0, 0];
    if (together) {
      while (atA < drawnA.length) {
        const pass = below(a.length);
        for (let n = a[pass]!.length; n > 0 && atA < drawnA.length; n--) {
          const round = below(a[pass]!.length);
          drawnA[atA++] = a[pass]![round]!;
          drawnB[atB++] = b[pass]![round]!;
        }
      }
    } else {
      draw(drawnA, a, below);
      draw(drawnB, b, below);
    }
    ratios[resample] = quantile(drawnA.sort(), 0.5) / quantile(drawnB.sort(), 0.5);
  }
  ratios.sort();
  const tail = (1 - CONFIDENCE) / 2;
  return [quantile(ratios, tail), quantile(ratios, 1 - tail)];
}

function draw(into: Float64Array, from: Passes, below: (limit: number) => number): void {
  for (let at = 0; at < into.length; ) {
    const pass = from[below(from.length)]!;
    for (let n = pass.length; n > 0 && at < into.length; n--) into[at++] = pass[below(pass.length)]!;
  }
}

/** How far the passes of one measurement lie apart at most: logarithm of the ratio of their medians. 0: one pass only. */
export function betweenPasses(samples: Passes): number {
  const medians = samples.map((pass) => Math.log(median(pass)));
  return medians.length < 2 ? 0 : Math.max(...medians) - Math.min(...medians);
}

/** Fewer measurements than this say nothing about their kind: those of all kinds are taken. */
const FEW = 4;
/** The floor of a kind is what this share of its measurements keep to. */
const FLOOR_QUANTILE = 0.99;

/**
 * The noise floor under each measurement: how far its own passes lie apart, or how far those of its kind do, whichever is more.
 * Kinds differ: what threads fight for takes anything from one to three times as long from one start to the next.
 */
export function noiseFloors<T>(
  all: readonly T[],
  kindOf: (one: T) => string,
  samplesOf: (one: T) => Passes,
): (one: T) => number {
  const byKind = new Map<string, number[]>();
  const distances: number[] = [];
  for (const one of all) {
    const distance = betweenPasses(samplesOf(one));
    distances.push(distance);
    const kind = byKind.get(kindOf(one));
    if (kind === undefined) byKind.set(kindOf(one), [distance]);
    else kind.push(distance);
  }
  const usual = (values: number[]): number =>
    values.length === 0 ? 0 : quantile(values.sort(ascending), FLOOR_QUANTILE);
  const general = usual(distances);
  const floors = new Map(
    [...byKind].map(([kind, values]) => [kind, values.length < FEW ? general : usual(values)]),
  );
  return (one) => Math.max(betweenPasses(samplesOf(one)), floors.get(kindOf(one)) ?? general);
}

/** Geometric mean; of ratios. */
export function geometricMean(values: readonly number[]): number {
  return Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length);
}
