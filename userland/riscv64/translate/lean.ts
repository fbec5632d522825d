import { type Access, AREA, CODE, DELTA, HOST, STACK_DELTA, T0, VA } from "../emitter.ts";
import { PREDICTED_DELTA, TLB_INDEX, TLB_LOAD, TLB_STORE } from "../layout.ts";
import { I32, I64 } from "../wasm/opcodes.ts";
import type { Located } from "./discover.ts";
import { FIRST_GROUP, interpretAt, UnitEmitter } from "./emitter.ts";
import { findGroups, type Group } from "./groups.ts";

/**
 * Accesses that the TLB doesn't serve leave the unit: the interpreter executes them. Calls in the middle of a function, and what
 * they make of its registers, are what V8 spends most of its time on; accesses through one base register share a look-up.
 */
export class LeanEmitter extends UnitEmitter {
  /** Groups of accesses in the block being translated. */
  private groups: ReadonlyMap<number, Group> = new Map();

  override begin(instructions: readonly Located[]): void {
    this.groups = findGroups(instructions);
  }

  override hostAddress(access: Access, log2: number): number {
    const c = this.c;
    const group = this.groups.get(this.at);
    if (group !== undefined) {
      const local = FIRST_GROUP + group.slot;
      if (group.pcs[0] === this.at) this.openGroup(group, local);
      c.get(local);
      return this.decoded.imm - group.min;
    }
    if (access === "amo") this.x("rs1");
    else this.effectiveAddress();
    this.lookUp(access !== "load", access === "amo" ? "keep" : "once", (1 << log2) - 1, 0);
    if (access === "amo") c.tee(HOST);
    return 0;
  }

  /** Looks the group's page up, or two pages that are as far from their frames. */
  private openGroup(group: Group, local: number): void {
    const c = this.c;
    this.x("rs1");
    c.i64(group.min);
    c.op(I64.ADD);
    this.lookUp(group.write, "once", 0, group.span);
    c.set(local);
  }

  /**
   * Turns the i64 address on the stack into a host address (i32), or leaves. `alignment` has the bits that must be 0; `span`, if not 0,
   * is how many bytes must be reachable from there. VA is set when it is wanted.
   */
  private lookUp(write: boolean, va: "keep" | "once", alignment: number, span: number): void {
    const c = this.c;
    const table = write ? TLB_STORE : TLB_LOAD;
    const checked = this.baseChecked("rs1");
    if (!checked || va === "keep") c.tee(VA);
    c.op(I32.WRAP_I64);
    c.tee(HOST);
    this.entry(table);
    c.tee(T0);
    const stack = this.throughStack();
    const delta = stack ? STACK_DELTA : DELTA;
    c.get(delta);
    c.op(I32.XOR);
    const upperHalf = () => {
      if (checked) return;
      c.get(VA);
      c.i64(32);
      c.op(I64.SHR_U, I32.WRAP_I64, I32.OR);
    };
    const misaligned = () => {
      if (alignment === 0) return;
      c.get(HOST);
      c.i32(alignment);
      c.op(I32.AND, I32.OR);
    };
    upperHalf();
    misaligned();
    if (span !== 0) {
      c.get(HOST);
      c.i32(4095);
      c.op(I32.AND);
      c.i32(4096 - span);
      c.op(I32.GT_U, I32.OR);
    }
    c.unlikely();
    c.if();
    c.i32(interpretAt(this.at));
    c.set(CODE);
    c.get(T0);
    c.op(I32.EQZ);
    upperHalf();
    misaligned();
    if (span !== 0) {
      c.get(HOST);
      c.i32(span - 1);
      c.op(I32.ADD);
      this.entry(table);
      c.get(T0);
      c.op(I32.NE, I32.OR);
    }
    c.unlikely();
    this.finishIf();
    c.get(AREA);
    c.get(T0);
    c.tee(delta);
    c.memory(I32.STORE, stack ? PREDICTED_DELTA : PREDICTED_DELTA + 4);
    c.end();
    c.get(HOST);
    c.get(delta);
    c.op(I32.ADD);
  }

  /** Pushes the TLB entry of the address (i32) on the stack. */
  private entry(table: number): void {
    const c = this.c;
    c.i32(10);
    c.op(I32.SHR_U);
    c.i32(TLB_INDEX);
    c.op(I32.AND);
    c.get(AREA);
    c.op(I32.ADD);
    c.memory(I32.LOAD, table);
  }
}
