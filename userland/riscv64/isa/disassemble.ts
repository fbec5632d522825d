import { type Decoded, decode, INSTRUCTIONS } from "./decode.ts";

const X_NAMES =
  "zero ra sp gp tp t0 t1 t2 s0 s1 a0 a1 a2 a3 a4 a5 a6 a7 s2 s3 s4 s5 s6 s7 s8 s9 s10 s11 t3 t4 t5 t6".split(
    " ",
  );
const F_NAMES =
  "ft0 ft1 ft2 ft3 ft4 ft5 ft6 ft7 fs0 fs1 fa0 fa1 fa2 fa3 fa4 fa5 fa6 fa7 fs2 fs3 fs4 fs5 fs6 fs7 fs8 fs9 fs10 fs11 ft8 ft9 ft10 ft11".split(
    " ",
  );
const ROUNDING = ["rne", "rtz", "rdn", "rup", "rmm", "?", "?", "dyn"];

/** Assembler text of the instruction word at `pc`; compressed instructions are shown expanded. */
export function disassemble(word: number, pc = 0): string {
  const decoded = decode(word);
  const row = INSTRUCTIONS[decoded.index];
  if (row === undefined) return `.word 0x${(word >>> 0).toString(16)}`;
  const text = row.operands.replace(/[a-z]+\d?/g, (field) => operand(field, decoded, pc));
  return text === "" ? row.name : `${row.name} ${text}`;
}

function operand(field: string, d: Decoded, pc: number): string {
  switch (field) {
    case "rd":
      return X_NAMES[d.rd]!;
    case "rs1":
      return X_NAMES[d.rs1]!;
    case "rs2":
      return X_NAMES[d.rs2]!;
    case "frd":
      return F_NAMES[d.rd]!;
    case "frs1":
      return F_NAMES[d.rs1]!;
    case "frs2":
      return F_NAMES[d.rs2]!;
    case "frs3":
      return F_NAMES[d.rs3]!;
    case "rm":
      return ROUNDING[d.rm]!;
    case "target":
      return `0x${((pc + d.imm) >>> 0).toString(16)}`;
    case "uimm":
      return `0x${(d.imm >>> 12).toString(16)}`;
    case "csr":
      return `0x${(d.imm & 0xfff).toString(16)}`;
    case "zimm":
      return String(d.imm >>> 12);
    default:
      return String(d.imm);
  }
}
