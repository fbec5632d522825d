/** How the interpreter gets from one place to another: pages, arrivals, heat, jumps. */

import { type InterpreterEmitter, RECORD_POINTER } from "./interpreter-emitter.ts";
import { lookUp, tagOf } from "./jump.ts";
import { PAGE_CACHE, PAGE_CACHE_ENTRIES, RECORD, SIDE_EXITS, SIDE_EXITS_MASK } from "./layout.ts";
import { AREA, DEPTH, FIRST_FREE_LOCAL, PC, Q0, REGS, T0, T1 } from "./locals.ts";
import { X0_SINK, xAt } from "./register-file.ts";
import { FIND, type Unit } from "./stubs.ts";
import type { Code, Label } from "./wasm/code.ts";
import type { I32, Local, TypeIndex } from "./wasm/types.ts";

const PAGE = (FIRST_FREE_LOCAL + 1) as Local<I32>;
/** Virtual page number that PAGE is the predecoded form of; -1 none. */
export const VPN = (FIRST_FREE_LOCAL + 2) as Local<I32>;
/** Guest calls made and not yet returned from inside this activation. */
const NEST = (FIRST_FREE_LOCAL + 3) as Local<I32>;
/** Arrivals between two looks for a unit that another CPU has made; a power of 2. The threshold is a multiple of it, or below. */
const ASK_EVERY = 512;
/** Times that units leave for an instruction before they are translated anew. */
const SIDE_EXITS_MAX = 4096;

/** Whether the arrival in progress counts as heat. */
export const COUNT = (FIRST_FREE_LOCAL + 4) as Local<I32>;
/** What is asked for at an arrival: one of FIND. */
const MODE = (FIRST_FREE_LOCAL + 5) as Local<I32>;

/**
 * An odd pc comes from a unit whose access the TLB did not serve: the instruction is executed here, even if it is hot. Code that
 * comes often is translated anew, so that it need not.
 */
export function emitEntry(e: InterpreterEmitter): void {
  const { c, i32 } = e;
  c.if(i32.eqz(c.tee(COUNT, i32.eqz(i32.and(c.get(PC), 1)))), () => {
    const slot = () => i32.and(i32.shl(c.tee(PC, i32.and(c.get(PC), -2)), 1), SIDE_EXITS_MASK);
    i32.store(
      c.tee(T0, i32.add(slot(), c.get(AREA))),
      c.tee(T1, i32.add(i32.load(c.get(T0), SIDE_EXITS), 1)),
      SIDE_EXITS,
    );
    c.if(c.unlikely(i32.geU(c.get(T1), SIDE_EXITS_MAX)), () => {
      i32.store(c.get(T0), 0, SIDE_EXITS);
      c.drop(e.call("find", c.get(AREA), c.get(PC), i32.const(FIND.CAREFUL)));
    });
  });
}

/** The number of PC's page. */
const pageNumber = (c: Code): I32 => c.i32.shrU(c.get(PC), 12);

/** PAGE = the predecoded page of PC. */
export function emitFindPage(e: InterpreterEmitter): void {
  const { c, i32, i64 } = e;
  c.if(i32.ne(c.tee(T0, pageNumber(c)), c.get(VPN)), () => {
    c.set(VPN, c.get(T0));
    const entry = () => i32.add(i32.shl(i32.and(c.get(T0), PAGE_CACHE_ENTRIES - 1), 4), c.get(AREA));
    const found = i32.if(
      i64.eq(i64.load(c.tee(T1, entry()), PAGE_CACHE), tagOf(c, T0)),
      () => i32.load(c.get(T1), PAGE_CACHE + 8),
      () => {
        c.brIf(e.faultLabel, i32.eqz(c.tee(PAGE, e.call("codePage", c.get(PC)))));
        return c.get(PAGE);
      },
    );
    c.set(PAGE, found);
  });
}

/** RECORD_POINTER = the record of PC, in PAGE. */
export function emitRecordPointer(c: Code): void {
  const { i32 } = c;
  c.set(RECORD_POINTER, i32.add(c.get(PAGE), i32.shl(i32.and(c.get(PC), 4094), 3)));
}

/** VPN = none, and the next arrival does not count: control comes from elsewhere. */
export function emitForgetPage(c: Code): void {
  c.set(VPN, c.i32.const(-1));
  c.set(COUNT, c.i32.const(0));
}

/** One guest call less is open. */
function emitReturned(c: Code): void {
  c.set(NEST, c.i32.sub(c.get(NEST), 1));
}

/** Counts an arrival; at the threshold goes on in translated code when there is some. */
export function emitHeat(
  e: InterpreterEmitter,
  threshold: number,
  unitType: TypeIndex<Unit>,
  arrive: Label,
): void {
  const { c, i32 } = e;
  const heat = (value: () => I32): void => i32.store16(c.get(RECORD_POINTER), value(), RECORD.HEAT);
  heat(() => c.tee(T1, i32.add(i32.load16U(c.get(RECORD_POINTER), RECORD.HEAT), 1)));
  const due = () =>
    threshold >= ASK_EVERY ? i32.eqz(i32.and(c.get(T1), ASK_EVERY - 1)) : i32.geU(c.get(T1), threshold);
  c.if(c.unlikely(due()), () => {
    c.set(MODE, i32.const(FIND.PUBLISHED));
    c.if(i32.geU(c.get(T1), threshold), () => {
      c.set(MODE, i32.const(FIND.HOT));
      // Stay just below, so that the next arrival asks again (in another code space the unit may be missing).
      heat(() => i32.const(Math.max(threshold - 1, 0)));
    });
    c.if(i32.eqz(c.tee(T1, lookUp(c, PC, e.stub("find")))), () =>
      c.set(T1, e.call("find", c.get(AREA), c.get(PC), c.get(MODE))),
    );
    c.if(
      c.get(T1),
      () => emitEnterUnit(e, unitType, arrive),
      () => c.if(i32.eq(c.get(MODE), FIND.HOT), () => heat(() => i32.const(0))),
    );
  });
}

/** Goes on in the unit at index T1: by a tail call, or if guest calls are open here, by a call. */
function emitEnterUnit(e: InterpreterEmitter, unitType: TypeIndex<Unit>, arrive: Label): void {
  const { c, i32 } = e;
  c.if(i32.eqz(c.get(NEST)), () =>
    c.returnCallIndirect(unitType, c.get(AREA), c.get(REGS), c.get(PC), c.get(DEPTH), c.get(T1)),
  );
  c.if(i32.eqz(c.get(DEPTH)), () => e.exit(c.get(PC)));
  const depth = () => i32.sub(c.get(DEPTH), 1);
  const next = c.callIndirect(unitType, c.get(AREA), c.get(REGS), c.get(PC), depth(), c.get(T1));
  c.if(i32.and(c.tee(PC, next), 1), () => e.exit(c.get(PC)));
  // The unit returned from the function that it was entered in.
  emitReturned(c);
  emitForgetPage(c);
  c.br(arrive);
}

/** PC += imm; COUNT = the jump goes backwards. */
export function emitRelativeJump(c: Code): void {
  const { i32 } = c;
  c.set(COUNT, i32.leS(c.tee(T0, i32.load(c.get(RECORD_POINTER), RECORD.IMM)), 0));
  c.set(PC, i32.add(c.get(PC), c.get(T0)));
}

/** After a relative jump: when it goes forwards inside the page there is nothing to look up, count or poll. */
export function emitNear(c: Code, next: Label): void {
  const { i32 } = c;
  c.if(i32.and(i32.eq(pageNumber(c), c.get(VPN)), i32.eqz(c.get(COUNT))), () => {
    emitRecordPointer(c);
    c.br(next);
  });
}

/** Writes the link; T1 = whether there is one, and then one more call is open. */
export function emitLink(e: InterpreterEmitter): void {
  const { c, i32 } = e;
  e.rd(() => e.nextPc());
  const linked = c.tee(T1, i32.ne(i32.load16U(c.get(RECORD_POINTER), RECORD.RD), X0_SINK));
  c.set(NEST, i32.add(linked, c.get(NEST)));
}

export function emitIndirectJump(e: InterpreterEmitter, arrive: Label): void {
  const { c, i32, i64 } = e;
  c.set(Q0, i64.and(e.effectiveAddress(), -2));
  emitLink(e);
  c.if(i32.wrapI64(i64.shrU(c.get(Q0), 32)), () =>
    e.exit(e.call("badJump", c.get(AREA), c.get(REGS), c.get(Q0))),
  );
  c.set(PC, i32.wrapI64(c.get(Q0)));
  // A return is jalr x0 through ra or t0 (the calling convention's hint to return address stacks).
  const throughLink = () =>
    i32.or(
      i32.eq(c.tee(T0, i32.load16U(c.get(RECORD_POINTER), RECORD.RS1)), xAt(1)),
      i32.eq(c.get(T0), xAt(5)),
    );
  c.if(i32.and(i32.eqz(c.get(T1)), throughLink()), () => {
    c.if(i32.eqz(c.get(NEST)), () => e.exit(c.get(PC)));
    emitReturned(c);
    c.set(COUNT, i32.const(0));
    c.br(arrive);
  });
  c.set(COUNT, i32.const(1));
  c.br(arrive);
}
