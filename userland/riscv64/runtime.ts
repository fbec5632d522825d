import { importFastArithmetic } from "./float-stubs.ts";
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
import { AREA, PC, REGS, SCRATCH_LOCALS } from "./locals.ts";
import { accrue, loadFrm, loadPc, RM_DYNAMIC } from "./register-file.ts";
import { STUBS, UNIT, type Unit } from "./stubs.ts";
import { Code } from "./wasm/code.ts";
import { ModuleBuilder } from "./wasm/module.ts";
import {
  type Func,
  type I32,
  type I64,
  type Local,
  signatureOf,
  TYPE,
  type TypeIndex,
} from "./wasm/types.ts";

/** Units that may be active on the wasm stack at once; the next one unwinds to the dispatcher. */
const MAX_DEPTH = 160;

const { I32: i32Type, I64: i64Type } = TYPE;
/** (low half of va, upper half, bytes) -> host address, 0 for a fault. */
const ACCESS = signatureOf([i32Type, i32Type, i32Type], [i32Type]);
/** (op, rm): operands and result are in scratch memory, flags accrued. */
const ACCRUE = signatureOf([i32Type, i32Type], []);
/** (op, rm, a, b, c) -> result, flags or -1. */
const FAST_FPU = signatureOf([i32Type, i32Type, i64Type, i64Type, i64Type], [i64Type, i32Type]);
/** (csr number, operation) -> whether there is such a CSR. */
const CSR = signatureOf([i32Type, i32Type], [i32Type]);
/** (area, regs) -> exit reason * 2 + 1. */
const RUN = signatureOf([i32Type, i32Type], [i32Type]);

/**
 * The wasm side of the engine that is not guest code: the dispatcher `run(area, regs)`, and the stubs that spare the common
 * slow paths a call into JavaScript (misaligned accesses inside one page) or carry 64-bit values past it in scratch memory.
 */
export function buildRuntime(maxPages: number): Uint8Array<ArrayBuffer> {
  const module = new ModuleBuilder({ maxPages });
  const unitType = module.type(UNIT);
  const find = module.import("find", STUBS.find);
  const load = module.import("load", ACCESS);
  const store = module.import("store", ACCESS);
  const amo = module.import("amo", ACCESS);
  const fpuOperation = module.import("fpuOperation", ACCRUE);
  const fastFpu = module.import("fast_fpu", FAST_FPU);
  const addArithmetic = importFastArithmetic(module);
  const csrOperation = module.import("csrOperation", CSR);

  module.add("run", RUN, [[2, TYPE.I32], ...SCRATCH_LOCALS], dispatcher(unitType, find));
  module.function("slowLoad", STUBS.slowLoad, [TYPE.I32], (c, [area, va, bytes], [entry]) => {
    tryTlb(c, { area, va, bytes, entry }, TLB_LOAD);
    callAccess(c, load, va, bytes);
  });
  module.function("slowStore", STUBS.slowStore, [TYPE.I32], (c, [area, va, value, bytes], [entry]) => {
    tryTlb(c, { area, va, bytes, entry }, TLB_STORE);
    c.i64.store(c.get(area), c.get(value), SCRATCH_BYTES);
    callAccess(c, store, va, bytes);
  });
  module.function("slowAmo", STUBS.slowAmo, [], (c, [, va, bytes]) => callAccess(c, amo, va, bytes));
  addArithmetic(addFpu(module, fastFpu, fpuOperation));
  module.function("csr", STUBS.csr, [], (c, [area, number, operation, operand]) => {
    c.i64.store(c.get(area), c.get(operand), SCRATCH_A);
    c.call(csrOperation, c.get(number), c.get(operation));
  });
  addMulhu(module);
  return module.finish();
}

/** Runs unit after unit, each at the pc that the one before returned, until one returns a reason to leave. */
function dispatcher(unitType: TypeIndex<Unit>, find: Func<typeof STUBS.find>): Code {
  const c = new Code();
  const { i32 } = c;
  c.set(PC, loadPc(c));
  c.loop((again) => {
    leaveWhenWanted(c, PC);
    const depth = () => i32.const(MAX_DEPTH);
    const code = () => lookUp(c, PC, find);
    const next = c.callIndirect(unitType, c.get(AREA), c.get(REGS), c.get(PC), depth(), code());
    c.brIf(again, i32.eqz(i32.and(c.tee(PC, next), 1)));
  });
  c.get(PC);
  return c;
}

/** An access that the TLB did not serve at once. */
interface SlowAccess {
  readonly area: Local<I32>;
  readonly va: Local<I64>;
  readonly bytes: Local<I32>;
  readonly entry: Local<I32>;
}

/** Returns va + TLB entry when there is one and the access stays in its page: a misaligned access needs nothing more. */
function tryTlb(c: Code, { area, va, bytes, entry }: SlowAccess, table: number): void {
  const { i32, i64 } = c;
  const low = () => i32.wrapI64(c.get(va));
  const below4G = i64.eqz(i64.shrU(c.get(va), 32));
  const insidePage = i32.leU(i32.add(i32.and(low(), 4095), c.get(bytes)), 4096);
  c.if(i32.and(below4G, insidePage), () => {
    const index = () => i32.shl(i32.shrU(low(), 12), 2);
    c.if(c.tee(entry, i32.load(i32.add(index(), c.get(area)), table)), () =>
      c.return(i32.add(low(), c.get(entry))),
    );
  });
}

/** Has JavaScript do it. */
function callAccess(c: Code, access: Func<typeof ACCESS>, va: Local<I64>, bytes: Local<I32>): I32 {
  const { i32, i64 } = c;
  const upper = () => i32.wrapI64(i64.shrU(c.get(va), 32));
  return c.call(access, i32.wrapI64(c.get(va)), upper(), c.get(bytes));
}

/** Resolves a dynamic rounding mode, tries the fast module, then JavaScript. */
function addFpu(
  module: ModuleBuilder,
  fast: Func<typeof FAST_FPU>,
  slow: Func<typeof ACCRUE>,
): Func<typeof STUBS.fpu> {
  return module.function("fpu", STUBS.fpu, [TYPE.I32, TYPE.I64], (c, params, [flags, result]) => {
    const [area, regs, op, rm, x, y, z] = params;
    const { i32, i64 } = c;
    c.if(i32.eq(c.get(rm), RM_DYNAMIC), () => c.set(rm, i32.and(loadFrm(c, regs), 7)));
    c.setBoth(result, flags, c.call(fast, c.get(op), c.get(rm), c.get(x), c.get(y), c.get(z)));
    c.if(i32.geS(c.get(flags), 0), () => {
      accrue(c, regs, () => c.get(flags));
      c.return(c.get(result));
    });
    i64.store(c.get(area), c.get(x), SCRATCH_A);
    i64.store(c.get(area), c.get(y), SCRATCH_B);
    i64.store(c.get(area), c.get(z), SCRATCH_C);
    c.call(slow, c.get(op), c.get(rm));
    i64.load(c.get(area), SCRATCH_RESULT);
  });
}

/** 64 x 64 -> upper 64 bits, by halves. */
function addMulhu(module: ModuleBuilder): void {
  const { I64: long } = TYPE;
  const locals = [long, long, long, long, long, long] as const;
  module.function("mulhu", STUBS.mulhu, locals, (c, [a, b], [aLow, aHigh, bLow, bHigh, middle, other]) => {
    const { i64 } = c;
    const low = (local: Local<I64>) => i64.and(c.get(local), 0xffffffff);
    const high = (local: Local<I64>) => i64.shrU(c.get(local), 32);
    const product = (one: Local<I64>, two: Local<I64>) => i64.mul(c.get(one), c.get(two));
    c.set(aLow, low(a));
    c.set(aHigh, high(a));
    c.set(bLow, low(b));
    c.set(bHigh, high(b));
    c.set(middle, i64.add(product(aHigh, bLow), i64.shrU(product(aLow, bLow), 32)));
    c.set(other, i64.add(product(aLow, bHigh), low(middle)));
    i64.add(i64.add(product(aHigh, bHigh), high(middle)), high(other));
  });
}
