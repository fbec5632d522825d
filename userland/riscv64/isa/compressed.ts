/**
 * The C extension: every compressed instruction is the abbreviation of one 32-bit instruction
 * (RISC-V unprivileged ISA, chapter "C").
 */

const field = (word: number, high: number, low: number): number =>
  (word >>> low) & ((1 << (high - low + 1)) - 1);
const signed = (value: number, bits: number): number => (value << (32 - bits)) >> (32 - bits);

const r = (f7: number, rs2: number, rs1: number, f3: number, rd: number, op: number) =>
  (f7 << 25) | (rs2 << 20) | (rs1 << 15) | (f3 << 12) | (rd << 7) | op;
const i = (imm: number, rs1: number, f3: number, rd: number, op: number) =>
  (imm << 20) | (rs1 << 15) | (f3 << 12) | (rd << 7) | op;
const s = (imm: number, rs2: number, rs1: number, f3: number, op: number) =>
  ((imm >> 5) << 25) | (rs2 << 20) | (rs1 << 15) | (f3 << 12) | ((imm & 31) << 7) | op;
const b = (imm: number, rs2: number, rs1: number, f3: number) =>
  (((imm >> 12) & 1) << 31) |
  (((imm >> 5) & 63) << 25) |
  (rs2 << 20) |
  (rs1 << 15) |
  (f3 << 12) |
  (((imm >> 1) & 15) << 8) |
  (((imm >> 11) & 1) << 7) |
  0x63;
const j = (imm: number, rd: number) =>
  (((imm >> 20) & 1) << 31) |
  (((imm >> 1) & 0x3ff) << 21) |
  (((imm >> 11) & 1) << 20) |
  (((imm >> 12) & 0xff) << 12) |
  (rd << 7) |
  0x6f;

const LOAD = 0x03;
const LOAD_FP = 0x07;
const OP_IMM = 0x13;
const OP_IMM_32 = 0x1b;
const STORE = 0x23;
const STORE_FP = 0x27;
const OP = 0x33;
const LUI = 0x37;
const OP_32 = 0x3b;
const JALR = 0x67;

/** The 32-bit instruction that halfword `w` abbreviates, or 0 (which is no instruction) when it is reserved. */
export function expandCompressed(w: number): number {
  switch (w & 3) {
    case 0:
      return quadrant0(w);
    case 1:
      return quadrant1(w);
    default:
      return quadrant2(w);
  }
}

function quadrant0(w: number): number {
  const rd = 8 + field(w, 4, 2);
  const rs1 = 8 + field(w, 9, 7);
  const word = (field(w, 12, 10) << 3) | (field(w, 6, 6) << 2) | (field(w, 5, 5) << 6);
  const double = (field(w, 12, 10) << 3) | (field(w, 6, 5) << 6);
  switch (w >>> 13) {
    case 0: {
      const imm =
        (field(w, 12, 11) << 4) | (field(w, 10, 7) << 6) | (field(w, 6, 6) << 2) | (field(w, 5, 5) << 3);
      return imm === 0 ? 0 : i(imm, 2, 0, rd, OP_IMM); // c.addi4spn
    }
    case 1:
      return i(double, rs1, 3, rd, LOAD_FP); // c.fld
    case 2:
      return i(word, rs1, 2, rd, LOAD); // c.lw
    case 3:
      return i(double, rs1, 3, rd, LOAD); // c.ld
    case 5:
      return s(double, rd, rs1, 3, STORE_FP); // c.fsd
    case 6:
      return s(word, rd, rs1, 2, STORE); // c.sw
    case 7:
      return s(double, rd, rs1, 3, STORE); // c.sd
    default:
      return 0;
  }
}

function quadrant1(w: number): number {
  const rd = field(w, 11, 7);
  const imm = signed((field(w, 12, 12) << 5) | field(w, 6, 2), 6);
  const near = 8 + field(w, 9, 7);
  switch (w >>> 13) {
    case 0:
      return i(imm, rd, 0, rd, OP_IMM); // c.addi, c.nop
    case 1:
      return rd === 0 ? 0 : i(imm, rd, 0, rd, OP_IMM_32); // c.addiw
    case 2:
      return i(imm, 0, 0, rd, OP_IMM); // c.li
    case 3: {
      if (rd === 2) {
        const adjust = signed(
          (field(w, 12, 12) << 9) |
            (field(w, 6, 6) << 4) |
            (field(w, 5, 5) << 6) |
            (field(w, 4, 3) << 7) |
            (field(w, 2, 2) << 5),
          10,
        );
        return adjust === 0 ? 0 : i(adjust, 2, 0, 2, OP_IMM); // c.addi16sp
      }
      return imm === 0 ? 0 : (imm << 12) | (rd << 7) | LUI; // c.lui
    }
    case 4:
      return arithmetic(w, near, imm);
    case 5: {
      const offset =
        (field(w, 12, 12) << 11) |
        (field(w, 11, 11) << 4) |
        (field(w, 10, 9) << 8) |
        (field(w, 8, 8) << 10) |
        (field(w, 7, 7) << 6) |
        (field(w, 6, 6) << 7) |
        (field(w, 5, 3) << 1) |
        (field(w, 2, 2) << 5);
      return j(signed(offset, 12), 0); // c.j
    }
    default: {
      const offset =
        (field(w, 12, 12) << 8) |
        (field(w, 11, 10) << 3) |
        (field(w, 6, 5) << 6) |
        (field(w, 4, 3) << 1) |
        (field(w, 2, 2) << 5);
      return b(signed(offset, 9), 0, near, w >>> 13 === 6 ? 0 : 1); // c.beqz, c.bnez
    }
  }
}

function arithmetic(w: number, rd: number, imm: number): number {
  const rs2 = 8 + field(w, 4, 2);
  switch (field(w, 11, 10)) {
    case 0:
      return i(imm & 63, rd, 5, rd, OP_IMM); // c.srli
    case 1:
      return i((imm & 63) | 0x400, rd, 5, rd, OP_IMM); // c.srai
    case 2:
      return i(imm, rd, 7, rd, OP_IMM); // c.andi
  }
  switch ((field(w, 12, 12) << 2) | field(w, 6, 5)) {
    case 0:
      return r(0x20, rs2, rd, 0, rd, OP); // c.sub
    case 1:
      return r(0, rs2, rd, 4, rd, OP); // c.xor
    case 2:
      return r(0, rs2, rd, 6, rd, OP); // c.or
    case 3:
      return r(0, rs2, rd, 7, rd, OP); // c.and
    case 4:
      return r(0x20, rs2, rd, 0, rd, OP_32); // c.subw
    case 5:
      return r(0, rs2, rd, 0, rd, OP_32); // c.addw
    default:
      return 0;
  }
}

function quadrant2(w: number): number {
  const rd = field(w, 11, 7);
  const rs2 = field(w, 6, 2);
  const double = (field(w, 12, 12) << 5) | (field(w, 6, 5) << 3) | (field(w, 4, 2) << 6);
  const word = (field(w, 12, 12) << 5) | (field(w, 6, 4) << 2) | (field(w, 3, 2) << 6);
  switch (w >>> 13) {
    case 0:
      return i((field(w, 12, 12) << 5) | rs2, rd, 1, rd, OP_IMM); // c.slli
    case 1:
      return i(double, 2, 3, rd, LOAD_FP); // c.fldsp
    case 2:
      return rd === 0 ? 0 : i(word, 2, 2, rd, LOAD); // c.lwsp
    case 3:
      return rd === 0 ? 0 : i(double, 2, 3, rd, LOAD); // c.ldsp
    case 4:
      if (field(w, 12, 12) === 0) {
        if (rs2 === 0) return rd === 0 ? 0 : i(0, rd, 0, 0, JALR); // c.jr
        return r(0, rs2, 0, 0, rd, OP); // c.mv
      }
      if (rs2 === 0) return rd === 0 ? 0x100073 : i(0, rd, 0, 1, JALR); // c.ebreak, c.jalr
      return r(0, rs2, rd, 0, rd, OP); // c.add
    case 5:
      return s((field(w, 12, 10) << 3) | (field(w, 9, 7) << 6), rs2, 2, 3, STORE_FP); // c.fsdsp
    case 6:
      return s((field(w, 12, 9) << 2) | (field(w, 8, 7) << 6), rs2, 2, 2, STORE); // c.swsp
    default:
      return s((field(w, 12, 10) << 3) | (field(w, 9, 7) << 6), rs2, 2, 3, STORE); // c.sdsp
  }
}
