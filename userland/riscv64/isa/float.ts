import { EXIT, USER_REGS } from "../../../kernel/usermode.ts";
import { AREA, D0, D1, D2, type Emitter, Q1, REGS, S0, S1, S2, type Source, T1 } from "../emitter.ts";
import { FUSED, hasFusedMultiplyAdd } from "../fpu/fused.ts";
import { FP_OP } from "../fpu/ops.ts";
import type { StubName } from "../stubs.ts";
import { F32, F64, I32, I64, SAT, TYPE } from "../wasm/opcodes.ts";
import { type Immediate, type Instruction, instruction, MASK_FUNCT3, MASK_FUNCT7 } from "./instruction.ts";

// Every row computes natively where that is provably what IEEE 754 asks for, flags included, and else
// calls the exact software. The proofs: rounding is to nearest even and NX is already set (`fastRounding`), so
// the one flag that an ordinary finite result could raise is there; anything else goes the slow way.

const OPCODE = 0x53;
const COPYSIGN32 = 0x98;
const COPYSIGN64 = 0xa6;
const MIN_NORMAL = { s: 2 ** -126, d: 2 ** -1022 } as const;

type Width = "s" | "d";

/** Locals and opcodes by width. */
const LOCAL = { s: [S0, S1, S2], d: [D0, D1, D2] } as const;
const OF = { s: F32, d: F64 } as const;
const VALUE = { s: TYPE.F32, d: TYPE.F64 } as const;

const opOf = (name: string, width: Width): number =>
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
function exact(e: Emitter, op: number, sources: ReadonlyArray<"rs1" | "rs2" | "rs3">, rounds = true): void {
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
function exactFromInt(e: Emitter, op: number): void {
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

function push(e: Emitter, width: Width, source: Source): void {
  if (width === "d") e.f(source);
  else e.s(source);
}

function constant(e: Emitter, width: Width, value: number): void {
  if (width === "d") e.c.f64(value);
  else e.c.f32(value);
}

/** f64 register contents from a native value of the width on the stack. */
function toRegister(e: Emitter, width: Width): void {
  if (width === "s") {
    e.c.op(I32.REINTERPRET_F32);
    e.box();
  }
}

/** frd = the native result in local 2 when `fine` (an i32 is pushed) and rounding is fast; else the exact one. */
function nativeOrExact(e: Emitter, width: Width, fine: () => void, slow: () => void): void {
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
function ordinary(e: Emitter, width: Width, underflows: boolean): void {
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
function stub(e: Emitter, name: string, width: Width, operands: () => void): void {
  refuseBadMode(e);
  e.c.get(AREA);
  e.c.get(REGS);
  e.rm();
  operands();
  e.call(`${name}_${width}` as StubName);
}

/** frd = the native result in local 2 when `fine` (an i32 is pushed) and rounding is fast; else the stub's. */
function nativeOrStub(e: Emitter, name: string, width: Width, fine: () => void, operands: () => void): void {
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

function arithmetic(
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

/** An OP-FP row whose funct3 is the rounding mode. */
function row(
  name: string,
  width: Width,
  funct5: number,
  operands: string,
  emit: (e: Emitter) => void,
): Instruction {
  return instruction(
    name,
    0xfe00007f,
    (funct5 << 27) | (width === "d" ? 1 << 25 : 0) | OPCODE,
    "none",
    operands,
    emit,
  );
}

/** An OP-FP row with a fixed funct3. */
function row3(
  name: string,
  width: Width,
  funct5: number,
  funct3: number,
  operands: string,
  emit: (e: Emitter) => void,
): Instruction {
  const match = (funct5 << 27) | (width === "d" ? 1 << 25 : 0) | (funct3 << 12) | OPCODE;
  return instruction(name, MASK_FUNCT7, match, "none", operands, emit);
}

/** An OP-FP row with one source: rs2 selects the operation. `funct3` undefined means rounding mode. */
function unary(
  name: string,
  width: Width,
  funct5: number,
  rs2: number,
  funct3: number | undefined,
  operands: string,
  emit: (e: Emitter) => void,
): Instruction {
  const match = (funct5 << 27) | (width === "d" ? 1 << 25 : 0) | (rs2 << 20) | ((funct3 ?? 0) << 12) | OPCODE;
  return instruction(name, funct3 === undefined ? 0xfff0007f : 0xfff0707f, match, "none", operands, emit);
}

function squareRoot(width: Width): Instruction {
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
function multiplyAdd(
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
      c.op(...splat);
      operand("rs2", false);
      c.op(...splat);
      operand("rs3", negateC);
      c.op(...splat, ...madd, ...extract);
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

function signInject(name: string, width: Width, funct3: number): Instruction {
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

function minMax(name: string, width: Width, funct3: number): Instruction {
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

function compare(name: string, width: Width, funct3: number, opcode: number): Instruction {
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
function classify(width: Width): Instruction {
  return unary(`fclass.${width}`, width, 0x1c, 0, 1, "rd,frs1", (e) =>
    e.rd(() => exact(e, opOf("FCLASS", width), ["rs1"], false)),
  );
}

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
function toInteger(width: Width, kind: number): Instruction {
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
function fromInteger(width: Width, kind: number): Instruction {
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

const MOVES: readonly Instruction[] = [
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

const BETWEEN: readonly Instruction[] = [
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

function access(
  name: string,
  immediate: Immediate,
  match: number,
  operands: string,
  emit: (e: Emitter) => void,
) {
  return instruction(name, MASK_FUNCT3, match, immediate, operands, emit);
}

const MEMORY: readonly Instruction[] = [
  access("flw", "I", 0x2007, "frd,imm(rs1)", (e) =>
    e.fd(() => {
      e.c.memory(I32.LOAD, e.hostAddress("load", 2));
      e.box();
    }),
  ),
  access("fld", "I", 0x3007, "frd,imm(rs1)", (e) =>
    e.fd(() => {
      e.c.memory(F64.LOAD, e.hostAddress("load", 3));
    }),
  ),
  access("fsw", "S", 0x2027, "frs2,imm(rs1)", (e) => {
    const offset = e.hostAddress("store", 2, () => e.bits("rs2"));
    e.bits("rs2");
    e.c.memory(I64.STORE32, offset);
  }),
  access("fsd", "S", 0x3027, "frs2,imm(rs1)", (e) => {
    const offset = e.hostAddress("store", 3, () => e.bits("rs2"));
    e.f("rs2");
    e.c.memory(F64.STORE, offset);
  }),
];

/** RV64F and RV64D. */
export const FLOAT: readonly Instruction[] = [
  ...MEMORY,
  ...(["s", "d"] as const).flatMap((width) => [
    arithmetic("fadd", width, 0x00, OF[width].ADD, false),
    arithmetic("fsub", width, 0x01, OF[width].SUB, false),
    arithmetic("fmul", width, 0x02, OF[width].MUL, true),
    arithmetic("fdiv", width, 0x03, OF[width].DIV, true),
    squareRoot(width),
    multiplyAdd("fmadd", width, 0x43, false, false),
    multiplyAdd("fmsub", width, 0x47, false, true),
    multiplyAdd("fnmsub", width, 0x4b, true, false),
    multiplyAdd("fnmadd", width, 0x4f, true, true),
    signInject("fsgnj", width, 0),
    signInject("fsgnjn", width, 1),
    signInject("fsgnjx", width, 2),
    minMax("fmin", width, 0),
    minMax("fmax", width, 1),
    compare("feq", width, 2, OF[width].EQ),
    compare("flt", width, 1, OF[width].LT),
    compare("fle", width, 0, OF[width].LE),
    classify(width),
    ...[0, 1, 2, 3].map((kind) => toInteger(width, kind)),
    ...[0, 1, 2, 3].map((kind) => fromInteger(width, kind)),
  ]),
  ...MOVES,
  ...BETWEEN,
];
