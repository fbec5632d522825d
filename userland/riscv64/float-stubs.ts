/**
 * Stubs for the floating-point operations that programs use most: what a unit calls when its inline shortcut does not
 * apply, mostly because NX is not set yet. They try the fast wasm functions and only then the general stub, `fpu`.
 */

import { BOX } from "./emitter.ts";
import { FP_OP } from "./fpu/ops.ts";
import { accrue, loadFrm, RM_DYNAMIC } from "./register-file.ts";
import { STUBS } from "./stubs.ts";
import type { Code } from "./wasm/code.ts";
import type { ModuleBuilder } from "./wasm/module.ts";
import {
  type F32,
  type F64,
  type Func,
  type I32,
  type I64,
  type Local,
  PUSHED,
  TYPE,
  type ValueOf,
} from "./wasm/types.ts";

/** Operands by operation. */
const OPERATIONS = { fadd: 2, fsub: 2, fmul: 2, fdiv: 2, fsqrt: 1, fmadd: 3 } as const;

type StubOf<W extends "s" | "d"> = `${keyof typeof OPERATIONS}_${W}`;

/** How the numbers of one format are passed to the general stub and back. */
interface Format<B extends typeof TYPE.F32 | typeof TYPE.F64> {
  readonly type: B;
  readonly toBits: (c: Code, value: ValueOf<B>) => I64;
  readonly fromBits: (c: Code, bits: I64) => ValueOf<B>;
}

const SINGLE: Format<typeof TYPE.F32> = {
  type: TYPE.F32,
  toBits: ({ i32, i64 }, value: F32) => i64.or(i64.extendI32U(i32.reinterpretF32(value)), BOX),
  fromBits: ({ i32, f32 }, bits) => f32.reinterpretI32(i32.wrapI64(bits)),
};
const DOUBLE: Format<typeof TYPE.F64> = {
  type: TYPE.F64,
  toBits: ({ i64 }, value: F64) => i64.reinterpretF64(value),
  fromBits: ({ f64 }, bits) => f64.reinterpretI64(bits),
};

/** Imports the fast functions: to be called before the module gets its functions. What it returns adds the stubs, given the general one. */
export function importFastArithmetic(module: ModuleBuilder): (general: Func<typeof STUBS.fpu>) => void {
  const additions = Object.entries(OPERATIONS).flatMap(([name, operands]) => [
    importOne(module, `${name}_s` as StubOf<"s">, SINGLE, operands),
    importOne(module, `${name}_d` as StubOf<"d">, DOUBLE, operands),
  ]);
  return (general) => {
    for (const add of additions) add(general);
  };
}

function importOne<B extends typeof TYPE.F32 | typeof TYPE.F64>(
  module: ModuleBuilder,
  stub: StubOf<"s"> | StubOf<"d">,
  format: Format<B>,
  operands: number,
): (general: Func<typeof STUBS.fpu>) => void {
  const signature = {
    params: Array<B>(operands).fill(format.type),
    results: [format.type, TYPE.I32],
  } as const;
  const fast = module.import(`fast_${stub}`, signature);
  return (general) => {
    const locals = [TYPE.I32, format.type] as const;
    module.function(stub, STUBS[stub], locals, (c, params, [flags, result]) => {
      const { i32 } = c;
      const [area, regs, rm] = params as readonly Local<I32>[] as [Local<I32>, Local<I32>, Local<I32>];
      const values = params.slice(3) as unknown as Local<ValueOf<B>>[];
      const mode = () =>
        i32.if(
          i32.eq(c.get(rm), RM_DYNAMIC),
          () => loadFrm(c, regs),
          () => c.get(rm),
        );
      // Only rounding to nearest even is fast.
      c.if(i32.eqz(mode()), () => {
        for (const value of values) c.get(value);
        c.callIndex(fast);
        c.setBoth(result, flags, PUSHED);
        c.if(i32.eqz(c.get(flags)), () => c.return(c.get(result)));
        c.if(i32.gtS(c.get(flags), 0), () => {
          accrue(c, regs, () => c.get(flags));
          c.return(c.get(result));
        });
      });
      const op = FP_OP[stub.toUpperCase() as keyof typeof FP_OP];
      const bits = (n: number) => (n < values.length ? format.toBits(c, c.get(values[n]!)) : c.i64.const(0));
      const exact = c.call(
        general,
        c.get(area),
        c.get(regs),
        i32.const(op),
        c.get(rm),
        bits(0),
        bits(1),
        bits(2),
      );
      format.fromBits(c, exact);
    });
  };
}
