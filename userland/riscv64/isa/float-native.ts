/** Where floating point is computed: natively where that is provably right, else by the exact software. */

import { EXIT, USER_REGS } from "../../../kernel/usermode.ts";
import { AREA, D0, D1, D2, type Emitter, REGS, S0, S1, S2, type Source } from "../emitter.ts";
import { FP_OP } from "../fpu/ops.ts";
import type { StubName } from "../stubs.ts";
import { F32, F64, I32, TYPE } from "../wasm/opcodes.ts";

// Every row computes natively where that is provably what IEEE 754 asks for, flags included, and else
// calls the exact software. The proofs: rounding is to nearest even and NX is already set (`fastRounding`), so
// the one flag that an ordinary finite result could raise is there; anything else goes the slow way.

const MIN_NORMAL = { s: 2 ** -126, d: 2 ** -1022 } as const;

export type Width = "s" | "d";

/** Locals and opcodes by width. */
export const LOCAL = { s: [S0, S1, S2], d: [D0, D1, D2] } as const;
export const OF = { s: F32, d: F64 } as const;
const VALUE = { s: TYPE.F32, d: TYPE.F64 } as const;

export const opOf = (name: string, width: Width): number =>
  FP_OP[`${name}_${width.toUpperCase()}` as keyof typeof FP_OP];

/**
 * A dynamic rounding mode of 5 to 7 is illegal. No shortcut takes such a mode, except those of operations that never round,
 * where the specification leaves the choice.
 */
function refuseBadMode(e: Emitter): void {
  const c = e.c;
  if (e.staticRm() !== undefined) return;
  c.get(REGS);
  c.memory(I32.LOAD, USER_REGS.FCSR);
  c.i32(5 << 5);
  c.op(I32.GE_U);
  if (e.interpreted) {
    e.rm();
    c.i32(7);
    c.op(I32.EQ, I32.AND);
  }
  c.unlikely();
  c.if();
  e.leave(EXIT.ILLEGAL);
  c.end();
}

/** Pushes what the exact software makes of the registers: an i64. */
export function exact(
  e: Emitter,
  op: number,
  sources: ReadonlyArray<"rs1" | "rs2" | "rs3">,
  rounds = true,
): void {
  const c = e.c;
  if (rounds) refuseBadMode(e);
  c.get(AREA);
  c.get(REGS);
  c.i32(op);
  if (rounds) e.rm();
  else c.i32(0);
  for (const source of sources) e.bits(source);
  for (let i = sources.length; i < 3; i++) c.i64(0);
  e.call("fpu");
}

/** The same for a register-width integer operand. */
export function exactFromInt(e: Emitter, op: number): void {
  const c = e.c;
  refuseBadMode(e);
  c.get(AREA);
  c.get(REGS);
  c.i32(op);
  e.rm();
  e.x("rs1");
  c.i64(0);
  c.i64(0);
  e.call("fpu");
}

export function push(e: Emitter, width: Width, source: Source): void {
  if (width === "d") e.f(source);
  else e.s(source);
}

export function constant(e: Emitter, width: Width, value: number): void {
  if (width === "d") e.c.f64(value);
  else e.c.f32(value);
}

/** f64 register contents from a native value of the width on the stack. */
export function toRegister(e: Emitter, width: Width): void {
  if (width === "s") {
    e.c.op(I32.REINTERPRET_F32);
    e.box();
  }
}

/** frd = the native result in local 2 when `fine` (an i32 is pushed) and rounding is fast; else the exact one. */
export function nativeOrExact(e: Emitter, width: Width, fine: () => void, slow: () => void): void {
  const c = e.c;
  fine();
  e.fastRounding();
  c.op(I32.AND);
  c.likely();
  c.if(TYPE.F64);
  c.get(LOCAL[width][2]);
  toRegister(e, width);
  c.else();
  slow();
  c.op(F64.REINTERPRET_I64);
  c.end();
}

/** Pushes abs(result) < infinity, and for operations that can underflow also abs(result) > smallest normal. */
export function ordinary(e: Emitter, width: Width, underflows: boolean): void {
  const c = e.c;
  c.get(LOCAL[width][2]);
  c.op(OF[width].ABS);
  constant(e, width, Number.POSITIVE_INFINITY);
  c.op(OF[width].LT);
  if (underflows) {
    c.get(LOCAL[width][2]);
    c.op(OF[width].ABS);
    constant(e, width, MIN_NORMAL[width]);
    c.op(OF[width].GT, I32.AND);
  }
}

/** The result of one of the arithmetic stubs, on operands that `operands` pushes. */
export function stub(e: Emitter, name: string, width: Width, operands: () => void): void {
  refuseBadMode(e);
  e.c.get(AREA);
  e.c.get(REGS);
  e.rm();
  operands();
  e.call(`${name}_${width}` as StubName);
}

/** frd = the native result in local 2 when `fine` (an i32 is pushed) and rounding is fast; else the stub's. */
export function nativeOrStub(
  e: Emitter,
  name: string,
  width: Width,
  fine: () => void,
  operands: () => void,
): void {
  const c = e.c;
  fine();
  e.fastRounding();
  c.op(I32.AND);
  c.likely();
  c.if(VALUE[width]);
  c.get(LOCAL[width][2]);
  c.else();
  stub(e, name, width, operands);
  c.end();
  toRegister(e, width);
}
