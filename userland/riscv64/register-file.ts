/**
 * The guest's register file as generated code and the engine reach it. Its layout is USER_REGS of kernel/usermode.ts, which is
 * what the kernel and the engine agree on.
 */

import { fAt, USER_REGS, xAt } from "../../kernel/usermode.ts";
import { REGS } from "./locals.ts";
import type { Code } from "./wasm/code.ts";
import type { F64, I32, I64, Local } from "./wasm/types.ts";

export { fAt, xAt };

/** Where interpreted writes to x0 go: an unused part of the register file. */
export const X0_SINK = 536;

/** The flags that floating-point instructions accrue: the low bits of fcsr. */
export const FFLAGS_MASK = 31;
/** Where frm, the dynamic rounding mode, begins in fcsr; it has three bits. */
export const FRM_SHIFT = 5;
/** The value of an rm field that means frm. */
export const RM_DYNAMIC = 7;
/** The least value of fcsr whose frm is no rounding mode. */
export const FIRST_BAD_FCSR = 5 << FRM_SHIFT;

/** What to look at in fcsr, for each rm field, to tell whether it is 1: rounding to nearest even, NX set. 0: never. */
export function fastRoundingMask(rm: number): number {
  return rm === 0 ? 0x01 : rm === RM_DYNAMIC ? 0xe1 : 0;
}

/** The register file of the task that is running, for JavaScript. */
export class RegisterFile {
  /** Byte address of the register file. */
  at = 0;
  private readonly words: Int32Array;
  private readonly longs: BigUint64Array;

  constructor(memory: WebAssembly.Memory) {
    this.words = new Int32Array(memory.buffer);
    this.longs = new BigUint64Array(memory.buffer);
  }

  /** All 64 bits, unsigned. */
  get pc(): bigint {
    return this.longs[(this.at + USER_REGS.PC) / 8]!;
  }
  set pc(value: bigint) {
    this.longs[(this.at + USER_REGS.PC) / 8] = value;
  }

  /** The low half of the pc, signed, as generated code has it. */
  get pc32(): number {
    return this.words[(this.at + USER_REGS.PC) / 4]!;
  }

  get fcsr(): number {
    return this.words[(this.at + USER_REGS.FCSR) / 4]!;
  }
  set fcsr(value: number) {
    this.words[(this.at + USER_REGS.FCSR) / 4] = value;
  }
}

// Generated code: `regs` is the local that has the address of the register file.

export const loadX = (c: Code, n: number): I64 => c.i64.load(c.get(REGS), xAt(n));
export const loadF = (c: Code, n: number): F64 => c.f64.load(c.get(REGS), fAt(n));

export function storeX(c: Code, n: number, from: Local<I64>): void {
  c.i64.store(c.get(REGS), c.get(from), xAt(n));
}

export function storeF(c: Code, n: number, from: Local<F64>): void {
  c.f64.store(c.get(REGS), c.get(from), fAt(n));
}

export const loadPc = (c: Code): I32 => c.i32.load(c.get(REGS), USER_REGS.PC);

export function storePc(c: Code, value: () => I64): void {
  c.i64.store(c.get(REGS), value(), USER_REGS.PC);
}

export const loadFcsr = (c: Code, regs: Local<I32> = REGS): I32 => c.i32.load(c.get(regs), USER_REGS.FCSR);

/** fcsr from frm on: where the kernel lets nothing else be set, frm. */
export const loadFrm = (c: Code, regs: Local<I32>): I32 => c.i32.shrU(loadFcsr(c, regs), FRM_SHIFT);

/** ORs flags into fflags. */
export function accrue(c: Code, regs: Local<I32>, flags: () => I32): void {
  c.i32.store(c.get(regs), c.i32.or(loadFcsr(c, regs), flags()), USER_REGS.FCSR);
}

/** The virtual address that lr reserved, -1 for none. */
export const loadReservation = (c: Code): I32 => c.i32.load(c.get(REGS), USER_REGS.RESERVATION);

export function storeReservation(c: Code, address: () => I32): void {
  c.i32.store(c.get(REGS), address(), USER_REGS.RESERVATION);
}

/** What lr saw there. */
export const loadReservedValue = (c: Code): I64 => c.i64.load(c.get(REGS), USER_REGS.RESERVED_VALUE);

export function storeReservedValue(c: Code, from: Local<I64>): void {
  c.i64.store(c.get(REGS), c.get(from), USER_REGS.RESERVED_VALUE);
}
