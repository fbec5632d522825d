/** Boundary values, by how a call decodes a register. All 64 bits of each register are given: what is above an int counts too. */
import { DECODE } from "../../syscalls/args.ts";
import type { Random } from "./random.ts";
import { DATA, DATA_BYTES, SHARED, SHARED_BYTES, type Value } from "./script.ts";

export const hex = (value: bigint | number): Value => `0x${BigInt.asUintN(64, BigInt(value)).toString(16)}`;

const power = (bits: number): bigint[] => [
  (1n << BigInt(bits)) - 1n,
  1n << BigInt(bits),
  (1n << BigInt(bits)) + 1n,
];
const negative = (values: readonly bigint[]): bigint[] => values.map((value) => -value);

const SMALL = [0n, 1n, 2n, 3n, 7n, 8n, 16n, 63n, 64n, 65n, 100n, 128n, 255n, 256n, 1000n, 1024n];
const POWERS = [12, 15, 16, 20, 24, 29, 30].flatMap(power);
const WORDS = [31, 32].flatMap(power);
const LARGE = [33, 40, 48, 52, 53, 54, 62].flatMap(power);
const LONGEST = [...power(63), (1n << 64n) - 1n, (1n << 64n) - 4096n];

export const BOUNDARIES: Readonly<Record<number, readonly bigint[]>> = {
  // The upper halves are noise that the call has to ignore, or to refuse.
  [DECODE.INT]: [
    ...SMALL,
    ...negative(SMALL),
    ...POWERS,
    ...WORDS,
    ...negative(WORDS),
    ...negative(POWERS),
    -100n,
    -4096n,
  ],
  [DECODE.UINT]: [...SMALL, ...negative(SMALL.slice(1, 4)), ...POWERS, ...WORDS],
  [DECODE.LONG]: [
    ...SMALL,
    ...negative(SMALL),
    ...POWERS,
    ...WORDS,
    ...LARGE,
    ...LONGEST,
    ...negative(LARGE),
  ],
  [DECODE.ULONG]: [...SMALL, ...negative(SMALL.slice(1, 4)), ...POWERS, ...WORDS, ...LARGE, ...LONGEST],
};

/** Addresses that are wrong, or right only for a few bytes. */
export const ADDRESSES: readonly number[] = [
  0,
  1,
  0xfff,
  0x1000,
  0x10000, // the program, read-only
  DATA - 1,
  DATA + DATA_BYTES,
  ...[1, 2, 4, 8, 15, 16, 24, 64, 4096].map((left) => DATA + DATA_BYTES - left),
  ...[8, 16, 100].map((left) => SHARED + SHARED_BYTES - left),
  DATA + 4096 - 4,
  SHARED,
  0x7fffffff,
  0x80000000,
  0xfffff000,
  0xffffffff,
];
const WILD = [
  1n << 32n,
  (1n << 32n) + BigInt(DATA),
  1n << 38n,
  1n << 47n,
  1n << 53n,
  1n << 63n,
  -1n,
  -8n,
  -4096n,
];

export const boundary = (random: Random, decode: number): Value => hex(random.pick(BOUNDARIES[decode]!));

export function badAddress(random: Random): Value {
  return hex(random.chance(70) ? random.pick(ADDRESSES) : random.pick(WILD));
}

/** Sizes of structures, to be missed by a little. */
const STRUCTURES = [4, 8, 16, 24, 32, 36, 56, 64, 72, 80, 88, 112, 128, 256, 4096];

/** A size: mostly small. */
export function someSize(random: Random): number {
  const kind = random.below(100);
  if (kind < 45) return random.below(64);
  if (kind < 70) return Math.max(0, random.pick(STRUCTURES) + random.pick([-1, 0, 0, 0, 1, 2, 5]));
  return kind < 92 ? random.below(4097) : random.below(70_000);
}
