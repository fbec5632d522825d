import { USER_REGS } from "../../kernel/usermode.ts";
import { AREA, PC, REGS, SCRATCH_LOCALS } from "./emitter.ts";
import { arithmeticStubs, importFastArithmetic } from "./float-stubs.ts";
import { leaveWhenWanted, lookUp } from "./jump.ts";
import {
  SCRATCH_A,
  SCRATCH_B,
  SCRATCH_BYTES,
  SCRATCH_C,
  SCRATCH_RESULT,
  TLB_LOAD,
  TLB_STORE,
} from "./layout.ts";
import { STUBS, UNIT } from "./stubs.ts";
import { Code } from "./wasm/code.ts";
import { ModuleBuilder, type Signature } from "./wasm/module.ts";
import { CTL, I32, I64, TYPE } from "./wasm/opcodes.ts";

/** Units that may be active on the wasm stack at once; the next one unwinds to the dispatcher. */
const MAX_DEPTH = 160;

const ACCESS: Signature = { params: [TYPE.I32, TYPE.I32, TYPE.I32], results: [TYPE.I32] };
const ACCRUE: Signature = { params: [TYPE.I32, TYPE.I32], results: [] };
const FAST_FPU: Signature = {
  params: [TYPE.I32, TYPE.I32, TYPE.I64, TYPE.I64, TYPE.I64],
  results: [TYPE.I64, TYPE.I32],
};
const CSR: Signature = { params: [TYPE.I32, TYPE.I32], results: [TYPE.I32] };
const RUN: Signature = { params: [TYPE.I32, TYPE.I32], results: [TYPE.I32] };

/**
 * The wasm side of the engine that is not guest code: the dispatcher `run(area, regs)`, and the stubs that spare the common
 * slow paths a call into JavaScript (misaligned accesses inside one page) or carry 64-bit values past it in scratch memory.
 */
export function buildRuntime(maxPages: number): Uint8Array<ArrayBuffer> {
  const module = new ModuleBuilder(maxPages);
  const unitType = module.type(UNIT);
  const find = module.import("find", STUBS.find);
  const load = module.import("load", ACCESS);
  const store = module.import("store", ACCESS);
  const amo = module.import("amo", ACCESS);
  const fpuOperation = module.import("fpuOperation", ACCRUE);
  const fastFpu = module.import("fast_fpu", FAST_FPU);
  const arithmetic = importFastArithmetic(module);
  const csrOperation = module.import("csrOperation", CSR);

  module.function("run", RUN, [[2, TYPE.I32], ...SCRATCH_LOCALS], dispatcher(unitType, find));
  module.function("slowLoad", STUBS.slowLoad, [[1, TYPE.I32]], slowLoad(load));
  module.function("slowStore", STUBS.slowStore, [[1, TYPE.I32]], slowStore(store));
  module.function("slowAmo", STUBS.slowAmo, [], slowAmo(amo));
  const general = module.function(
    "fpu",
    STUBS.fpu,
    [
      [1, TYPE.I32],
      [1, TYPE.I64],
    ],
    fpu(fastFpu, fpuOperation),
  );
  arithmeticStubs(module, arithmetic, general);
  module.function("csr", STUBS.csr, [], csr(csrOperation));
  module.function("mulhu", STUBS.mulhu, [[6, TYPE.I64]], mulhu());
  return module.finish();
}

function dispatcher(unitType: number, find: number): Code {
  const c = new Code();
  c.get(REGS);
  c.memory(I32.LOAD, USER_REGS.PC);
  c.set(PC);
  const again = c.loop();
  leaveWhenWanted(c, PC);
  c.get(AREA);
  c.get(REGS);
  c.get(PC);
  c.i32(MAX_DEPTH);
  lookUp(c, PC, find);
  c.callIndirect(CTL.CALL_INDIRECT, unitType);
  c.tee(PC);
  c.i32(1);
  c.op(I32.AND, I32.EQZ);
  c.brIf(again);
  c.end();
  c.get(PC);
  return c;
}

/** Pushes whether va is below 4 GiB and the access stays in its page. `va` is local 1. */
function insidePage(c: Code, bytes: number): void {
  c.get(1);
  c.i64(32);
  c.op(I64.SHR_U, I64.EQZ);
  c.get(1);
  c.op(I32.WRAP_I64);
  c.i32(4095);
  c.op(I32.AND);
  c.get(bytes);
  c.op(I32.ADD);
  c.i32(4096);
  c.op(I32.LE_U, I32.AND);
}

/** Returns va + TLB entry when there is one: a misaligned access needs nothing more. */
function tryTlb(c: Code, table: number, bytes: number, temporary: number): void {
  insidePage(c, bytes);
  c.if();
  c.get(1);
  c.op(I32.WRAP_I64);
  c.i32(12);
  c.op(I32.SHR_U);
  c.i32(2);
  c.op(I32.SHL);
  c.get(0);
  c.op(I32.ADD);
  c.memory(I32.LOAD, table);
  c.tee(temporary);
  c.if();
  c.get(1);
  c.op(I32.WRAP_I64);
  c.get(temporary);
  c.op(I32.ADD, CTL.RETURN);
  c.end();
  c.end();
}

/** Pushes both halves of va, then the size, and calls. */
function callAccess(c: Code, bytes: number, index: number): void {
  c.get(1);
  c.op(I32.WRAP_I64);
  c.get(1);
  c.i64(32);
  c.op(I64.SHR_U, I32.WRAP_I64);
  c.get(bytes);
  c.call(index);
}

function slowLoad(load: number): Code {
  const c = new Code();
  tryTlb(c, TLB_LOAD, 2, 3);
  callAccess(c, 2, load);
  return c;
}

function slowStore(store: number): Code {
  const c = new Code();
  tryTlb(c, TLB_STORE, 3, 4);
  c.get(0);
  c.get(2);
  c.memory(I64.STORE, SCRATCH_BYTES);
  callAccess(c, 3, store);
  return c;
}

function slowAmo(amo: number): Code {
  const c = new Code();
  callAccess(c, 2, amo);
  return c;
}

/** Parameters: area, regs, op, rm, a, b, c. Resolves a dynamic rounding mode, tries the fast module, then JavaScript. */
function fpu(fast: number, operation: number): Code {
  const c = new Code();
  c.get(3);
  c.i32(7);
  c.op(I32.EQ);
  c.if();
  c.get(1);
  c.memory(I32.LOAD, USER_REGS.FCSR);
  c.i32(5);
  c.op(I32.SHR_U);
  c.i32(7);
  c.op(I32.AND);
  c.set(3);
  c.end();
  for (const local of [2, 3, 4, 5, 6]) c.get(local);
  c.call(fast);
  c.set(7);
  c.set(8);
  c.get(7);
  c.i32(0);
  c.op(I32.GE_S);
  c.if();
  c.get(1);
  c.get(1);
  c.memory(I32.LOAD, USER_REGS.FCSR);
  c.get(7);
  c.op(I32.OR);
  c.memory(I32.STORE, USER_REGS.FCSR);
  c.get(8);
  c.op(CTL.RETURN);
  c.end();
  [SCRATCH_A, SCRATCH_B, SCRATCH_C].forEach((offset, i) => {
    c.get(0);
    c.get(4 + i);
    c.memory(I64.STORE, offset);
  });
  c.get(2);
  c.get(3);
  c.call(operation);
  c.get(0);
  c.memory(I64.LOAD, SCRATCH_RESULT);
  return c;
}

function csr(operation: number): Code {
  const c = new Code();
  c.get(0);
  c.get(3);
  c.memory(I64.STORE, SCRATCH_A);
  c.get(1);
  c.get(2);
  c.call(operation);
  return c;
}

/** 64 x 64 -> upper 64 bits, by halves. Locals: 2 aL, 3 aH, 4 bL, 5 bH, 6 middle, 7 other middle. */
function mulhu(): Code {
  const c = new Code();
  const low = (local: number) => {
    c.get(local);
    c.i64(0xffffffff);
    c.op(I64.AND);
  };
  const high = (local: number) => {
    c.get(local);
    c.i64(32);
    c.op(I64.SHR_U);
  };
  low(0);
  c.set(2);
  high(0);
  c.set(3);
  low(1);
  c.set(4);
  high(1);
  c.set(5);
  // middle = aH * bL + (aL * bL >> 32)
  c.get(3);
  c.get(4);
  c.op(I64.MUL);
  c.get(2);
  c.get(4);
  c.op(I64.MUL);
  c.i64(32);
  c.op(I64.SHR_U, I64.ADD);
  c.set(6);
  // other = aL * bH + low(middle)
  c.get(2);
  c.get(5);
  c.op(I64.MUL);
  low(6);
  c.op(I64.ADD);
  c.set(7);
  c.get(3);
  c.get(5);
  c.op(I64.MUL);
  high(6);
  c.op(I64.ADD);
  high(7);
  c.op(I64.ADD);
  return c;
}
