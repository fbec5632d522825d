import type { Emitter } from "../emitter.ts";

/** How an instruction passes control on; the emitters handle everything but "next" themselves. */
export type Flow = "next" | "branch" | "jal" | "jalr" | "ecall" | "ebreak" | "fencei";

/** Which immediate the encoding holds (RISC-V unprivileged ISA, "Base Instruction Formats"). */
export type Immediate = "none" | "I" | "S" | "B" | "U" | "J" | "shamt" | "shamtw" | "csr";

/** One row of the table of instruction semantics. */
export interface Instruction {
  readonly name: string;
  /** An instruction word w is this one when (w & mask) === match. */
  readonly mask: number;
  readonly match: number;
  readonly immediate: Immediate;
  /** Assembler operands: rd rs1 rs2 for x registers, frd frs1 frs2 frs3 for f registers, imm, rm, csr... */
  readonly operands: string;
  readonly flow: Flow;
  /** Emits the effect; for "branch" it pushes the condition (i32). */
  readonly emit: (e: Emitter) => void;
}

export function instruction(
  name: string,
  mask: number,
  match: number,
  immediate: Immediate,
  operands: string,
  emit: (e: Emitter) => void,
  flow: Flow = "next",
): Instruction {
  return { name, mask: mask | 0, match: match | 0, immediate, operands, emit, flow };
}

export const MASK_OPCODE = 0x7f;
export const MASK_FUNCT3 = 0x707f;
export const MASK_FUNCT7 = 0xfe00707f;
