import { EXIT } from "../../../kernel/usermode.ts";
import { AREA, type Emitter, Q1, type Source, T0 } from "../emitter.ts";
import { SCRATCH_RESULT } from "../layout.ts";
import type { Code } from "../wasm/code.ts";
import { I32, I64, TYPE } from "../wasm/opcodes.ts";
import { type Instruction, instruction, MASK_FUNCT3, MASK_FUNCT7, MASK_OPCODE } from "./instruction.ts";

const nothing = () => {};

function branch(name: string, funct3: number, compare: number): Instruction {
  const emit = (e: Emitter) => {
    e.x("rs1");
    e.x("rs2");
    e.c.op(compare);
  };
  return instruction(name, MASK_FUNCT3, (funct3 << 12) | 0x63, "B", "rs1,rs2,target", emit, "branch");
}

function load(name: string, funct3: number, log2: number, opcode: number): Instruction {
  const emit = (e: Emitter) =>
    e.rd(() => {
      e.c.memory(opcode, e.hostAddress("load", log2));
    });
  return instruction(name, MASK_FUNCT3, (funct3 << 12) | 0x03, "I", "rd,imm(rs1)", emit);
}

function store(name: string, funct3: number, log2: number, opcode: number): Instruction {
  const emit = (e: Emitter) => {
    const offset = e.hostAddress("store", log2, () => e.x("rs2"));
    e.x("rs2");
    e.c.memory(opcode, offset);
  };
  return instruction(name, MASK_FUNCT3, (funct3 << 12) | 0x23, "S", "rs2,imm(rs1)", emit);
}

function immediate(name: string, funct3: number, ...opcodes: number[]): Instruction {
  const emit = (e: Emitter) =>
    e.rd(() => {
      e.x("rs1");
      e.imm();
      e.c.ops(opcodes);
    });
  return instruction(name, MASK_FUNCT3, (funct3 << 12) | 0x13, "I", "rd,rs1,imm", emit);
}

function shift(name: string, match: number, opcode: number): Instruction {
  const emit = (e: Emitter) =>
    e.rd(() => {
      e.x("rs1");
      e.imm();
      e.c.op(opcode);
    });
  return instruction(name, 0xfc00707f, match, "shamt", "rd,rs1,shamt", emit);
}

function shiftW(name: string, match: number, opcode: number): Instruction {
  const emit = (e: Emitter) =>
    e.rdW(() => {
      e.w("rs1");
      e.imm();
      e.c.op(I32.WRAP_I64, opcode);
    });
  return instruction(name, MASK_FUNCT7, match, "shamtw", "rd,rs1,shamt", emit);
}

function register(name: string, funct7: number, funct3: number, emit: (e: Emitter) => void): Instruction {
  return instruction(name, MASK_FUNCT7, (funct7 << 25) | (funct3 << 12) | 0x33, "none", "rd,rs1,rs2", (e) =>
    e.rd(() => emit(e)),
  );
}

function registerW(name: string, funct7: number, funct3: number, emit: (e: Emitter) => void): Instruction {
  return instruction(name, MASK_FUNCT7, (funct7 << 25) | (funct3 << 12) | 0x3b, "none", "rd,rs1,rs2", (e) =>
    e.rdW(() => emit(e)),
  );
}

/** Both operands, then opcodes. */
const binary =
  (...opcodes: number[]) =>
  (e: Emitter) => {
    e.x("rs1");
    e.x("rs2");
    e.c.ops(opcodes);
  };

const binaryW =
  (...opcodes: number[]) =>
  (e: Emitter) => {
    e.w("rs1");
    e.w("rs2");
    e.c.ops(opcodes);
  };

/** How operands of each width are pushed, kept, and worked on. */
const LONG = {
  ...I64,
  local: Q1,
  value: TYPE.I64,
  push: (e: Emitter, from: Source) => e.x(from),
  constant: (c: Code, n: number) => c.i64(n),
};
const WORD = {
  ...I32,
  local: T0,
  value: TYPE.I32,
  push: (e: Emitter, from: Source) => e.w(from),
  constant: (c: Code, n: number) => c.i32(n),
};
type Size = typeof LONG | typeof WORD;

/** Division never traps: x / 0 is all ones, the overflowing quotient is the dividend. */
function divide(size: Size, opcode: number, signed: boolean) {
  return (e: Emitter) => {
    const c = e.c;
    size.push(e, "rs2");
    c.tee(size.local);
    c.op(size.EQZ);
    c.unlikely();
    c.if(size.value);
    size.constant(c, -1);
    c.else();
    if (signed) {
      c.get(size.local);
      size.constant(c, -1);
      c.op(size.EQ);
      c.unlikely();
      c.if(size.value);
      size.constant(c, 0);
      size.push(e, "rs1");
      c.op(size.SUB);
      c.else();
    }
    size.push(e, "rs1");
    c.get(size.local);
    c.op(opcode);
    if (signed) c.end();
    c.end();
  };
}

/** x % 0 is x; the overflowing remainder is 0, as in wasm. */
function remainder(size: Size, opcode: number) {
  return (e: Emitter) => {
    const c = e.c;
    size.push(e, "rs2");
    c.tee(size.local);
    c.op(size.EQZ);
    c.unlikely();
    c.if(size.value);
    size.push(e, "rs1");
    c.else();
    size.push(e, "rs1");
    c.get(size.local);
    c.op(opcode);
    c.end();
  };
}

/** mulhu, corrected for the operands that are signed. */
function mulHigh(signed1: boolean, signed2: boolean) {
  return (e: Emitter) => {
    const c = e.c;
    e.x("rs1");
    e.x("rs2");
    e.call("mulhu");
    if (signed1) {
      e.x("rs1");
      c.i64(63);
      c.op(I64.SHR_S);
      e.x("rs2");
      c.op(I64.AND, I64.SUB);
    }
    if (signed2) {
      e.x("rs2");
      c.i64(63);
      c.op(I64.SHR_S);
      e.x("rs1");
      c.op(I64.AND, I64.SUB);
    }
  };
}

/** csrrw and friends: `operation` is funct3; +8 when rs1's field is 0, which makes a set or clear a pure read. */
function csr(name: string, funct3: number): Instruction {
  const emit = (e: Emitter) => {
    const c = e.c;
    c.get(AREA);
    e.imm(); // csr number | rs1 field << 12
    c.op(I32.WRAP_I64);
    c.i32(funct3);
    if (funct3 < 4) e.x("rs1");
    else c.i64(0);
    e.call("csr");
    c.op(I32.EQZ);
    c.unlikely();
    c.if();
    e.leave(EXIT.ILLEGAL);
    c.end();
    e.rd(() => {
      c.get(AREA);
      c.memory(I64.LOAD, SCRATCH_RESULT);
    });
  };
  return instruction(
    name,
    MASK_FUNCT3,
    (funct3 << 12) | 0x73,
    "csr",
    funct3 < 4 ? "rd,csr,rs1" : "rd,csr,zimm",
    emit,
  );
}

/** RV64IM, Zicsr and Zifencei. */
export const INTEGER: readonly Instruction[] = [
  instruction("lui", MASK_OPCODE, 0x37, "U", "rd,uimm", (e) => e.rd(() => e.imm())),
  instruction("auipc", MASK_OPCODE, 0x17, "U", "rd,uimm", (e) =>
    e.rd(() => {
      e.pc();
      e.imm();
      e.c.op(I64.ADD);
    }),
  ),
  instruction("jal", MASK_OPCODE, 0x6f, "J", "rd,target", nothing, "jal"),
  instruction("jalr", MASK_FUNCT3, 0x67, "I", "rd,imm(rs1)", nothing, "jalr"),
  branch("beq", 0, I64.EQ),
  branch("bne", 1, I64.NE),
  branch("blt", 4, I64.LT_S),
  branch("bge", 5, I64.GE_S),
  branch("bltu", 6, I64.LT_U),
  branch("bgeu", 7, I64.GE_U),
  load("lb", 0, 0, I64.LOAD8_S),
  load("lh", 1, 1, I64.LOAD16_S),
  load("lw", 2, 2, I64.LOAD32_S),
  load("ld", 3, 3, I64.LOAD),
  load("lbu", 4, 0, I64.LOAD8_U),
  load("lhu", 5, 1, I64.LOAD16_U),
  load("lwu", 6, 2, I64.LOAD32_U),
  store("sb", 0, 0, I64.STORE8),
  store("sh", 1, 1, I64.STORE16),
  store("sw", 2, 2, I64.STORE32),
  store("sd", 3, 3, I64.STORE),
  immediate("addi", 0, I64.ADD),
  immediate("slti", 2, I64.LT_S, I64.EXTEND_I32_U),
  immediate("sltiu", 3, I64.LT_U, I64.EXTEND_I32_U),
  immediate("xori", 4, I64.XOR),
  immediate("ori", 6, I64.OR),
  immediate("andi", 7, I64.AND),
  shift("slli", 0x1013, I64.SHL),
  shift("srli", 0x5013, I64.SHR_U),
  shift("srai", 0x40005013, I64.SHR_S),
  instruction("addiw", MASK_FUNCT3, 0x1b, "I", "rd,rs1,imm", (e) =>
    e.rdW(() => {
      e.w("rs1");
      e.imm();
      e.c.op(I32.WRAP_I64, I32.ADD);
    }),
  ),
  shiftW("slliw", 0x101b, I32.SHL),
  shiftW("srliw", 0x501b, I32.SHR_U),
  shiftW("sraiw", 0x4000501b, I32.SHR_S),
  register("add", 0, 0, binary(I64.ADD)),
  register("sub", 0x20, 0, binary(I64.SUB)),
  register("sll", 0, 1, binary(I64.SHL)),
  register("slt", 0, 2, binary(I64.LT_S, I64.EXTEND_I32_U)),
  register("sltu", 0, 3, binary(I64.LT_U, I64.EXTEND_I32_U)),
  register("xor", 0, 4, binary(I64.XOR)),
  register("srl", 0, 5, binary(I64.SHR_U)),
  register("sra", 0x20, 5, binary(I64.SHR_S)),
  register("or", 0, 6, binary(I64.OR)),
  register("and", 0, 7, binary(I64.AND)),
  registerW("addw", 0, 0, binaryW(I32.ADD)),
  registerW("subw", 0x20, 0, binaryW(I32.SUB)),
  registerW("sllw", 0, 1, binaryW(I32.SHL)),
  registerW("srlw", 0, 5, binaryW(I32.SHR_U)),
  registerW("sraw", 0x20, 5, binaryW(I32.SHR_S)),
  register("mul", 1, 0, binary(I64.MUL)),
  register("mulh", 1, 1, mulHigh(true, true)),
  register("mulhsu", 1, 2, mulHigh(true, false)),
  register("mulhu", 1, 3, mulHigh(false, false)),
  register("div", 1, 4, divide(LONG, I64.DIV_S, true)),
  register("divu", 1, 5, divide(LONG, I64.DIV_U, false)),
  register("rem", 1, 6, remainder(LONG, I64.REM_S)),
  register("remu", 1, 7, remainder(LONG, I64.REM_U)),
  registerW("mulw", 1, 0, binaryW(I32.MUL)),
  registerW("divw", 1, 4, divide(WORD, I32.DIV_S, true)),
  registerW("divuw", 1, 5, divide(WORD, I32.DIV_U, false)),
  registerW("remw", 1, 6, remainder(WORD, I32.REM_S)),
  registerW("remuw", 1, 7, remainder(WORD, I32.REM_U)),
  instruction("fence", MASK_FUNCT3, 0x0f, "I", "", (e) => e.c.op(0xfe, 0x03, 0x00)),
  instruction("fence.i", MASK_FUNCT3, 0x100f, "none", "", (e) => e.call("instructionFence"), "fencei"),
  instruction(
    "ecall",
    0xffffffff,
    0x73,
    "none",
    "",
    (e) => {
      e.storePc();
      e.spillForSyscall();
      e.call("syscall");
      e.c.tee(T0);
      e.c.unlikely();
      e.c.if();
      e.c.get(T0);
      e.exitUntouched();
      e.c.end();
      e.reloadAfterSyscall();
    },
    "ecall",
  ),
  instruction("ebreak", 0xffffffff, 0x100073, "none", "", (e) => e.leave(EXIT.BREAKPOINT), "ebreak"),
  csr("csrrw", 1),
  csr("csrrs", 2),
  csr("csrrc", 3),
  csr("csrrwi", 5),
  csr("csrrsi", 6),
  csr("csrrci", 7),
];
