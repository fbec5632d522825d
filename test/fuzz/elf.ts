/** Programs that are wrong: ELF files with random changes, and random instruction words. */

import { writeElf } from "../riscv64/fuzz-elf.ts";
import { hi20, lo12, lui } from "../riscv64/fuzz-encode.ts";
import type { Random } from "./random.ts";

/** Values that headers do not like. */
const ODD = [
  0n,
  1n,
  8n,
  0xffffn,
  0x1000n,
  0x7fffffffn,
  0x80000000n,
  0xffffffffn,
  0xfffff000n,
  1n << 32n,
  1n << 40n,
  1n << 53n,
  1n << 62n,
  (1n << 64n) - 1n,
  (1n << 64n) - 4096n,
  3n,
];
/** Fields of the ELF header and of each program header, by offset and bytes. */
const HEADER: readonly (readonly [number, number])[] = [
  [4, 1],
  [16, 2],
  [18, 2],
  [24, 8],
  [32, 8],
  [52, 2],
  [54, 2],
  [56, 2],
];
const SEGMENT: readonly (readonly [number, number])[] = [
  [0, 4],
  [4, 4],
  [8, 8],
  [16, 8],
  [32, 8],
  [40, 8],
  [48, 8],
];

export function mutatedElf(good: Buffer, random: Random): Buffer {
  const elf = Buffer.from(good);
  const segments = good.readUInt16LE(56);
  for (let n = 1 + random.below(4); n > 0; n--) {
    if (random.chance(10)) {
      elf[random.below(elf.length)] = random.word();
      continue;
    }
    const [at, bytes] = random.chance(30)
      ? random.pick(HEADER)
      : ((field) => [64 + 56 * random.below(segments) + field[0], field[1]] as const)(random.pick(SEGMENT));
    const old = bytes === 8 ? elf.readBigUInt64LE(at) : BigInt(elf.readUIntLE(at, bytes));
    const value = random.chance(50)
      ? random.pick(ODD)
      : old + random.pick([1n, -1n, 4096n, -4096n, 0x10000n, 8n]);
    const word = Buffer.alloc(8);
    word.writeBigUInt64LE(BigInt.asUintN(64, value));
    elf.set(word.subarray(0, bytes), at);
  }
  return random.chance(10) ? elf.subarray(0, random.below(elf.length)) : elf;
}

const OPCODES = [
  0x03, 0x07, 0x0f, 0x13, 0x17, 0x1b, 0x23, 0x27, 0x2f, 0x33, 0x37, 0x3b, 0x43, 0x4b, 0x53, 0x57, 0x63, 0x67,
  0x6f, 0x73,
];

/** A program of random instruction words. System calls among them would not be random enough: they get a number that there is not. */
export function randomCode(random: Random): Uint8Array {
  const code: number[] = [];
  // Registers with addresses of the program, so that not every access faults.
  for (let register = 1; register < 32; register++)
    code.push(lui(register, random.pick([0x10, 0x40, 0x41, 0, 0x80000, hi20(random.word())])));
  for (let n = 0; n < 600; n++) {
    const word = random.word();
    if (random.chance(20)) code.push(word & 0xffff & ~(random.chance(50) ? 2 : 1));
    else code.push(((word & ~0x7f) | random.pick(OPCODES)) >>> 0 || lo12(word));
  }
  return writeElf([{ code, fixed: true, what: "random" }], random.bytes(0x4000));
}
