/** Zba: address generation (RISC-V unprivileged ISA, chapter "B"). */

import type { Emitter } from "../emitter.ts";
import type { I64 } from "../wasm/types.ts";
import { type Instruction, instruction, MASK_FUNCT6, MASK_FUNCT7, rd } from "./instruction.ts";
import { register } from "./integer-rows.ts";

/** The low half of rs1, zero-extended. */
const unsignedWord = (e: Emitter): I64 => e.i64.extendI32U(e.w("rs1"));

/** rd = rs2 + (rs1 << n). */
const shiftAdd = (name: string, funct3: number, n: number): Instruction =>
  register(name, 0x10, funct3, (e) => e.i64.add(e.i64.shl(e.x("rs1"), n), e.x("rs2")));

/** rd = rs2 + (rs1's low half << n). */
function unsignedWordAdd(name: string, funct7: number, funct3: number, n: number): Instruction {
  const match = (funct7 << 25) | (funct3 << 12) | 0x3b;
  return instruction(
    name,
    MASK_FUNCT7,
    match,
    "none",
    "rd,rs1,rs2",
    rd((e) => {
      const word = unsignedWord(e);
      return e.i64.add(n === 0 ? word : e.i64.shl(word, n), e.x("rs2"));
    }),
  );
}

export const ADDRESS: readonly Instruction[] = [
  shiftAdd("sh1add", 2, 1),
  shiftAdd("sh2add", 4, 2),
  shiftAdd("sh3add", 6, 3),
  unsignedWordAdd("add.uw", 0x04, 0, 0),
  unsignedWordAdd("sh1add.uw", 0x10, 2, 1),
  unsignedWordAdd("sh2add.uw", 0x10, 4, 2),
  unsignedWordAdd("sh3add.uw", 0x10, 6, 3),
  instruction(
    "slli.uw",
    MASK_FUNCT6,
    0x0800101b,
    "shamt",
    "rd,rs1,shamt",
    rd((e) => e.i64.shl(unsignedWord(e), e.imm())),
  ),
];
