/** The common cases of single precision: see fast-module.ts. */

import type { Code } from "../wasm/code.ts";
import {
  type F32,
  type F64,
  type I32,
  type Local,
  type Locals,
  signatureOf,
  TYPE,
  type ValueType,
} from "../wasm/types.ts";
import type { FastModule } from "./fast-functions.ts";

const { I32: i32Type, F32: f32Type, F64: f64Type } = TYPE;

const UNARY = signatureOf([f32Type], [f32Type, i32Type]);
const BINARY = signatureOf([f32Type, f32Type], [f32Type, i32Type]);
const TERNARY = signatureOf([f32Type, f32Type, f32Type], [f32Type, i32Type]);
const FROM_DOUBLE = signatureOf([f64Type], [f32Type, i32Type]);

const MIN_NORMAL = 2 ** -126;

type Function32 = typeof UNARY | typeof BINARY | typeof TERNARY;

/** A single as a double. */
const wide = (c: Code, x: Local<F32>): F64 => c.f64.promoteF32(c.get(x));

/** Whether x is finite; whether it is no smaller than a normal number. */
const isFinite32 = (c: Code, x: Local<F32>): I32 => c.f32.lt(c.f32.abs(c.get(x)), Number.POSITIVE_INFINITY);
const isNormal = (c: Code, x: Local<F32>): I32 => c.f32.gt(c.f32.abs(c.get(x)), MIN_NORMAL);

/** What a function returns that leaves the case to the exact software. */
function slow(c: Code): void {
  c.f32.const(0);
  c.i32.const(-1);
}

export function addSingles(fast: FastModule): void {
  addSum(fast, "fadd_s", (c, y) => wide(c, y));
  addSum(fast, "fsub_s", (c, y) => c.f64.neg(wide(c, y)));
  single(fast, "fmul_s", BINARY, [f64Type, f32Type], (c, [x, y], [product, r]) => {
    c.set(r, c.f32.demoteF64(c.tee(product, c.f64.mul(wide(c, x), wide(c, y)))));
    return [r, () => c.f64.ne(wide(c, r), c.get(product))];
  });
  // An infinite operand makes r * y infinite or NaN: never "exact". x / 0 is infinite.
  single(fast, "fdiv_s", BINARY, [f32Type], (c, [x, y], [r]) => {
    c.set(r, c.f32.div(c.get(x), c.get(y)));
    return [r, () => c.f64.ne(c.f64.mul(wide(c, r), wide(c, y)), wide(c, x))];
  });
  single(fast, "fsqrt_s", UNARY, [f32Type], (c, [x], [r]) => {
    c.set(r, c.f32.sqrt(c.get(x)));
    return [r, () => c.f64.ne(c.f64.mul(wide(c, r), wide(c, r)), wide(c, x))];
  });
  addFused(fast);
  addFromDouble(fast);
}

/**
 * A single-precision function. `compute` says in which local it leaves the result, and how to tell that it is inexact.
 * Inexact results have to be ordinary, exact ones finite.
 */
function single<S extends Function32, const L extends readonly ValueType[]>(
  fast: FastModule,
  name: string,
  signature: S,
  locals: L,
  compute: (c: Code, params: Locals<S["params"]>, locals: Locals<L>) => [Local<F32>, () => I32],
): void {
  const flags = (signature.params.length + locals.length) as Local<I32>;
  fast.define(name, signature, [...locals, i32Type], (c, params, declared) => {
    const { i32 } = c;
    const [r, inexact] = compute(c, params, declared as unknown as Locals<L>);
    c.set(flags, inexact());
    const finite = isFinite32(c, r);
    const fine = i32.or(i32.eqz(c.get(flags)), isNormal(c, r));
    c.if(i32.and(finite, fine), () => c.return(c.get(r), c.get(flags)));
    slow(c);
  });
}

/** x + term of y. `sum` is the double nearest to the exact sum. */
function addSum(fast: FastModule, name: string, term: (c: Code, y: Local<F32>) => F64): void {
  const { sumError } = fast.internals;
  single(fast, name, BINARY, [f64Type, f32Type], (c, [x, y], [sum, r]) => {
    const { i32, f32, f64 } = c;
    c.set(r, f32.demoteF64(c.tee(sum, f64.add(wide(c, x), term(c, y)))));
    const inexact = () => {
      const rounded = f64.ne(wide(c, r), c.get(sum));
      return i32.or(rounded, f64.ne(c.call(sumError, wide(c, x), term(c, y), c.get(sum)), 0));
    };
    return [r, inexact];
  });
}

/** x * y + z: the product of singles is exact in a double, and `odd` the sum rounded to odd. */
function addFused(fast: FastModule): void {
  const { sumError, sumToOdd } = fast.internals;
  const locals = [f64Type, f64Type, f64Type, f32Type] as const;
  single(fast, "fmadd_s", TERNARY, locals, (c, [x, y, z], [product, sum, odd, r]) => {
    const { i32, f32, f64 } = c;
    c.set(product, f64.mul(wide(c, x), wide(c, y)));
    c.set(sum, f64.add(c.get(product), wide(c, z)));
    c.set(r, f32.demoteF64(c.tee(odd, c.call(sumToOdd, c.get(product), wide(c, z)))));
    const inexact = () => {
      const rounded = f64.ne(wide(c, r), c.get(sum));
      return i32.or(rounded, f64.ne(c.call(sumError, c.get(product), wide(c, z), c.get(sum)), 0));
    };
    return [r, inexact];
  });
}

function addFromDouble(fast: FastModule): void {
  fast.define("fcvt_s_d", FROM_DOUBLE, [f32Type], (c, [x], [r]) => {
    const { i32, f32, f64 } = c;
    c.set(r, f32.demoteF64(c.get(x)));
    c.if(f64.eq(wide(c, r), c.get(x)), () => c.return(c.get(r), i32.const(0)));
    const ordinary = i32.and(isFinite32(c, r), isNormal(c, r));
    c.if(ordinary, () => c.return(c.get(r), i32.const(1)));
    slow(c);
  });
}
