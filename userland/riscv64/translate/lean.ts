import { type Access, AREA, HOST, T0, VA } from "../emitter.ts";
import { TLB_INDEX, TLB_LOAD, TLB_STORE } from "../layout.ts";
import type { ModuleBuilder } from "../wasm/module.ts";
import { I32, I64 } from "../wasm/opcodes.ts";
import { FIRST_GROUP, UnitEmitter } from "./emitter.ts";
import type { Group } from "./groups.ts";
import type { RegisterFlow } from "./registers.ts";

/**
 * Accesses that the TLB doesn't serve leave the unit: the interpreter executes them. Calls in the middle of a function, and what
 * they make of its registers, are what V8 spends most of its time on; accesses through one base register share a look-up.
 */
export class LeanEmitter extends UnitEmitter {
  /** Groups of accesses of the unit, by the pcs of each. */
  private readonly groups: ReadonlyMap<number, Group>;

  constructor(module: ModuleBuilder, flow: RegisterFlow, groups: ReadonlyMap<number, Group>) {
    super(module, flow);
    this.groups = groups;
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
    const { hidden } = this.splitAddress(access === "amo");
    const table = access === "load" ? TLB_LOAD : TLB_STORE;
    this.entry(table, ((1 << log2) - 1) << 22);
    c.tee(T0);
    c.op(I32.EQZ);
    hidden();
    c.unlikely();
    c.if();
    this.interpret();
    c.end();
    this.addEntry();
    if (access === "amo") c.tee(HOST);
    return 0;
  }

  /** Looks up the page of a group, or two pages that are as far from their frames. */
  private openGroup(group: Group, local: number): void {
    const c = this.c;
    this.x("rs1");
    c.i64(group.min);
    c.op(I64.ADD);
    const { checked, hidden } = this.splitAddress(false);
    const table = group.write ? TLB_STORE : TLB_LOAD;
    this.entry(table, 0);
    c.set(T0);
    const ok = c.block();
    const slow = c.block();
    // One comparison for the upper half of the address and the room behind it in its page.
    c.get(checked ? HOST : VA);
    if (checked) {
      c.i32(4095);
      c.op(I32.AND);
      c.i32(4096 - group.span);
      c.op(I32.GT_U);
    } else {
      c.i64(4095 - 2 ** 32);
      c.op(I64.AND);
      c.i64(4096 - group.span);
      c.op(I64.GT_U);
    }
    c.unlikely();
    c.brIf(slow);
    c.get(T0);
    c.likely();
    c.brIf(ok);
    c.end(); // slow
    c.get(T0);
    c.op(I32.EQZ);
    hidden();
    c.get(HOST);
    c.i32(group.span - 1);
    c.op(I32.ADD);
    this.entry(table, 0);
    c.get(T0);
    c.op(I32.NE, I32.OR);
    c.if();
    this.interpret();
    c.end();
    c.end(); // ok
    this.addEntry();
    c.set(local);
  }

  /**
   * HOST = the low half of the i64 address on the stack, which stays there; VA = all of it, to `keep` it or when its upper half is not
   * `checked`. `hidden` ORs the upper half to an i32 if it has to be looked at.
   */
  private splitAddress(keep: boolean): { checked: boolean; hidden: () => void } {
    const c = this.c;
    const checked = this.baseChecked("rs1");
    if (!checked || keep) c.tee(VA);
    c.op(I32.WRAP_I64);
    c.tee(HOST);
    const hidden = () => {
      if (checked) return;
      c.get(VA);
      c.i64(32);
      c.op(I64.SHR_U, I32.WRAP_I64, I32.OR);
    };
    return { checked, hidden };
  }

  /** Pushes the TLB entry of the address (i32) on the stack; 0 when it has one of the bits of `misaligned`, which are rotated as the index is. */
  private entry(table: number, misaligned: number): void {
    const c = this.c;
    c.i32(10);
    c.op(misaligned === 0 ? I32.SHR_U : I32.ROTR);
    c.i32(TLB_INDEX | misaligned);
    c.op(I32.AND);
    c.get(AREA);
    c.op(I32.ADD);
    c.memory(I32.LOAD, table);
  }

  private addEntry(): void {
    this.c.get(HOST);
    this.c.get(T0);
    this.c.op(I32.ADD);
  }
}
