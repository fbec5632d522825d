import { readFileSync } from "node:fs";
import test from "ava";
import fc from "fast-check";
import { exactOp, FFLAGS, FP_OP, fpOp, RM, takeFpFlags } from "../../userland/riscv64/fpu/softfloat.ts";
import { casesOf, DIGESTS, Digest } from "./fpu-digest.ts";
import { OP_COUNT, OP_NAMES, operands, Random } from "./fpu-operands.ts";
import { askOracle, buildOracle, type FpCase } from "./fpu-oracle.ts";

const cell = new BigInt64Array(1);
const f64 = new Float64Array(cell.buffer);
const f32 = new Float32Array(cell.buffer);
const i32 = new Int32Array(cell.buffer);

/** A register that holds the double x; NaN is canonical. */
function d(x: number): bigint {
  f64[0] = x;
  return Number.isNaN(x) ? NAN_D : cell[0]!;
}

/** A register that holds the float x, NaN-boxed; NaN is canonical. */
function s(x: number): bigint {
  f32[0] = x;
  i32[1] = -1;
  return Number.isNaN(x) ? NAN_S : cell[0]!;
}

const NAN_D = 0x7ff8_0000_0000_0000n;
const SNAN_D = 0x7ff0_0000_0000_0001n;
const boxed = (bits: number): bigint => BigInt.asIntN(64, 0xffff_ffff_0000_0000n | BigInt(bits >>> 0));
const NAN_S = boxed(0x7fc00000);
const SNAN_S = boxed(0x7f800001);
const INF = Number.POSITIVE_INFINITY;
const MIN_NORMAL = 2 ** -1022;
const MAX = Number.MAX_VALUE;
const { NX, UF, OF, DZ, NV } = FFLAGS;

const runs = { numRuns: 2000 };
const isZero = (register: bigint): boolean => BigInt.asUintN(63, register) === 0n;
const anyDouble = fc.double();
const anyFloat = fc.float();

test("every operation answers recorded operands as riscv64 does, in five rounding modes", (t) => {
  const recorded = JSON.parse(readFileSync(DIGESTS, "utf8"));
  for (let op = 0; op < OP_COUNT; op++) {
    const quick = new Digest();
    const exact = new Digest();
    for (const { rm, a, b, c } of casesOf(op)) {
      quick.add(fpOp(op, a, b, c, rm), takeFpFlags());
      exact.add(exactOp(op, a, b, c, rm), takeFpFlags());
    }
    t.is(quick.hex(), recorded[OP_NAMES[op]!], `fpOp ${OP_NAMES[op]}`);
    t.is(exact.hex(), recorded[OP_NAMES[op]!], `exactOp ${OP_NAMES[op]}`);
  }
});

const oracle = buildOracle();
(oracle === "" ? test.skip : test)("fresh operands are answered as by riscv64 under qemu", (t) => {
  const seed = Date.now() | 0;
  const random = new Random(seed);
  const cases: FpCase[] = Array.from({ length: 20_000 }, () => {
    const op = random.below(OP_COUNT);
    const [a, b, c] = operands(random, op);
    return { op, rm: random.below(5), a, b, c };
  });
  const answers = askOracle(oracle, cases);
  const wrong = cases.filter(({ op, rm, a, b, c }, i) => {
    const result = fpOp(op, a, b, c, rm);
    return takeFpFlags() !== answers[i]!.flags || result !== answers[i]!.result;
  });
  t.deepEqual(wrong, [], `seed ${seed}`);
});

test("double arithmetic rounded to nearest is JavaScript's", (t) => {
  const same = (op: number, x: number, y: number, expected: number) =>
    exactOp(op, d(x), d(y), 0n, RM.RNE) === d(expected);
  fc.assert(
    fc.property(
      anyDouble,
      anyDouble,
      (x, y) =>
        same(FP_OP.FADD_D, x, y, x + y) &&
        same(FP_OP.FSUB_D, x, y, x - y) &&
        same(FP_OP.FMUL_D, x, y, x * y) &&
        same(FP_OP.FDIV_D, x, y, x / y) &&
        same(FP_OP.FSQRT_D, x, 0, Math.sqrt(x)),
    ),
    runs,
  );
  takeFpFlags();
  t.pass();
});

test("float arithmetic rounded to nearest is JavaScript's, narrowed", (t) => {
  const same = (op: number, x: number, y: number, expected: number) =>
    exactOp(op, s(x), s(y), 0n, RM.RNE) === s(expected);
  fc.assert(
    fc.property(
      anyFloat,
      anyFloat,
      (x, y) =>
        same(FP_OP.FADD_S, x, y, x + y) &&
        same(FP_OP.FSUB_S, x, y, x - y) &&
        same(FP_OP.FMUL_S, x, y, x * y) &&
        same(FP_OP.FDIV_S, x, y, x / y) &&
        same(FP_OP.FSQRT_S, x, 0, Math.sqrt(x)) &&
        exactOp(FP_OP.FCVT_S_D, d(x / 3), 0n, 0n, RM.RNE) === s(x / 3) &&
        exactOp(FP_OP.FCVT_D_S, s(x), 0n, 0n, RM.RNE) === d(x),
    ),
    runs,
  );
  takeFpFlags();
  t.pass();
});

test("rounding down and up enclose the result, differ by one unit exactly when NX is raised, and mirror", (t) => {
  const ordered = (bits: bigint) => (bits < 0n ? -1n - (bits ^ (-1n << 63n)) : bits);
  const finite = fc.double({ noNaN: true, noDefaultInfinity: true });
  const ops = [FP_OP.FADD_D, FP_OP.FSUB_D, FP_OP.FMUL_D, FP_OP.FMADD_D];
  fc.assert(
    fc.property(finite, finite, finite, fc.constantFrom(...ops), (x, y, z, op) => {
      const at = (rm: number) => fpOp(op, d(x), d(y), d(z), rm);
      takeFpFlags();
      const nearest = ordered(at(RM.RNE));
      const inexact = (takeFpFlags() & NX) !== 0;
      const down = at(RM.RDN);
      const up = at(RM.RUP);
      takeFpFlags();
      const width = ordered(up) - ordered(down);
      const sum = op === FP_OP.FADD_D || op === FP_OP.FSUB_D;
      const mirrored = fpOp(op, d(-x), d(sum ? -y : y), d(-z), RM.RDN);
      takeFpFlags();
      const zero = isZero(up) && isZero(down);
      return (
        (zero || width === (inexact ? 1n : 0n)) &&
        nearest >= ordered(down) &&
        nearest <= ordered(up) &&
        (zero || BigInt.asIntN(64, mirrored ^ (1n << 63n)) === up)
      );
    }),
    runs,
  );
  t.pass();
});

test("a fused multiply-add rounds once: against exact rational arithmetic", (t) => {
  const small = fc.bigInt({ min: -(1n << 53n), max: 1n << 53n });
  fc.assert(
    fc.property(small, small, small, fc.integer({ min: -60, max: 60 }), (x, y, z, e) => {
      // x * y + z * 2^e as an integer over 2^60, converted by Number(), which rounds to nearest even.
      const scaled = ((x * y) << 60n) + (z << BigInt(60 + e));
      const expected = Number(scaled) * 2 ** -60;
      const result = fpOp(FP_OP.FMADD_D, d(Number(x)), d(Number(y)), d(Number(z) * 2 ** e), RM.RNE);
      return result === d(expected) || (scaled === 0n && isZero(result));
    }),
    { numRuns: 3000 },
  );
  takeFpFlags();
  t.pass();
});

type Row = [op: number, a: bigint, b: bigint, c: bigint, rm: number, result: bigint, flags: number];

/** Checks rows by both ways of computing. */
const check = test.macro((t, rows: Row[]) => {
  for (const [op, a, b, c, rm, result, flags] of rows) {
    for (const compute of [fpOp, exactOp]) {
      const got = compute(op, a, b, c, rm);
      t.deepEqual(
        { got, flags: takeFpFlags() },
        { got: result, flags },
        `${OP_NAMES[op]} ${a} ${b} ${c} rm ${rm}`,
      );
    }
  }
});

test("a float that is not NaN-boxed reads as the canonical NaN", check, [
  [FP_OP.FADD_S, 0x3f80_0000n, s(1), 0n, 0, NAN_S, 0],
  [FP_OP.FADD_S, s(1), 0x7fff_ffff_3f80_0000n, 0n, 0, NAN_S, 0],
  [FP_OP.FSGNJ_S, 0x3f80_0000n, s(-1), 0n, 0, boxed(0xffc00000), 0],
  [FP_OP.FSGNJN_S, s(2), d(1), 0n, 0, s(-2), 0],
  [FP_OP.FMIN_S, d(1), s(3), 0n, 0, s(3), 0],
  [FP_OP.FCLASS_S, d(1), 0n, 0n, 0, 1n << 9n, 0],
  [FP_OP.FEQ_S, s(1), 0x3f80_0000n, 0n, 0, 0n, 0],
  [FP_OP.FCVT_D_S, d(1), 0n, 0n, 0, NAN_D, 0],
  [FP_OP.FCVT_W_S, d(1), 0n, 0n, 0, 0x7fff_ffffn, NV],
]);

test("NaN results are canonical and only invalid operations raise NV", check, [
  [FP_OP.FADD_D, NAN_D | 123n, d(1), 0n, 0, NAN_D, 0],
  [FP_OP.FADD_D, SNAN_D, d(1), 0n, 0, NAN_D, NV],
  [FP_OP.FADD_D, d(INF), d(-INF), 0n, 0, NAN_D, NV],
  [FP_OP.FMUL_D, d(INF), d(0), 0n, 0, NAN_D, NV],
  [FP_OP.FDIV_D, d(0), d(-0), 0n, 0, NAN_D, NV],
  [FP_OP.FDIV_D, d(-3), d(0), 0n, 0, d(-INF), DZ],
  [FP_OP.FDIV_D, d(INF), d(0), 0n, 0, d(INF), 0],
  [FP_OP.FSQRT_D, d(-1), 0n, 0n, 0, NAN_D, NV],
  [FP_OP.FSQRT_D, d(-0), 0n, 0n, 0, d(-0), 0],
  [FP_OP.FMADD_D, d(INF), d(0), NAN_D, 0, NAN_D, NV],
  [FP_OP.FMSUB_D, d(INF), d(1), d(INF), 0, NAN_D, NV],
  [FP_OP.FCVT_S_D, SNAN_D, 0n, 0n, 0, NAN_S, NV],
  [FP_OP.FCVT_D_S, SNAN_S, 0n, 0n, 0, NAN_D, NV],
]);

test("tininess is detected after rounding", check, [
  // Just below the smallest normal number, by half a subnormal unit: tiny, since 53 bits would hold it exactly.
  [FP_OP.FMUL_D, d(1 - 2 ** -53), d(MIN_NORMAL), 0n, 0, d(MIN_NORMAL), UF | NX],
  // Nearer to it: rounds up to it even with an unbounded exponent, so it is not tiny.
  [FP_OP.FMADD_D, d(-(2 ** -60)), d(MIN_NORMAL), d(MIN_NORMAL), 0, d(MIN_NORMAL), NX],
  [FP_OP.FMADD_D, d(-(2 ** -60)), d(MIN_NORMAL), d(MIN_NORMAL), RM.RTZ, d(MIN_NORMAL - 2 ** -1074), UF | NX],
  [FP_OP.FMUL_D, d(2 ** -1074), d(0.5), 0n, 0, 0n, UF | NX],
  [FP_OP.FMUL_D, d(2 ** -1074), d(0.5), 0n, RM.RMM, d(2 ** -1074), UF | NX],
  [FP_OP.FMUL_D, d(2 ** -1074), d(-0.5), 0n, RM.RUP, d(-0), UF | NX],
  [FP_OP.FMUL_D, d(2 ** -1000), d(2 ** -74), 0n, 0, d(2 ** -1074), 0],
]);

test("overflow goes to infinity or to the largest number, as the mode says", check, [
  [FP_OP.FADD_D, d(MAX), d(MAX), 0n, RM.RNE, d(INF), OF | NX],
  [FP_OP.FADD_D, d(MAX), d(MAX), 0n, RM.RTZ, d(MAX), OF | NX],
  [FP_OP.FADD_D, d(MAX), d(MAX), 0n, RM.RDN, d(MAX), OF | NX],
  [FP_OP.FADD_D, d(-MAX), d(-MAX), 0n, RM.RDN, d(-INF), OF | NX],
  [FP_OP.FADD_D, d(-MAX), d(-MAX), 0n, RM.RUP, d(-MAX), OF | NX],
  [FP_OP.FADD_D, d(-MAX), d(-MAX), 0n, RM.RMM, d(-INF), OF | NX],
  [FP_OP.FCVT_S_D, d(1e300), 0n, 0n, RM.RTZ, s(3.4028234663852886e38), OF | NX],
]);

test("an exact zero sum is +0, and -0 when rounding down", check, [
  [FP_OP.FADD_D, d(1), d(-1), 0n, RM.RNE, d(0), 0],
  [FP_OP.FADD_D, d(1), d(-1), 0n, RM.RDN, d(-0), 0],
  [FP_OP.FSUB_S, s(1), s(1), 0n, RM.RDN, s(-0), 0],
  [FP_OP.FADD_D, d(-0), d(-0), 0n, RM.RUP, d(-0), 0],
  [FP_OP.FMADD_D, d(2), d(3), d(-6), RM.RDN, d(-0), 0],
  [FP_OP.FNMADD_D, d(0), d(3), d(0), RM.RNE, d(-0), 0],
]);

test("conversions to integers saturate with NV alone", check, [
  [FP_OP.FCVT_W_D, d(2 ** 31), 0n, 0n, RM.RTZ, 0x7fff_ffffn, NV],
  [FP_OP.FCVT_W_D, d(-(2 ** 31) - 0.5), 0n, 0n, RM.RTZ, -0x8000_0000n, NX],
  [FP_OP.FCVT_W_D, d(-(2 ** 31) - 0.5), 0n, 0n, RM.RDN, -0x8000_0000n, NV],
  [FP_OP.FCVT_WU_D, d(-0.75), 0n, 0n, RM.RTZ, 0n, NX],
  [FP_OP.FCVT_WU_D, d(-0.75), 0n, 0n, RM.RNE, 0n, NV],
  [FP_OP.FCVT_WU_D, d(3e9), 0n, 0n, RM.RTZ, 3000000000n - (1n << 32n), 0],
  [FP_OP.FCVT_WU_D, NAN_D, 0n, 0n, RM.RTZ, -1n, NV],
  [FP_OP.FCVT_L_D, d(2 ** 63), 0n, 0n, RM.RTZ, (1n << 63n) - 1n, NV],
  [FP_OP.FCVT_L_D, d(-(2 ** 63)), 0n, 0n, RM.RTZ, -(1n << 63n), 0],
  [FP_OP.FCVT_LU_S, s(INF), 0n, 0n, RM.RTZ, -1n, NV],
  [FP_OP.FCVT_LU_S, s(-INF), 0n, 0n, RM.RTZ, 0n, NV],
  [FP_OP.FCVT_W_S, s(2.5), 0n, 0n, RM.RNE, 2n, NX],
  [FP_OP.FCVT_W_S, s(2.5), 0n, 0n, RM.RMM, 3n, NX],
  [FP_OP.FCVT_W_S, s(-2.5), 0n, 0n, RM.RUP, -2n, NX],
]);

test("conversions from integers round, and take only their operand's width", check, [
  [FP_OP.FCVT_S_W, 16777217n, 0n, 0n, RM.RNE, s(16777216), NX],
  [FP_OP.FCVT_S_W, 16777217n, 0n, 0n, RM.RUP, s(16777218), NX],
  [FP_OP.FCVT_D_W, 0x1234_ffff_ffffn, 0n, 0n, RM.RNE, d(-1), 0],
  [FP_OP.FCVT_D_WU, -1n, 0n, 0n, RM.RNE, d(2 ** 32 - 1), 0],
  [FP_OP.FCVT_D_LU, -1n, 0n, 0n, RM.RNE, d(2 ** 64), NX],
  [FP_OP.FCVT_D_LU, -1n, 0n, 0n, RM.RTZ, d(2 ** 64 - 2 ** 11), NX],
  [FP_OP.FCVT_S_L, -(1n << 63n), 0n, 0n, RM.RNE, s(-(2 ** 63)), 0],
]);

test("minimum and maximum prefer numbers to NaNs and order the zeros", check, [
  [FP_OP.FMIN_D, d(0), d(-0), 0n, 0, d(-0), 0],
  [FP_OP.FMAX_D, d(-0), d(0), 0n, 0, d(0), 0],
  [FP_OP.FMIN_D, NAN_D, d(1), 0n, 0, d(1), 0],
  [FP_OP.FMAX_D, d(1), SNAN_D, 0n, 0, d(1), NV],
  [FP_OP.FMAX_D, NAN_D | 5n, NAN_D | 7n, 0n, 0, NAN_D, 0],
]);

test("feq is quiet, flt and fle signal", check, [
  [FP_OP.FEQ_D, NAN_D, d(1), 0n, 0, 0n, 0],
  [FP_OP.FEQ_D, SNAN_D, d(1), 0n, 0, 0n, NV],
  [FP_OP.FLT_D, NAN_D, d(1), 0n, 0, 0n, NV],
  [FP_OP.FLE_D, d(1), NAN_D, 0n, 0, 0n, NV],
  [FP_OP.FEQ_D, d(0), d(-0), 0n, 0, 1n, 0],
  [FP_OP.FLT_D, d(-0), d(0), 0n, 0, 0n, 0],
  [FP_OP.FLE_D, d(0), d(-0), 0n, 0, 1n, 0],
]);

test("fclass tells the ten classes apart", (t) => {
  const classes = [-INF, -1, -(2 ** -1074), -0, 0, 2 ** -1074, 1, INF].map(d);
  [...classes, SNAN_D, NAN_D].forEach((x, i) => {
    t.is(fpOp(FP_OP.FCLASS_D, x, 0n, 0n, 0), 1n << BigInt(i));
  });
  t.is(takeFpFlags(), 0);
});
