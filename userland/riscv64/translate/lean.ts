import type { Access } from "../emitter.ts";
import { TLB_INDEX, TLB_LOAD, TLB_STORE } from "../layout.ts";
import { AREA, HOST, T0, VA } from "../locals.ts";
import type { ModuleBuilder } from "../wasm/module.ts";
import type { I32, I64, Local } from "../wasm/types.ts";
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
  private readonly leaveToInterpreter = () => this.interpret();

  constructor(module: ModuleBuilder, flow: RegisterFlow, groups: ReadonlyMap<number, Group>) {
    super(module, flow);
    this.groups = groups;
  }

  protected override hostAddress(access: Access, log2: number): number {
    const { c, i32 } = this;
    const group = this.groups.get(this.at);
    if (group !== undefined) {
      const local = (FIRST_GROUP + group.slot) as Local<I32>;
      if (group.pcs[0] === this.at) this.openGroup(group, local);
      c.get(local);
      return this.decoded.imm - group.min;
    }
    const atomic = access === "amo";
    const checked = this.baseChecked("rs1");
    const low = this.splitAddress(atomic ? this.x("rs1") : this.effectiveAddress(), checked, atomic);
    const table = access === "load" ? TLB_LOAD : TLB_STORE;
    const missing = i32.eqz(c.tee(T0, this.entry(low, table, ((1 << log2) - 1) << 22)));
    c.if(c.unlikely(this.orUpperHalf(missing, checked)), this.leaveToInterpreter);
    const address = this.entryAdded();
    if (atomic) c.tee(HOST, address);
    return 0;
  }

  /** Looks up the page of a group, or two pages that are as far from their frames. */
  private openGroup(group: Group, local: Local<I32>): void {
    const { c, i32, i64 } = this;
    const checked = this.baseChecked("rs1");
    const low = this.splitAddress(i64.add(this.x("rs1"), group.min), checked, false);
    const table = group.write ? TLB_STORE : TLB_LOAD;
    c.set(T0, this.entry(low, table, 0));
    c.block((ok) => {
      c.block((slow) => {
        // One comparison for the upper half of the address and the room behind it in its page.
        const crosses = () =>
          checked
            ? i32.gtU(i32.and(c.get(HOST), 4095), 4096 - group.span)
            : i64.gtU(i64.and(c.get(VA), 4095 - 2 ** 32), 4096 - group.span);
        c.brIf(slow, c.unlikely(crosses()));
        c.brIf(ok, c.likely(c.get(T0)));
      });
      const missing = this.orUpperHalf(i32.eqz(c.get(T0)), checked);
      const last = i32.add(c.get(HOST), group.span - 1);
      const apart = i32.ne(this.entry(last, table, 0), c.get(T0));
      c.if(i32.or(missing, apart), this.leaveToInterpreter);
    });
    c.set(local, this.entryAdded());
  }

  /** HOST = the low half of an address, which is also the result; VA = all of it, to `keep` it or when its upper half is not `checked`. */
  private splitAddress(address: I64, checked: boolean, keep: boolean): I32 {
    const { c, i32 } = this;
    return c.tee(HOST, i32.wrapI64(checked && !keep ? address : c.tee(VA, address)));
  }

  /** `value`, not 0 either when the upper half of VA isn't, if that has to be looked at. */
  private orUpperHalf(value: I32, checked: boolean): I32 {
    const { c, i32, i64 } = this;
    return checked ? value : i32.or(value, i32.wrapI64(i64.shrU(c.get(VA), 32)));
  }

  /** The TLB entry of `address`; 0 when that has one of the bits of `misaligned`, which are rotated as the index is. */
  private entry(address: I32, table: number, misaligned: number): I32 {
    const { c, i32 } = this;
    const rotated = misaligned === 0 ? i32.shrU(address, 10) : i32.rotr(address, 10);
    return i32.load(i32.add(i32.and(rotated, TLB_INDEX | misaligned), c.get(AREA)), table);
  }

  /** HOST + the entry in T0. */
  private entryAdded(): I32 {
    const { c, i32 } = this;
    return i32.add(c.get(HOST), c.get(T0));
  }
}
