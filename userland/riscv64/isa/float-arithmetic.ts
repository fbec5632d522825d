/** Rows that compute with floating-point numbers: arithmetic, signs, comparisons. */

import type { Emitter, Source } from "../emitter.ts";
import { fused } from "../fpu/fused.ts";
import type { Floats } from "../wasm/floats.ts";
import type { I32 } from "../wasm/types.ts";
import {
  DOUBLE,
  exactUnrounded,
  nativeOrStub,
  opOf,
  ordinary,
  SINGLE,
  stub,
  type Width,
} from "./float-native.ts";
import { row, row3, unary } from "./float-rows.ts";
import { fd, type Instruction, instruction, rd } from "./instruction.ts";

/** frd = `compute` of frs1 and frs2. */
export function arithmetic<T>(
  name: string,
  width: Width<T>,
  funct5: number,
  compute: (float: Floats<T>, a: T, b: T) => T,
  underflows: boolean,
): Instruction {
  const [a, b, r] = width.locals;
  return row(
    `${name}.${width.suffix}`,
    width,
    funct5,
    "frd,frs1,frs2,rm",
    fd((e) => {
      const { c } = e;
      const float = width.float(e);
      c.set(r, compute(float, c.tee(a, width.read(e, "rs1")), c.tee(b, width.read(e, "rs2"))));
      return nativeOrStub(e, name, width, ordinary(e, width, underflows), () => {
        c.get(a);
        c.get(b);
      });
    }),
  );
}

export function squareRoot<T>(width: Width<T>): Instruction {
  const [a, , r] = width.locals;
  return unary(
    `fsqrt.${width.suffix}`,
    width,
    0x0b,
    0,
    undefined,
    "frd,frs1,rm",
    fd((e) => {
      const { c, i32 } = e;
      const float = width.float(e);
      c.set(r, float.sqrt(c.tee(a, width.read(e, "rs1"))));
      const fine = i32.and(float.gt(c.get(r), 0), float.lt(c.get(r), Number.POSITIVE_INFINITY));
      return nativeOrStub(e, "fsqrt", width, fine, () => c.get(a));
    }),
  );
}

/** x * y + z with signs: the machine's own where it rounds once, under the usual proof. */
export function multiplyAdd<T>(
  name: string,
  width: Width<T>,
  opcode: number,
  negateA: boolean,
  negateC: boolean,
): Instruction {
  const operands = "frd,frs1,frs2,frs3,rm";
  return instruction(
    `${name}.${width.suffix}`,
    0x0600007f,
    (width.fmt << 25) | opcode,
    "none",
    operands,
    fd((e) => {
      const float = width.float(e);
      const signed = (source: Source, negate: boolean) => {
        const value = width.read(e, source);
        return negate ? float.neg(value) : value;
      };
      const a = () => signed("rs1", negateA);
      const b = () => width.read(e, "rs2");
      const c = () => signed("rs3", negateC);
      const all = () => {
        a();
        b();
        c();
      };
      if (!e.hasFused) return width.toRegister(e, stub(e, "fmadd", width, all));
      e.c.set(width.locals[2], fused(float, a, b, c));
      return nativeOrStub(e, "fmadd", width, ordinary(e, width, true), all);
    }),
  );
}

/** frs1 with the sign of frs2, or with the opposite sign. */
export function signInject<T>(name: string, width: Width<T>, funct3: 0 | 1): Instruction {
  return row3(
    `${name}.${width.suffix}`,
    width,
    0x04,
    funct3,
    "frd,frs1,frs2",
    fd((e) => {
      const float = width.float(e);
      const sign = () => (funct3 === 1 ? float.neg(width.read(e, "rs2")) : width.read(e, "rs2"));
      return width.toRegister(e, float.copysign(width.read(e, "rs1"), sign()));
    }),
  );
}

/** frs1 with the exclusive or of both signs: by integers, so that NaNs keep their bits. */
export const SIGN_XOR: { readonly s: Instruction; readonly d: Instruction } = {
  s: row3(
    "fsgnjx.s",
    SINGLE,
    0x04,
    2,
    "frd,frs1,frs2",
    fd((e) => {
      const { i32 } = e;
      const bits = (source: Source) => i32.reinterpretF32(e.s(source));
      return e.box(i32.xor(bits("rs1"), i32.and(bits("rs2"), -(2 ** 31))));
    }),
  ),
  d: row3(
    "fsgnjx.d",
    DOUBLE,
    0x04,
    2,
    "frd,frs1,frs2",
    fd((e) => {
      const { i64 } = e;
      return e.f64.reinterpretI64(i64.xor(e.bits("rs1"), i64.and(e.bits("rs2"), -(2n ** 63n))));
    }),
  ),
};

/** Whether neither operand is a NaN; they are left in locals 0 and 1. */
function ordered<T>(e: Emitter, width: Width<T>): I32 {
  const { c, i32 } = e;
  const float = width.float(e);
  const [a, b] = width.locals;
  const first = float.eq(c.tee(a, width.read(e, "rs1")), c.get(a));
  const second = float.eq(c.tee(b, width.read(e, "rs2")), c.get(b));
  return c.likely(i32.and(first, second));
}

export function minMax<T>(name: "fmin" | "fmax", width: Width<T>): Instruction {
  const smaller = name === "fmin";
  const op = opOf(name.toUpperCase(), width);
  return row3(
    `${name}.${width.suffix}`,
    width,
    0x05,
    smaller ? 0 : 1,
    "frd,frs1,frs2",
    fd((e) => {
      const { c, f64 } = e;
      const float = width.float(e);
      const [a, b] = width.locals;
      const chosen = () => (smaller ? float.min(c.get(a), c.get(b)) : float.max(c.get(a), c.get(b)));
      return f64.if(
        ordered(e, width),
        () => width.toRegister(e, chosen()),
        () => f64.reinterpretI64(exactUnrounded(e, op, "rs1", "rs2")),
      );
    }),
  );
}

export function compare<T>(
  name: string,
  width: Width<T>,
  funct3: number,
  holds: (float: Floats<T>, a: T, b: T) => I32,
): Instruction {
  const op = opOf(name.toUpperCase(), width);
  return row3(
    `${name}.${width.suffix}`,
    width,
    0x14,
    funct3,
    "rd,frs1,frs2",
    rd((e) => {
      const { c, i64 } = e;
      const [a, b] = width.locals;
      return i64.if(
        ordered(e, width),
        () => i64.extendI32U(holds(width.float(e), c.get(a), c.get(b))),
        () => exactUnrounded(e, op, "rs1", "rs2"),
      );
    }),
  );
}

/** fclass: the software is exact and rarely asked. */
export function classify<T>(width: Width<T>): Instruction {
  return unary(
    `fclass.${width.suffix}`,
    width,
    0x1c,
    0,
    1,
    "rd,frs1",
    rd((e) => exactUnrounded(e, opOf("FCLASS", width), "rs1")),
  );
}
