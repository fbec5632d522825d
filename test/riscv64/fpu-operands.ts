/** Operands that find rounding bugs: random numbers would nearly all be ordinary. Deterministic in the seed. */

import { FP_OP } from "../../userland/riscv64/fpu/softfloat.ts";

/** Marsaglia's xorshift32 over two words: reproducible, and enough for choosing test operands. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = (Math.imul(seed, 0x9e3779b1) ^ 0x5bd1e995) | 0 || 1;
    for (let i = 0; i < 8; i++) this.u32();
  }

  u32(): number {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x;
    return Math.imul(x, 0x2545f491) >>> 0;
  }

  /** An integer in [0, n). */
  below(n: number): number {
    return Math.floor((this.u32() / 2 ** 32) * n);
  }

  u64(): bigint {
    return (BigInt(this.u32()) << 32n) | BigInt(this.u32());
  }

  pick<T>(from: readonly T[]): T {
    return from[this.below(from.length)]!;
  }
}

const OPS: readonly [string, number][] = Object.entries(FP_OP);
export const OP_NAMES: readonly string[] = OPS.map(([name]) => name);
export const OP_COUNT: number = OPS.length;

/** A fraction of `bits` bits with long runs of equal bits, or a random one. */
function fraction(random: Random, bits: number): bigint {
  const mask = (1n << BigInt(bits)) - 1n;
  switch (random.below(6)) {
    case 0:
      return 0n;
    case 1:
      return mask;
    case 2:
      return (1n << BigInt(random.below(bits))) & mask;
    case 3:
      return (mask << BigInt(random.below(bits))) & mask;
    case 4:
      return (random.u64() & mask) >> BigInt(random.below(bits));
    default:
      return random.u64() & mask;
  }
}

/** A number of a format with `expBits` and `fracBits`; `near` is the centre of ordinary exponents. */
function float(random: Random, expBits: number, fracBits: number, near: number): bigint {
  const expMax = (1 << expBits) - 1;
  let exp: number;
  switch (random.below(8)) {
    case 0:
      exp = random.below(3);
      break;
    case 1:
      exp = expMax - random.below(3);
      break;
    case 2:
      exp = random.below(expMax + 1);
      break;
    default:
      exp = Math.min(expMax, Math.max(0, near + random.below(40) - 20));
  }
  const sign = BigInt(random.below(2));
  return (((sign << BigInt(expBits)) | BigInt(exp)) << BigInt(fracBits)) | fraction(random, fracBits);
}

const BOX = 0xffff_ffff_0000_0000n;

/** Three register contents for `op`. */
export function operands(random: Random, op: number): [bigint, bigint, bigint] {
  if (op >= FP_OP.FCVT_S_W && op <= FP_OP.FCVT_D_LU) {
    const magnitude = fraction(random, 64) >> BigInt(random.below(2) * random.below(64));
    return [BigInt.asUintN(64, random.below(2) === 0 ? magnitude : -magnitude), 0n, 0n];
  }
  const single = op === FP_OP.FCVT_D_S || ((op & 1) === 0 && op !== FP_OP.FCVT_S_D);
  const bias = single ? 127 : 1023;
  const one = (near: number): bigint => {
    if (!single) return float(random, 11, 52, near);
    return random.below(40) === 0 ? float(random, 11, 52, 1023) : BOX | float(random, 8, 23, near);
  };
  // Half of the time around 1, else around a centre that can be anywhere: products and quotients reach both ends.
  const centre = random.below(2) === 0 ? bias : random.below(2 * bias);
  const other = random.below(2) === 0 ? bias : 2 * bias - centre;
  const a = one(centre);
  const b = one(other);
  const third =
    random.below(3) === 0
      ? centre + other - bias - random.below(2 * (single ? 24 : 53))
      : centre + other - bias;
  let c = one(third);
  // Now and then operands that cancel or tie.
  if (random.below(16) === 0) c = a;
  return random.below(16) === 0 ? [a, a ^ (BigInt(random.below(2)) << (single ? 31n : 63n)), c] : [a, b, c];
}
