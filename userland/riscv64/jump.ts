import { EXIT } from "../../kernel/usermode.ts";
import { JUMP_CACHE, JUMP_CACHE_MASK, SPACE_TAG } from "./layout.ts";
import { AREA, T0 } from "./locals.ts";
import { storePc } from "./register-file.ts";
import { FIND, type STUBS } from "./stubs.ts";
import type { Code } from "./wasm/code.ts";
import type { Func, I32, I64, Local } from "./wasm/types.ts";

/** The tag of an entry that is about the number in `local`, a pc or a page, in the current code space. */
export function tagOf(c: Code, local: Local<I32>): I64 {
  const { i64 } = c;
  return i64.or(i64.load(c.get(AREA), SPACE_TAG), i64.extendI32U(c.get(local)));
}

/**
 * The table index of the code for the pc in `pc`: from the jump cache, else from the engine. Index 0 is the interpreter.
 * Overwrites T0.
 */
export function lookUp(c: Code, pc: Local<I32>, find: Func<typeof STUBS.find>): I32 {
  const { i32, i64 } = c;
  const entry = () => i32.add(i32.and(i32.shl(c.get(pc), 3), JUMP_CACHE_MASK), c.get(AREA));
  return i32.if(
    c.likely(i64.eq(i64.load(c.tee(T0, entry()), JUMP_CACHE), tagOf(c, pc))),
    () => i32.load(c.get(T0), JUMP_CACHE + 8),
    () => c.call(find, c.get(AREA), c.get(pc), i32.const(FIND.KNOWN)),
  );
}

/** Not 0 when the kernel wants the CPU. */
export function wanted(c: Code): I32 {
  return c.unlikely(c.i32.load(c.get(AREA)));
}

/** Leaves when the kernel wants the CPU: everything is stored but the pc, which is in `pc`. */
export function leaveWhenWanted(c: Code, pc: Local<I32>): void {
  c.if(wanted(c), () => {
    storePc(c, () => c.i64.extendI32U(c.get(pc)));
    c.return(c.i32.const(EXIT.PREEMPTED * 2 + 1));
  });
}
