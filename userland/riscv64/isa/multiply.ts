/** RV64M. */

import type { Emitter } from "../emitter.ts";
import { Q1, T0 } from "../locals.ts";
import type { Integers } from "../wasm/integers.ts";
import type { I32, I64, Local } from "../wasm/types.ts";
import type { Instruction } from "./instruction.ts";
import { register, registerW } from "./integer-rows.ts";

/** How the operands of one width are read, kept and worked on. */
interface Size<T> {
  readonly int: (e: Emitter) => Integers<T, number>;
  readonly read: (e: Emitter, source: "rs1" | "rs2") => T;
  readonly local: Local<T>;
}

const LONG: Size<I64> = { int: (e) => e.i64, read: (e, source) => e.x(source), local: Q1 };
const WORD: Size<I32> = { int: (e) => e.i32, read: (e, source) => e.w(source), local: T0 };

/** `zero` where rs2, which is then in size.local, is 0, else `otherwise`. */
function unlessZero<T>(e: Emitter, { int, read, local }: Size<T>, zero: () => T, otherwise: () => T): T {
  const { c } = e;
  return int(e).if(c.unlikely(int(e).eqz(c.tee(local, read(e, "rs2")))), zero, otherwise);
}

/** Division never traps: x / 0 is all ones, the overflowing quotient is the dividend. */
function divideSigned<T>(size: Size<T>) {
  return (e: Emitter): T => {
    const { c } = e;
    const int = size.int(e);
    const negated = () => int.sub(int.const(0), size.read(e, "rs1"));
    const quotient = () => int.divS(size.read(e, "rs1"), c.get(size.local));
    return unlessZero(
      e,
      size,
      () => int.const(-1),
      () => int.if(c.unlikely(int.eq(c.get(size.local), -1)), negated, quotient),
    );
  };
}

function divideUnsigned<T>(size: Size<T>) {
  return (e: Emitter): T => {
    const int = size.int(e);
    return unlessZero(
      e,
      size,
      () => int.const(-1),
      () => int.divU(size.read(e, "rs1"), e.c.get(size.local)),
    );
  };
}

/** x % 0 is x; the overflowing remainder is 0, as in wasm. */
function remainder<T>(size: Size<T>, signed: boolean) {
  return (e: Emitter): T => {
    const int = size.int(e);
    const x = () => size.read(e, "rs1");
    const rest = () => (signed ? int.remS(x(), e.c.get(size.local)) : int.remU(x(), e.c.get(size.local)));
    return unlessZero(e, size, x, rest);
  };
}

/** The upper half of the product: the unsigned one, corrected for the operands that are signed. */
function mulHigh(signed1: boolean, signed2: boolean) {
  return (e: Emitter): I64 => {
    const { i64 } = e;
    const correction = (negative: "rs1" | "rs2", other: "rs1" | "rs2") =>
      i64.and(i64.shrS(e.x(negative), 63), e.x(other));
    let high = e.call("mulhu", e.x("rs1"), e.x("rs2"));
    if (signed1) high = i64.sub(high, correction("rs1", "rs2"));
    if (signed2) high = i64.sub(high, correction("rs2", "rs1"));
    return high;
  };
}

export const MULTIPLY: readonly Instruction[] = [
  register("mul", 1, 0, (e) => e.i64.mul(e.x("rs1"), e.x("rs2"))),
  register("mulh", 1, 1, mulHigh(true, true)),
  register("mulhsu", 1, 2, mulHigh(true, false)),
  register("mulhu", 1, 3, mulHigh(false, false)),
  register("div", 1, 4, divideSigned(LONG)),
  register("divu", 1, 5, divideUnsigned(LONG)),
  register("rem", 1, 6, remainder(LONG, true)),
  register("remu", 1, 7, remainder(LONG, false)),
  registerW("mulw", 1, 0, (e) => e.i32.mul(e.w("rs1"), e.w("rs2"))),
  registerW("divw", 1, 4, divideSigned(WORD)),
  registerW("divuw", 1, 5, divideUnsigned(WORD)),
  registerW("remw", 1, 6, remainder(WORD, true)),
  registerW("remuw", 1, 7, remainder(WORD, false)),
];
