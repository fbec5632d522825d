import { EXIT } from "../../kernel/usermode.ts";
import { InterpreterEmitter, RECORD_POINTER } from "./interpreter-emitter.ts";
import {
  COUNT,
  emitEntry,
  emitFindPage,
  emitForgetPage,
  emitHeat,
  emitIndirectJump,
  emitLink,
  emitNear,
  emitRecordPointer,
  emitRelativeJump,
  VPN,
} from "./interpreter-jumps.ts";
import { INSTRUCTIONS } from "./isa/decode.ts";
import type { Effect, Instruction } from "./isa/instruction.ts";
import { wanted } from "./jump.ts";
import { OP_FIRST_INSTRUCTION, OP_ILLEGAL, OP_PAGE_END, OP_UNDECODED, RECORD } from "./layout.ts";
import { AREA, DEPTH, PC, REGS, SCRATCH_LOCALS, T0, T1 } from "./locals.ts";
import { STUBS, UNIT, type Unit } from "./stubs.ts";
import type { Code, Label } from "./wasm/code.ts";
import { ModuleBuilder } from "./wasm/module.ts";
import { type Func, signatureOf, TYPE, type TypeIndex } from "./wasm/types.ts";

/** Opcodes of integer code without atomics: what `run` executes itself. */
const COMMON = new Set([0x03, 0x13, 0x17, 0x1b, 0x23, 0x33, 0x37, 0x3b, 0x63, 0x67, 0x6f]);

const isCommon = (row: Instruction): boolean => COMMON.has(row.match & 0x7f) || row.flow !== "next";

/** The type of `rare`: (area, regs, pc, record) -> 0 to go on after the instruction, else what to return. */
const RARE = signatureOf([TYPE.I32, TYPE.I32, TYPE.I32, TYPE.I32], [TYPE.I32]);

/**
 * The interpreter for cold code: a wasm function with the signature of a unit, a `br_table` over the predecoded
 * operation of each instruction. It goes on in translated code wherever a target has become hot (`threshold` arrivals), and
 * returns at the guest's return to the caller of the function in which it was entered. Floating point, atomics and CSRs are in
 * a second function: the smaller the first one, the sooner and the better V8 optimises it. `hasFused`: the machine has a fused multiply-add.
 */
export function buildInterpreter(
  maxPages: number,
  threshold: number,
  hasFused: boolean,
): Uint8Array<ArrayBuffer> {
  const module = new ModuleBuilder({ maxPages });
  for (const [name, signature] of Object.entries(STUBS)) module.import(name, signature);
  const rare = module.add(
    "rare",
    RARE,
    [...SCRATCH_LOCALS, [5, TYPE.I32]],
    buildRare(new InterpreterEmitter(module, hasFused)),
  );
  module.add(
    "f",
    UNIT,
    [...SCRATCH_LOCALS, [6, TYPE.I32]],
    buildRun(new InterpreterEmitter(module, hasFused), module.type(UNIT), threshold, rare),
  );
  return module.finish();
}

const opOf = (row: Instruction): number => INSTRUCTIONS.indexOf(row) + OP_FIRST_INSTRUCTION;

/** Runs the case of the record's operation. */
function emitSwitch(c: Code, cases: Parameters<Code["switch"]>[1], otherwise: number): void {
  c.switch(
    () => c.i32.load16U(c.get(RECORD_POINTER), RECORD.OP),
    cases,
    cases.find(({ values }) => values.includes(otherwise))!,
  );
}

/** What follows a body of an interpreter: the way out of its block is a fault. */
function emitFault(e: InterpreterEmitter): void {
  e.storePc();
  e.i32.const(EXIT.FAULT * 2 + 1);
}

function buildRare(e: InterpreterEmitter): Code {
  const { c, i32 } = e;
  const rows = INSTRUCTIONS.filter((row) => row.flow !== "branch" && !isCommon(row)) as Effect[];
  const others = INSTRUCTIONS.filter(isCommon).map(opOf);
  c.set(RECORD_POINTER, c.get(DEPTH)); // the fourth parameter
  c.block((fault) => {
    e.faultLabel = fault;
    c.block((done) => {
      const never = {
        values: [OP_UNDECODED, OP_PAGE_END, OP_ILLEGAL, ...others],
        body: () => c.unreachable(),
      };
      const bodies = rows.map((row) => ({
        values: [opOf(row)],
        body: () => {
          row.emit(e);
          c.br(done);
        },
      }));
      emitSwitch(c, [never, ...bodies], OP_ILLEGAL);
    });
    c.return(i32.const(0));
  });
  emitFault(e);
  return c;
}

function buildRun(
  e: InterpreterEmitter,
  unitType: TypeIndex<Unit>,
  threshold: number,
  rare: Func<typeof RARE>,
): Code {
  const { c, i32 } = e;
  c.set(VPN, i32.const(-1));
  emitEntry(e);
  c.block((fault) => {
    e.faultLabel = fault;
    c.loop((arrive) => {
      emitFindPage(e);
      emitRecordPointer(c);
      c.if(wanted(c), () => e.leave(EXIT.PREEMPTED));
      c.if(c.get(COUNT), () => emitHeat(e, threshold, unitType, arrive));
      c.loop((next) => {
        c.block((advance) => emitInstructions(e, rare, { arrive, next, advance }));
        c.set(PC, e.next32());
        c.set(RECORD_POINTER, i32.add(c.get(RECORD_POINTER), i32.shl(e.instructionBytes(), 3)));
        c.br(next);
      });
      c.unreachable();
    });
    c.unreachable();
  });
  emitFault(e);
  return c;
}

/** Where the code of an instruction goes on: at the pc as at a jump's target, at RECORD_POINTER, behind the instruction. */
interface Ways {
  readonly arrive: Label;
  readonly next: Label;
  readonly advance: Label;
}

function emitInstructions(e: InterpreterEmitter, rare: Func<typeof RARE>, ways: Ways): void {
  const { c, i32 } = e;
  const undecoded = () => {
    c.brIf(ways.next, c.tee(RECORD_POINTER, e.call("decode", c.get(RECORD_POINTER), c.get(PC))));
    c.br(e.faultLabel);
  };
  const pageEnd = () => {
    emitForgetPage(c);
    c.br(ways.arrive);
  };
  const rarity = () => {
    const result = c.call(rare, c.get(AREA), c.get(REGS), c.get(PC), c.get(RECORD_POINTER));
    c.brIf(ways.advance, i32.eqz(c.tee(T0, result)));
    e.exit(c.get(T0));
  };
  const rows = INSTRUCTIONS.filter(isCommon);
  const others = INSTRUCTIONS.filter((row) => !isCommon(row)).map(opOf);
  const cases = [
    { values: [OP_UNDECODED], body: undecoded },
    { values: [OP_PAGE_END], body: pageEnd },
    { values: [OP_ILLEGAL], body: () => e.leave(EXIT.ILLEGAL) },
    { values: others, body: rarity },
    ...rows.map((row) => ({ values: [opOf(row)], body: () => emitRow(e, row, ways) })),
  ];
  emitSwitch(c, cases, OP_ILLEGAL);
}

function emitRow(e: InterpreterEmitter, row: Instruction, { arrive, next, advance }: Ways): void {
  const { c, i32 } = e;
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
      e.exit(e.next32());
      break;
    case "branch":
      c.brIf(advance, i32.eqz(row.condition(e)));
      emitRelativeJump(c);
      emitNear(c, next);
      c.br(arrive);
      break;
    case "jal":
      emitLink(e);
      emitRelativeJump(c);
      c.set(COUNT, i32.or(c.get(T1), c.get(COUNT)));
      emitNear(c, next);
      c.br(arrive);
      break;
    case "jalr":
      emitIndirectJump(e, arrive);
      break;
  }
}
