/** Encodings of RV64GC and Zba instructions (unprivileged ISA, chapter "Instruction Set Listings"), as the fuzzer wants them. */

export const r = (op: number, f3: number, f7: number, rd: number, rs1: number, rs2: number): number =>
  ((f7 << 25) | (rs2 << 20) | (rs1 << 15) | (f3 << 12) | (rd << 7) | op) >>> 0;

export const i = (op: number, f3: number, rd: number, rs1: number, imm: number): number =>
  (((imm & 0xfff) << 20) | (rs1 << 15) | (f3 << 12) | (rd << 7) | op) >>> 0;

export const s = (op: number, f3: number, rs1: number, rs2: number, imm: number): number =>
  ((((imm >> 5) & 0x7f) << 25) | (rs2 << 20) | (rs1 << 15) | (f3 << 12) | ((imm & 31) << 7) | op) >>> 0;

export const b = (f3: number, rs1: number, rs2: number, offset: number): number =>
  ((((offset >> 12) & 1) << 31) |
    (((offset >> 5) & 0x3f) << 25) |
    (rs2 << 20) |
    (rs1 << 15) |
    (f3 << 12) |
    (((offset >> 1) & 15) << 8) |
    (((offset >> 11) & 1) << 7) |
    0x63) >>>
  0;

/** `imm` is the value of the upper 20 bits. */
export const u = (op: number, rd: number, imm: number): number =>
  (((imm & 0xfffff) << 12) | (rd << 7) | op) >>> 0;

export const jal = (rd: number, offset: number): number =>
  ((((offset >> 20) & 1) << 31) |
    (((offset >> 1) & 0x3ff) << 21) |
    (((offset >> 11) & 1) << 20) |
    (((offset >> 12) & 0xff) << 12) |
    (rd << 7) |
    0x6f) >>>
  0;

export const jalr = (rd: number, rs1: number, imm: number): number => i(0x67, 0, rd, rs1, imm);
export const addi = (rd: number, rs1: number, imm: number): number => i(0x13, 0, rd, rs1, imm);
export const andi = (rd: number, rs1: number, imm: number): number => i(0x13, 7, rd, rs1, imm);
export const slli = (rd: number, rs1: number, n: number): number => i(0x13, 1, rd, rs1, n);
export const add = (rd: number, rs1: number, rs2: number): number => r(0x33, 0, 0, rd, rs1, rs2);
export const ld = (rd: number, rs1: number, imm: number): number => i(0x03, 3, rd, rs1, imm);
export const sd = (rs2: number, rs1: number, imm: number): number => s(0x23, 3, rs1, rs2, imm);
export const sw = (rs2: number, rs1: number, imm: number): number => s(0x23, 2, rs1, rs2, imm);
export const lui = (rd: number, imm: number): number => u(0x37, rd, imm);
export const auipc = (rd: number, imm: number): number => u(0x17, rd, imm);
export const fld = (rd: number, rs1: number, imm: number): number => i(0x07, 3, rd, rs1, imm);
export const fsd = (rs2: number, rs1: number, imm: number): number => s(0x27, 3, rs1, rs2, imm);
export const csr = (f3: number, rd: number, rs1OrImm: number, number: number): number =>
  i(0x73, f3, rd, rs1OrImm, number);
/** Zba. */
export const shiftAdd = (n: 1 | 2 | 3, rd: number, rs1: number, rs2: number): number =>
  r(0x33, 2 * n, 0x10, rd, rs1, rs2);
/** n = 0: add.uw. */
export const shiftAddUw = (n: 0 | 1 | 2 | 3, rd: number, rs1: number, rs2: number): number =>
  r(0x3b, 2 * n, n === 0 ? 0x04 : 0x10, rd, rs1, rs2);
export const slliUw = (rd: number, rs1: number, n: number): number => i(0x1b, 1, rd, rs1, 0x080 | n);
export const ECALL = 0x73;
export const FENCE_I = 0x100f;
export const FENCE = 0x0ff0000f;
export const NOP = 0x13;

/** Rounds a constant to the pair (lui or auipc immediate, addi immediate). */
export const hi20 = (n: number): number => ((n + 0x800) >> 12) & 0xfffff;
export const lo12 = (n: number): number => (n << 20) >> 20;

const bits = (n: number, from: number, count: number, to: number): number =>
  ((n >> from) & ((1 << count) - 1)) << to;

/** Compressed instructions; registers named `q` are x8..x15 given as 0..7. */
export const c = {
  addi4spn: (q: number, imm: number): number =>
    bits(imm, 4, 2, 11) | bits(imm, 6, 4, 7) | bits(imm, 2, 1, 6) | bits(imm, 3, 1, 5) | (q << 2),
  /** f3: 1 fld, 3 ld, 5 fsd, 7 sd; imm a multiple of 8 below 256. */
  mem8: (f3: number, q: number, base: number, imm: number): number =>
    (f3 << 13) | bits(imm, 3, 3, 10) | (base << 7) | bits(imm, 6, 2, 5) | (q << 2),
  /** f3: 2 lw, 6 sw; imm a multiple of 4 below 128. */
  mem4: (f3: number, q: number, base: number, imm: number): number =>
    (f3 << 13) | bits(imm, 3, 3, 10) | (base << 7) | bits(imm, 2, 1, 6) | bits(imm, 6, 1, 5) | (q << 2),
  /** f3: 0 addi, 1 addiw, 2 li, 3 lui; imm in -32..31. */
  imm6: (f3: number, rd: number, imm: number): number =>
    (f3 << 13) | bits(imm, 5, 1, 12) | (rd << 7) | bits(imm, 0, 5, 2) | 1,
  /** kind: 0 srli, 1 srai, 2 andi; imm 6 bits. */
  alu6: (kind: number, q: number, imm: number): number =>
    (4 << 13) | bits(imm, 5, 1, 12) | (kind << 10) | (q << 7) | bits(imm, 0, 5, 2) | 1,
  /** kind: 0..3 sub xor or and, 4..5 subw addw. */
  alu: (kind: number, q: number, q2: number): number =>
    (4 << 13) | ((kind >> 2) << 12) | (3 << 10) | (q << 7) | ((kind & 3) << 5) | (q2 << 2) | 1,
  slli: (rd: number, imm: number): number => bits(imm, 5, 1, 12) | (rd << 7) | bits(imm, 0, 5, 2) | 2,
  /** f3: 1 fldsp, 3 ldsp; imm a multiple of 8 below 512. */
  load8sp: (f3: number, rd: number, imm: number): number =>
    (f3 << 13) | bits(imm, 5, 1, 12) | (rd << 7) | bits(imm, 3, 2, 5) | bits(imm, 6, 3, 2) | 2,
  lwsp: (rd: number, imm: number): number =>
    (2 << 13) | bits(imm, 5, 1, 12) | (rd << 7) | bits(imm, 2, 3, 4) | bits(imm, 6, 2, 2) | 2,
  /** f3: 5 fsdsp, 7 sdsp. */
  store8sp: (f3: number, rs2: number, imm: number): number =>
    (f3 << 13) | bits(imm, 3, 3, 10) | bits(imm, 6, 3, 7) | (rs2 << 2) | 2,
  swsp: (rs2: number, imm: number): number =>
    (6 << 13) | bits(imm, 2, 4, 9) | bits(imm, 6, 2, 7) | (rs2 << 2) | 2,
  mv: (rd: number, rs2: number): number => (4 << 13) | (rd << 7) | (rs2 << 2) | 2,
  add: (rd: number, rs2: number): number => (4 << 13) | (1 << 12) | (rd << 7) | (rs2 << 2) | 2,
  jr: (rs1: number): number => (4 << 13) | (rs1 << 7) | 2,
  jalr: (rs1: number): number => (4 << 13) | (1 << 12) | (rs1 << 7) | 2,
  addi16sp: (imm: number): number =>
    (3 << 13) |
    bits(imm, 9, 1, 12) |
    (2 << 7) |
    bits(imm, 4, 1, 6) |
    bits(imm, 6, 1, 5) |
    bits(imm, 7, 2, 3) |
    bits(imm, 5, 1, 2) |
    1,
  /** offset within +-2 KiB. */
  j: (offset: number): number =>
    (5 << 13) |
    bits(offset, 11, 1, 12) |
    bits(offset, 4, 1, 11) |
    bits(offset, 8, 2, 9) |
    bits(offset, 10, 1, 8) |
    bits(offset, 6, 1, 7) |
    bits(offset, 7, 1, 6) |
    bits(offset, 1, 3, 3) |
    bits(offset, 5, 1, 2) |
    1,
  /** f3: 6 beqz, 7 bnez; offset within +-256. */
  branch: (f3: number, q: number, offset: number): number =>
    (f3 << 13) |
    bits(offset, 8, 1, 12) |
    bits(offset, 3, 2, 10) |
    (q << 7) |
    bits(offset, 6, 2, 5) |
    bits(offset, 1, 2, 3) |
    bits(offset, 5, 1, 2) |
    1,
};
