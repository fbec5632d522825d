/** Rows that move bits between the register files, and convert between singles and doubles. */

import { FP_OP } from "../fpu/ops.ts";
import { S0, S2 } from "../locals.ts";
import { DOUBLE, exact, nativeOrExact, ordinary, SINGLE } from "./float-native.ts";
import { unary } from "./float-rows.ts";
import { fd, type Instruction, rd, rdW } from "./instruction.ts";

export const MOVES: readonly Instruction[] = [
  unary(
    "fmv.x.w",
    SINGLE,
    0x1c,
    0,
    0,
    "rd,frs1",
    rdW((e) => e.i32.wrapI64(e.bits("rs1"))),
  ),
  unary(
    "fmv.x.d",
    DOUBLE,
    0x1c,
    0,
    0,
    "rd,frs1",
    rd((e) => e.bits("rs1")),
  ),
  unary(
    "fmv.w.x",
    SINGLE,
    0x1e,
    0,
    0,
    "frd,rs1",
    fd((e) => e.box(e.w("rs1"))),
  ),
  unary(
    "fmv.d.x",
    DOUBLE,
    0x1e,
    0,
    0,
    "frd,rs1",
    fd((e) => e.f64.reinterpretI64(e.x("rs1"))),
  ),
];

export const BETWEEN: readonly Instruction[] = [
  unary(
    "fcvt.s.d",
    SINGLE,
    0x08,
    1,
    undefined,
    "frd,frs1,rm",
    fd((e) => {
      e.c.set(S2, e.f32.demoteF64(e.f("rs1")));
      return nativeOrExact(e, SINGLE, ordinary(e, SINGLE, true), () => exact(e, FP_OP.FCVT_S_D, "rs1"));
    }),
  ),
  unary(
    "fcvt.d.s",
    DOUBLE,
    0x08,
    0,
    undefined,
    "frd,frs1,rm",
    fd((e) => {
      const { c, f32, f64 } = e;
      return f64.if(
        c.likely(f32.eq(c.tee(S0, e.s("rs1")), c.get(S0))),
        () => f64.promoteF32(c.get(S0)),
        () => f64.reinterpretI64(exact(e, FP_OP.FCVT_D_S, "rs1")),
      );
    }),
  ),
];
