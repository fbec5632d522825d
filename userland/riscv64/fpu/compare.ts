/** Comparisons, minimum, maximum and classification: no rounding. */

import { FFLAGS, type Format, raise } from "./format.ts";

const isNan = (f: Format, a: bigint): boolean => (a & ~f.signBit) > f.inf;
const isSnan = (f: Format, a: bigint): boolean => isNan(f, a) && (a & f.quiet) === 0n;

/** Maps non-NaN bit patterns to integers in numeric order, -0 just below +0. */
function ordered(f: Format, a: bigint): bigint {
  return (a & f.signBit) === 0n ? a : -1n - (a ^ f.signBit);
}

const isZero = (f: Format, a: bigint): boolean => (a & ~f.signBit) === 0n;

/** feq: quiet, NV for signalling NaNs only. */
export function feq(f: Format, a: bigint, b: bigint): bigint {
  if (isNan(f, a) || isNan(f, b)) {
    if (isSnan(f, a) || isSnan(f, b)) raise(FFLAGS.NV);
    return 0n;
  }
  return a === b || (isZero(f, a) && isZero(f, b)) ? 1n : 0n;
}

/** flt: signalling, NV for any NaN. */
export function flt(f: Format, a: bigint, b: bigint): bigint {
  if (isNan(f, a) || isNan(f, b)) {
    raise(FFLAGS.NV);
    return 0n;
  }
  return ordered(f, a) < ordered(f, b) && !(isZero(f, a) && isZero(f, b)) ? 1n : 0n;
}

/** fle: signalling, NV for any NaN. */
export function fle(f: Format, a: bigint, b: bigint): bigint {
  if (isNan(f, a) || isNan(f, b)) {
    raise(FFLAGS.NV);
    return 0n;
  }
  return ordered(f, a) <= ordered(f, b) || (isZero(f, a) && isZero(f, b)) ? 1n : 0n;
}

/** minimumNumber (`larger` false) or maximumNumber: a NaN loses to a number, -0 < +0, NV for signalling NaNs. */
export function minMax(f: Format, a: bigint, b: bigint, larger: boolean): bigint {
  if (isSnan(f, a) || isSnan(f, b)) raise(FFLAGS.NV);
  if (isNan(f, a)) return isNan(f, b) ? f.nan : b;
  if (isNan(f, b)) return a;
  return ordered(f, a) < ordered(f, b) !== larger ? a : b;
}

/** fclass: one bit of ten. */
export function fclass(f: Format, a: bigint): bigint {
  const negative = (a & f.signBit) !== 0n;
  const magnitude = a & ~f.signBit;
  if (magnitude > f.inf) return isSnan(f, a) ? 1n << 8n : 1n << 9n;
  if (magnitude === f.inf) return negative ? 1n << 0n : 1n << 7n;
  if (magnitude === 0n) return negative ? 1n << 3n : 1n << 4n;
  if (magnitude <= f.fracMask) return negative ? 1n << 2n : 1n << 5n;
  return negative ? 1n << 1n : 1n << 6n;
}
