/** The common cases of conversions between integers and floating-point numbers: see fast-module.ts. */

import type { Code } from "../wasm/code.ts";
import { type F32, type F64, type I32, type I64, type Local, signatureOf, TYPE } from "../wasm/types.ts";
import type { FastModule } from "./fast-functions.ts";

const { I32: i32Type, I64: i64Type, F32: f32Type, F64: f64Type } = TYPE;

type FloatType = typeof f32Type | typeof f64Type;

/** A number as a double. */
function wide(c: Code, type: FloatType, x: Local<F32 | F64>): F64 {
  return type === f64Type
    ? c.get(x as number as Local<F64>)
    : c.f64.promoteF32(c.get(x as number as Local<F32>));
}

function zero(c: Code, type: FloatType): F32 | F64 {
  return type === f64Type ? c.f64.const(0) : c.f32.const(0);
}

export function addConversions(fast: FastModule): void {
  for (const type of [f64Type, f32Type]) {
    const suffix = type === f64Type ? "d" : "s";
    addToInteger(fast, `fcvt_w_${suffix}`, type, -(2 ** 31), 2 ** 31, (c, x) => c.i64.truncSatF64S(x));
    addToInteger(fast, `fcvt_wu_${suffix}`, type, 0, 2 ** 32, (c, x) =>
      c.i64.extend32S(c.i64.truncSatF64S(x)),
    );
    addToInteger(fast, `fcvt_l_${suffix}`, type, -(2 ** 63), 2 ** 63, (c, x) => c.i64.truncSatF64S(x));
    addToInteger(fast, `fcvt_lu_${suffix}`, type, 0, 2 ** 64, (c, x) => c.i64.truncSatF64U(x));
  }
  const long = (c: Code, x: Local<I64>) => c.get(x);
  const word = (c: Code, x: Local<I64>) => c.i64.extendI32S(c.i32.wrapI64(c.get(x)));
  const unsignedWord = (c: Code, x: Local<I64>) => c.i64.extendI32U(c.i32.wrapI64(c.get(x)));
  addFromInteger(fast, "fcvt_d_l", f64Type, long, (c, x) => c.f64.convertI64S(x));
  addFromInteger(fast, "fcvt_d_lu", f64Type, long, (c, x) => c.f64.convertI64U(x));
  addFromInteger(fast, "fcvt_s_w", f32Type, word, (c, x) => c.f32.convertI64S(x));
  addFromInteger(fast, "fcvt_s_wu", f32Type, unsignedWord, (c, x) => c.f32.convertI64S(x));
  addFromInteger(fast, "fcvt_s_l", f32Type, long, (c, x) => c.f32.convertI64S(x));
  addFromInteger(fast, "fcvt_s_lu", f32Type, long, (c, x) => c.f32.convertI64U(x));
}

/** To an integer type whose doubles are from `min` up to but not including `end`. */
function addToInteger(
  fast: FastModule,
  name: string,
  type: FloatType,
  min: number,
  end: number,
  convert: (c: Code, x: F64) => I64,
): void {
  const { integral } = fast.internals;
  const signature = signatureOf([type, i32Type], [i64Type, i32Type]);
  fast.define(name, signature, [f64Type], (c, [x, rm], [rounded]) => {
    const { i32, i64, f64 } = c;
    c.set(rounded, c.call(integral, wide(c, type, x), c.get(rm)));
    const fits = i32.and(f64.ge(c.get(rounded), min), f64.lt(c.get(rounded), end));
    c.if(fits, () => c.return(convert(c, c.get(rounded)), f64.ne(c.get(rounded), wide(c, type, x))));
    i64.const(0);
    i32.const(-1);
  });
}

/** From an integer. Above 2^62 the way back may saturate: slow. */
function addFromInteger<T extends F32 | F64>(
  fast: FastModule,
  name: string,
  type: FloatType,
  integer: (c: Code, x: Local<I64>) => I64,
  convert: (c: Code, x: I64) => T,
): void {
  const signature = signatureOf([i64Type], [type, i32Type]);
  fast.define(name, signature, [i64Type, type], (c, [x], [n, converted]) => {
    const { i32, i64, f64 } = c;
    const result = converted as number as Local<T>;
    const back = () => wide(c, type, converted);
    c.set(result, convert(c, c.tee(n, integer(c, x))));
    const inexact = (): I32 => i64.ne(i64.truncSatF64S(back()), c.get(n));
    c.if(f64.lt(f64.abs(back()), 2 ** 62), () => c.return(c.get(result), inexact()));
    zero(c, type);
    i32.const(-1);
  });
}
