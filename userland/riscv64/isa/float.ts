import type { Emitter } from "../emitter.ts";
import { F64, I32, I64 } from "../wasm/opcodes.ts";
import {
  arithmetic,
  classify,
  compare,
  minMax,
  multiplyAdd,
  signInject,
  squareRoot,
} from "./float-arithmetic.ts";
import { BETWEEN, fromInteger, MOVES, toInteger } from "./float-convert.ts";
import { OF } from "./float-native.ts";
import { type Immediate, type Instruction, instruction, MASK_FUNCT3 } from "./instruction.ts";

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
