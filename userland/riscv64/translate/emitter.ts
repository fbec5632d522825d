import { EXIT, USER_REGS } from "../../../kernel/usermode.ts";
import { CODE, Emitter, FIRST_FREE_LOCAL, REGS, type Source } from "../emitter.ts";
import { type Decoded, FIELDS, X } from "../isa/decode.ts";
import { STUBS, type StubName } from "../stubs.ts";
import { Code } from "../wasm/code.ts";
import type { ModuleBuilder } from "../wasm/module.ts";
import { CTL, F64, I32, I64, TYPE } from "../wasm/opcodes.ts";
import { GROUP_SLOTS } from "./groups.ts";
import type { RegisterFlow, Registers } from "./registers.ts";

/** Host addresses of groups of accesses. */
export const FIRST_GROUP = FIRST_FREE_LOCAL;
const FIRST_REGISTER = FIRST_GROUP + GROUP_SLOTS;

/** Exit codes are below this, and so is no pc of translated code. */
export const FIRST_PC = 4096;

/** x0..x31, then f0..f31: the index of a guest register in masks and maps. */
const FLOAT = 32;

/** The code of the unit in hand: one at a time. */
const UNIT_CODE = new Code(1 << 16);

/**
 * Emits operands as constants and wasm locals: one local for each guest register that the unit uses. Accesses call a stub when
 * the TLB doesn't serve them.
 */
export class UnitEmitter extends Emitter {
  readonly c = UNIT_CODE;
  readonly interpreted = false;
  /** Labels of the exits that units share; everything is stored and CODE is set. To the code at the pc in CODE: */
  toCode = 0;
  /** To the interpreter, for the instruction at the pc in CODE, whatever is hot there; that pc is odd. */
  toInterpreter = 0;
  /** The instruction being translated and its pc. */
  decoded!: Decoded;
  at = 0;

  /** Local of each guest register, 0 when the unit doesn't use it. */
  private readonly localOf = new Uint8Array(64);
  private readonly integers: number;
  private readonly floats: number;
  /** Registers that were written since they were last stored. */
  dirty: Registers = { x: 0, f: 0 };
  /** Base registers whose upper half was seen to be 0 since they were last written. */
  checked = new Set<number>();
  private readonly module: ModuleBuilder;

  constructor(module: ModuleBuilder, flow: RegisterFlow) {
    super();
    this.c.reset();
    this.module = module;
    let next = FIRST_REGISTER;
    forEach(flow.used.x, (n) => {
      this.localOf[n] = next++;
    });
    this.integers = next - FIRST_REGISTER;
    forEach(flow.used.f, (n) => {
      this.localOf[FLOAT + n] = next++;
    });
    this.floats = next - FIRST_REGISTER - this.integers;
  }

  /** Declarations of the locals beyond the scratch ones. */
  locals(): [number, number][] {
    return [
      [GROUP_SLOTS, TYPE.I32],
      [this.integers, TYPE.I64],
      [this.floats, TYPE.F64],
    ];
  }

  /** Reads registers from the register file. */
  fill(registers: Registers): void {
    const c = this.c;
    forEach(registers.x, (n) => {
      c.get(REGS);
      c.memory(I64.LOAD, USER_REGS.X + 8 * n);
      c.set(this.localOf[n]!);
    });
    forEach(registers.f, (n) => {
      c.get(REGS);
      c.memory(F64.LOAD, USER_REGS.F + 8 * n);
      c.set(this.localOf[FLOAT + n]!);
    });
  }

  /** Writes registers to the register file. */
  spill(registers: Registers): void {
    const c = this.c;
    forEach(registers.x, (n) => {
      c.get(REGS);
      c.get(this.localOf[n]!);
      c.memory(I64.STORE, USER_REGS.X + 8 * n);
    });
    forEach(registers.f, (n) => {
      c.get(REGS);
      c.get(this.localOf[FLOAT + n]!);
      c.memory(F64.STORE, USER_REGS.F + 8 * n);
    });
  }

  /** Another path, or a call: nothing is known about registers any more. */
  forget(): void {
    this.checked.clear();
  }

  /** To be called after each instruction. */
  retire(): void {
    if (FIELDS[this.decoded.index]!.rd === X) this.checked.delete(this.decoded.rd);
  }

  protected register(source: Source): number {
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

  /** Stores what is dirty: to be called before control leaves, in straight-line code or on a way of its own. */
  store(): void {
    this.spill(this.dirty);
  }

  exit(): void {
    this.c.set(CODE);
    this.store();
    this.c.get(CODE);
    this.c.op(CTL.RETURN);
  }

  /** Goes on at the pc (i32) on the stack. */
  jump(): void {
    this.c.set(CODE);
    this.store();
    this.c.br(this.toCode);
  }

  /** The interpreter executes this instruction, and goes on. */
  interpret(): void {
    this.store();
    this.c.i32(this.at | 1);
    this.c.set(CODE);
    this.c.br(this.toInterpreter);
  }

  fault(): void {
    this.leave(EXIT.FAULT);
  }

  leave(reason: number): void {
    this.store();
    this.storePc();
    this.c.i32(reason * 2 + 1);
    this.c.op(CTL.RETURN);
  }

  exitUntouched(): void {
    this.c.op(CTL.RETURN);
  }

  spillForSyscall(): void {
    this.store();
  }

  reloadAfterSyscall(): void {
    if (this.localOf[10] !== 0) this.fill({ x: 1 << 10, f: 0 });
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

  baseChecked(source: Source): boolean {
    const register = this.register(source);
    if (register === 0 || this.checked.has(register)) return register !== 0;
    this.checked.add(register);
    return false;
  }
}

/** Calls back with the number of each bit that is set. */
function forEach(bits: number, callback: (n: number) => void): void {
  for (let rest = bits; rest !== 0; rest &= rest - 1) callback(31 - Math.clz32(rest & -rest));
}
