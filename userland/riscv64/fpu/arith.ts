/** Exact add, multiply, divide, square root and fused multiply-add on bit patterns: slow, small, complete. */

import {
  bitLength,
  FFLAGS,
  type Format,
  KIND,
  type Operand,
  operand,
  RM,
  raise,
  roundPack,
  unpack,
} from "./format.ts";

const A = operand();
const B = operand();
const C = operand();

/** The canonical NaN, after NV where a signalling NaN was among the operands. */
function nanResult(f: Format, signalling: boolean): bigint {
  if (signalling) raise(FFLAGS.NV);
  return f.nan;
}

function invalid(f: Format): bigint {
  raise(FFLAGS.NV);
  return f.nan;
}

const isNan = (x: Operand): boolean => x.kind >= KIND.QNAN;
const isSnan = (x: Operand): boolean => x.kind === KIND.SNAN;
const isInf = (x: Operand): boolean => x.kind === KIND.INF;
const isZero = (x: Operand): boolean => x.kind === KIND.FINITE && x.mant === 0n;

const signed = (f: Format, sign: number, magnitude: bigint): bigint =>
  sign === 0 ? magnitude : magnitude | f.signBit;

/** The sign of an exact zero sum of operands with these signs (IEEE 754, 6.3). */
function zeroSum(f: Format, sa: number, sb: number, rm: number): bigint {
  return signed(f, sa === sb ? sa : rm === RM.RDN ? 1 : 0, 0n);
}

/**
 * How many bits the larger operand of a sum gets below its last one, before a smaller operand that
 * lies wholly beneath them is replaced by a sticky bit. At least p + 3.
 */
const GUARD = 60;

/** Rounded sum of two finite, non-zero (sign, mant, exp). */
function addMagnitudes(
  f: Format,
  sa: number,
  ma: bigint,
  ea: number,
  sb: number,
  mb: bigint,
  eb: number,
  rm: number,
): bigint {
  const topA = bitLength(ma) + ea;
  const topB = bitLength(mb) + eb;
  let exp = Math.min(ea, eb);
  let left: bigint;
  let right: bigint;
  if (topB <= ea - GUARD) {
    exp = ea - GUARD - 1;
    left = ma << BigInt(GUARD + 1);
    right = 1n;
  } else if (topA <= eb - GUARD) {
    exp = eb - GUARD - 1;
    left = 1n;
    right = mb << BigInt(GUARD + 1);
  } else {
    left = ma << BigInt(ea - exp);
    right = mb << BigInt(eb - exp);
  }
  const sum = (sa === 0 ? left : -left) + (sb === 0 ? right : -right);
  if (sum === 0n) return zeroSum(f, sa, sb, rm);
  return sum < 0n ? roundPack(f, 1, -sum, exp, rm) : roundPack(f, 0, sum, exp, rm);
}

/** a + b. */
export function add(f: Format, a: bigint, b: bigint, rm: number): bigint {
  const x = unpack(f, a, A);
  const y = unpack(f, b, B);
  if (isNan(x) || isNan(y)) return nanResult(f, isSnan(x) || isSnan(y));
  if (isInf(x)) return isInf(y) && x.sign !== y.sign ? invalid(f) : a;
  if (isInf(y)) return b;
  if (isZero(x)) return isZero(y) ? zeroSum(f, x.sign, y.sign, rm) : b;
  if (isZero(y)) return a;
  return addMagnitudes(f, x.sign, x.mant, x.exp, y.sign, y.mant, y.exp, rm);
}

/** a * b. */
export function mul(f: Format, a: bigint, b: bigint, rm: number): bigint {
  const x = unpack(f, a, A);
  const y = unpack(f, b, B);
  if (isNan(x) || isNan(y)) return nanResult(f, isSnan(x) || isSnan(y));
  const sign = x.sign ^ y.sign;
  if (isInf(x) || isInf(y)) return isZero(x) || isZero(y) ? invalid(f) : signed(f, sign, f.inf);
  if (isZero(x) || isZero(y)) return signed(f, sign, 0n);
  return roundPack(f, sign, x.mant * y.mant, x.exp + y.exp, rm);
}

/** a / b. */
export function div(f: Format, a: bigint, b: bigint, rm: number): bigint {
  const x = unpack(f, a, A);
  const y = unpack(f, b, B);
  if (isNan(x) || isNan(y)) return nanResult(f, isSnan(x) || isSnan(y));
  const sign = x.sign ^ y.sign;
  if (isInf(x)) return isInf(y) ? invalid(f) : signed(f, sign, f.inf);
  if (isInf(y)) return signed(f, sign, 0n);
  if (isZero(y)) {
    if (isZero(x)) return invalid(f);
    raise(FFLAGS.DZ);
    return signed(f, sign, f.inf);
  }
  if (isZero(x)) return signed(f, sign, 0n);
  // The quotient gets at least p + 2 bits, whatever the lengths of the operands.
  const shift = f.p + 2 + Math.max(0, bitLength(y.mant) - bitLength(x.mant));
  const numerator = x.mant << BigInt(shift);
  const quotient = numerator / y.mant;
  const sticky = quotient * y.mant === numerator ? 0n : 1n;
  return roundPack(f, sign, (quotient << 1n) | sticky, x.exp - y.exp - shift - 1, rm);
}

/** Integer square root: the largest r with r * r <= n, for n below 2^200. */
function isqrt(n: bigint): bigint {
  let r = BigInt(Math.floor(Math.sqrt(Number(n)))) + 1n;
  for (;;) {
    const next = (r + n / r) >> 1n;
    if (next === r) break;
    const step = next - r;
    r = next;
    if (step === 1n || step === -1n) break;
  }
  while (r * r > n) r--;
  while ((r + 1n) * (r + 1n) <= n) r++;
  return r;
}

/** The square root of a. */
export function sqrt(f: Format, a: bigint, rm: number): bigint {
  const x = unpack(f, a, A);
  if (isNan(x)) return nanResult(f, isSnan(x));
  if (isZero(x)) return a;
  if (x.sign === 1) return invalid(f);
  if (isInf(x)) return a;
  let shift = 2 * (f.p + 2) - bitLength(x.mant);
  if ((x.exp - shift) % 2 !== 0) shift++;
  const n = x.mant << BigInt(shift);
  const root = isqrt(n);
  const sticky = root * root === n ? 0n : 1n;
  return roundPack(f, 0, (root << 1n) | sticky, (x.exp - shift) / 2 - 1, rm);
}

/** a * b + c with one rounding. 0 * inf is invalid even when c is a quiet NaN. */
export function fma(f: Format, a: bigint, b: bigint, c: bigint, rm: number): bigint {
  const x = unpack(f, a, A);
  const y = unpack(f, b, B);
  const z = unpack(f, c, C);
  const infTimesZero = (isInf(x) && isZero(y)) || (isZero(x) && isInf(y));
  if (isNan(x) || isNan(y) || isNan(z)) {
    return nanResult(f, infTimesZero || isSnan(x) || isSnan(y) || isSnan(z));
  }
  if (infTimesZero) return invalid(f);
  const sign = x.sign ^ y.sign;
  if (isInf(x) || isInf(y)) return isInf(z) && z.sign !== sign ? invalid(f) : signed(f, sign, f.inf);
  if (isInf(z)) return c;
  if (isZero(x) || isZero(y)) return isZero(z) ? zeroSum(f, sign, z.sign, rm) : c;
  const product = x.mant * y.mant;
  const exp = x.exp + y.exp;
  if (isZero(z)) return roundPack(f, sign, product, exp, rm);
  return addMagnitudes(f, sign, product, exp, z.sign, z.mant, z.exp, rm);
}
