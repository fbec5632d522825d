/**
 * A mutex and a reader-writer lock in WebAssembly, where an atomic operation is one instruction and not a call: what
 * somebody would use who cannot do without locks. The algorithms are those of rcu/lock.ts.
 */
import type { Code, Label } from "../riscv64/wasm/code.ts";
import { ATOMIC } from "../riscv64/wasm/integers.ts";
import { ModuleBuilder } from "../riscv64/wasm/module.ts";
import { type Func, type I32, type Local, signatureOf, TYPE } from "../riscv64/wasm/types.ts";

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

const VOID = signatureOf([], []);
const ON_WORD = signatureOf([TYPE.I32], []);

/** The locks of this memory, for this thread. */
export function wasmLocks(memory: WebAssembly.Memory): WasmLocks {
  const builder = new ModuleBuilder({ maxPages: 1 });
  const take = addTake(builder);
  const drop = addDrop(builder);
  const onWord = (name: string, callee: Func<typeof ON_WORD>, word: number) =>
    builder.function(name, VOID, [], (c) => c.call(callee, c.i32.const(word)));
  onWord("lock", take, MUTEX);
  onWord("unlock", drop, MUTEX);
  const leave = addLeave(builder);
  addReadLock(builder, take, drop, leave);
  builder.function("readUnlock", VOID, [], (c) => c.call(leave));
  addWriteLock(builder, take);
  onWord("writeUnlock", drop, WRITER);
  const table = new WebAssembly.Table({ element: "anyfunc", initial: 1 });
  const module = new WebAssembly.Module(builder.finish());
  return new WebAssembly.Instance(module, { e: { m: memory, t: table } }).exports as unknown as WasmLocks;
}

/** take(word): 0 free, 1 held, 2 held and somebody sleeps. */
function addTake(builder: ModuleBuilder): Func<typeof ON_WORD> {
  return builder.function("take", ON_WORD, [TYPE.I32], (c, [word], [spins]) => {
    const { i32 } = c;
    c.block((done) => {
      c.loop((spin) => {
        c.brIf(done, i32.eqz(tryTake(c, word)));
        c.brIf(spin, i32.ltS(c.tee(spins, i32.add(c.get(spins), 1)), SPINS));
      });
      c.loop((sleep) => {
        c.brIf(done, i32.eqz(i32.atomicRmw(ATOMIC.XCHG, c.get(word), 2)));
        waitWhile(c, c.get(word), i32.const(2));
        c.br(sleep);
      });
    });
  });
}

/** What the word held: a look first, so that spinning threads do not fight for the line. */
function tryTake(c: Code, word: Local<I32>): I32 {
  const { i32 } = c;
  return i32.if(
    i32.atomicLoad(c.get(word)),
    () => i32.const(1),
    () => i32.atomicCmpxchg(c.get(word), i32.const(0), 1),
  );
}

/** Sleeps as long as the word at the address has this value, until somebody wakes it. */
function waitWhile(c: Code, address: I32, value: I32): void {
  c.drop(c.i32.atomicWait(address, value, c.i64.const(-1)));
}

/** Wakes one who sleeps at the address. */
function notifyOne(c: Code, address: I32): void {
  c.drop(c.atomicNotify(address, c.i32.const(1)));
}

function addDrop(builder: ModuleBuilder): Func<typeof ON_WORD> {
  return builder.function("drop", ON_WORD, [], (c, [word]) => {
    const { i32 } = c;
    c.if(i32.eq(i32.atomicRmw(ATOMIC.XCHG, c.get(word), 0), 2), () => notifyOne(c, c.get(word)));
  });
}

/** Branches when nobody writes. */
function unlessWriter(c: Code, done: Label): void {
  c.brIf(done, c.i32.eqz(c.i32.atomicLoad(c.i32.const(WRITER))));
}

/** A reader goes: the last one wakes a writer that waits. */
function addLeave(builder: ModuleBuilder): Func<typeof VOID> {
  return builder.function("leave", VOID, [], (c) => {
    const { i32 } = c;
    c.block((done) => {
      c.brIf(done, i32.ne(i32.atomicRmw(ATOMIC.SUB, i32.const(READERS), 1), 1));
      unlessWriter(c, done);
      notifyOne(c, i32.const(READERS));
    });
  });
}

/** Readers that find a writer queue behind it. */
function addReadLock(
  builder: ModuleBuilder,
  take: Func<typeof ON_WORD>,
  drop: Func<typeof ON_WORD>,
  leave: Func<typeof VOID>,
): void {
  builder.function("readLock", VOID, [], (c) => {
    const { i32 } = c;
    c.block((done) => {
      c.loop((again) => {
        c.drop(i32.atomicRmw(ATOMIC.ADD, i32.const(READERS), 1));
        unlessWriter(c, done);
        c.call(leave);
        c.call(take, i32.const(WRITER));
        c.call(drop, i32.const(WRITER));
        c.br(again);
      });
    });
  });
}

function addWriteLock(builder: ModuleBuilder, take: Func<typeof ON_WORD>): void {
  builder.function("writeLock", VOID, [TYPE.I32], (c, _params, [readers]) => {
    const { i32 } = c;
    c.call(take, i32.const(WRITER));
    c.block((done) => {
      c.loop((again) => {
        c.brIf(done, i32.eqz(c.tee(readers, i32.atomicLoad(i32.const(READERS)))));
        waitWhile(c, i32.const(READERS), c.get(readers));
        c.br(again);
      });
    });
  });
}
