import type { Emitter } from "../emitter.ts";
import type { F64, I32, I64 } from "../wasm/types.ts";

/** How an instruction passes control on; the emitters handle everything but "next" themselves. */
export type Flow = "next" | "branch" | "jal" | "jalr" | "ecall" | "ebreak" | "fencei";

/** Which immediate the encoding holds (RISC-V unprivileged ISA, "Base Instruction Formats"). */
export type Immediate = "none" | "I" | "S" | "B" | "U" | "J" | "shamt" | "shamtw" | "csr";

interface Row {
  readonly name: string;
  /** An instruction word w is this one when (w & mask) === match. */
  readonly mask: number;
  readonly match: number;
  readonly immediate: Immediate;
  /** Assembler operands: rd rs1 rs2 for x registers, frd frs1 frs2 frs3 for f registers, imm, rm, csr... */
  readonly operands: string;
}

/** A row whose effect `emit` writes. */
export interface Effect extends Row {
  readonly flow: Exclude<Flow, "branch">;
  readonly emit: (e: Emitter) => void;
  readonly condition: undefined;
}

/** A row that jumps when the condition holds. (Both kinds have the same fields: decoding looks at every row, and V8 likes one shape.) */
interface Branch extends Row {
  readonly flow: "branch";
  readonly emit: undefined;
  readonly condition: (e: Emitter) => I32;
}

/** One row of the table of instruction semantics. */
export type Instruction = Effect | Branch;

export function instruction(
  name: string,
  mask: number,
  match: number,
  immediate: Immediate,
  operands: string,
  emit: (e: Emitter) => void,
  flow: Effect["flow"] = "next",
): Instruction {
  return rowOf(name, mask, match, immediate, operands, flow, emit, undefined) as Effect;
}

// Effects that write a register. Their values are functions of the emitter, made once for each row.

/** rd = `value`. */
export const rd = (value: (e: Emitter) => I64) => (e: Emitter) => e.rd(value);
/** rd = the sign-extended `value`. */
export const rdW = (value: (e: Emitter) => I32) => (e: Emitter) => e.rdW(value);
/** frd = `value`. */
export const fd = (value: (e: Emitter) => F64) => (e: Emitter) => e.fd(value);

export function branch(name: string, funct3: number, condition: (e: Emitter) => I32): Instruction {
  const match = (funct3 << 12) | 0x63;
  return rowOf(name, MASK_FUNCT3, match, "B", "rs1,rs2,target", "branch", undefined, condition) as Branch;
}

function rowOf(
  name: string,
  mask: number,
  match: number,
  immediate: Immediate,
  operands: string,
  flow: Flow,
  emit: Effect["emit"] | undefined,
  condition: Branch["condition"] | undefined,
) {
  return { name, mask: mask | 0, match: match | 0, immediate, operands, flow, emit, condition };
}

export const MASK_OPCODE = 0x7f;
export const MASK_FUNCT3 = 0x707f;
export const MASK_FUNCT6 = 0xfc00707f;
export const MASK_FUNCT7 = 0xfe00707f;
