/**
 * A mutex and a reader-writer lock in WebAssembly, where an atomic operation is one instruction and not a call: what
 * somebody would use who cannot do without locks. The algorithms are those of rcu/lock.ts.
 */
import { Code } from "../riscv64/wasm/code.ts";
import { ModuleBuilder } from "../riscv64/wasm/module.ts";
import { ATOMIC, CTL, I32, TYPE } from "../riscv64/wasm/opcodes.ts";

export interface WasmLocks {
  lock(): void;
  unlock(): void;
  readLock(): void;
  readUnlock(): void;
  writeLock(): void;
  writeUnlock(): void;
}

/** Byte addresses, lines apart: the mutex, the writer's word and the count of readers of the reader-writer lock. */
const MUTEX = 256;
const WRITER = 512;
const READERS = 516;
/** About 1.6 us, as in rcu/lock.ts: a look is one instruction here. */
const SPINS = 1000;

const NOTIFY = 0x00;
const WAIT32 = 0x01;
const VOID = { params: [], results: [] };
const ON_WORD = { params: [TYPE.I32], results: [] };

/** The locks of this memory, for this thread. */
export function wasmLocks(memory: WebAssembly.Memory): WasmLocks {
  const builder = new ModuleBuilder(1);
  const take = builder.function("take", ON_WORD, [[1, TYPE.I32]], takeCode());
  const drop = builder.function("drop", ON_WORD, [], dropCode());
  const onWord = (name: string, callee: number, word: number) => {
    const code = new Code();
    code.i32(word);
    code.call(callee);
    builder.function(name, VOID, [], code);
  };
  onWord("lock", take, MUTEX);
  onWord("unlock", drop, MUTEX);
  const leave = builder.function("leave", VOID, [], leaveCode());
  builder.function("readLock", VOID, [], readLockCode(take, drop, leave));
  const left = new Code();
  left.call(leave);
  builder.function("readUnlock", VOID, [], left);
  builder.function("writeLock", VOID, [[1, TYPE.I32]], writeLockCode(take));
  onWord("writeUnlock", drop, WRITER);
  const table = new WebAssembly.Table({ element: "anyfunc", initial: 1 });
  const module = new WebAssembly.Module(builder.finish());
  return new WebAssembly.Instance(module, { e: { m: memory, t: table } }).exports as unknown as WasmLocks;
}

/** take(word): 0 free, 1 held, 2 held and somebody sleeps. */
function takeCode(): Code {
  const code = new Code();
  const done = code.block();
  const spin = code.loop();
  tryTake(code);
  code.op(I32.EQZ);
  code.brIf(done);
  code.get(1);
  code.i32(1);
  code.op(I32.ADD);
  code.tee(1);
  code.i32(SPINS);
  code.op(I32.LT_S);
  code.brIf(spin);
  code.end();
  const sleep = code.loop();
  code.get(0);
  code.i32(2);
  code.atomic(ATOMIC.XCHG, 2);
  code.op(I32.EQZ);
  code.brIf(done);
  code.get(0);
  code.i32(2);
  code.i64(-1);
  code.atomic(WAIT32, 2);
  code.op(CTL.DROP);
  code.br(sleep);
  code.end();
  code.end();
  return code;
}

/** Leaves what the word held: a look first, so that spinning threads do not fight for the line. */
function tryTake(code: Code): void {
  code.get(0);
  code.atomic(ATOMIC.I32_LOAD, 2);
  const held = code.if(TYPE.I32);
  void held;
  code.i32(1);
  code.else();
  code.get(0);
  code.i32(0);
  code.i32(1);
  code.atomic(ATOMIC.CMPXCHG, 2);
  code.end();
}

function dropCode(): Code {
  const code = new Code();
  code.get(0);
  code.i32(0);
  code.atomic(ATOMIC.XCHG, 2);
  code.i32(2);
  code.op(I32.EQ);
  code.if();
  code.get(0);
  notifyOne(code);
  code.end();
  return code;
}

/** The address is on the stack. */
function notifyOne(code: Code): void {
  code.i32(1);
  code.atomic(NOTIFY, 2);
  code.op(CTL.DROP);
}

/** A reader goes: the last one wakes a writer that waits. */
function leaveCode(): Code {
  const code = new Code();
  const done = code.block();
  code.i32(READERS);
  code.i32(1);
  code.atomic(ATOMIC.SUB, 2);
  code.i32(1);
  code.op(I32.NE);
  code.brIf(done);
  code.i32(WRITER);
  code.atomic(ATOMIC.I32_LOAD, 2);
  code.op(I32.EQZ);
  code.brIf(done);
  code.i32(READERS);
  notifyOne(code);
  code.end();
  return code;
}

/** Readers that find a writer queue behind it. */
function readLockCode(take: number, drop: number, leave: number): Code {
  const code = new Code();
  const done = code.block();
  const again = code.loop();
  code.i32(READERS);
  code.i32(1);
  code.atomic(ATOMIC.ADD, 2);
  code.op(CTL.DROP);
  code.i32(WRITER);
  code.atomic(ATOMIC.I32_LOAD, 2);
  code.op(I32.EQZ);
  code.brIf(done);
  code.call(leave);
  code.i32(WRITER);
  code.call(take);
  code.i32(WRITER);
  code.call(drop);
  code.br(again);
  code.end();
  code.end();
  return code;
}

function writeLockCode(take: number): Code {
  const code = new Code();
  code.i32(WRITER);
  code.call(take);
  const done = code.block();
  const again = code.loop();
  code.i32(READERS);
  code.atomic(ATOMIC.I32_LOAD, 2);
  code.tee(0);
  code.op(I32.EQZ);
  code.brIf(done);
  code.i32(READERS);
  code.get(0);
  code.i64(-1);
  code.atomic(WAIT32, 2);
  code.op(CTL.DROP);
  code.br(again);
  code.end();
  code.end();
  return code;
}
