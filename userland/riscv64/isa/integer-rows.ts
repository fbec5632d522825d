/** Encodings of integer instructions, by what their values are made of. */

import type { Emitter } from "../emitter.ts";
import type { I32, I64 } from "../wasm/types.ts";
import {
  type Instruction,
  instruction,
  MASK_FUNCT3,
  MASK_FUNCT6,
  MASK_FUNCT7,
  rd,
  rdW,
} from "./instruction.ts";

type Value = (e: Emitter) => I64;
type ValueW = (e: Emitter) => I32;

/** rd = what `read` reads at rs1 + imm, from 1 << `log2` bytes. */
export function load(
  name: string,
  funct3: number,
  log2: number,
  read: (e: Emitter, at: I32, offset: number) => I64,
): Instruction {
  const value = (e: Emitter) => e.load(log2, read);
  return instruction(name, MASK_FUNCT3, (funct3 << 12) | 0x03, "I", "rd,imm(rs1)", rd(value));
}

const rs2 = (e: Emitter): I64 => e.x("rs2");

/** `write` stores the low 1 << `log2` bytes of rs2 at rs1 + imm. */
export function store(
  name: string,
  funct3: number,
  log2: number,
  write: (e: Emitter, at: I32, offset: number) => void,
): Instruction {
  return instruction(name, MASK_FUNCT3, (funct3 << 12) | 0x23, "S", "rs2,imm(rs1)", (e) =>
    e.store(log2, rs2, write),
  );
}

/** rd = a value of rs1 and imm. */
export function immediate(name: string, funct3: number, value: Value): Instruction {
  const match = (funct3 << 12) | 0x13;
  return instruction(name, MASK_FUNCT3, match, "I", "rd,rs1,imm", rd(value));
}

/** rd = a value of rs1 and six bits of imm. */
export function shift(name: string, match: number, value: Value): Instruction {
  return instruction(name, MASK_FUNCT6, match, "shamt", "rd,rs1,shamt", rd(value));
}

/** rd = a word of rs1 and five bits of imm, sign-extended. */
export function shiftW(name: string, match: number, value: ValueW): Instruction {
  return instruction(name, MASK_FUNCT7, match, "shamtw", "rd,rs1,shamt", rdW(value));
}

/** rd = a value of rs1 and rs2. */
export function register(name: string, funct7: number, funct3: number, value: Value): Instruction {
  const match = (funct7 << 25) | (funct3 << 12) | 0x33;
  return instruction(name, MASK_FUNCT7, match, "none", "rd,rs1,rs2", rd(value));
}

/** rd = a word of rs1 and rs2, sign-extended. */
export function registerW(name: string, funct7: number, funct3: number, value: ValueW): Instruction {
  const match = (funct7 << 25) | (funct3 << 12) | 0x3b;
  return instruction(name, MASK_FUNCT7, match, "none", "rd,rs1,rs2", rdW(value));
}
