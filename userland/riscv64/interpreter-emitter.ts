import { USER_REGS } from "../../kernel/usermode.ts";
import { Emitter, FIRST_FREE_LOCAL, PC, REGS, type Source } from "./emitter.ts";
import { RECORD } from "./layout.ts";
import { STUBS, type StubName } from "./stubs.ts";
import { Code } from "./wasm/code.ts";
import type { ModuleBuilder } from "./wasm/module.ts";
import { CTL, F64, I32, I64 } from "./wasm/opcodes.ts";

/** Local: byte address of the record being executed. */
export const RECORD_POINTER = FIRST_FREE_LOCAL;

/** Emits operands found through the record at RECORD_POINTER; registers live in the register file. */
export class InterpreterEmitter extends Emitter {
  readonly c = new Code();
  readonly interpreted = true;
  /** Leaves with a fault at PC. */
  faultLabel = 0;
  private readonly module: ModuleBuilder;

  constructor(module: ModuleBuilder) {
    super();
    this.module = module;
  }

  /** Pushes the address of a register named by a record field. */
  private address(offset: number): void {
    this.c.get(REGS);
    this.c.get(RECORD_POINTER);
    this.c.memory(I32.LOAD16_U, offset);
    this.c.op(I32.ADD);
  }

  private source(source: Source): void {
    // rs3 shares the immediate's low half.
    this.address(source === "rs1" ? RECORD.RS1 : source === "rs2" ? RECORD.RS2 : RECORD.IMM);
  }

  x(source: Source): void {
    this.source(source);
    this.c.memory(I64.LOAD);
  }

  rd(value: () => void): void {
    this.address(RECORD.RD);
    value();
    this.c.memory(I64.STORE);
  }

  imm(): void {
    this.c.get(RECORD_POINTER);
    this.c.memory(I64.LOAD32_S, RECORD.IMM);
  }

  f(source: Source): void {
    this.source(source);
    this.c.memory(F64.LOAD);
  }

  fd(value: () => void): void {
    this.address(RECORD.RD);
    value();
    this.c.memory(F64.STORE);
  }

  pc(): void {
    this.c.get(PC);
    this.c.op(I64.EXTEND_I32_U);
  }

  nextPc(): void {
    this.next32();
    this.c.op(I64.EXTEND_I32_U);
  }

  next32(): void {
    this.c.get(PC);
    this.c.get(RECORD_POINTER);
    this.c.memory(I32.LOAD8_U, RECORD.LEN);
    this.c.op(I32.ADD);
  }

  fault(): void {
    this.c.br(this.faultLabel);
  }

  leave(reason: number): void {
    this.storePc();
    this.c.i32(reason * 2 + 1);
    this.exit();
  }

  exit(): void {
    this.c.op(CTL.RETURN);
  }

  exitUntouched(): void {
    this.c.op(CTL.RETURN);
  }

  spillForSyscall(): void {}
  reloadAfterSyscall(): void {}

  staticRm(): undefined {
    return undefined;
  }

  rm(): void {
    this.c.get(RECORD_POINTER);
    this.c.memory(I32.LOAD8_U, RECORD.IMM + 3);
  }

  fastRounding(): void {
    this.c.get(REGS);
    this.c.memory(I32.LOAD, USER_REGS.FCSR);
    this.c.get(RECORD_POINTER);
    this.c.memory(I32.LOAD8_U, RECORD.IMM + 2);
    this.c.op(I32.AND);
    this.c.i32(1);
    this.c.op(I32.EQ);
  }

  stub(name: StubName): number {
    return this.module.import(name, STUBS[name]);
  }

  baseChecked(): boolean {
    return false;
  }
}
