import { Emitter, type Source } from "./emitter.ts";
import { RECORD } from "./layout.ts";
import { FIRST_FREE_LOCAL, PC, REGS } from "./locals.ts";
import { loadFcsr } from "./register-file.ts";
import { STUBS, type StubName } from "./stubs.ts";
import { Code, type Label } from "./wasm/code.ts";
import type { ModuleBuilder } from "./wasm/module.ts";
import { type F64, type Func, type I32, type I64, type Local, PUSHED } from "./wasm/types.ts";

/** Local: byte address of the record being executed. */
export const RECORD_POINTER = FIRST_FREE_LOCAL as Local<I32>;

/** Emits operands found through the record at RECORD_POINTER; registers live in the register file. */
export class InterpreterEmitter extends Emitter {
  readonly interpreted = true;
  /** Leaves with a fault at PC. */
  faultLabel = 0 as Label;
  private readonly module: ModuleBuilder;

  constructor(module: ModuleBuilder, hasFused: boolean) {
    super(new Code(), hasFused);
    this.module = module;
  }

  /** The address of a register named by a record field. */
  private address(field: number): I32 {
    const { c, i32 } = this;
    return i32.add(c.get(REGS), i32.load16U(c.get(RECORD_POINTER), field));
  }

  private source(source: Source): I32 {
    // rs3 shares the immediate's low half.
    return this.address(source === "rs1" ? RECORD.RS1 : source === "rs2" ? RECORD.RS2 : RECORD.IMM);
  }

  x(source: Source): I64 {
    return this.i64.load(this.source(source));
  }

  protected beginRd(): void {
    this.address(RECORD.RD);
  }

  protected endRd(value: I64): void {
    this.i64.store(PUSHED, value);
  }

  imm(): I64 {
    return this.i64.load32S(this.c.get(RECORD_POINTER), RECORD.IMM);
  }

  f(source: Source): F64 {
    return this.f64.load(this.source(source));
  }

  protected endFd(value: F64): void {
    this.f64.store(PUSHED, value);
  }

  pc(): I64 {
    return this.i64.extendI32U(this.c.get(PC));
  }

  nextPc(): I64 {
    return this.i64.extendI32U(this.next32());
  }

  next32(): I32 {
    const { c, i32 } = this;
    return i32.add(c.get(PC), this.instructionBytes());
  }

  instructionBytes(): I32 {
    return this.i32.load8U(this.c.get(RECORD_POINTER), RECORD.LEN);
  }

  fault(): void {
    this.c.br(this.faultLabel);
  }

  leave(reason: number): void {
    this.storePc();
    this.exit(this.i32.const(reason * 2 + 1));
  }

  exit(result: I32): void {
    this.c.return(result);
  }

  spillForSyscall(): void {}
  reloadAfterSyscall(): void {}

  staticRm(): undefined {
    return undefined;
  }

  rm(): I32 {
    return this.i32.load8U(this.c.get(RECORD_POINTER), RECORD.IMM + 3);
  }

  fastRounding(): I32 {
    const { c, i32 } = this;
    return i32.eq(i32.and(loadFcsr(c), i32.load8U(c.get(RECORD_POINTER), RECORD.IMM + 2)), 1);
  }

  stub<K extends StubName>(name: K): Func<(typeof STUBS)[K]> {
    return this.module.import(name, STUBS[name]);
  }

  baseChecked(): boolean {
    return false;
  }
}
