/**
 * The wasm module of fast.ts's functions, and one more that takes them all by FP_OP number and register contents:
 *
 *   fpu(op i32, rm i32, a i64, b i64, c i64) -> (i64 register contents, i32 flags or -1)
 */

import {
  assemble,
  type Code,
  call,
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
  select,
  set,
  when,
} from "./assemble.ts";
import { FAST_FUNCTIONS } from "./fast.ts";
import { FP_OP } from "./ops.ts";

const BOX = -0x1_0000_0000n;
const UNBOX = FAST_FUNCTIONS.length;

/** The single in a register, a NaN if it is not boxed: every fast function refuses NaNs. */
const unbox: Fn = {
  name: "",
  params: [I64],
  results: [F32],
  locals: [],
  body: [
    ...when(i64.ne(i64.shrS(get(0), i64.const(32n)), i64.const(-1n)), ret(f32.const(Number.NaN))),
    ...f32.reinterpret(i32.wrap(get(0))),
  ],
};

// Parameters and locals of `fpu`.
const OP = 0;
const MODE = 1;
const FIRST_OPERAND = 2;
const FLAGS = 5;

/** Names of the negated forms of fmadd, and which of the operands a and c they negate. */
const FUSED: Record<string, readonly [boolean, boolean]> = {
  fmadd: [false, false],
  fmsub: [false, true],
  fnmsub: [true, false],
  fnmadd: [true, true],
};

/** The case of one operation, if a fast function computes it. */
function dispatch(mnemonic: string): Code | undefined {
  const name = mnemonic.toLowerCase();
  const [base, width] = name.split("_") as [string, string];
  const negate = FUSED[base];
  const index = FAST_FUNCTIONS.findIndex((fn) => fn.name === (negate ? `fmadd_${width}` : name));
  if (index < 0) return undefined;
  const fn = FAST_FUNCTIONS[index]!;
  const toInt = fn.results[0] === I64;
  const args = fn.params.map((type, n): Code => {
    if (toInt && n === 1) return get(MODE);
    const register = get(FIRST_OPERAND + n);
    const negated = negate !== undefined && ((n === 0 && negate[0]) || (n === 2 && negate[1]));
    if (type === I64) return register;
    const value = type === F64 ? f64.reinterpret(register) : call(UNBOX, register);
    if (!negated) return value;
    return type === F64 ? f64.neg(value) : f32.neg(value);
  });
  const result = call(index, ...args);
  const toRegister =
    fn.results[0] === F64
      ? i64.reinterpret()
      : fn.results[0] === F32
        ? i64.or(i64.ofU32(i32.reinterpret()), i64.const(BOX))
        : [];
  // Only conversions to integers know other modes than nearest even.
  const guard = toInt ? [] : when(get(MODE), ret(i64.const(0n), i32.const(-1)));
  return [...guard, ...set(FLAGS, result), ...toRegister, ...ret(get(FLAGS))];
}

function cases(): (Code | undefined)[] {
  const list: (Code | undefined)[] = [];
  for (const [name, op] of Object.entries(FP_OP)) list[op] = dispatch(name);
  return list;
}

const fpu: Fn = {
  name: "fpu",
  params: [I32, I32, I64, I64, I64],
  results: [I64, I32],
  locals: [I32],
  body: [...select(get(OP), cases()), ...i64.const(0n), ...i32.const(-1)],
};

let built: WebAssembly.Module | undefined;

/** The module: no imports; compiled once per worker, may be posted to others. */
export function fastFpuModule(): WebAssembly.Module {
  built ??= new WebAssembly.Module(assemble([...FAST_FUNCTIONS, unbox, fpu]));
  return built;
}

/** A new instance's exports, by the names in README.md: give them to units as imports. */
export function fastFpuExports(): Record<
  string,
  (...args: (number | bigint)[]) => [number | bigint, number]
> {
  return new WebAssembly.Instance(fastFpuModule()).exports as ReturnType<typeof fastFpuExports>;
}
