/** Rows that convert and move: between integers, singles and doubles. */

import { type Emitter, Q1, S0, S2, T1 } from "../emitter.ts";
import { FP_OP } from "../fpu/ops.ts";
import { F32, F64, I32, I64, SAT, TYPE } from "../wasm/opcodes.ts";
import {
  constant,
  exact,
  exactFromInt,
  LOCAL,
  nativeOrExact,
  OF,
  opOf,
  ordinary,
  push,
  toRegister,
  type Width,
} from "./float-native.ts";
import { unary } from "./float-rows.ts";
import type { Instruction } from "./instruction.ts";

const INTEGERS = ["w", "wu", "l", "lu"] as const;
/** Open bounds between which truncation to the integer type can't overflow, as doubles and floats can hold them. */
const BELOW = [-(2 ** 31), -1, -(2 ** 63), -1] as const;
const ABOVE = [2 ** 31, 2 ** 32, 2 ** 63, 2 ** 64] as const;
const BACK = {
  s: [F32.CONVERT_I32_S, F32.CONVERT_I32_U, F32.CONVERT_I64_S, F32.CONVERT_I64_U],
  d: [F64.CONVERT_I32_S, F64.CONVERT_I32_U, F64.CONVERT_I64_S, F64.CONVERT_I64_U],
} as const;
const TRUNCATE = {
  s: [SAT.I32_F32_S, SAT.I32_F32_U, SAT.I64_F32_S, SAT.I64_F32_U],
  d: [SAT.I32_F64_S, SAT.I32_F64_U, SAT.I64_F64_S, SAT.I64_F64_U],
} as const;

/** To an integer: inline when it truncates (what C means by a cast) and fits, raising NX itself. */
export function toInteger(width: Width, kind: number): Instruction {
  const name = INTEGERS[kind]!;
  const op = opOf(`FCVT_${name.toUpperCase()}`, width);
  const emit = (e: Emitter) =>
    e.rd(() => {
      const c = e.c;
      if (e.staticRm() !== 1) {
        exact(e, op, ["rs1"]);
        return;
      }
      const [a] = LOCAL[width];
      const wide = kind >= 2;
      const local = wide ? Q1 : T1;
      push(e, width, "rs1");
      c.tee(a);
      constant(e, width, BELOW[kind]!);
      c.op(OF[width].GT);
      c.get(a);
      constant(e, width, ABOVE[kind]!);
      c.op(OF[width].LT, I32.AND);
      c.likely();
      c.if(TYPE.I64);
      c.get(a);
      c.op(0xfc, TRUNCATE[width][kind]!);
      c.tee(local);
      c.op(BACK[width][kind]!);
      c.get(a);
      c.op(OF[width].NE);
      c.if();
      e.raise(1);
      c.end();
      c.get(local);
      if (!wide) c.op(I64.EXTEND_I32_S);
      c.else();
      exact(e, op, ["rs1"]);
      c.end();
    });
  return unary(`fcvt.${name}.${width}`, width, 0x18, kind, undefined, "rd,frs1,rm", emit);
}

/** From an integer: exact by width, by magnitude, or rounded natively under the usual proof. */
export function fromInteger(width: Width, kind: number): Instruction {
  const name = INTEGERS[kind]!;
  const op = FP_OP[`FCVT_${width.toUpperCase()}_${name.toUpperCase()}` as keyof typeof FP_OP];
  const emit = (e: Emitter) =>
    e.fd(() => {
      const c = e.c;
      const native = () => {
        if (kind < 2) e.w("rs1");
        else e.x("rs1");
        c.op(BACK[width][kind]!);
        toRegister(e, width);
      };
      if (width === "d" && kind < 2) {
        native();
        return;
      }
      // Integers of up to 53 (24) bits are exact.
      const limit = width === "d" ? 2n ** 53n : 2n ** 24n;
      e.x("rs1");
      if (kind === 0) c.op(I32.WRAP_I64, I64.EXTEND_I32_S);
      if (kind === 1) c.op(I32.WRAP_I64, I64.EXTEND_I32_U);
      if ((kind & 1) === 0) {
        c.i64(limit);
        c.op(I64.ADD);
        c.i64(2n * limit);
      } else c.i64(limit);
      c.op(I64.LE_U);
      e.fastRounding();
      c.op(I32.OR);
      c.likely();
      c.if(TYPE.F64);
      native();
      c.else();
      exactFromInt(e, op);
      c.op(F64.REINTERPRET_I64);
      c.end();
    });
  return unary(`fcvt.${width}.${name}`, width, 0x1a, kind, undefined, "frd,rs1,rm", emit);
}

export const MOVES: readonly Instruction[] = [
  unary("fmv.x.w", "s", 0x1c, 0, 0, "rd,frs1", (e) =>
    e.rd(() => {
      e.bits("rs1");
      e.c.op(I32.WRAP_I64, I64.EXTEND_I32_S);
    }),
  ),
  unary("fmv.x.d", "d", 0x1c, 0, 0, "rd,frs1", (e) => e.rd(() => e.bits("rs1"))),
  unary("fmv.w.x", "s", 0x1e, 0, 0, "frd,rs1", (e) =>
    e.fd(() => {
      e.w("rs1");
      e.box();
    }),
  ),
  unary("fmv.d.x", "d", 0x1e, 0, 0, "frd,rs1", (e) =>
    e.fd(() => {
      e.x("rs1");
      e.c.op(F64.REINTERPRET_I64);
    }),
  ),
];

export const BETWEEN: readonly Instruction[] = [
  unary("fcvt.s.d", "s", 0x08, 1, undefined, "frd,frs1,rm", (e) =>
    e.fd(() => {
      e.f("rs1");
      e.c.op(F32.DEMOTE_F64);
      e.c.set(S2);
      nativeOrExact(
        e,
        "s",
        () => ordinary(e, "s", true),
        () => exact(e, FP_OP.FCVT_S_D, ["rs1"]),
      );
    }),
  ),
  unary("fcvt.d.s", "d", 0x08, 0, undefined, "frd,frs1,rm", (e) =>
    e.fd(() => {
      const c = e.c;
      e.s("rs1");
      c.tee(S0);
      c.get(S0);
      c.op(F32.EQ);
      c.likely();
      c.if(TYPE.F64);
      c.get(S0);
      c.op(F64.PROMOTE_F32);
      c.else();
      exact(e, FP_OP.FCVT_D_S, ["rs1"]);
      c.op(F64.REINTERPRET_I64);
      c.end();
    }),
  ),
];
