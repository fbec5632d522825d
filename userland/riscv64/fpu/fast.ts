/**
 * The wasm functions for the common cases of floating point: round to nearest even, result and flags in one call.
 *
 * Each function returns (value, flags): flags 0 or NX, or -1 when the case is not common (NaN, infinity, overflow, underflow, doubt)
 * and `fpOp` must say. The method is native.ts's: error-free transformations, away from both ends of the exponent range.
 * An inexact single-precision result must be above the smallest normal number, because UF may be due there; exact ones are free.
 */

import {
  type Code,
  call,
  choose,
  F32,
  F64,
  type Fn,
  f32,
  f64,
  get,
  I32,
  I64,
  i32,
  i64,
  ret,
  set,
  tee,
  when,
} from "./assemble.ts";

const SLOW = i32.const(-1);

/** Operands up to here can be split, and sums of three stay finite. */
const LARGE = f64.const(2 ** 990);
/** Products from here have an error term that is a number. */
const SMALL = f64.const(2 ** -900);
const INFINITY = f64.const(Number.POSITIVE_INFINITY);
const ZERO = f64.const(0);
const MIN_S = f32.const(2 ** -126);
const INFINITY_S = f32.const(Number.POSITIVE_INFINITY);

const below = (x: Code, bound: Code): Code => f64.lt(f64.abs(x), bound);
const above = (x: Code, bound: Code): Code => f64.gt(f64.abs(x), bound);
const slowUnless = (condition: Code): Code => when(i32.eqz(condition), ret(ZERO, SLOW));
const and = (first: Code, ...more: Code[]): Code => more.reduce((all, next) => i32.and(all, next), first);

// Internal functions, by index.
const SUM_ERROR = 0;
const PRODUCT_ERROR = 1;
const SUM_TO_ODD = 2;
const INTEGRAL = 3;

const sumError = (x: Code, y: Code, s: Code): Code => call(SUM_ERROR, x, y, s);
const productError = (x: Code, y: Code, p: Code): Code => call(PRODUCT_ERROR, x, y, p);
const sumToOdd = (x: Code, y: Code): Code => call(SUM_TO_ODD, x, y);

const internals: Fn[] = [
  {
    name: "", // (x, y, s): (x + y) - s
    params: [F64, F64, F64],
    results: [F64],
    locals: [F64],
    body: [
      ...set(3, f64.sub(get(2), get(0))),
      ...f64.add(f64.sub(get(0), f64.sub(get(2), get(3))), f64.sub(get(1), get(3))),
    ],
  },
  {
    name: "", // (x, y, p): (x * y) - p; locals: 3 a product with 2^27 + 1, 4 and 5 x in halves, 6 and 7 y in halves
    params: [F64, F64, F64],
    results: [F64],
    locals: [F64, F64, F64, F64, F64],
    body: [
      ...set(3, f64.mul(get(0), f64.const(2 ** 27 + 1))),
      ...set(4, f64.sub(get(3), f64.sub(get(3), get(0)))),
      ...set(5, f64.sub(get(0), get(4))),
      ...set(3, f64.mul(get(1), f64.const(2 ** 27 + 1))),
      ...set(6, f64.sub(get(3), f64.sub(get(3), get(1)))),
      ...set(7, f64.sub(get(1), get(6))),
      ...f64.sub(
        f64.mul(get(5), get(7)),
        f64.sub(
          f64.sub(f64.sub(get(2), f64.mul(get(4), get(6))), f64.mul(get(5), get(6))),
          f64.mul(get(4), get(7)),
        ),
      ),
    ],
  },
  {
    name: "", // (x, y): x + y rounded to odd; locals: 2 sum, 3 error, 4 bits
    params: [F64, F64],
    results: [F64],
    locals: [F64, F64, I64],
    body: [
      ...set(3, sumError(get(0), get(1), tee(2, f64.add(get(0), get(1))))),
      ...set(4, i64.reinterpret(get(2))),
      ...choose(
        F64,
        i32.and(f64.ne(get(3), ZERO), i64.eqz(i64.and(get(4), i64.const(1n)))),
        f64.reinterpret(
          i64.add(
            get(4),
            choose(I64, i32.eq(f64.gt(get(3), ZERO), f64.gt(get(2), ZERO)), i64.const(1n), i64.const(-1n)),
          ),
        ),
        get(2),
      ),
    ],
  },
  {
    name: "", // (x, rm): x rounded to an integer, as a double; RTZ first, it is what C and Go ask for
    params: [F64, I32],
    results: [F64],
    locals: [F64],
    body: [
      ...when(i32.eq(get(1), i32.const(1)), ret(f64.trunc(get(0)))),
      ...when(i32.eqz(get(1)), ret(f64.nearest(get(0)))),
      ...when(i32.eq(get(1), i32.const(2)), ret(f64.floor(get(0)))),
      ...when(i32.eq(get(1), i32.const(3)), ret(f64.ceil(get(0)))),
      ...set(2, f64.trunc(get(0))),
      ...choose(
        F64,
        f64.ge(f64.abs(f64.sub(get(0), get(2))), f64.const(0.5)),
        f64.add(get(2), f64.copysign(f64.const(1), get(0))),
        get(2),
      ),
    ],
  },
];

function double(name: string, operands: number, locals: number, body: Code[]): Fn {
  return {
    name,
    params: Array(operands).fill(F64),
    results: [F64, I32],
    locals: Array(locals).fill(F64),
    body: body.flat(),
  };
}

/** Sum of locals 0 and 1 (or difference), result in 2. No UF: a tiny sum is exact. */
function addD(name: string, y: Code): Fn {
  return double(name, 2, 1, [
    set(2, f64.add(get(0), y)),
    slowUnless(and(below(get(0), LARGE), below(get(2), LARGE))),
    get(2),
    f64.ne(sumError(get(0), y, get(2)), ZERO),
  ]);
}

const doubles: Fn[] = [
  addD("fadd_d", get(1)),
  addD("fsub_d", f64.neg(get(1))),
  double("fmul_d", 2, 1, [
    set(2, f64.mul(get(0), get(1))),
    when(
      i32.and(f64.eq(get(2), ZERO), i32.or(f64.eq(get(0), ZERO), f64.eq(get(1), ZERO))),
      ret(get(2), i32.const(0)),
    ),
    slowUnless(and(below(get(0), LARGE), below(get(1), LARGE), below(get(2), LARGE), above(get(2), SMALL))),
    get(2),
    f64.ne(productError(get(0), get(1), get(2)), ZERO),
  ]),
  // x / y: the remainder x - r * y is a number, and zero for exact quotients. Local 2: r, 3: r * y rounded.
  double("fdiv_d", 2, 2, [
    set(2, f64.div(get(0), get(1))),
    when(i32.and(f64.eq(get(2), ZERO), f64.eq(get(0), ZERO)), ret(get(2), i32.const(0))),
    slowUnless(
      and(
        below(get(0), LARGE),
        above(get(0), SMALL),
        below(get(1), LARGE),
        above(get(1), SMALL),
        below(get(2), LARGE),
        above(get(2), SMALL),
      ),
    ),
    set(3, f64.mul(get(2), get(1))),
    get(2),
    f64.ne(f64.sub(get(0), get(3)), productError(get(2), get(1), get(3))),
  ]),
  double("fsqrt_d", 1, 2, [
    when(f64.eq(get(0), ZERO), ret(get(0), i32.const(0))),
    slowUnless(and(f64.gt(get(0), SMALL), f64.lt(get(0), LARGE))),
    set(2, f64.mul(tee(1, f64.sqrt(get(0))), get(1))),
    get(1),
    f64.ne(f64.sub(get(0), get(2)), productError(get(1), get(1), get(2))),
  ]),
  // Locals: 3 p, 4 e, 5 uh, 6 th, 7 v, 8 r, as in native.ts.
  double("fmadd_d", 3, 6, [
    set(3, f64.mul(get(0), get(1))),
    when(
      and(f64.eq(get(3), ZERO), i32.or(f64.eq(get(0), ZERO), f64.eq(get(1), ZERO)), below(get(2), INFINITY)),
      ret(f64.add(get(3), get(2)), i32.const(0)),
    ),
    slowUnless(
      and(
        below(get(0), LARGE),
        below(get(1), LARGE),
        below(get(2), LARGE),
        below(get(3), LARGE),
        above(get(3), SMALL),
      ),
    ),
    set(4, productError(get(0), get(1), get(3))),
    set(5, f64.add(get(2), get(4))),
    set(6, f64.add(get(3), get(5))),
    set(7, sumToOdd(sumError(get(3), get(5), get(6)), sumError(get(2), get(4), get(5)))),
    set(8, f64.add(get(6), get(7))),
    slowUnless(f64.ne(get(8), ZERO)),
    get(8),
    f64.ne(sumError(get(6), get(7), get(8)), ZERO),
  ]),
];

const wide = (local: number): Code => f64.promote(get(local));

/**
 * A single-precision function. `compute` leaves the float in local `at`; `inexact` is an i32 expression.
 * Inexact results have to be ordinary, exact ones finite.
 */
function single(
  name: string,
  params: number[],
  locals: number[],
  compute: Code[],
  at: number,
  inexact: Code,
): Fn {
  const flags = params.length + locals.length;
  return {
    name,
    params,
    results: [F32, I32],
    locals: [...locals, I32],
    body: [
      ...compute.flat(),
      ...set(flags, inexact),
      ...when(
        i32.and(
          f32.lt(f32.abs(get(at)), INFINITY_S),
          i32.or(i32.eqz(get(flags)), f32.gt(f32.abs(get(at)), MIN_S)),
        ),
        ret(get(at), get(flags)),
      ),
      ...f32.const(0),
      ...SLOW,
    ],
  };
}

/** Local 2: the exact sum's double, 3: the float. */
function addS(name: string, y: Code): Fn {
  return single(
    name,
    [F32, F32],
    [F64, F32],
    [set(3, f32.demote(tee(2, f64.add(wide(0), y))))],
    3,
    i32.or(f64.ne(wide(3), get(2)), f64.ne(sumError(wide(0), y, get(2)), ZERO)),
  );
}

const singles: Fn[] = [
  addS("fadd_s", wide(1)),
  addS("fsub_s", f64.neg(wide(1))),
  single(
    "fmul_s",
    [F32, F32],
    [F64, F32],
    [set(3, f32.demote(tee(2, f64.mul(wide(0), wide(1)))))],
    3,
    f64.ne(wide(3), get(2)),
  ),
  // An infinite operand makes r * y infinite or NaN: never "exact". x / 0 is infinite.
  single(
    "fdiv_s",
    [F32, F32],
    [F32],
    [set(2, f32.div(get(0), get(1)))],
    2,
    f64.ne(f64.mul(wide(2), wide(1)), wide(0)),
  ),
  single("fsqrt_s", [F32], [F32], [set(1, f32.sqrt(get(0)))], 1, f64.ne(f64.mul(wide(1), wide(1)), wide(0))),
  // Local 3: product, 4: sum, 5: the sum rounded to odd, 6: the float.
  single(
    "fmadd_s",
    [F32, F32, F32],
    [F64, F64, F64, F32],
    [
      set(3, f64.mul(wide(0), wide(1))),
      set(4, f64.add(get(3), wide(2))),
      set(6, f32.demote(tee(5, sumToOdd(get(3), wide(2))))),
    ],
    6,
    i32.or(f64.ne(wide(6), get(4)), f64.ne(sumError(get(3), wide(2), get(4)), ZERO)),
  ),
  {
    name: "fcvt_s_d",
    params: [F64],
    results: [F32, I32],
    locals: [F32],
    body: [
      ...set(1, f32.demote(get(0))),
      ...when(f64.eq(wide(1), get(0)), ret(get(1), i32.const(0))),
      ...when(
        i32.and(f32.lt(f32.abs(get(1)), INFINITY_S), f32.gt(f32.abs(get(1)), MIN_S)),
        ret(get(1), i32.const(1)),
      ),
      ...f32.const(0),
      ...SLOW,
    ],
  },
];

/** fcvt to an integer type whose doubles are from `min` up to but not including `end`. Local 2: the rounded double. */
function toInt(name: string, type: number, min: number, end: number, convert: (x: Code) => Code): Fn {
  const x = type === F64 ? get(0) : wide(0);
  return {
    name,
    params: [type, I32],
    results: [I64, I32],
    locals: [F64],
    body: [
      ...set(2, call(INTEGRAL, x, get(1))),
      ...when(
        i32.and(f64.ge(get(2), f64.const(min)), f64.lt(get(2), f64.const(end))),
        ret(convert(get(2)), f64.ne(get(2), x)),
      ),
      ...i64.const(0n),
      ...SLOW,
    ],
  };
}

/** fcvt from an integer. Above 2^62 the way back may saturate: slow. */
function fromInt(name: string, type: number, value: Code, convert: (x: Code) => Code): Fn {
  const back = type === F64 ? get(2) : wide(2);
  return {
    name,
    params: [I64],
    results: [type, I32],
    locals: [I64, type],
    body: [
      ...set(2, convert(tee(1, value))),
      ...when(below(back, f64.const(2 ** 62)), ret(get(2), i64.ne(i64.truncS64(back), get(1)))),
      ...(type === F64 ? f64.const(0) : f32.const(0)),
      ...SLOW,
    ],
  };
}

const conversions: Fn[] = [F64, F32].flatMap((type) => {
  const suffix = type === F64 ? "d" : "s";
  return [
    toInt(`fcvt_w_${suffix}`, type, -(2 ** 31), 2 ** 31, i64.truncS64),
    toInt(`fcvt_wu_${suffix}`, type, 0, 2 ** 32, (x) => i64.extend32(i64.truncS64(x))),
    toInt(`fcvt_l_${suffix}`, type, -(2 ** 63), 2 ** 63, i64.truncS64),
    toInt(`fcvt_lu_${suffix}`, type, 0, 2 ** 64, i64.truncU64),
  ];
});

conversions.push(
  fromInt("fcvt_d_l", F64, get(0), f64.ofI64),
  fromInt("fcvt_d_lu", F64, get(0), f64.ofU64),
  fromInt("fcvt_s_w", F32, i64.ofI32(i32.wrap(get(0))), f32.ofI64),
  fromInt("fcvt_s_wu", F32, i64.ofU32(i32.wrap(get(0))), f32.ofI64),
  fromInt("fcvt_s_l", F32, get(0), f32.ofI64),
  fromInt("fcvt_s_lu", F32, get(0), f32.ofU64),
);

export const FAST_FUNCTIONS: readonly Fn[] = [...internals, ...doubles, ...singles, ...conversions];
