import { EXIT, USER_REGS } from "../../kernel/usermode.ts";
import {
  AREA,
  DEPTH,
  Emitter,
  FIRST_FREE_LOCAL,
  PC,
  Q0,
  REGS,
  SCRATCH_LOCALS,
  type Source,
  T0,
  T1,
} from "./emitter.ts";
import { INSTRUCTIONS } from "./isa/decode.ts";
import { lookUp } from "./jump.ts";
import {
  OP_FIRST_INSTRUCTION,
  PAGE_CACHE,
  PAGE_CACHE_ENTRIES,
  RECORD,
  SPACE_TAG,
  X0_SINK,
} from "./layout.ts";
import { STUBS, type StubName, UNIT } from "./stubs.ts";
import { Code } from "./wasm/code.ts";
import { ModuleBuilder } from "./wasm/module.ts";
import { CTL, F64, I32, I64, TYPE } from "./wasm/opcodes.ts";

const RECORD_POINTER = FIRST_FREE_LOCAL;
const PAGE = FIRST_FREE_LOCAL + 1;
/** Virtual page number that PAGE is the predecoded form of; -1 none. */
const VPN = FIRST_FREE_LOCAL + 2;
/** Guest calls made and not yet returned from inside this activation. */
const NEST = FIRST_FREE_LOCAL + 3;
/** Whether the arrival in progress counts as heat. */
const COUNT = FIRST_FREE_LOCAL + 4;

/** Emits operands found through the record at RECORD_POINTER; registers live in the register file. */
class InterpreterEmitter extends Emitter {
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

  mappingsMayChange(): void {}

  throughStack(): boolean {
    return false;
  }

  baseChecked(): boolean {
    return false;
  }
}

/**
 * The interpreter for cold code: one wasm function with the signature of a unit, a `br_table` over the predecoded
 * operation of each instruction. It goes on in translated code wherever a target has become hot (`threshold` arrivals), and
 * returns at the guest's return to the caller of the function in which it was entered.
 */
export function buildInterpreter(maxPages: number, threshold: number): Uint8Array<ArrayBuffer> {
  const module = new ModuleBuilder(maxPages);
  const unitType = module.type(UNIT);
  const e = new InterpreterEmitter(module);
  const c = e.c;

  e.loadDeltas();
  c.i32(-1);
  c.set(VPN);
  c.i32(1);
  c.set(COUNT);
  e.faultLabel = c.block();
  const arrive = c.loop();
  emitFindPage(e);
  c.get(PAGE);
  c.get(PC);
  c.i32(4094);
  c.op(I32.AND);
  c.i32(3);
  c.op(I32.SHL, I32.ADD);
  c.set(RECORD_POINTER);
  c.get(AREA);
  c.memory(I32.LOAD, 0);
  c.unlikely();
  c.if();
  e.leave(EXIT.PREEMPTED);
  c.end();
  c.get(COUNT);
  c.if();
  emitHeat(e, threshold, unitType, arrive);
  c.end();

  const next = c.loop();
  const advance = c.block();
  const labels: number[] = [];
  const cases = INSTRUCTIONS.length + OP_FIRST_INSTRUCTION;
  for (let i = cases - 1; i >= 0; i--) labels[i] = c.block();
  c.get(RECORD_POINTER);
  c.memory(I32.LOAD16_U, RECORD.OP);
  c.brTable(labels.slice(0, cases - 1), labels[cases - 1]!);

  // OP_UNDECODED
  c.end();
  c.get(RECORD_POINTER);
  c.get(PC);
  e.call("decode");
  c.tee(RECORD_POINTER);
  c.brIf(next);
  c.br(e.faultLabel);
  // OP_PAGE_END
  c.end();
  c.i32(-1);
  c.set(VPN);
  c.i32(0);
  c.set(COUNT);
  c.br(arrive);
  // OP_ILLEGAL
  c.end();
  e.leave(EXIT.ILLEGAL);

  INSTRUCTIONS.forEach((row) => {
    c.end();
    switch (row.flow) {
      case "next":
      case "ecall":
        row.emit(e);
        c.br(advance);
        break;
      case "ebreak":
        row.emit(e);
        break;
      case "fencei":
        row.emit(e);
        e.next32();
        e.exit();
        break;
      case "branch":
        row.emit(e);
        c.op(I32.EQZ);
        c.brIf(advance);
        emitRelativeJump(c);
        c.br(arrive);
        break;
      case "jal":
        emitLink(e);
        emitRelativeJump(c);
        c.get(T1);
        c.get(COUNT);
        c.op(I32.OR);
        c.set(COUNT);
        c.br(arrive);
        break;
      case "jalr":
        emitIndirectJump(e, arrive);
        break;
    }
  });
  c.end(); // advance
  e.next32();
  c.set(PC);
  c.get(RECORD_POINTER);
  c.get(RECORD_POINTER);
  c.memory(I32.LOAD8_U, RECORD.LEN);
  c.i32(3);
  c.op(I32.SHL, I32.ADD);
  c.set(RECORD_POINTER);
  c.br(next);
  c.end(); // next
  c.op(CTL.UNREACHABLE);
  c.end(); // arrive
  c.op(CTL.UNREACHABLE);
  c.end(); // fault
  e.storePc();
  c.i32(EXIT.FAULT * 2 + 1);

  module.function("f", UNIT, [...SCRATCH_LOCALS, [5, TYPE.I32]], c);
  return module.finish();
}

/** PAGE = the predecoded page of PC. */
function emitFindPage(e: InterpreterEmitter): void {
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

/** Counts an arrival; at the threshold goes on in translated code when there is some. */
function emitHeat(e: InterpreterEmitter, threshold: number, unitType: number, arrive: number): void {
  const c = e.c;
  c.get(RECORD_POINTER);
  c.get(RECORD_POINTER);
  c.memory(I32.LOAD16_U, RECORD.HEAT);
  c.i32(1);
  c.op(I32.ADD);
  c.tee(T1);
  c.memory(I32.STORE16, RECORD.HEAT);
  c.get(T1);
  c.i32(threshold);
  c.op(I32.GE_U);
  c.unlikely();
  c.if();
  // Stay just below, so that the next arrival asks again (in another code space the unit may be missing).
  c.get(RECORD_POINTER);
  c.i32(Math.max(threshold - 1, 0));
  c.memory(I32.STORE16, RECORD.HEAT);
  lookUp(c, PC, e.stub("find"));
  c.tee(T1);
  c.op(I32.EQZ);
  c.if();
  c.get(AREA);
  c.get(PC);
  c.i32(1);
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
  c.get(RECORD_POINTER);
  c.i32(0);
  c.memory(I32.STORE16, RECORD.HEAT);
  c.end();
  c.end();
}

/** PC += imm; COUNT = the jump goes backwards. */
function emitRelativeJump(c: Code): void {
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

/** Writes the link and pushes nothing; T1 = whether there is one, and then one more call is open. */
function emitLink(e: InterpreterEmitter): void {
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

function emitIndirectJump(e: InterpreterEmitter, arrive: number): void {
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
