/**
 * Shortcuts for `fpOp` through JavaScript's own doubles, taken only where they are exact.
 *
 * Every shortcut finds the correctly rounded (nearest, even) result r and the sign of (exact - r): that decides NX and, for
 * the directed modes, whether the answer is r or its neighbour. The error comes from error-free transformations (Dekker,
 * Knuth; fma after Boldo and Melquiond, "Emulation of FMA and correctly rounded sums", 2008). Operands and results are kept far
 * from both ends of the exponent range, so that no intermediate overflows or loses bits, and OF and UF cannot arise.
 */

import { FFLAGS, RM, raise } from "./format.ts";
import { FP_OP } from "./ops.ts";

/** Three operands in, the result out in [0]: one buffer seen as registers, doubles, floats and words. */
const regs = new BigInt64Array(4);
const f64 = new Float64Array(regs.buffer);
const f32 = new Float32Array(regs.buffer);
const i32 = new Int32Array(regs.buffer);

/** What the last successful `nativeOp` computed: the register's contents. */
export function nativeResult(): bigint {
  return regs[0]!;
}

/** Doubles between these magnitudes (and zero, where said) are safe in every transformation below. */
const SMALL = 2 ** -450;
const LARGE = 2 ** 450;
/** Normal floats, the smallest excluded: it may be the result of a tiny number rounded up. */
const SMALL_S = 2 ** -126;
const LARGE_S = 2 ** 127;
/** Up to here doubles hold every integer and its half. */
const INT_SAFE = 2 ** 51;

const inRange = (x: number): boolean => (x > SMALL && x < LARGE) || (x < -SMALL && x > -LARGE);
const inRangeOrZero = (x: number): boolean => x === 0 || inRange(x);

/** (x + y) - s, exactly, for s the rounded sum. */
function sumError(x: number, y: number, s: number): number {
  const yy = s - x;
  return x - (s - yy) + (y - yy);
}

const SPLITTER = 2 ** 27 + 1;

/** (x * y) - p, exactly, for p the rounded product. */
function productError(x: number, y: number, p: number): number {
  const cx = SPLITTER * x;
  const xh = cx - (cx - x);
  const xl = x - xh;
  const cy = SPLITTER * y;
  const yh = cy - (cy - y);
  const yl = y - yh;
  return xl * yl - (p - xh * yh - xl * yh - xh * yl);
}

/** x + y rounded to odd: s, or its neighbour towards the error when s is even and not exact. */
function sumToOdd(x: number, y: number): number {
  const s = x + y;
  const e = sumError(x, y, s);
  if (e === 0) return s;
  f64[3] = s;
  if ((i32[6]! & 1) === 0) {
    regs[3] = regs[3]! + (e > 0 === s > 0 ? 1n : -1n);
    return f64[3]!;
  }
  return s;
}

/** +1n: one step away from zero, -1n: one towards it, 0n: r it is. `error` has the sign of (exact - r), not 0. */
function step(r: number, error: number, rm: number): bigint {
  if (rm === RM.RNE) return 0n;
  const outward = error > 0 === r > 0;
  if (rm === RM.RTZ) return outward ? 0n : -1n;
  if (error > 0 !== (rm === RM.RUP)) return 0n;
  return outward ? 1n : -1n;
}

/** Finishes a double: `error` has the sign of exact - r. */
function putD(r: number, error: number, rm: number): boolean {
  if (!inRange(r)) return false;
  f64[0] = r;
  if (error !== 0) {
    raise(FFLAGS.NX);
    const by = step(r, error, rm);
    if (by !== 0n) regs[0] = regs[0]! + by;
  }
  return true;
}

/** Finishes a float: `exact` + an `error` of at most half its unit is what to round; `exact` is odd-rounded or exact. */
function putS(exact: number, error: number, rm: number): boolean {
  const r = Math.fround(exact);
  if (!((r > SMALL_S && r < LARGE_S) || (r < -SMALL_S && r > -LARGE_S))) return false;
  const rest = exact !== r ? exact - r : error;
  f32[0] = r;
  if (rest !== 0) {
    raise(FFLAGS.NX);
    i32[0] = i32[0]! + Number(step(r, rest, rm));
  }
  i32[1] = -1;
  return true;
}

function addD(x: number, y: number, rm: number): boolean {
  if (!inRange(x) || !inRange(y)) return false;
  const r = x + y;
  return putD(r, sumError(x, y, r), rm);
}

function mulD(x: number, y: number, rm: number): boolean {
  if (!inRange(x) || !inRange(y)) return false;
  const r = x * y;
  return inRange(r) && putD(r, productError(x, y, r), rm);
}

function divD(x: number, y: number, rm: number): boolean {
  if (!inRange(x) || !inRange(y)) return false;
  const r = x / y;
  if (!inRange(r)) return false;
  const p = r * y;
  const rest = x - p - productError(r, y, p);
  return putD(r, y > 0 ? rest : -rest, rm);
}

function sqrtD(x: number, rm: number): boolean {
  if (!inRange(x) || x < 0) return false;
  const r = Math.sqrt(x);
  const p = r * r;
  return putD(r, x - p - productError(r, r, p), rm);
}

function fmaD(x: number, y: number, z: number, rm: number): boolean {
  if (!inRange(x) || !inRange(y) || !inRangeOrZero(z)) return false;
  const p = x * y;
  if (!inRange(p)) return false;
  const e = productError(x, y, p);
  const uh = z + e;
  const ul = sumError(z, e, uh);
  const th = p + uh;
  const tl = sumError(p, uh, th);
  const v = sumToOdd(tl, ul);
  const r = th + v;
  // Where v is not tl + ul exactly it has 53 bits below th's last one: the error is then not 0 and keeps its sign.
  return putD(r, sumError(th, v, r), rm);
}

/** Rounds a double below INT_SAFE in magnitude to an integer; RMM is the caller's to exclude. */
function toIntegral(x: number, rm: number): number {
  switch (rm) {
    case RM.RNE: {
      const magic = x < 0 ? -(2 ** 52) : 2 ** 52;
      return x + magic - magic;
    }
    case RM.RDN:
      return Math.floor(x);
    case RM.RUP:
      return Math.ceil(x);
    default:
      return Math.trunc(x);
  }
}

function putInt(x: number, min: number, max: number, rm: number): boolean {
  if (!(x > -INT_SAFE && x < INT_SAFE)) return false;
  const n = toIntegral(x, rm);
  if (n < min || n > max) return false;
  if (n !== x) raise(FFLAGS.NX);
  regs[0] = max === 0xffff_ffff ? BigInt(n | 0) : BigInt(n);
  return true;
}

function toInt(op: number, x: number, rm: number): boolean {
  switch (op & ~1) {
    case FP_OP.FCVT_W_S:
      return putInt(x, -(2 ** 31), 2 ** 31 - 1, rm);
    case FP_OP.FCVT_WU_S:
      return putInt(x, 0, 2 ** 32 - 1, rm);
    case FP_OP.FCVT_L_S:
      return putInt(x, -INT_SAFE, INT_SAFE, rm);
    default:
      return putInt(x, 0, INT_SAFE, rm);
  }
}

function fromInt(op: number, a: bigint, rm: number): boolean {
  let n: number;
  regs[0] = a;
  switch (op & ~1) {
    case FP_OP.FCVT_S_W:
      n = i32[0]!;
      break;
    case FP_OP.FCVT_S_WU:
      n = i32[0]! >>> 0;
      break;
    default:
      // A negative i64 as LU has its top word's sign bit set, and is no small number either way.
      if (i32[1]! > 2 ** 20 || i32[1]! < ((op & ~1) === FP_OP.FCVT_S_LU ? 0 : -(2 ** 20))) return false;
      n = i32[1]! * 2 ** 32 + (i32[0]! >>> 0);
  }
  if ((op & 1) === 0 && n !== 0) return putS(n, 0, rm);
  if ((op & 1) === 0) return false;
  f64[0] = n;
  return true;
}

function opD(op: number, a: bigint, b: bigint, c: bigint, rm: number): boolean {
  regs[0] = a;
  regs[1] = b;
  regs[2] = c;
  const x = f64[0]!;
  switch (op) {
    case FP_OP.FADD_D:
      return addD(x, f64[1]!, rm);
    case FP_OP.FSUB_D:
      return addD(x, -f64[1]!, rm);
    case FP_OP.FMUL_D:
      return mulD(x, f64[1]!, rm);
    case FP_OP.FDIV_D:
      return divD(x, f64[1]!, rm);
    case FP_OP.FSQRT_D:
      return sqrtD(x, rm);
    case FP_OP.FMADD_D:
      return fmaD(x, f64[1]!, f64[2]!, rm);
    case FP_OP.FMSUB_D:
      return fmaD(x, f64[1]!, -f64[2]!, rm);
    case FP_OP.FNMSUB_D:
      return fmaD(-x, f64[1]!, f64[2]!, rm);
    case FP_OP.FNMADD_D:
      return fmaD(-x, f64[1]!, -f64[2]!, rm);
    default:
      return false;
  }
}

function fmaS(x: number, y: number, z: number, rm: number): boolean {
  // 24 x 24 bits: the product is exact in a double. The sum is rounded to odd there, 29 bits below the float's last.
  return putS(sumToOdd(x * y, z), 0, rm);
}

function opS(op: number, a: bigint, b: bigint, c: bigint, rm: number): boolean {
  regs[0] = a;
  regs[1] = b;
  regs[2] = c;
  if (i32[1] !== -1) return false;
  const x = f32[0]!;
  if (op === FP_OP.FSQRT_S) {
    const r = Math.sqrt(x);
    const short = Math.fround(r);
    return x > 0 && putS(short, x - short * short, rm);
  }
  if (i32[3] !== -1) return false;
  const y = f32[2]!;
  switch (op) {
    case FP_OP.FADD_S:
      return putS(sumToOdd(x, y), 0, rm);
    case FP_OP.FSUB_S:
      return putS(sumToOdd(x, -y), 0, rm);
    case FP_OP.FMUL_S:
      return putS(x * y, 0, rm);
    case FP_OP.FDIV_S: {
      const r = Math.fround(x / y);
      const rest = x - r * y;
      return y !== 0 && putS(r, y > 0 ? rest : -rest, rm);
    }
  }
  if (i32[5] !== -1) return false;
  const z = f32[4]!;
  switch (op) {
    case FP_OP.FMADD_S:
      return fmaS(x, y, z, rm);
    case FP_OP.FMSUB_S:
      return fmaS(x, y, -z, rm);
    case FP_OP.FNMSUB_S:
      return fmaS(-x, y, z, rm);
    case FP_OP.FNMADD_S:
      return fmaS(-x, y, -z, rm);
    default:
      return false;
  }
}

/**
 * Computes `op` if a shortcut applies (rm: RNE, RTZ, RDN or RUP): raises its flags and returns true, the result in
 * `nativeResult()`. Returns false, with nothing raised, when it does not.
 */
export function nativeOp(op: number, a: bigint, b: bigint, c: bigint, rm: number): boolean {
  if (op < FP_OP.FMIN_S) return (op & 1) === 0 ? opS(op, a, b, c, rm) : opD(op, a, b, c, rm);
  if (op < FP_OP.FCVT_W_S) return false;
  if (op >= FP_OP.FCVT_S_W && op < FP_OP.FCVT_S_D) return fromInt(op, a, rm);
  regs[0] = a;
  if (op === FP_OP.FCVT_S_D) return putS(f64[0]!, 0, rm);
  if ((op & 1) === 1 && op !== FP_OP.FCVT_D_S) return toInt(op, f64[0]!, rm);
  if (i32[1] !== -1) return false;
  const x = f32[0]!;
  if (op !== FP_OP.FCVT_D_S) return toInt(op, x, rm);
  if (Number.isNaN(x)) return false;
  f64[0] = x;
  return true;
}
