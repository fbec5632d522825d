/** Rows that compute with floating-point numbers: arithmetic, signs, comparisons. */

import type { Emitter, Source } from "../emitter.ts";
import { FUSED, hasFusedMultiplyAdd } from "../fpu/fused.ts";
import { F64, I32, I64, TYPE } from "../wasm/opcodes.ts";
import {
  constant,
  exact,
  LOCAL,
  nativeOrStub,
  OF,
  opOf,
  ordinary,
  push,
  stub,
  toRegister,
  type Width,
} from "./float-native.ts";
import { row, row3, unary } from "./float-rows.ts";
import { type Instruction, instruction } from "./instruction.ts";

const COPYSIGN32 = 0x98;
const COPYSIGN64 = 0xa6;

export function arithmetic(
  name: string,
  width: Width,
  funct5: number,
  opcode: number,
  underflows: boolean,
): Instruction {
  const [a, b, r] = LOCAL[width];
  const emit = (e: Emitter) =>
    e.fd(() => {
      const c = e.c;
      push(e, width, "rs1");
      c.tee(a);
      push(e, width, "rs2");
      c.tee(b);
      c.op(opcode);
      c.set(r);
      nativeOrStub(
        e,
        name,
        width,
        () => ordinary(e, width, underflows),
        () => {
          c.get(a);
          c.get(b);
        },
      );
    });
  return row(`${name}.${width}`, width, funct5, "frd,frs1,frs2,rm", emit);
}

export function squareRoot(width: Width): Instruction {
  const [a, , r] = LOCAL[width];
  const emit = (e: Emitter) =>
    e.fd(() => {
      const c = e.c;
      push(e, width, "rs1");
      c.tee(a);
      c.op(OF[width].SQRT);
      c.set(r);
      nativeOrStub(
        e,
        "fsqrt",
        width,
        () => {
          c.get(r);
          constant(e, width, 0);
          c.op(OF[width].GT);
          c.get(r);
          constant(e, width, Number.POSITIVE_INFINITY);
          c.op(OF[width].LT, I32.AND);
        },
        () => c.get(a),
      );
    });
  return unary(`fsqrt.${width}`, width, 0x0b, 0, undefined, "frd,frs1,rm", emit);
}

/** x * y + z with signs: the machine's own where it rounds once, under the usual proof. */
export function multiplyAdd(
  name: string,
  width: Width,
  opcode: number,
  negateA: boolean,
  negateC: boolean,
): Instruction {
  const emit = (e: Emitter) =>
    e.fd(() => {
      const c = e.c;
      const operand = (source: Source, negate: boolean) => {
        push(e, width, source);
        if (negate) c.op(OF[width].NEG);
      };
      const operands = () => {
        operand("rs1", negateA);
        operand("rs2", false);
        operand("rs3", negateC);
      };
      if (!hasFusedMultiplyAdd()) {
        stub(e, "fmadd", width, operands);
        toRegister(e, width);
        return;
      }
      const { splat, madd, extract } = FUSED[width];
      operand("rs1", negateA);
      c.ops(splat);
      operand("rs2", false);
      c.ops(splat);
      operand("rs3", negateC);
      c.ops(splat);
      c.ops(madd);
      c.ops(extract);
      c.set(LOCAL[width][2]);
      nativeOrStub(e, "fmadd", width, () => ordinary(e, width, true), operands);
    });
  return instruction(
    `${name}.${width}`,
    0x0600007f,
    (width === "d" ? 1 << 25 : 0) | opcode,
    "none",
    "frd,frs1,frs2,frs3,rm",
    emit,
  );
}

export function signInject(name: string, width: Width, funct3: number): Instruction {
  const emit = (e: Emitter) =>
    e.fd(() => {
      const c = e.c;
      push(e, width, "rs1");
      if (funct3 === 2) {
        // The sign is the xor of both: as integers, so that NaNs keep their bits.
        if (width === "d") {
          c.op(I64.REINTERPRET_F64);
          e.bits("rs2");
          c.i64(-(2n ** 63n));
          c.op(I64.AND, I64.XOR, F64.REINTERPRET_I64);
        } else {
          c.op(I32.REINTERPRET_F32);
          e.s("rs2");
          c.op(I32.REINTERPRET_F32);
          c.i32(-(2 ** 31));
          c.op(I32.AND, I32.XOR);
          e.box();
        }
        return;
      }
      push(e, width, "rs2");
      if (funct3 === 1) c.op(OF[width].NEG);
      c.op(width === "d" ? COPYSIGN64 : COPYSIGN32);
      toRegister(e, width);
    });
  return row3(`${name}.${width}`, width, 0x04, funct3, "frd,frs1,frs2", emit);
}

/** Pushes whether neither operand (left in locals 0 and 1) is a NaN. */
function ordered(e: Emitter, width: Width): void {
  const c = e.c;
  const [a, b] = LOCAL[width];
  push(e, width, "rs1");
  c.tee(a);
  c.get(a);
  c.op(OF[width].EQ);
  push(e, width, "rs2");
  c.tee(b);
  c.get(b);
  c.op(OF[width].EQ, I32.AND);
}

export function minMax(name: string, width: Width, funct3: number): Instruction {
  const emit = (e: Emitter) =>
    e.fd(() => {
      const c = e.c;
      ordered(e, width);
      c.likely();
      c.if(TYPE.F64);
      c.get(LOCAL[width][0]);
      c.get(LOCAL[width][1]);
      c.op(funct3 === 0 ? OF[width].MIN : OF[width].MAX);
      toRegister(e, width);
      c.else();
      exact(e, opOf(name.toUpperCase(), width), ["rs1", "rs2"], false);
      c.op(F64.REINTERPRET_I64);
      c.end();
    });
  return row3(`${name}.${width}`, width, 0x05, funct3, "frd,frs1,frs2", emit);
}

export function compare(name: string, width: Width, funct3: number, opcode: number): Instruction {
  const emit = (e: Emitter) =>
    e.rd(() => {
      const c = e.c;
      ordered(e, width);
      c.likely();
      c.if(TYPE.I64);
      c.get(LOCAL[width][0]);
      c.get(LOCAL[width][1]);
      c.op(opcode, I64.EXTEND_I32_U);
      c.else();
      exact(e, opOf(name.toUpperCase(), width), ["rs1", "rs2"], false);
      c.end();
    });
  return row3(`${name}.${width}`, width, 0x14, funct3, "rd,frs1,frs2", emit);
}

/** fclass: the software is exact and rarely asked. */
export function classify(width: Width): Instruction {
  return unary(`fclass.${width}`, width, 0x1c, 0, 1, "rd,frs1", (e) =>
    e.rd(() => exact(e, opOf("FCLASS", width), ["rs1"], false)),
  );
}
