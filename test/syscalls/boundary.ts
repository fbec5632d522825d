/**
 * Boundary values of system-call arguments, made from the types that the call literals state: for the table test
 * (boundary.test.ts) and for fuzzers. A new call is covered by what it is declared as.
 */
import { type Arg, DECODE } from "../../syscalls/args.ts";

/** Where integer types of every width begin, end and wrap, and where doubles stop being exact. */
const EVERYWHERE: readonly bigint[] = [
  0n,
  1n,
  -1n,
  2n ** 31n - 1n,
  2n ** 31n,
  -(2n ** 31n),
  2n ** 32n - 1n,
  2n ** 32n,
  2n ** 32n + 1n,
  2n ** 53n + 1n,
  2n ** 63n - 1n,
  2n ** 63n,
];

/** Besides: what small signed and unsigned numbers turn on. */
const INTEGERS: readonly bigint[] = [64n, 65n, 255n, 4096n, -100n, -4096n, -5001n, 2n ** 32n + 64n];
/** Lengths, offsets and pointers: alignment, pages, and sums that pass the ends of 32 and 64 bits. */
const SIZES: readonly bigint[] = [
  7n,
  8n,
  64n,
  65n,
  88n,
  4095n,
  4096n,
  2n ** 31n - 4096n,
  2n ** 43n,
  2n ** 53n - 1n,
  2n ** 63n - 4096n,
  2n ** 64n - 4096n,
  -8n,
];

/** A few, for calls that are tried in many ways. */
export const FEW: readonly bigint[] = [
  0n,
  1n,
  -1n,
  2n ** 31n,
  2n ** 32n,
  2n ** 32n + 1n,
  2n ** 53n + 1n,
  2n ** 63n,
];

/** A number as the 64 bits of a register. */
export const register = (value: bigint | number): bigint => BigInt.asUintN(64, BigInt(value));

/** The numbers at which an argument of this type may go wrong, as register contents: each once, in a fixed order. */
export function boundaryValues(arg: Arg): bigint[] {
  const values = [...EVERYWHERE];
  const wide = arg.decode !== DECODE.INT && arg.decode !== DECODE.UINT;
  values.push(...(wide ? SIZES : INTEGERS));
  const { range } = arg;
  if (range !== undefined) {
    for (const edge of [range.min, range.max].filter(Number.isSafeInteger))
      values.push(BigInt(edge) - 1n, BigInt(edge), BigInt(edge) + 1n, 2n ** 32n + BigInt(edge));
    if (range.bits !== undefined) values.push(BigInt(~range.bits >>> 0), BigInt(~range.bits & -~range.bits));
  }
  return [...new Set(values.map(register))];
}
