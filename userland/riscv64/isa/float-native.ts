/** Where floating point is computed: natively where that is provably right, else by the exact software. */

import { EXIT } from "../../../kernel/usermode.ts";
import type { Emitter, Source } from "../emitter.ts";
import { FP_OP } from "../fpu/ops.ts";
import { AREA, D0, D1, D2, REGS, S0, S1, S2 } from "../locals.ts";
import { FIRST_BAD_FCSR, loadFcsr, RM_DYNAMIC } from "../register-file.ts";
import type { StubName } from "../stubs.ts";
import type { Floats } from "../wasm/floats.ts";
import type { F32, F64, I32, I64, Local } from "../wasm/types.ts";

// Every row computes natively where that is provably what IEEE 754 asks for, flags included, and else
// calls the exact software. The proofs: rounding is to nearest even and NX is already set (`fastRounding`), so
// the one flag that an ordinary finite result could raise is there; anything else goes the slow way.

/** One of the two formats: how its numbers are read, kept and worked on. T is what they are on the operand stack. */
export interface Width<T> {
  readonly suffix: "s" | "d";
  /** The format field of an encoding: 0 or 1. */
  readonly fmt: 0 | 1;
  readonly float: (e: Emitter) => Floats<T>;
  /** An operand. */
  readonly read: (e: Emitter, source: Source) => T;
  /** A register's contents from a number. */
  readonly toRegister: (e: Emitter, value: T) => F64;
  /** Locals for two operands and a result. */
  readonly locals: readonly [Local<T>, Local<T>, Local<T>];
  readonly minNormal: number;
  /** Integers up to here in magnitude are exact. */
  readonly exactIntegers: bigint;
}

export const SINGLE: Width<F32> = {
  suffix: "s",
  fmt: 0,
  float: (e) => e.f32,
  read: (e, source) => e.s(source),
  toRegister: (e, value) => e.box(e.i32.reinterpretF32(value)),
  locals: [S0, S1, S2],
  minNormal: 2 ** -126,
  exactIntegers: 2n ** 24n,
};

export const DOUBLE: Width<F64> = {
  suffix: "d",
  fmt: 1,
  float: (e) => e.f64,
  read: (e, source) => e.f(source),
  toRegister: (_e, value) => value,
  locals: [D0, D1, D2],
  minNormal: 2 ** -1022,
  exactIntegers: 2n ** 53n,
};

export const opOf = (name: string, { suffix }: { readonly suffix: "s" | "d" }): number =>
  FP_OP[`${name}_${suffix.toUpperCase()}` as keyof typeof FP_OP];

/**
 * A dynamic rounding mode of 5 to 7 is illegal. No shortcut takes such a mode, except those of operations that never round,
 * where the specification leaves the choice.
 */
function refuseBadMode(e: Emitter): void {
  const { c, i32 } = e;
  if (e.staticRm() !== undefined) return;
  let bad = i32.geU(loadFcsr(c), FIRST_BAD_FCSR);
  if (e.interpreted) bad = i32.and(bad, i32.eq(e.rm(), RM_DYNAMIC));
  c.if(c.unlikely(bad), () => e.leave(EXIT.ILLEGAL));
}

/** What the exact software makes of up to three registers, of one at least. */
function software(e: Emitter, op: number, rounds: boolean, a: () => I64, b?: Source): I64 {
  const { c, i32, i64 } = e;
  if (rounds) refuseBadMode(e);
  const rm = () => (rounds ? e.rm() : i32.const(0));
  const second = () => (b === undefined ? i64.const(0) : e.bits(b));
  return e.call("fpu", c.get(AREA), c.get(REGS), i32.const(op), rm(), a(), second(), i64.const(0));
}

/** What the exact software makes of floating-point registers. */
export function exact(e: Emitter, op: number, a: Source, b?: Source): I64 {
  return software(e, op, true, () => e.bits(a), b);
}

/** The same for an operation that has no rounding mode. */
export function exactUnrounded(e: Emitter, op: number, a: Source, b?: Source): I64 {
  return software(e, op, false, () => e.bits(a), b);
}

/** What the exact software makes of the integer register rs1. */
export function exactFromInt(e: Emitter, op: number): I64 {
  return software(e, op, true, () => e.x("rs1"));
}

/** abs(result) < infinity, and for operations that can underflow also abs(result) > smallest normal. */
export function ordinary<T>(e: Emitter, width: Width<T>, underflows: boolean): I32 {
  const float = width.float(e);
  const magnitude = () => float.abs(e.c.get(width.locals[2]));
  const finite = float.lt(magnitude(), Number.POSITIVE_INFINITY);
  return underflows ? e.i32.and(finite, float.gt(magnitude(), width.minNormal)) : finite;
}

/** Whether rounding is fast and the result is `fine`, so that it may be taken. */
function taken(e: Emitter, fine: I32): I32 {
  return e.c.likely(e.i32.and(fine, e.fastRounding()));
}

/** The native result in local 2 when it is `fine` and rounding is fast; else the exact one, as a register's contents. */
export function nativeOrExact<T>(e: Emitter, width: Width<T>, fine: I32, slow: () => I64): F64 {
  return e.f64.if(
    taken(e, fine),
    () => width.toRegister(e, e.c.get(width.locals[2])),
    () => e.f64.reinterpretI64(slow()),
  );
}

/** The result of one of the arithmetic stubs, on operands that `operands` pushes. */
export function stub<T>(e: Emitter, name: string, { suffix }: Width<T>, operands: () => void): T {
  refuseBadMode(e);
  e.c.get(AREA);
  e.c.get(REGS);
  e.rm();
  operands();
  return e.c.callIndex(e.stub(`${name}_${suffix}` as StubName));
}

/** The native result in local 2 when it is `fine` and rounding is fast; else the stub's. */
export function nativeOrStub<T>(
  e: Emitter,
  name: string,
  width: Width<T>,
  fine: I32,
  operands: () => void,
): F64 {
  const value = width.float(e).if(
    taken(e, fine),
    () => e.c.get(width.locals[2]),
    () => stub(e, name, width, operands),
  );
  return width.toRegister(e, value);
}
