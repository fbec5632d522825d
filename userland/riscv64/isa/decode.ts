import { ADDRESS } from "./address.ts";
import { ATOMICS } from "./atomic.ts";
import { expandCompressed } from "./compressed.ts";
import { FLOAT } from "./float.ts";
import type { Instruction } from "./instruction.ts";
import { CONTROL, INTEGER } from "./integer.ts";
import { MULTIPLY } from "./multiply.ts";

/** The table: what everything else is made from. */
export const INSTRUCTIONS: readonly Instruction[] = [
  ...INTEGER,
  ...MULTIPLY,
  ...ADDRESS,
  ...CONTROL,
  ...ATOMICS,
  ...FLOAT,
];

/** What a register field names. */
export const NONE = 0;
export const X = 1;
export const F = 2;

/** Derived once from the operand strings: which register file each field is in. */
export interface Fields {
  readonly rd: number;
  readonly rs1: number;
  readonly rs2: number;
  readonly rs3: number;
  readonly rm: boolean;
}

export const FIELDS: readonly Fields[] = INSTRUCTIONS.map(({ operands }) => {
  const names = operands.split(/[,()]/);
  const file = (field: string) => (names.includes(field) ? X : names.includes(`f${field}`) ? F : NONE);
  return { rd: file("rd"), rs1: file("rs1"), rs2: file("rs2"), rs3: file("rs3"), rm: names.includes("rm") };
});

/** An instruction with its operands taken apart. */
export interface Decoded {
  /** Index in INSTRUCTIONS, -1 for an illegal instruction. */
  readonly index: number;
  readonly length: number;
  readonly rd: number;
  readonly rs1: number;
  readonly rs2: number;
  readonly rs3: number;
  /** Sign-extended; for CSR instructions the number | rs1 field << 12. */
  readonly imm: number;
  readonly rm: number;
}

/** Rows by opcode bits 6..2 and funct3: only a few are left to compare. */
const BUCKETS: number[][] = Array.from({ length: 256 }, () => []);
INSTRUCTIONS.forEach(({ mask, match }, index) => {
  for (let funct3 = 0; funct3 < 8; funct3++) {
    if ((((funct3 << 12) ^ match) & mask & 0x7000) === 0)
      BUCKETS[((match >> 2) & 31) | (funct3 << 5)]!.push(index);
  }
});

const ILLEGAL = { rd: 0, rs1: 0, rs2: 0, rs3: 0, imm: 0, rm: 0 };

/** Decodes the instruction in `word`, of which only the low half counts when it is a compressed one. */
export function decode(word: number): Decoded {
  if ((word & 3) === 3) return decodeWord(word, 4);
  return decodeWord(expandCompressed(word & 0xffff), 2);
}

function decodeWord(word: number, length: number): Decoded {
  if ((word & 3) !== 3) return { index: -1, length, ...ILLEGAL };
  const bucket = BUCKETS[((word >> 2) & 31) | ((word >> 7) & 0xe0)]!;
  for (let i = 0; i < bucket.length; i++) {
    const index = bucket[i]!;
    const row = INSTRUCTIONS[index]!;
    if ((word & row.mask) !== row.match) continue;
    const rm = (word >> 12) & 7;
    if (FIELDS[index]!.rm && (rm === 5 || rm === 6)) break;
    return {
      index,
      length,
      rd: (word >> 7) & 31,
      rs1: (word >> 15) & 31,
      rs2: (word >> 20) & 31,
      rs3: word >>> 27,
      imm: immediateOf(row.immediate, word),
      rm,
    };
  }
  return { index: -1, length, ...ILLEGAL };
}

function immediateOf(format: Instruction["immediate"], word: number): number {
  switch (format) {
    case "I":
      return word >> 20;
    case "S":
      return ((word >> 25) << 5) | ((word >> 7) & 31);
    case "B":
      return ((word >> 31) << 12) | ((word & 0x80) << 4) | ((word >> 20) & 0x7e0) | ((word >> 7) & 0x1e);
    case "U":
      return word & ~0xfff;
    case "J":
      return ((word >> 31) << 20) | (word & 0xff000) | ((word >> 9) & 0x800) | ((word >> 20) & 0x7fe);
    case "shamt":
      return (word >> 20) & 63;
    case "shamtw":
      return (word >> 20) & 31;
    case "csr":
      return (word >>> 20) | (((word >> 15) & 31) << 12);
    default:
      return 0;
  }
}
