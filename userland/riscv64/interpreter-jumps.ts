/** How the interpreter gets from one place to another: pages, arrivals, heat, jumps. */

import { AREA, DEPTH, FIRST_FREE_LOCAL, PC, Q0, REGS, T0, T1 } from "./emitter.ts";
import { type InterpreterEmitter, RECORD_POINTER } from "./interpreter-emitter.ts";
import { lookUp } from "./jump.ts";
import {
  PAGE_CACHE,
  PAGE_CACHE_ENTRIES,
  RECORD,
  SIDE_EXITS,
  SIDE_EXITS_MASK,
  SPACE_TAG,
  X0_SINK,
} from "./layout.ts";
import { FIND } from "./stubs.ts";
import type { Code } from "./wasm/code.ts";
import { CTL, I32, I64, TYPE } from "./wasm/opcodes.ts";

const PAGE = FIRST_FREE_LOCAL + 1;
/** Virtual page number that PAGE is the predecoded form of; -1 none. */
export const VPN = FIRST_FREE_LOCAL + 2;
/** Guest calls made and not yet returned from inside this activation. */
const NEST = FIRST_FREE_LOCAL + 3;
/** Arrivals between two looks for a unit that another CPU has made; a power of 2. The threshold is a multiple of it, or below. */
const ASK_EVERY = 512;
/** Times that units leave for an instruction before they are translated anew. */
const SIDE_EXITS_MAX = 4096;

/** Whether the arrival in progress counts as heat. */
export const COUNT = FIRST_FREE_LOCAL + 4;
/** What is asked for at an arrival: one of FIND. */
const MODE = FIRST_FREE_LOCAL + 5;

/**
 * An odd pc comes from a unit whose access the TLB did not serve: the instruction is executed here, even if it is hot. Code that
 * comes often is translated anew, so that it need not.
 */
export function emitEntry(e: InterpreterEmitter): void {
  const c = e.c;
  c.get(PC);
  c.i32(1);
  c.op(I32.AND, I32.EQZ);
  c.tee(COUNT);
  c.op(I32.EQZ);
  c.if();
  c.get(PC);
  c.i32(-2);
  c.op(I32.AND);
  c.tee(PC);
  c.i32(1);
  c.op(I32.SHL);
  c.i32(SIDE_EXITS_MASK);
  c.op(I32.AND);
  c.get(AREA);
  c.op(I32.ADD);
  c.tee(T0);
  c.get(T0);
  c.memory(I32.LOAD, SIDE_EXITS);
  c.i32(1);
  c.op(I32.ADD);
  c.tee(T1);
  c.memory(I32.STORE, SIDE_EXITS);
  c.get(T1);
  c.i32(SIDE_EXITS_MAX);
  c.op(I32.GE_U);
  c.unlikely();
  c.if();
  c.get(T0);
  c.i32(0);
  c.memory(I32.STORE, SIDE_EXITS);
  c.get(AREA);
  c.get(PC);
  c.i32(FIND.CAREFUL);
  e.call("find");
  c.op(CTL.DROP);
  c.end();
  c.end();
}

/** PAGE = the predecoded page of PC. */
export function emitFindPage(e: InterpreterEmitter): void {
  const c = e.c;
  c.get(PC);
  c.i32(12);
  c.op(I32.SHR_U);
  c.tee(T0);
  c.get(VPN);
  c.op(I32.NE);
  c.if();
  c.get(T0);
  c.set(VPN);
  c.get(T0);
  c.i32(PAGE_CACHE_ENTRIES - 1);
  c.op(I32.AND);
  c.i32(4);
  c.op(I32.SHL);
  c.get(AREA);
  c.op(I32.ADD);
  c.tee(T1);
  c.memory(I64.LOAD, PAGE_CACHE);
  c.get(AREA);
  c.memory(I64.LOAD, SPACE_TAG);
  c.get(T0);
  c.op(I64.EXTEND_I32_U, I64.OR, I64.EQ);
  c.if(TYPE.I32);
  c.get(T1);
  c.memory(I32.LOAD, PAGE_CACHE + 8);
  c.else();
  c.get(PC);
  e.call("codePage");
  c.tee(PAGE);
  c.op(I32.EQZ);
  c.brIf(e.faultLabel);
  c.get(PAGE);
  c.end();
  c.set(PAGE);
  c.end();
}

/** RECORD_POINTER = the record of PC, in PAGE. */
export function emitRecordPointer(c: Code): void {
  c.get(PAGE);
  c.get(PC);
  c.i32(4094);
  c.op(I32.AND);
  c.i32(3);
  c.op(I32.SHL, I32.ADD);
  c.set(RECORD_POINTER);
}

/** Counts an arrival; at the threshold goes on in translated code when there is some. */
export function emitHeat(e: InterpreterEmitter, threshold: number, unitType: number, arrive: number): void {
  const c = e.c;
  c.get(RECORD_POINTER);
  c.get(RECORD_POINTER);
  c.memory(I32.LOAD16_U, RECORD.HEAT);
  c.i32(1);
  c.op(I32.ADD);
  c.tee(T1);
  c.memory(I32.STORE16, RECORD.HEAT);
  c.get(T1);
  if (threshold >= ASK_EVERY) {
    c.i32(ASK_EVERY - 1);
    c.op(I32.AND, I32.EQZ);
  } else {
    c.i32(threshold);
    c.op(I32.GE_U);
  }
  c.unlikely();
  c.if();
  c.i32(FIND.PUBLISHED);
  c.set(MODE);
  c.get(T1);
  c.i32(threshold);
  c.op(I32.GE_U);
  c.if();
  c.i32(FIND.HOT);
  c.set(MODE);
  // Stay just below, so that the next arrival asks again (in another code space the unit may be missing).
  c.get(RECORD_POINTER);
  c.i32(Math.max(threshold - 1, 0));
  c.memory(I32.STORE16, RECORD.HEAT);
  c.end();
  lookUp(c, PC, e.stub("find"));
  c.tee(T1);
  c.op(I32.EQZ);
  c.if();
  c.get(AREA);
  c.get(PC);
  c.get(MODE);
  e.call("find");
  c.set(T1);
  c.end();
  c.get(T1);
  c.if();
  c.get(NEST);
  c.op(I32.EQZ);
  c.if();
  c.get(AREA);
  c.get(REGS);
  c.get(PC);
  c.get(DEPTH);
  c.get(T1);
  c.callIndirect(CTL.RETURN_CALL_INDIRECT, unitType);
  c.end();
  c.get(DEPTH);
  c.op(I32.EQZ);
  c.if();
  c.get(PC);
  e.exit();
  c.end();
  c.get(AREA);
  c.get(REGS);
  c.get(PC);
  c.get(DEPTH);
  c.i32(1);
  c.op(I32.SUB);
  c.get(T1);
  c.callIndirect(CTL.CALL_INDIRECT, unitType);
  c.tee(PC);
  c.i32(1);
  c.op(I32.AND);
  c.if();
  c.get(PC);
  e.exit();
  c.end();
  // The unit returned from the function that it was entered in.
  c.get(NEST);
  c.i32(1);
  c.op(I32.SUB);
  c.set(NEST);
  c.i32(-1);
  c.set(VPN);
  c.i32(0);
  c.set(COUNT);
  c.br(arrive);
  c.else();
  c.get(MODE);
  c.i32(FIND.HOT);
  c.op(I32.EQ);
  c.if();
  c.get(RECORD_POINTER);
  c.i32(0);
  c.memory(I32.STORE16, RECORD.HEAT);
  c.end();
  c.end();
  c.end();
}

/** PC += imm; COUNT = the jump goes backwards. */
export function emitRelativeJump(c: Code): void {
  c.get(RECORD_POINTER);
  c.memory(I32.LOAD, RECORD.IMM);
  c.tee(T0);
  c.i32(0);
  c.op(I32.LE_S);
  c.set(COUNT);
  c.get(PC);
  c.get(T0);
  c.op(I32.ADD);
  c.set(PC);
}

/** After a relative jump: when it goes forwards inside the page there is nothing to look up, count or poll. */
export function emitNear(c: Code, next: number): void {
  c.get(PC);
  c.i32(12);
  c.op(I32.SHR_U);
  c.get(VPN);
  c.op(I32.EQ);
  c.get(COUNT);
  c.op(I32.EQZ, I32.AND);
  c.if();
  emitRecordPointer(c);
  c.br(next);
  c.end();
}

/** Writes the link and pushes nothing; T1 = whether there is one, and then one more call is open. */
export function emitLink(e: InterpreterEmitter): void {
  const c = e.c;
  e.rd(() => e.nextPc());
  c.get(RECORD_POINTER);
  c.memory(I32.LOAD16_U, RECORD.RD);
  c.i32(X0_SINK);
  c.op(I32.NE);
  c.tee(T1);
  c.get(NEST);
  c.op(I32.ADD);
  c.set(NEST);
}

export function emitIndirectJump(e: InterpreterEmitter, arrive: number): void {
  const c = e.c;
  e.effectiveAddress();
  c.i64(-2);
  c.op(I64.AND);
  c.set(Q0);
  emitLink(e);
  c.get(Q0);
  c.i64(32);
  c.op(I64.SHR_U, I32.WRAP_I64);
  c.if();
  c.get(AREA);
  c.get(REGS);
  c.get(Q0);
  e.call("badJump");
  e.exit();
  c.end();
  c.get(Q0);
  c.op(I32.WRAP_I64);
  c.set(PC);
  // A return is jalr x0 through ra or t0 (the calling convention's hint to return address stacks).
  c.get(T1);
  c.op(I32.EQZ);
  c.get(RECORD_POINTER);
  c.memory(I32.LOAD16_U, RECORD.RS1);
  c.tee(T0);
  c.i32(8 * 1);
  c.op(I32.EQ);
  c.get(T0);
  c.i32(8 * 5);
  c.op(I32.EQ, I32.OR, I32.AND);
  c.if();
  c.get(NEST);
  c.op(I32.EQZ);
  c.if();
  c.get(PC);
  e.exit();
  c.end();
  c.get(NEST);
  c.i32(1);
  c.op(I32.SUB);
  c.set(NEST);
  c.i32(0);
  c.set(COUNT);
  c.br(arrive);
  c.end();
  c.i32(1);
  c.set(COUNT);
  c.br(arrive);
}
