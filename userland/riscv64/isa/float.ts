import type { Emitter } from "../emitter.ts";
import {
  arithmetic,
  classify,
  compare,
  minMax,
  multiplyAdd,
  SIGN_XOR,
  signInject,
  squareRoot,
} from "./float-arithmetic.ts";
import { INTEGER_CONVERSIONS } from "./float-integers.ts";
import { BETWEEN, MOVES } from "./float-moves.ts";
import { DOUBLE, SINGLE, type Width } from "./float-native.ts";
import { fd, type Instruction, instruction, MASK_FUNCT3 } from "./instruction.ts";

function load(name: string, match: number, emit: (e: Emitter) => void): Instruction {
  return instruction(name, MASK_FUNCT3, match, "I", "frd,imm(rs1)", emit);
}

function store(name: string, match: number, emit: (e: Emitter) => void): Instruction {
  return instruction(name, MASK_FUNCT3, match, "S", "frs2,imm(rs1)", emit);
}

const MEMORY: readonly Instruction[] = [
  load(
    "flw",
    0x2007,
    fd((e) => e.box(e.load(2, (e, at, offset) => e.i32.load(at, offset)))),
  ),
  load(
    "fld",
    0x3007,
    fd((e) => e.load(3, (e, at, offset) => e.f64.load(at, offset))),
  ),
  store("fsw", 0x2027, (e) =>
    e.store(
      2,
      (e) => e.bits("rs2"),
      (e, at, offset) => e.i64.store32(at, e.bits("rs2"), offset),
    ),
  ),
  store("fsd", 0x3027, (e) =>
    e.store(
      3,
      (e) => e.bits("rs2"),
      (e, at, offset) => e.f64.store(at, e.f("rs2"), offset),
    ),
  ),
];

const rows = <T>(width: Width<T>): Instruction[] => [
  arithmetic("fadd", width, 0x00, (float, a, b) => float.add(a, b), false),
  arithmetic("fsub", width, 0x01, (float, a, b) => float.sub(a, b), false),
  arithmetic("fmul", width, 0x02, (float, a, b) => float.mul(a, b), true),
  arithmetic("fdiv", width, 0x03, (float, a, b) => float.div(a, b), true),
  squareRoot(width),
  multiplyAdd("fmadd", width, 0x43, false, false),
  multiplyAdd("fmsub", width, 0x47, false, true),
  multiplyAdd("fnmsub", width, 0x4b, true, false),
  multiplyAdd("fnmadd", width, 0x4f, true, true),
  signInject("fsgnj", width, 0),
  signInject("fsgnjn", width, 1),
  SIGN_XOR[width.suffix],
  minMax("fmin", width),
  minMax("fmax", width),
  compare("feq", width, 2, (float, a, b) => float.eq(a, b)),
  compare("flt", width, 1, (float, a, b) => float.lt(a, b)),
  compare("fle", width, 0, (float, a, b) => float.le(a, b)),
  classify(width),
  ...INTEGER_CONVERSIONS[width.suffix],
];

/** RV64F and RV64D. */
export const FLOAT: readonly Instruction[] = [
  ...MEMORY,
  ...rows(SINGLE),
  ...rows(DOUBLE),
  ...MOVES,
  ...BETWEEN,
];
