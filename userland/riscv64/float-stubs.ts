/**
 * Stubs for the floating-point operations that programs use most: what a unit calls when its inline shortcut does not
 * apply, mostly because NX is not set yet. They try the fast wasm functions and only then the general stub, `fpu`.
 */

import { USER_REGS } from "../../kernel/usermode.ts";
import { FP_OP } from "./fpu/ops.ts";
import { STUBS } from "./stubs.ts";
import { Code } from "./wasm/code.ts";
import type { ModuleBuilder, Signature } from "./wasm/module.ts";
import { CTL, F32, F64, I32, I64, TYPE } from "./wasm/opcodes.ts";

/** Operands by operation. */
const OPERATIONS = { fadd: 2, fsub: 2, fmul: 2, fdiv: 2, fsqrt: 1, fmadd: 3 } as const;

const BOX = -0x1_0000_0000;

type StubOf = `${keyof typeof OPERATIONS}_${"s" | "d"}`;

interface FastImport {
  stub: StubOf;
  width: "s" | "d";
  operands: number;
  fast: number;
}

/** Imports the fast functions: to be called before the module gets its functions. */
export function importFastArithmetic(module: ModuleBuilder): FastImport[] {
  return Object.entries(OPERATIONS).flatMap(([name, operands]) =>
    (["s", "d"] as const).map((width) => {
      const type = width === "d" ? TYPE.F64 : TYPE.F32;
      const signature: Signature = { params: Array(operands).fill(type), results: [type, TYPE.I32] };
      const stub = `${name}_${width}` as StubOf;
      return { stub, width, operands, fast: module.import(`fast_${stub}`, signature) };
    }),
  );
}

/** Adds the stubs. `fpu` is the index of the general one. */
export function arithmeticStubs(module: ModuleBuilder, imports: readonly FastImport[], fpu: number): void {
  for (const entry of imports) {
    const type = entry.width === "d" ? TYPE.F64 : TYPE.F32;
    const locals: [number, number][] = [
      [1, TYPE.I32],
      [1, type],
    ];
    module.function(entry.stub, STUBS[entry.stub], locals, stub(entry, fpu));
  }
}

/** Parameters: area, regs, rm, the operands; locals: flags, result. */
function stub({ stub, width, operands, fast }: FastImport, fpu: number): Code {
  const c = new Code();
  const flags = 3 + operands;
  const result = flags + 1;
  // Only rounding to nearest even is fast: rm is 0, or 7 and frm is 0.
  c.get(2);
  c.i32(7);
  c.op(I32.EQ);
  c.if(TYPE.I32);
  c.get(1);
  c.memory(I32.LOAD, USER_REGS.FCSR);
  c.i32(5);
  c.op(I32.SHR_U);
  c.else();
  c.get(2);
  c.end();
  c.op(I32.EQZ);
  c.if();
  for (let i = 0; i < operands; i++) c.get(3 + i);
  c.call(fast);
  c.set(flags);
  c.set(result);
  c.get(flags);
  c.op(I32.EQZ);
  c.if();
  c.get(result);
  c.op(CTL.RETURN);
  c.end();
  c.get(flags);
  c.i32(0);
  c.op(I32.GT_S);
  c.if();
  c.get(1);
  c.get(1);
  c.memory(I32.LOAD, USER_REGS.FCSR);
  c.get(flags);
  c.op(I32.OR);
  c.memory(I32.STORE, USER_REGS.FCSR);
  c.get(result);
  c.op(CTL.RETURN);
  c.end();
  c.end();
  c.get(0);
  c.get(1);
  c.i32(FP_OP[stub.toUpperCase() as keyof typeof FP_OP]);
  c.get(2);
  for (let i = 0; i < 3; i++) {
    if (i >= operands) c.i64(0);
    else {
      c.get(3 + i);
      if (width === "d") c.op(I64.REINTERPRET_F64);
      else {
        c.op(I32.REINTERPRET_F32, I64.EXTEND_I32_U);
        c.i64(BOX);
        c.op(I64.OR);
      }
    }
  }
  c.call(fpu);
  if (width === "d") c.op(F64.REINTERPRET_I64);
  else c.op(I32.WRAP_I64, F32.REINTERPRET_I32);
  return c;
}
