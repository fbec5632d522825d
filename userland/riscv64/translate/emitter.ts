import { USER_REGS } from "../../../kernel/usermode.ts";
import { CODE, Emitter, FIRST_FREE_LOCAL, PC, REGS, type Source } from "../emitter.ts";
import { type Decoded, F, FIELDS, X } from "../isa/decode.ts";
import { STUBS, type StubName } from "../stubs.ts";
import { Code } from "../wasm/code.ts";
import type { ModuleBuilder } from "../wasm/module.ts";
import { CTL, F64, I32, I64, TYPE } from "../wasm/opcodes.ts";
import type { Block } from "./discover.ts";

/** Set when the shared exit has to go on at CODE instead of returning it. */
export const TAIL = FIRST_FREE_LOCAL;
/** Block to run next, in a unit whose control flow is irreducible. */
export const NODE = FIRST_FREE_LOCAL + 1;
const FIRST_REGISTER = FIRST_FREE_LOCAL + 2;

/** x0..x31, then f0..f31: the index of a guest register in masks and maps. */
const FLOAT = 32;

/** Emits operands as constants and wasm locals: one local for each guest register that the unit uses. */
export class UnitEmitter extends Emitter {
  readonly c = new Code();
  readonly interpreted = false;
  faultLabel = 0;
  illegalLabel = 0;
  exitLabel = 0;
  /** The instruction being translated and its pc. */
  decoded!: Decoded;
  at = 0;

  /** Local of each guest register, 0 when the unit doesn't use it. */
  private readonly localOf = new Uint8Array(64);
  private readonly used: number[] = [];
  private readonly written: number[] = [];
  /** Base registers whose upper half was seen to be 0 since they were last written. */
  private readonly checked = new Set<number>();
  private readonly module: ModuleBuilder;

  constructor(module: ModuleBuilder, blocks: Iterable<Block>) {
    super();
    this.module = module;
    this.collect(blocks);
  }

  private collect(blocks: Iterable<Block>): void {
    const used = new Set<number>();
    const written = new Set<number>();
    const note = (file: number, register: number, set: Set<number>) => {
      if (file === F) set.add(FLOAT + register);
      else if (file === X && register !== 0) set.add(register);
    };
    for (const block of blocks) {
      for (const { decoded } of block.instructions) {
        if (decoded.index < 0) continue;
        const fields = FIELDS[decoded.index]!;
        note(fields.rs1, decoded.rs1, used);
        note(fields.rs2, decoded.rs2, used);
        note(fields.rs3, decoded.rs3, used);
        note(fields.rd, decoded.rd, used);
        note(fields.rd, decoded.rd, written);
      }
    }
    this.used.push(...[...used].sort((a, b) => a - b));
    this.written.push(...[...written].sort((a, b) => a - b));
    this.used.forEach((register, i) => {
      this.localOf[register] = FIRST_REGISTER + i;
    });
  }

  /** Declarations of the locals beyond the scratch ones. */
  locals(): [number, number][] {
    const floats = this.used.filter((register) => register >= FLOAT).length;
    return [
      [2, TYPE.I32],
      [this.used.length - floats, TYPE.I64],
      [floats, TYPE.F64],
    ];
  }

  /** Reads every register that the unit uses from the register file. */
  fill(): void {
    for (const register of this.used) this.reload(register);
  }

  /** Writes every register that the unit changes to the register file. */
  spill(): void {
    const c = this.c;
    for (const register of this.written) {
      c.get(REGS);
      c.get(this.localOf[register]!);
      if (register < FLOAT) c.memory(I64.STORE, USER_REGS.X + 8 * register);
      else c.memory(F64.STORE, USER_REGS.F + 8 * (register - FLOAT));
    }
  }

  private reload(register: number): void {
    const c = this.c;
    c.get(REGS);
    if (register < FLOAT) c.memory(I64.LOAD, USER_REGS.X + 8 * register);
    else c.memory(F64.LOAD, USER_REGS.F + 8 * (register - FLOAT));
    c.set(this.localOf[register]!);
  }

  /** Another path, or a call: nothing is known about registers any more. */
  forget(): void {
    this.checked.clear();
  }

  /** To be called after each instruction. */
  retire(): void {
    if (FIELDS[this.decoded.index]!.rd === X) this.checked.delete(this.decoded.rd);
  }

  private register(source: Source): number {
    return this.decoded[source];
  }

  x(source: Source): void {
    const register = this.register(source);
    if (register === 0) this.c.i64(0);
    else this.c.get(this.localOf[register]!);
  }

  rd(value: () => void): void {
    value();
    if (this.decoded.rd === 0) this.c.op(CTL.DROP);
    else this.c.set(this.localOf[this.decoded.rd]!);
  }

  imm(): void {
    this.c.i64(this.decoded.imm);
  }

  f(source: Source): void {
    this.c.get(this.localOf[FLOAT + this.register(source)]!);
  }

  fd(value: () => void): void {
    value();
    this.c.set(this.localOf[FLOAT + this.decoded.rd]!);
  }

  pc(): void {
    this.c.i64(this.at);
  }

  next(): number {
    return (this.at + this.decoded.length) >>> 0;
  }

  nextPc(): void {
    this.c.i64(this.next());
  }

  markPc(): void {
    this.c.i32(this.at | 0);
    this.c.set(PC);
  }

  exit(): void {
    this.c.set(CODE);
    this.c.br(this.exitLabel);
  }

  exitUntouched(): void {
    this.c.op(CTL.RETURN);
  }

  spillForSyscall(): void {
    this.spill();
  }

  reloadAfterSyscall(): void {
    if (this.localOf[10] !== 0) this.reload(10);
  }

  staticRm(): number | undefined {
    return this.decoded.rm === 7 ? undefined : this.decoded.rm;
  }

  rm(): void {
    this.c.i32(this.decoded.rm);
  }

  fastRounding(): void {
    const rm = this.decoded.rm;
    if (rm !== 0 && rm !== 7) {
      this.c.i32(0);
      return;
    }
    this.c.get(REGS);
    this.c.memory(I32.LOAD, USER_REGS.FCSR);
    this.c.i32(rm === 7 ? 0xe1 : 1);
    this.c.op(I32.AND);
    this.c.i32(1);
    this.c.op(I32.EQ);
  }

  stub(name: StubName): number {
    return this.module.import(name, STUBS[name]);
  }

  throughStack(): boolean {
    return this.decoded.rs1 === 2;
  }

  baseChecked(source: Source): boolean {
    const register = this.register(source);
    if (register === 0 || this.checked.has(register)) return register !== 0;
    this.checked.add(register);
    return false;
  }
}
