/** RV64I, Zicsr and Zifencei. */

import { EXIT } from "../../../kernel/usermode.ts";
import type { Emitter } from "../emitter.ts";
import { SCRATCH_RESULT } from "../layout.ts";
import { AREA, T0 } from "../locals.ts";
import type { I32, I64 } from "../wasm/types.ts";
import { branch, type Instruction, instruction, MASK_FUNCT3, MASK_OPCODE, rd, rdW } from "./instruction.ts";
import { immediate, load, register, registerW, shift, shiftW, store } from "./integer-rows.ts";

const nothing = () => {};

const imm32 = (e: Emitter): I32 => e.i32.wrapI64(e.imm());
/** 1 or 0 as a register has it. */
const flag = (e: Emitter, condition: I32): I64 => e.i64.extendI32U(condition);

const UPPER: readonly Instruction[] = [
  instruction(
    "lui",
    MASK_OPCODE,
    0x37,
    "U",
    "rd,uimm",
    rd((e) => e.imm()),
  ),
  instruction(
    "auipc",
    MASK_OPCODE,
    0x17,
    "U",
    "rd,uimm",
    rd((e) => e.i64.add(e.pc(), e.imm())),
  ),
];

const JUMPS: readonly Instruction[] = [
  instruction("jal", MASK_OPCODE, 0x6f, "J", "rd,target", nothing, "jal"),
  instruction("jalr", MASK_FUNCT3, 0x67, "I", "rd,imm(rs1)", nothing, "jalr"),
  branch("beq", 0, (e) => e.i64.eq(e.x("rs1"), e.x("rs2"))),
  branch("bne", 1, (e) => e.i64.ne(e.x("rs1"), e.x("rs2"))),
  branch("blt", 4, (e) => e.i64.ltS(e.x("rs1"), e.x("rs2"))),
  branch("bge", 5, (e) => e.i64.geS(e.x("rs1"), e.x("rs2"))),
  branch("bltu", 6, (e) => e.i64.ltU(e.x("rs1"), e.x("rs2"))),
  branch("bgeu", 7, (e) => e.i64.geU(e.x("rs1"), e.x("rs2"))),
];

const MEMORY: readonly Instruction[] = [
  load("lb", 0, 0, (e, at, offset) => e.i64.load8S(at, offset)),
  load("lh", 1, 1, (e, at, offset) => e.i64.load16S(at, offset)),
  load("lw", 2, 2, (e, at, offset) => e.i64.load32S(at, offset)),
  load("ld", 3, 3, (e, at, offset) => e.i64.load(at, offset)),
  load("lbu", 4, 0, (e, at, offset) => e.i64.load8U(at, offset)),
  load("lhu", 5, 1, (e, at, offset) => e.i64.load16U(at, offset)),
  load("lwu", 6, 2, (e, at, offset) => e.i64.load32U(at, offset)),
  store("sb", 0, 0, (e, at, offset) => e.i64.store8(at, e.x("rs2"), offset)),
  store("sh", 1, 1, (e, at, offset) => e.i64.store16(at, e.x("rs2"), offset)),
  store("sw", 2, 2, (e, at, offset) => e.i64.store32(at, e.x("rs2"), offset)),
  store("sd", 3, 3, (e, at, offset) => e.i64.store(at, e.x("rs2"), offset)),
];

const ARITHMETIC: readonly Instruction[] = [
  immediate("addi", 0, (e) => e.i64.add(e.x("rs1"), e.imm())),
  immediate("slti", 2, (e) => flag(e, e.i64.ltS(e.x("rs1"), e.imm()))),
  immediate("sltiu", 3, (e) => flag(e, e.i64.ltU(e.x("rs1"), e.imm()))),
  immediate("xori", 4, (e) => e.i64.xor(e.x("rs1"), e.imm())),
  immediate("ori", 6, (e) => e.i64.or(e.x("rs1"), e.imm())),
  immediate("andi", 7, (e) => e.i64.and(e.x("rs1"), e.imm())),
  shift("slli", 0x1013, (e) => e.i64.shl(e.x("rs1"), e.imm())),
  shift("srli", 0x5013, (e) => e.i64.shrU(e.x("rs1"), e.imm())),
  shift("srai", 0x40005013, (e) => e.i64.shrS(e.x("rs1"), e.imm())),
  instruction(
    "addiw",
    MASK_FUNCT3,
    0x1b,
    "I",
    "rd,rs1,imm",
    rdW((e) => e.i32.add(e.w("rs1"), imm32(e))),
  ),
  shiftW("slliw", 0x101b, (e) => e.i32.shl(e.w("rs1"), imm32(e))),
  shiftW("srliw", 0x501b, (e) => e.i32.shrU(e.w("rs1"), imm32(e))),
  shiftW("sraiw", 0x4000501b, (e) => e.i32.shrS(e.w("rs1"), imm32(e))),
  register("add", 0, 0, (e) => e.i64.add(e.x("rs1"), e.x("rs2"))),
  register("sub", 0x20, 0, (e) => e.i64.sub(e.x("rs1"), e.x("rs2"))),
  register("sll", 0, 1, (e) => e.i64.shl(e.x("rs1"), e.x("rs2"))),
  register("slt", 0, 2, (e) => flag(e, e.i64.ltS(e.x("rs1"), e.x("rs2")))),
  register("sltu", 0, 3, (e) => flag(e, e.i64.ltU(e.x("rs1"), e.x("rs2")))),
  register("xor", 0, 4, (e) => e.i64.xor(e.x("rs1"), e.x("rs2"))),
  register("srl", 0, 5, (e) => e.i64.shrU(e.x("rs1"), e.x("rs2"))),
  register("sra", 0x20, 5, (e) => e.i64.shrS(e.x("rs1"), e.x("rs2"))),
  register("or", 0, 6, (e) => e.i64.or(e.x("rs1"), e.x("rs2"))),
  register("and", 0, 7, (e) => e.i64.and(e.x("rs1"), e.x("rs2"))),
  registerW("addw", 0, 0, (e) => e.i32.add(e.w("rs1"), e.w("rs2"))),
  registerW("subw", 0x20, 0, (e) => e.i32.sub(e.w("rs1"), e.w("rs2"))),
  registerW("sllw", 0, 1, (e) => e.i32.shl(e.w("rs1"), e.w("rs2"))),
  registerW("srlw", 0, 5, (e) => e.i32.shrU(e.w("rs1"), e.w("rs2"))),
  registerW("sraw", 0x20, 5, (e) => e.i32.shrS(e.w("rs1"), e.w("rs2"))),
];

function emitEcall(e: Emitter): void {
  const { c } = e;
  e.storePc();
  e.spillForSyscall();
  // The kernel has changed the register file: nothing is to be stored there any more.
  c.if(c.unlikely(c.tee(T0, e.call("syscall"))), () => c.return(c.get(T0)));
  e.reloadAfterSyscall();
}

const SYSTEM: readonly Instruction[] = [
  instruction("fence", MASK_FUNCT3, 0x0f, "I", "", (e) => e.c.atomicFence()),
  instruction("fence.i", MASK_FUNCT3, 0x100f, "none", "", (e) => e.call("instructionFence"), "fencei"),
  instruction("ecall", 0xffffffff, 0x73, "none", "", emitEcall, "ecall"),
  instruction("ebreak", 0xffffffff, 0x100073, "none", "", (e) => e.leave(EXIT.BREAKPOINT), "ebreak"),
];

/** csrrw and friends: funct3 is the operation, and the immediate is the number of the CSR | rs1 field << 12. */
function csr(name: string, funct3: number): Instruction {
  const ofRegister = funct3 < 4;
  const operands = ofRegister ? "rd,csr,rs1" : "rd,csr,zimm";
  return instruction(name, MASK_FUNCT3, (funct3 << 12) | 0x73, "csr", operands, (e) => {
    const { c, i32, i64 } = e;
    const operand = () => (ofRegister ? e.x("rs1") : i64.const(0));
    const known = e.call("csr", c.get(AREA), imm32(e), i32.const(funct3), operand());
    c.if(c.unlikely(i32.eqz(known)), () => e.leave(EXIT.ILLEGAL));
    e.rd(() => i64.load(c.get(AREA), SCRATCH_RESULT));
  });
}

const CSRS: readonly Instruction[] = [
  csr("csrrw", 1),
  csr("csrrs", 2),
  csr("csrrc", 3),
  csr("csrrwi", 5),
  csr("csrrsi", 6),
  csr("csrrci", 7),
];

export const INTEGER: readonly Instruction[] = [...UPPER, ...JUMPS, ...MEMORY, ...ARITHMETIC];
export const CONTROL: readonly Instruction[] = [...SYSTEM, ...CSRS];
