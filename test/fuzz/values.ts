/** Numbers and addresses to pass. All 64 bits of each register are given: what is above an int counts too. */
import type { Arg } from "../../syscalls/args.ts";
import { boundaryValues } from "../syscalls/boundary.ts";
import type { Random } from "./random.ts";
import { DATA, DATA_BYTES, SHARED, SHARED_BYTES, type Value } from "./script.ts";

export const hex = (value: bigint | number): Value => `0x${BigInt.asUintN(64, BigInt(value)).toString(16)}`;

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

/** A number at which an argument of this type may go wrong. */
export function boundary(random: Random, arg: Arg): Value {
  let values = known.get(arg);
  if (values === undefined) known.set(arg, (values = boundaryValues(arg)));
  return hex(random.pick(values));
}
const known = new Map<Arg, readonly bigint[]>();

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
