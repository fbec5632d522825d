/** Local variables that every generated function has: its four parameters, then scratch. */

import { type F32, type F64, type I32, type I64, type Local, TYPE, type ValueType } from "./wasm/types.ts";

export const AREA = 0 as Local<I32>;
export const REGS = 1 as Local<I32>;
export const PC = 2 as Local<I32>;
export const DEPTH = 3 as Local<I32>;
export const T0 = 4 as Local<I32>;
export const T1 = 5 as Local<I32>;
/** Host address of the access in progress. */
export const HOST = 6 as Local<I32>;
/** Result of the function: an even next pc, or exit reason * 2 + 1. */
export const CODE = 7 as Local<I32>;
/** Virtual address of the access in progress. */
export const VA = 8 as Local<I64>;
export const Q0 = 9 as Local<I64>;
export const Q1 = 10 as Local<I64>;
export const Q2 = 11 as Local<I64>;
export const D0 = 12 as Local<F64>;
export const D1 = 13 as Local<F64>;
export const D2 = 14 as Local<F64>;
export const S0 = 15 as Local<F32>;
export const S1 = 16 as Local<F32>;
export const S2 = 17 as Local<F32>;
export const FIRST_FREE_LOCAL = 18;

/** Declaration of the scratch locals above, to follow the four i32 parameters. */
export const SCRATCH_LOCALS: ReadonlyArray<readonly [number, ValueType]> = [
  [4, TYPE.I32],
  [4, TYPE.I64],
  [3, TYPE.F64],
  [3, TYPE.F32],
];
