/**
 * What the hashes of a heap are multiplied by: a random odd number of its own, so that whoever chooses keys cannot choose
 * their buckets. The bucket is the high bits of the product.
 *
 * A good multiplier also spreads keys that follow each other. By the three-distance theorem the multiples of m / 2^32 lie evenly
 * when the continued fraction of m / 2^32 has small quotients: no bucket has many more than LARGEST of them. That is asked of strides
 * too, since references are multiples of the size of a cell.
 */
import { WrongTypeError } from "./error.ts";

const LARGEST = 16;
const STRIDES = [1, 2, 4, 8];
/** Quotients are looked at until the convergents' denominators reach this: more buckets than a large table has. */
const BUCKETS = 2 ** 20;

/** The seed that was asked for, or a random one. Throws WrongTypeError. */
export function hashSeed(wanted: number | undefined): number {
  if (wanted !== undefined) {
    if ((wanted | 0) === wanted && (wanted & 1) === 1) return wanted;
    throw new WrongTypeError(`hashSeed ${wanted} is not an odd 32-bit integer`, "ERR_RCU_BAD_ARGUMENT");
  }
  // One in some hundreds is good.
  for (;;) {
    const seed = Math.floor(Math.random() * 2 ** 32) | 1;
    if (STRIDES.every((stride) => spreads(Math.imul(seed, stride) >>> 0))) return seed | 0;
  }
}

/** Whether the multiples of multiplier / 2^32, modulo 1, lie evenly. */
function spreads(multiplier: number): boolean {
  let above = 2 ** 32;
  let below = multiplier;
  let before = 0;
  let denominator = 1;
  while (denominator < BUCKETS) {
    if (below === 0) return false;
    const quotient = Math.floor(above / below);
    if (quotient > LARGEST) return false;
    [above, below] = [below, above - quotient * below];
    [before, denominator] = [denominator, quotient * denominator + before];
  }
  return true;
}
