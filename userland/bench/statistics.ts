/** Order statistics of a few samples, and when a difference between two of them may be called one. */

export interface Summary {
  readonly median: number;
  /** First and third quartile: the spread that tables and charts show. */
  readonly low: number;
  readonly high: number;
}

/** Quantile by linear interpolation between order statistics; `sorted` is not empty. */
export function quantile(sorted: readonly number[], p: number): number {
  const at = (sorted.length - 1) * p;
  const below = Math.floor(at);
  const first = sorted[below]!;
  return first + ((sorted[Math.ceil(at)] ?? first) - first) * (at - below);
}

export function summarize(samples: readonly number[]): Summary {
  if (samples.length === 0) throw new Error("no samples");
  const sorted = [...samples].sort((a, b) => a - b);
  return { median: quantile(sorted, 0.5), low: quantile(sorted, 0.25), high: quantile(sorted, 0.75) };
}

export interface Ratio {
  /** Median of `a` over median of `b`. */
  readonly ratio: number;
  /** False when the spreads overlap: the difference may be noise, and is not called one. */
  readonly real: boolean;
}

/** How many times `a` is of `b`. Times: above 1 means that b is faster. */
export function compare(a: Summary, b: Summary): Ratio {
  return { ratio: a.median / b.median, real: a.low > b.high || a.high < b.low };
}

/** Geometric mean; of ratios. */
export function geometricMean(values: readonly number[]): number {
  return Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length);
}
