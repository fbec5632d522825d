/** Conversions between the formats, and to and from the four integer types. */

import { D, FFLAGS, type Format, KIND, operand, raise, roundPack, S, shiftRound, unpack } from "./format.ts";

const A = operand();

/**
 * fcvt.{w,wu,l,lu}: `min`..`max` is the integer type's range. What rounds to outside is NV and saturates (NaN to max),
 * with no NX.
 */
export function toInt(f: Format, a: bigint, min: bigint, max: bigint, rm: number): bigint {
  const x = unpack(f, a, A);
  if (x.kind !== KIND.FINITE) {
    raise(FFLAGS.NV);
    return x.kind === KIND.INF && x.sign === 1 ? min : max;
  }
  if (x.mant === 0n) return 0n;
  let magnitude: bigint;
  let inexact = false;
  if (x.exp >= 0) {
    // Beyond 2^64 the exact size does not matter.
    magnitude = x.mant << BigInt(Math.min(x.exp, 64));
  } else {
    // Below a quarter all modes only see "tiny": keep the shift short.
    const shift = Math.min(-x.exp, f.p + 2);
    magnitude = shiftRound(x.mant, shift, x.sign, rm);
    inexact = shift !== -x.exp || magnitude << BigInt(shift) !== x.mant;
  }
  const value = x.sign === 1 ? -magnitude : magnitude;
  if (value < min || value > max) {
    raise(FFLAGS.NV);
    return value < min ? min : max;
  }
  if (inexact) raise(FFLAGS.NX);
  return value;
}

/** An integer (any BigInt) rounded to the format. */
export function fromInt(f: Format, value: bigint, rm: number): bigint {
  if (value === 0n) return 0n;
  return value < 0n ? roundPack(f, 1, -value, 0, rm) : roundPack(f, 0, value, 0, rm);
}

/** fcvt.s.d and fcvt.d.s: NaNs become canonical, signalling ones raise NV. */
export function convert(from: Format, to: Format, a: bigint, rm: number): bigint {
  const x = unpack(from, a, A);
  if (x.kind >= KIND.QNAN) {
    if (x.kind === KIND.SNAN) raise(FFLAGS.NV);
    return to.nan;
  }
  const sign = x.sign === 0 ? 0n : to.signBit;
  if (x.kind === KIND.INF) return sign | to.inf;
  if (x.mant === 0n) return sign;
  return roundPack(to, x.sign, x.mant, x.exp, rm);
}

const BOX = 0xffff_ffff_0000_0000n;

/** The single-precision bits of an f register; one that is not NaN-boxed reads as the canonical NaN. */
export function unbox(register: bigint): bigint {
  const bits = BigInt.asUintN(64, register);
  return bits >= BOX ? bits & 0xffff_ffffn : S.nan;
}

/** An f register that holds the single-precision `bits` (signed BigInt). */
export function box(bits: bigint): bigint {
  return BigInt.asIntN(64, bits | BOX);
}

/** The double of an f register, as unsigned bits. */
export function double(register: bigint): bigint {
  return register & (D.signBit | (D.signBit - 1n));
}
