import { EXIT, USER_REGS } from "../../kernel/usermode.ts";
import { AREA, REGS, T0 } from "./emitter.ts";
import { JUMP_CACHE, JUMP_CACHE_MASK, SPACE_TAG } from "./layout.ts";
import { FIND } from "./stubs.ts";
import type { Code } from "./wasm/code.ts";
import { CTL, I32, I64, TYPE } from "./wasm/opcodes.ts";

/**
 * Pushes the table index of the code for the pc in `local`: from the jump cache, else from the engine. Index 0 is the interpreter.
 * Overwrites T0.
 */
export function lookUp(c: Code, local: number, find: number): void {
  c.get(local);
  c.i32(3);
  c.op(I32.SHL);
  c.i32(JUMP_CACHE_MASK);
  c.op(I32.AND);
  c.get(AREA);
  c.op(I32.ADD);
  c.tee(T0);
  c.memory(I64.LOAD, JUMP_CACHE);
  c.get(AREA);
  c.memory(I64.LOAD, SPACE_TAG);
  c.get(local);
  c.op(I64.EXTEND_I32_U, I64.OR, I64.EQ);
  c.likely();
  c.if(TYPE.I32);
  c.get(T0);
  c.memory(I32.LOAD, JUMP_CACHE + 8);
  c.else();
  c.get(AREA);
  c.get(local);
  c.i32(FIND.KNOWN);
  c.call(find);
  c.end();
}

/** Leaves when the kernel wants the CPU: everything is stored but the pc, which is in `local`. */
export function leaveWhenWanted(c: Code, local: number): void {
  c.get(AREA);
  c.memory(I32.LOAD, 0);
  c.unlikely();
  c.if();
  c.get(REGS);
  c.get(local);
  c.op(I64.EXTEND_I32_U);
  c.memory(I64.STORE, USER_REGS.PC);
  c.i32(EXIT.PREEMPTED * 2 + 1);
  c.op(CTL.RETURN);
  c.end();
}
