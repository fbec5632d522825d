/** Encodings of OP-FP instructions. */

import type { Emitter } from "../emitter.ts";
import { type Instruction, instruction, MASK_FUNCT7 } from "./instruction.ts";

const OPCODE = 0x53;

/** What an encoding wants to know of a format. */
interface Format {
  readonly fmt: 0 | 1;
}

/** An OP-FP row whose funct3 is the rounding mode. */
export function row(
  name: string,
  { fmt }: Format,
  funct5: number,
  operands: string,
  emit: (e: Emitter) => void,
): Instruction {
  return instruction(name, 0xfe00007f, (funct5 << 27) | (fmt << 25) | OPCODE, "none", operands, emit);
}

/** An OP-FP row with a fixed funct3. */
export function row3(
  name: string,
  { fmt }: Format,
  funct5: number,
  funct3: number,
  operands: string,
  emit: (e: Emitter) => void,
): Instruction {
  const match = (funct5 << 27) | (fmt << 25) | (funct3 << 12) | OPCODE;
  return instruction(name, MASK_FUNCT7, match, "none", operands, emit);
}

/** An OP-FP row with one source: rs2 selects the operation. `funct3` undefined means rounding mode. */
export function unary(
  name: string,
  { fmt }: Format,
  funct5: number,
  rs2: number,
  funct3: number | undefined,
  operands: string,
  emit: (e: Emitter) => void,
): Instruction {
  const match = (funct5 << 27) | (fmt << 25) | (rs2 << 20) | ((funct3 ?? 0) << 12) | OPCODE;
  return instruction(name, funct3 === undefined ? 0xfff0007f : 0xfff0707f, match, "none", operands, emit);
}
