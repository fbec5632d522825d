/**
 * The wasm module for the common cases of floating point: round to nearest even, result and flags in one call.
 *
 * Each function returns (value, flags): flags 0 or NX, or -1 when the case is not common (NaN, infinity, overflow, underflow, doubt)
 * and `fpOp` must say. The method is native.ts's: error-free transformations, away from both ends of the exponent range.
 * An inexact single-precision result must be above the smallest normal number, because UF may be due there; exact ones are free.
 *
 * One more function takes them all by FP_OP number and register contents:
 *
 *   fpu(op i32, rm i32, a i64, b i64, c i64) -> (i64 register contents, i32 flags or -1)
 */

import { prebuilt } from "../prebuilt.ts";
import type { Case, Code } from "../wasm/code.ts";
import { type Func, type I32, type I64, type Local, PUSHED, signatureOf, TYPE } from "../wasm/types.ts";
import { addConversions } from "./fast-convert.ts";
import { addDoubles } from "./fast-double.ts";
import { FastModule } from "./fast-functions.ts";
import { addSingles } from "./fast-single.ts";
import { FP_OP } from "./ops.ts";

const { I32: i32Type, I64: i64Type, F32: f32Type, F64: f64Type } = TYPE;

const UNBOX = signatureOf([i64Type], [f32Type]);
const FPU = signatureOf([i32Type, i32Type, i64Type, i64Type, i64Type], [i64Type, i32Type]);

const BOX = -0x1_0000_0000;

/** Names of the negated forms of fmadd, and which of the operands a and c they negate. */
const FUSED: Record<string, readonly [boolean, boolean]> = {
  fmadd: [false, false],
  fmsub: [false, true],
  fnmsub: [true, false],
  fnmadd: [true, true],
};

/** What `fpu` works with. */
interface Dispatch {
  readonly fast: FastModule;
  readonly unbox: Func<typeof UNBOX>;
  readonly rm: Local<I32>;
  readonly operands: readonly Local<I64>[];
  readonly flags: Local<I32>;
}

/** The code for one operation, if a fast function computes it. */
function caseOf(
  c: Code,
  mnemonic: string,
  { fast, unbox, rm, operands, flags }: Dispatch,
): (() => void) | undefined {
  const { i32, i64, f32, f64 } = c;
  const name = mnemonic.toLowerCase();
  const [base, width] = name.split("_") as [string, string];
  const negate = FUSED[base];
  const found = fast.functions.find((fn) => fn.name === (negate ? `fmadd_${width}` : name));
  if (found === undefined) return undefined;
  const { params, results } = found.signature;
  const toInteger = results[0] === i64Type;
  const operand = (type: number, n: number): void => {
    if (toInteger && n === 1) {
      c.get(rm);
      return;
    }
    const bits = c.get(operands[n]!);
    const negated = negate !== undefined && ((n === 0 && negate[0]) || (n === 2 && negate[1]));
    if (type === f64Type) {
      const value = f64.reinterpretI64(bits);
      if (negated) f64.neg(value);
    } else if (type === f32Type) {
      const value = c.call(unbox, bits);
      if (negated) f32.neg(value);
    }
  };
  const toRegister = (): void => {
    if (results[0] === f64Type) i64.reinterpretF64(PUSHED);
    else if (results[0] === f32Type) i64.or(i64.extendI32U(i32.reinterpretF32(PUSHED)), BOX);
  };
  return () => {
    // Only conversions to integers know other modes than nearest even.
    if (!toInteger) c.if(c.get(rm), () => c.return(i64.const(0), i32.const(-1)));
    params.forEach(operand);
    c.callIndex(found.func);
    c.set(flags, PUSHED);
    toRegister();
    c.return(PUSHED, c.get(flags));
  };
}

/** The single in a register, a NaN if it is not boxed: every fast function refuses NaNs. */
function addUnbox(fast: FastModule): Func<typeof UNBOX> {
  return fast.module.function("", UNBOX, [], (c, [register]) => {
    const { i32, i64, f32 } = c;
    c.if(i64.ne(i64.shrS(c.get(register), 32), -1), () => c.return(f32.const(Number.NaN)));
    f32.reinterpretI32(i32.wrapI64(c.get(register)));
  });
}

/** The bytes of the module. */
export function buildFast(): Uint8Array<ArrayBuffer> {
  const fast = new FastModule();
  addDoubles(fast);
  addSingles(fast);
  addConversions(fast);
  const unbox = addUnbox(fast);
  fast.module.function("fpu", FPU, [i32Type], (c, [op, rm, ...operands], [flags]) => {
    const cases: Case[] = [];
    for (const [name, number] of Object.entries(FP_OP)) {
      const body = caseOf(c, name, { fast, unbox, rm, operands, flags });
      if (body !== undefined) cases.push({ values: [number], body });
    }
    const none: Case = { values: [], body: () => {} };
    c.switch(() => c.get(op), [...cases, none], none);
    c.i64.const(0);
    c.i32.const(-1);
  });
  return fast.module.finish();
}

let built: WebAssembly.Module | undefined;

/** The module: no imports; compiled once per worker, may be posted to others. */
export function fastFpuModule(): WebAssembly.Module {
  built ??= new WebAssembly.Module(prebuilt("fast fpu", buildFast));
  return built;
}

/** A new instance's exports, by the names in README.md: give them to units as imports. */
export function fastFpuExports(): Record<
  string,
  (...args: (number | bigint)[]) => [number | bigint, number]
> {
  return new WebAssembly.Instance(fastFpuModule()).exports as ReturnType<typeof fastFpuExports>;
}
