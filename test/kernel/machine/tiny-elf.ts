/** Writes the smallest static riscv64 programs: one segment, code as a list of 32-bit instructions. */
const BASE = 0x10000;
const HEADERS = 64 + 56;
export const ENTRY = BASE + HEADERS;

const A0 = 10;
const A7 = 17;

/** addi rd, rs, imm. */
export const addi = (rd: number, rs: number, imm: number): number =>
  ((imm & 0xfff) << 20) | (rs << 15) | (rd << 7) | 0x13;
export const li = (rd: number, imm: number): number => addi(rd, 0, imm);
export const ECALL = 0x73;
/** j . */
export const SPIN = 0x6f;
/** bne rs, zero, offset. */
export const bnez = (rs: number, offset: number): number =>
  (((offset >> 12) & 1) << 31) |
  (((offset >> 5) & 0x3f) << 25) |
  (rs << 15) |
  (1 << 12) |
  (((offset >> 1) & 0xf) << 8) |
  (((offset >> 11) & 1) << 7) |
  0x63;

/** Instructions that make system call `nr` with small arguments. */
export const call = (nr: number, ...args: number[]): number[] => [
  ...args.map((arg, n) => li(A0 + n, arg)),
  li(A7, nr),
  ECALL,
];
export const exit = (code: number): number[] => call(94, code);

export function tinyElf(code: readonly number[]): Uint8Array {
  const size = HEADERS + code.length * 4;
  const bytes = new Uint8Array(size);
  const view = new DataView(bytes.buffer);
  bytes.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  view.setUint16(16, 2, true); // ET_EXEC
  view.setUint16(18, 243, true); // EM_RISCV
  view.setUint32(20, 1, true);
  view.setBigUint64(24, BigInt(ENTRY), true);
  view.setBigUint64(32, 64n, true); // program headers
  view.setUint16(52, 64, true);
  view.setUint16(54, 56, true);
  view.setUint16(56, 1, true);
  view.setUint32(64, 1, true); // PT_LOAD
  view.setUint32(68, 5, true); // R X
  view.setBigUint64(80, BigInt(BASE), true);
  view.setBigUint64(88, BigInt(BASE), true);
  view.setBigUint64(96, BigInt(size), true);
  view.setBigUint64(104, BigInt(size), true);
  view.setBigUint64(112, 4096n, true);
  for (const [n, instruction] of code.entries()) view.setInt32(HEADERS + n * 4, instruction, true);
  return bytes;
}
