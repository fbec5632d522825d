/**
 * The entry point of exact floating point: one operation of the F or D extension on register contents.
 * README.md has the conventions.
 */

import { add, div, fma, mul, sqrt } from "./arith.ts";
import { fclass, feq, fle, flt, minMax } from "./compare.ts";
import { box, convert, double, fromInt, toInt, unbox } from "./convert.ts";
import { D, type Format, RM, S } from "./format.ts";
import { nativeOp, nativeResult } from "./native.ts";
import { FP_OP } from "./ops.ts";

export { FFLAGS, RM, takeFpFlags } from "./format.ts";
export { FP_OP } from "./ops.ts";

const I32_MIN = -(1n << 31n);
const I32_MAX = (1n << 31n) - 1n;
const U32_MAX = (1n << 32n) - 1n;
const I64_MIN = -(1n << 63n);
const I64_MAX = (1n << 63n) - 1n;
const U64_MAX = (1n << 64n) - 1n;

/**
 * Computes `op` (FP_OP) on register contents a, b, c with rounding mode `rm` (0..4, already resolved).
 * Returns the destination register's new contents as a signed 64-bit BigInt; flags wait in `takeFpFlags()`.
 */
export function fpOp(op: number, a: bigint, b: bigint, c: bigint, rm: number): bigint {
  // Ties away from zero are told from the exact bits only.
  if (rm !== RM.RMM && nativeOp(op, a, b, c, rm)) return nativeResult();
  return exactOp(op, a, b, c, rm);
}

/** `fpOp` by integer arithmetic alone: what the shortcuts are tested against. */
export function exactOp(op: number, a: bigint, b: bigint, c: bigint, rm: number): bigint {
  const f = (op & 1) === 0 ? S : D;
  switch (op & ~1) {
    case FP_OP.FCVT_W_S:
      return toInt(f, operandOf(f, a), I32_MIN, I32_MAX, rm);
    case FP_OP.FCVT_WU_S:
      return BigInt.asIntN(32, toInt(f, operandOf(f, a), 0n, U32_MAX, rm));
    case FP_OP.FCVT_L_S:
      return toInt(f, operandOf(f, a), I64_MIN, I64_MAX, rm);
    case FP_OP.FCVT_LU_S:
      return BigInt.asIntN(64, toInt(f, operandOf(f, a), 0n, U64_MAX, rm));
    case FP_OP.FCLASS_S:
      return fclass(f, operandOf(f, a));
    case FP_OP.FEQ_S:
      return feq(f, operandOf(f, a), operandOf(f, b));
    case FP_OP.FLT_S:
      return flt(f, operandOf(f, a), operandOf(f, b));
    case FP_OP.FLE_S:
      return fle(f, operandOf(f, a), operandOf(f, b));
  }
  const bits = floatResult(f, op, a, b, c, rm);
  return f === S ? box(bits) : BigInt.asIntN(64, bits);
}

function operandOf(f: Format, register: bigint): bigint {
  return f === S ? unbox(register) : double(register);
}

/** The operations whose result is a float of format `f`, as unsigned bits. */
function floatResult(f: Format, op: number, ra: bigint, rb: bigint, rc: bigint, rm: number): bigint {
  switch (op & ~1) {
    case FP_OP.FCVT_S_D & ~1:
      return op === FP_OP.FCVT_S_D ? convert(D, S, double(ra), rm) : convert(S, D, unbox(ra), rm);
    case FP_OP.FCVT_S_W:
      return fromInt(f, BigInt.asIntN(32, ra), rm);
    case FP_OP.FCVT_S_WU:
      return fromInt(f, BigInt.asUintN(32, ra), rm);
    case FP_OP.FCVT_S_L:
      return fromInt(f, BigInt.asIntN(64, ra), rm);
    case FP_OP.FCVT_S_LU:
      return fromInt(f, BigInt.asUintN(64, ra), rm);
  }
  const a = operandOf(f, ra);
  if ((op & ~1) === FP_OP.FSQRT_S) return sqrt(f, a, rm);
  const b = operandOf(f, rb);
  switch (op & ~1) {
    case FP_OP.FADD_S:
      return add(f, a, b, rm);
    case FP_OP.FSUB_S:
      return add(f, a, b ^ f.signBit, rm);
    case FP_OP.FMUL_S:
      return mul(f, a, b, rm);
    case FP_OP.FDIV_S:
      return div(f, a, b, rm);
    case FP_OP.FMIN_S:
      return minMax(f, a, b, false);
    case FP_OP.FMAX_S:
      return minMax(f, a, b, true);
    case FP_OP.FSGNJ_S:
      return (a & ~f.signBit) | (b & f.signBit);
    case FP_OP.FSGNJN_S:
      return (a & ~f.signBit) | (~b & f.signBit);
    case FP_OP.FSGNJX_S:
      return a ^ (b & f.signBit);
  }
  const c = operandOf(f, rc);
  switch (op & ~1) {
    case FP_OP.FMADD_S:
      return fma(f, a, b, c, rm);
    case FP_OP.FMSUB_S:
      return fma(f, a, b, c ^ f.signBit, rm);
    case FP_OP.FNMSUB_S:
      return fma(f, a ^ f.signBit, b, c, rm);
    case FP_OP.FNMADD_S:
      return fma(f, a ^ f.signBit, b, c ^ f.signBit, rm);
  }
  throw new Error(`fpOp: no operation ${op}`);
}
