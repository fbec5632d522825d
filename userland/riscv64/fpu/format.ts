/**
 * The two formats, rounding and the flags: the foundation of the exact arithmetic in this folder.
 * A finite number is taken apart into (-1)^sign * mant * 2^exp with an integer mant, of any length.
 */

/** fflags bits (unprivileged ISA, "Floating-Point Control and Status Register"). */
export const FFLAGS = { NX: 1, UF: 2, OF: 4, DZ: 8, NV: 16 } as const;

/** Rounding modes of the rm field and of frm. */
export const RM = { RNE: 0, RTZ: 1, RDN: 2, RUP: 3, RMM: 4 } as const;

/** One binary interchange format; everything that depends on the width. */
export interface Format {
  /** Precision in bits, hidden bit included. */
  readonly p: number;
  /** Exponent of the smallest normal number: 2^emin. */
  readonly emin: number;
  readonly emax: number;
  /** Stored fraction bits: p - 1. */
  readonly fracBits: bigint;
  readonly fracMask: bigint;
  readonly signBit: bigint;
  /** The exponent field, all ones, in place: also +infinity. */
  readonly inf: bigint;
  /** The canonical NaN. */
  readonly nan: bigint;
  /** Largest finite magnitude. */
  readonly max: bigint;
  /** The top fraction bit: set in quiet NaNs. */
  readonly quiet: bigint;
  /** Stored exponent of all ones. */
  readonly expMax: number;
}

function format(width: number, p: number): Format {
  const frac = BigInt(p - 1);
  const expMax = (1 << (width - p)) - 1;
  const inf = BigInt(expMax) << frac;
  const bias = expMax >> 1;
  return {
    p,
    emin: 1 - bias,
    emax: bias,
    fracBits: frac,
    fracMask: (1n << frac) - 1n,
    signBit: 1n << BigInt(width - 1),
    inf,
    nan: inf | (1n << (frac - 1n)),
    max: inf - 1n,
    quiet: 1n << (frac - 1n),
    expMax,
  };
}

export const S: Format = format(32, 24);
export const D: Format = format(64, 53);

let flags = 0;

/** ORs `bits` (FFLAGS) into this worker's accumulator. */
export function raise(bits: number): void {
  flags |= bits;
}

/** Returns the flags raised since the last call and clears them. */
export function takeFpFlags(): number {
  const taken = flags;
  flags = 0;
  return taken;
}

/** What a bit pattern is. */
export const KIND = { FINITE: 0, INF: 1, QNAN: 2, SNAN: 3 } as const;

/** An operand taken apart. `mant` and `exp` mean something for FINITE only; mant 0n is a zero. */
export interface Operand {
  kind: number;
  sign: number;
  exp: number;
  mant: bigint;
}

/** Storage for `unpack`: the operations own three of them, so that nothing is allocated per call. */
export function operand(): Operand {
  return { kind: 0, sign: 0, exp: 0, mant: 0n };
}

/** Takes `bits` (unsigned, of the format's width) apart into `into`. */
export function unpack(f: Format, bits: bigint, into: Operand): Operand {
  const frac = bits & f.fracMask;
  const stored = Number((bits & f.inf) >> f.fracBits);
  into.sign = (bits & f.signBit) === 0n ? 0 : 1;
  if (stored === f.expMax) {
    into.kind = frac === 0n ? KIND.INF : (frac & f.quiet) === 0n ? KIND.SNAN : KIND.QNAN;
    into.exp = 0;
    into.mant = 0n;
    return into;
  }
  into.kind = KIND.FINITE;
  into.exp = (stored === 0 ? 1 : stored) - 1 + f.emin - (f.p - 1);
  into.mant = stored === 0 ? frac : frac | (f.fracMask + 1n);
  return into;
}

const scratch = new Float64Array(1);
const scratchBits = new BigUint64Array(scratch.buffer);

/** Number of bits of a positive integer below 2^1000. */
export function bitLength(m: bigint): number {
  scratch[0] = Number(m); // may round up to the next power of two: corrected below
  const n = Number(scratchBits[0]! >> 52n) - 1022;
  return m >> BigInt(n - 1) === 0n ? n - 1 : n;
}

/** Whether a value between two neighbours moves away from zero. `rest`: what is dropped against half a unit, -1, 0 or 1. */
function roundsUp(rm: number, sign: number, odd: boolean, rest: number): boolean {
  switch (rm) {
    case RM.RNE:
      return rest > 0 || (rest === 0 && odd);
    case RM.RDN:
      return sign === 1;
    case RM.RUP:
      return sign === 0;
    case RM.RMM:
      return rest >= 0;
    default:
      return false;
  }
}

/** mant / 2^shift rounded to an integer (shift > 0); the rounding is away from zero where `rm` and `sign` say so. */
export function shiftRound(mant: bigint, shift: number, sign: number, rm: number): bigint {
  const n = BigInt(shift);
  const kept = mant >> n;
  const dropped = mant - (kept << n);
  if (dropped === 0n) return kept;
  const half = 1n << (n - 1n);
  const rest = dropped > half ? 1 : dropped === half ? 0 : -1;
  return roundsUp(rm, sign, (kept & 1n) === 1n, rest) ? kept + 1n : kept;
}

/**
 * Rounds (-1)^sign * mant * 2^exp (mant > 0) to the format and raises NX, UF (tininess after rounding), OF.
 * A caller with infinitely many more bits appends a single sticky 1 to a mant of at least p + 2 bits.
 */
export function roundPack(f: Format, sign: number, mant: bigint, exp: number, rm: number): bigint {
  const signBit = sign === 0 ? 0n : f.signBit;
  const lead = bitLength(mant) - 1 + exp;
  const unit = Math.max(lead, f.emin) - (f.p - 1);
  const shift = unit - exp;
  let kept = mant;
  let inexact = false;
  if (shift > 0) {
    kept = shiftRound(mant, shift, sign, rm);
    inexact = kept << BigInt(shift) !== mant;
  } else if (shift < 0) {
    kept = mant << BigInt(-shift);
  }
  if (inexact) {
    raise(FFLAGS.NX);
    if (lead < f.emin && isTiny(f, sign, mant, exp, lead, rm)) raise(FFLAGS.UF);
  }
  // The hidden bit of `kept` adds one to the stored exponent, and so does a carry out of the rounding.
  const stored = lead < f.emin ? 0 : lead - f.emin;
  const bits = (BigInt(stored) << f.fracBits) + kept;
  if (bits < f.inf) return signBit | bits;
  raise(FFLAGS.OF | FFLAGS.NX);
  const toInf =
    rm === RM.RNE || rm === RM.RMM || (rm === RM.RUP && sign === 0) || (rm === RM.RDN && sign === 1);
  return signBit | (toInf ? f.inf : f.max);
}

/** Whether a number below 2^emin stays there when rounded to p bits with an unbounded exponent. */
function isTiny(f: Format, sign: number, mant: bigint, exp: number, lead: number, rm: number): boolean {
  if (lead < f.emin - 1) return true;
  const shift = lead - (f.p - 1) - exp;
  return shift <= 0 || shiftRound(mant, shift, sign, rm) !== 1n << BigInt(f.p);
}
