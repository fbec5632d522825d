import { EXIT } from "../../../kernel/usermode.ts";
import { Emitter, type Source } from "../emitter.ts";
import { hasFusedMultiplyAdd } from "../fpu/fused.ts";
import { type Decoded, FIELDS, X } from "../isa/decode.ts";
import { CODE, FIRST_FREE_LOCAL } from "../locals.ts";
import { fastRoundingMask, loadF, loadFcsr, loadX, RM_DYNAMIC, storeF, storeX } from "../register-file.ts";
import { STUBS, type StubName } from "../stubs.ts";
import { Code, type Label } from "../wasm/code.ts";
import type { ModuleBuilder } from "../wasm/module.ts";
import { type F64, type Func, type I32, type I64, type Local, TYPE, type ValueType } from "../wasm/types.ts";
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
  readonly interpreted = false;
  /** Labels of the exits that units share; everything is stored and CODE is set. To the code at the pc in CODE: */
  toCode = 0 as Label;
  /** To the interpreter, for the instruction at the pc in CODE, whatever is hot there; that pc is odd. */
  toInterpreter = 0 as Label;
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
    super(UNIT_CODE, hasFusedMultiplyAdd());
    this.c.reset();
    this.module = module;
    let next = FIRST_REGISTER;
    for (let rest = flow.used.x; rest !== 0; rest &= rest - 1) this.localOf[lowest(rest)] = next++;
    this.integers = next - FIRST_REGISTER;
    for (let rest = flow.used.f; rest !== 0; rest &= rest - 1) this.localOf[FLOAT + lowest(rest)] = next++;
    this.floats = next - FIRST_REGISTER - this.integers;
  }

  /** Declarations of the locals beyond the scratch ones. */
  locals(): [number, ValueType][] {
    return [
      [GROUP_SLOTS, TYPE.I32],
      [this.integers, TYPE.I64],
      [this.floats, TYPE.F64],
    ];
  }

  /** The local of an integer register that the unit uses. */
  private xLocal(n: number): Local<I64> {
    return this.localOf[n]! as Local<I64>;
  }

  private fLocal(n: number): Local<F64> {
    return this.localOf[FLOAT + n]! as Local<F64>;
  }

  /** Reads registers from the register file. */
  fill(registers: Registers): void {
    const { c } = this;
    for (let rest = registers.x; rest !== 0; rest &= rest - 1) {
      const n = lowest(rest);
      c.set(this.xLocal(n), loadX(c, n));
    }
    for (let rest = registers.f; rest !== 0; rest &= rest - 1) {
      const n = lowest(rest);
      c.set(this.fLocal(n), loadF(c, n));
    }
  }

  /** Writes registers to the register file. */
  spill(registers: Registers): void {
    const { c } = this;
    for (let rest = registers.x; rest !== 0; rest &= rest - 1) {
      const n = lowest(rest);
      storeX(c, n, this.xLocal(n));
    }
    for (let rest = registers.f; rest !== 0; rest &= rest - 1) {
      const n = lowest(rest);
      storeF(c, n, this.fLocal(n));
    }
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

  x(source: Source): I64 {
    const register = this.register(source);
    return register === 0 ? this.i64.const(0) : this.c.get(this.xLocal(register));
  }

  protected beginRd(): void {}

  protected endRd(value: I64): void {
    if (this.decoded.rd === 0) this.c.drop(value);
    else this.c.set(this.xLocal(this.decoded.rd), value);
  }

  imm(): I64 {
    return this.i64.const(this.decoded.imm);
  }

  f(source: Source): F64 {
    return this.c.get(this.fLocal(this.register(source)));
  }

  protected endFd(value: F64): void {
    this.c.set(this.fLocal(this.decoded.rd), value);
  }

  pc(): I64 {
    return this.i64.const(this.at);
  }

  next(): number {
    return (this.at + this.decoded.length) >>> 0;
  }

  nextPc(): I64 {
    return this.i64.const(this.next());
  }

  /** Stores what is dirty: to be called before control leaves, in straight-line code or on a way of its own. */
  storeDirty(): void {
    this.spill(this.dirty);
  }

  exit(result: I32): void {
    const { c } = this;
    c.set(CODE, result);
    this.storeDirty();
    c.return(c.get(CODE));
  }

  /** Goes on at a pc. */
  jump(pc: I32): void {
    this.c.set(CODE, pc);
    this.storeDirty();
    this.c.br(this.toCode);
  }

  /** The interpreter executes this instruction, and goes on. */
  interpret(): void {
    this.storeDirty();
    this.c.set(CODE, this.i32.const(this.at | 1));
    this.c.br(this.toInterpreter);
  }

  fault(): void {
    this.leave(EXIT.FAULT);
  }

  leave(reason: number): void {
    this.storeDirty();
    this.storePc();
    this.c.return(this.i32.const(reason * 2 + 1));
  }

  spillForSyscall(): void {
    this.storeDirty();
  }

  reloadAfterSyscall(): void {
    if (this.localOf[10] !== 0) this.fill({ x: 1 << 10, f: 0 });
  }

  staticRm(): number | undefined {
    return this.decoded.rm === RM_DYNAMIC ? undefined : this.decoded.rm;
  }

  rm(): I32 {
    return this.i32.const(this.decoded.rm);
  }

  fastRounding(): I32 {
    const { c, i32 } = this;
    const mask = fastRoundingMask(this.decoded.rm);
    return mask === 0 ? i32.const(0) : i32.eq(i32.and(loadFcsr(c), mask), 1);
  }

  stub<K extends StubName>(name: K): Func<(typeof STUBS)[K]> {
    return this.module.import(name, STUBS[name]);
  }

  baseChecked(source: Source): boolean {
    const register = this.register(source);
    if (register === 0 || this.checked.has(register)) return register !== 0;
    this.checked.add(register);
    return false;
  }
}

/** The number of the lowest bit that is set. */
function lowest(bits: number): number {
  return 31 - Math.clz32(bits & -bits);
}
