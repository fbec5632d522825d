import { EXIT } from "../../kernel/usermode.ts";
import { AREA, DEPTH, PC, REGS, SCRATCH_LOCALS, T0, T1 } from "./emitter.ts";
import { InterpreterEmitter, RECORD_POINTER } from "./interpreter-emitter.ts";
import {
  COUNT,
  emitEntry,
  emitFindPage,
  emitHeat,
  emitIndirectJump,
  emitLink,
  emitNear,
  emitRecordPointer,
  emitRelativeJump,
  VPN,
} from "./interpreter-jumps.ts";
import { INSTRUCTIONS } from "./isa/decode.ts";
import type { Instruction } from "./isa/instruction.ts";
import { OP_FIRST_INSTRUCTION, OP_ILLEGAL, OP_PAGE_END, OP_UNDECODED, RECORD } from "./layout.ts";
import { STUBS, UNIT } from "./stubs.ts";
import type { Code } from "./wasm/code.ts";
import { ModuleBuilder, type Signature } from "./wasm/module.ts";
import { CTL, I32, TYPE } from "./wasm/opcodes.ts";

/** Opcodes of integer code without atomics: what `run` executes itself. */
const COMMON = new Set([0x03, 0x13, 0x17, 0x1b, 0x23, 0x33, 0x37, 0x3b, 0x63, 0x67, 0x6f]);

const isCommon = (row: Instruction): boolean => COMMON.has(row.match & 0x7f) || row.flow !== "next";

/** The type of `rare`: (area, regs, pc, record) -> 0 to go on after the instruction, else what to return. */
const RARE: Signature = { params: [TYPE.I32, TYPE.I32, TYPE.I32, TYPE.I32], results: [TYPE.I32] };

/**
 * The interpreter for cold code: a wasm function with the signature of a unit, a `br_table` over the predecoded
 * operation of each instruction. It goes on in translated code wherever a target has become hot (`threshold` arrivals), and
 * returns at the guest's return to the caller of the function in which it was entered. Floating point, atomics and CSRs are in
 * a second function: the smaller the first one, the sooner and the better V8 optimises it.
 */
export function buildInterpreter(maxPages: number, threshold: number): Uint8Array<ArrayBuffer> {
  const module = new ModuleBuilder(maxPages);
  for (const [name, signature] of Object.entries(STUBS)) module.import(name, signature);
  const rare = module.function("rare", RARE, [...SCRATCH_LOCALS, [5, TYPE.I32]], buildRare(module));
  const code = buildRun(module, threshold, rare);
  module.function("f", UNIT, [...SCRATCH_LOCALS, [6, TYPE.I32]], code);
  return module.finish();
}

/** Opens a block for each of `cases` and branches by the record's operation; the caller ends them one by one. */
function emitSwitch(c: Code, cases: readonly (readonly number[])[]): void {
  const labels: number[] = [];
  for (let i = cases.length - 1; i >= 0; i--) {
    const label = c.block();
    for (const op of cases[i]!) labels[op] = label;
  }
  c.get(RECORD_POINTER);
  c.memory(I32.LOAD16_U, RECORD.OP);
  c.brTable(labels, labels[OP_ILLEGAL]!);
}

const opOf = (row: Instruction): number => INSTRUCTIONS.indexOf(row) + OP_FIRST_INSTRUCTION;

function buildRare(module: ModuleBuilder): Code {
  const e = new InterpreterEmitter(module);
  const c = e.c;
  const rows = INSTRUCTIONS.filter((row) => !isCommon(row));
  const others = INSTRUCTIONS.filter(isCommon).map(opOf);
  c.get(DEPTH); // the fourth parameter
  c.set(RECORD_POINTER);
  e.faultLabel = c.block();
  const done = c.block();
  emitSwitch(c, [[OP_UNDECODED, OP_PAGE_END, OP_ILLEGAL, ...others], ...rows.map((row) => [opOf(row)])]);
  c.end();
  c.op(CTL.UNREACHABLE);
  for (const row of rows) {
    c.end();
    row.emit(e);
    c.br(done);
  }
  c.end(); // done
  c.i32(0);
  c.op(CTL.RETURN);
  c.end(); // fault
  e.storePc();
  c.i32(EXIT.FAULT * 2 + 1);
  return c;
}

function buildRun(module: ModuleBuilder, threshold: number, rare: number): Code {
  const unitType = module.type(UNIT);
  const e = new InterpreterEmitter(module);
  const c = e.c;
  c.i32(-1);
  c.set(VPN);
  emitEntry(e);
  e.faultLabel = c.block();
  const arrive = c.loop();
  emitFindPage(e);
  emitRecordPointer(c);
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
  const rows = INSTRUCTIONS.filter(isCommon);
  const others = INSTRUCTIONS.filter((row) => !isCommon(row)).map(opOf);
  emitSwitch(c, [[OP_UNDECODED], [OP_PAGE_END], [OP_ILLEGAL], others, ...rows.map((row) => [opOf(row)])]);

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
  // All that is rare
  c.end();
  c.get(AREA);
  c.get(REGS);
  c.get(PC);
  c.get(RECORD_POINTER);
  c.call(rare);
  c.tee(T0);
  c.op(I32.EQZ);
  c.brIf(advance);
  c.get(T0);
  e.exit();

  for (const row of rows) {
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
        emitNear(c, next);
        c.br(arrive);
        break;
      case "jal":
        emitLink(e);
        emitRelativeJump(c);
        c.get(T1);
        c.get(COUNT);
        c.op(I32.OR);
        c.set(COUNT);
        emitNear(c, next);
        c.br(arrive);
        break;
      case "jalr":
        emitIndirectJump(e, arrive);
        break;
    }
  }
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
  return c;
}
