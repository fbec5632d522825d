/** Rows that convert between integers and floating-point numbers. */

import type { Emitter } from "../emitter.ts";
import { FP_OP } from "../fpu/ops.ts";
import { Q1, T1 } from "../locals.ts";
import type { F32, F64, I64 } from "../wasm/types.ts";
import { DOUBLE, exact, exactFromInt, opOf, SINGLE, type Width } from "./float-native.ts";
import { unary } from "./float-rows.ts";
import { fd, type Instruction, rd } from "./instruction.ts";

/** One of the four integer types, in its relation to one of the two formats. */
interface IntegerType<T> {
  readonly name: "w" | "wu" | "l" | "lu";
  /** Open bounds between which truncation to the type can't overflow, as doubles and floats can hold them. */
  readonly below: number;
  readonly above: number;
  /** A number truncated to the type and converted back; the integer is then in T1 or Q1. */
  readonly truncated: (e: Emitter, value: T) => T;
  /** That integer as a register has it. */
  readonly integer: (e: Emitter) => I64;
  /** The integer in rs1 as a number, rounded to nearest even. */
  readonly converted: (e: Emitter) => T;
  /** The integer in rs1 as 64 bits. */
  readonly source: (e: Emitter) => I64;
}

const inT1 = (e: Emitter): I64 => e.i64.extendI32S(e.c.get(T1));
const inQ1 = (e: Emitter): I64 => e.c.get(Q1);

const W = {
  name: "w",
  below: -(2 ** 31),
  above: 2 ** 31,
  integer: inT1,
  source: (e: Emitter): I64 => e.i64.extendI32S(e.w("rs1")),
} as const;
const WU = {
  name: "wu",
  below: -1,
  above: 2 ** 32,
  integer: inT1,
  source: (e: Emitter): I64 => e.i64.extendI32U(e.w("rs1")),
} as const;
const L = {
  name: "l",
  below: -(2 ** 63),
  above: 2 ** 63,
  integer: inQ1,
  source: (e: Emitter): I64 => e.x("rs1"),
} as const;
const LU = { ...L, name: "lu", below: -1, above: 2 ** 64 } as const;

const SINGLE_INTEGERS: readonly IntegerType<F32>[] = [
  {
    ...W,
    truncated: (e, value) => e.f32.convertI32S(e.c.tee(T1, e.i32.truncSatF32S(value))),
    converted: (e) => e.f32.convertI32S(e.w("rs1")),
  },
  {
    ...WU,
    truncated: (e, value) => e.f32.convertI32U(e.c.tee(T1, e.i32.truncSatF32U(value))),
    converted: (e) => e.f32.convertI32U(e.w("rs1")),
  },
  {
    ...L,
    truncated: (e, value) => e.f32.convertI64S(e.c.tee(Q1, e.i64.truncSatF32S(value))),
    converted: (e) => e.f32.convertI64S(e.x("rs1")),
  },
  {
    ...LU,
    truncated: (e, value) => e.f32.convertI64U(e.c.tee(Q1, e.i64.truncSatF32U(value))),
    converted: (e) => e.f32.convertI64U(e.x("rs1")),
  },
];

const DOUBLE_INTEGERS: readonly IntegerType<F64>[] = [
  {
    ...W,
    truncated: (e, value) => e.f64.convertI32S(e.c.tee(T1, e.i32.truncSatF64S(value))),
    converted: (e) => e.f64.convertI32S(e.w("rs1")),
  },
  {
    ...WU,
    truncated: (e, value) => e.f64.convertI32U(e.c.tee(T1, e.i32.truncSatF64U(value))),
    converted: (e) => e.f64.convertI32U(e.w("rs1")),
  },
  {
    ...L,
    truncated: (e, value) => e.f64.convertI64S(e.c.tee(Q1, e.i64.truncSatF64S(value))),
    converted: (e) => e.f64.convertI64S(e.x("rs1")),
  },
  {
    ...LU,
    truncated: (e, value) => e.f64.convertI64U(e.c.tee(Q1, e.i64.truncSatF64U(value))),
    converted: (e) => e.f64.convertI64U(e.x("rs1")),
  },
];

/** To an integer: inline when it truncates (what C means by a cast) and fits, raising NX itself. */
function toInteger<T>(width: Width<T>, type: IntegerType<T>, rs2: number): Instruction {
  const name = `fcvt.${type.name}.${width.suffix}`;
  const op = opOf(`FCVT_${type.name.toUpperCase()}`, width);
  const [a] = width.locals;
  return unary(
    name,
    width,
    0x18,
    rs2,
    undefined,
    "rd,frs1,rm",
    rd((e) => {
      const { c, i32, i64 } = e;
      const float = width.float(e);
      if (e.staticRm() !== 1) return exact(e, op, "rs1");
      const above = float.gt(c.tee(a, width.read(e, "rs1")), type.below);
      const fits = i32.and(above, float.lt(c.get(a), type.above));
      return i64.if(
        c.likely(fits),
        () => {
          c.if(float.ne(type.truncated(e, c.get(a)), c.get(a)), () => e.raise(1));
          return type.integer(e);
        },
        () => exact(e, op, "rs1"),
      );
    }),
  );
}

/** From an integer: exact by width, by magnitude, or rounded natively under the usual proof. */
function fromInteger<T>(width: Width<T>, type: IntegerType<T>, rs2: number): Instruction {
  const name = `fcvt.${width.suffix}.${type.name}`;
  const op = FP_OP[`FCVT_${width.suffix.toUpperCase()}_${type.name.toUpperCase()}` as keyof typeof FP_OP];
  const limit = width.exactIntegers;
  return unary(
    name,
    width,
    0x1a,
    rs2,
    undefined,
    "frd,rs1,rm",
    fd((e) => {
      const { c, i32, i64, f64 } = e;
      const native = () => width.toRegister(e, type.converted(e));
      if (type.above <= limit) return native();
      const exactly =
        type.below === -1
          ? i64.leU(type.source(e), limit)
          : i64.leU(i64.add(type.source(e), limit), 2n * limit);
      const fine = c.likely(i32.or(exactly, e.fastRounding()));
      return f64.if(fine, native, () => f64.reinterpretI64(exactFromInt(e, op)));
    }),
  );
}

const all = <T>(width: Width<T>, types: readonly IntegerType<T>[]): Instruction[] => [
  ...types.map((type, rs2) => toInteger(width, type, rs2)),
  ...types.map((type, rs2) => fromInteger(width, type, rs2)),
];

export const INTEGER_CONVERSIONS: { readonly s: readonly Instruction[]; readonly d: readonly Instruction[] } =
  {
    s: all(SINGLE, SINGLE_INTEGERS),
    d: all(DOUBLE, DOUBLE_INTEGERS),
  };
