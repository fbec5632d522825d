import { USER_REGS } from "../../../kernel/usermode.ts";
import { type Emitter, HOST, Q0, Q1, REGS, T0, T1, VA } from "../emitter.ts";
import { ATOMIC, CTL, I32, I64, TYPE } from "../wasm/opcodes.ts";
import { type Instruction, instruction } from "./instruction.ts";

/** aq and rl are not looked at: every wasm atomic is sequentially consistent. */
const MASK_AMO = 0xf800707f;

function amo(name: string, funct5: number, wide: boolean, emit: (e: Emitter) => void): Instruction {
  const match = (funct5 << 27) | (wide ? 0x302f : 0x202f);
  const operands = funct5 === 2 ? "rd,(rs1)" : "rd,rs2,(rs1)";
  return instruction(
    `${name}.${wide ? "d" : "w"}`,
    funct5 === 2 ? MASK_AMO | 0x1f00000 : MASK_AMO,
    match,
    "none",
    operands,
    emit,
  );
}

/** A read-modify-write that wasm has. */
function rmw(name: string, funct5: number, opcode: number): Instruction[] {
  return [false, true].map((wide) =>
    amo(name, funct5, wide, (e) =>
      e.rd(() => {
        e.hostAddress("amo", wide ? 3 : 2);
        if (wide) e.x("rs2");
        else e.w("rs2");
        e.c.atomic(wide ? opcode + 1 : opcode, wide ? 3 : 2);
        if (!wide) e.c.op(I64.EXTEND_I32_S);
      }),
    ),
  );
}

/** Minimum or maximum: compare and exchange until nobody interfered. */
function minMax(name: string, funct5: number, compare32: number, compare64: number): Instruction[] {
  return [false, true].map((wide) =>
    amo(name, funct5, wide, (e) =>
      e.rd(() => {
        const c = e.c;
        const log2 = wide ? 3 : 2;
        const [old, mine, compare, equal] = wide ? [Q0, Q1, compare64, I64.NE] : [T0, T1, compare32, I32.NE];
        e.hostAddress("amo", log2);
        c.op(CTL.DROP);
        if (wide) e.x("rs2");
        else e.w("rs2");
        c.set(mine);
        const again = c.loop();
        c.get(HOST);
        c.get(HOST);
        c.atomic(wide ? ATOMIC.I64_LOAD : ATOMIC.I32_LOAD, log2);
        c.tee(old);
        c.get(old);
        c.get(mine);
        c.get(old);
        c.get(mine);
        c.op(compare, CTL.SELECT);
        c.atomic(wide ? ATOMIC.CMPXCHG + 1 : ATOMIC.CMPXCHG, log2);
        c.get(old);
        c.op(equal);
        c.brIf(again);
        c.end();
        c.get(old);
        if (!wide) c.op(I64.EXTEND_I32_S);
      }),
    ),
  );
}

/** lr remembers the address and the value that it saw; only the same value at the same address lets sc succeed. */
function loadReserved(wide: boolean): Instruction {
  return amo("lr", 2, wide, (e) =>
    e.rd(() => {
      const c = e.c;
      e.hostAddress("amo", wide ? 3 : 2);
      c.atomic(wide ? ATOMIC.I64_LOAD : ATOMIC.I32_LOAD, wide ? 3 : 2);
      if (!wide) c.op(I64.EXTEND_I32_S);
      c.set(Q0);
      c.get(REGS);
      c.get(VA);
      c.op(I32.WRAP_I64);
      c.memory(I32.STORE, USER_REGS.RESERVATION);
      c.get(REGS);
      c.get(Q0);
      c.memory(I64.STORE, USER_REGS.RESERVED_VALUE);
      c.get(Q0);
    }),
  );
}

function storeConditional(wide: boolean): Instruction {
  return amo("sc", 3, wide, (e) =>
    e.rd(() => {
      const c = e.c;
      e.hostAddress("amo", wide ? 3 : 2);
      c.op(CTL.DROP);
      c.get(REGS);
      c.memory(I32.LOAD, USER_REGS.RESERVATION);
      c.get(REGS);
      c.i32(-1);
      c.memory(I32.STORE, USER_REGS.RESERVATION);
      c.get(VA);
      c.op(I32.WRAP_I64, I32.EQ);
      c.if(TYPE.I64);
      c.get(HOST);
      c.get(REGS);
      c.memory(I64.LOAD, USER_REGS.RESERVED_VALUE);
      if (!wide) c.op(I32.WRAP_I64);
      if (wide) e.x("rs2");
      else e.w("rs2");
      c.atomic(wide ? ATOMIC.CMPXCHG + 1 : ATOMIC.CMPXCHG, wide ? 3 : 2);
      c.get(REGS);
      c.memory(I64.LOAD, USER_REGS.RESERVED_VALUE);
      if (!wide) c.op(I32.WRAP_I64);
      c.op(wide ? I64.NE : I32.NE, I64.EXTEND_I32_U);
      c.else();
      c.i64(1);
      c.end();
    }),
  );
}

/** RV64A. */
export const ATOMICS: readonly Instruction[] = [
  loadReserved(false),
  loadReserved(true),
  storeConditional(false),
  storeConditional(true),
  ...rmw("amoadd", 0x00, ATOMIC.ADD),
  ...rmw("amoswap", 0x01, ATOMIC.XCHG),
  ...rmw("amoxor", 0x04, ATOMIC.XOR),
  ...rmw("amoor", 0x08, ATOMIC.OR),
  ...rmw("amoand", 0x0c, ATOMIC.AND),
  ...minMax("amomin", 0x10, I32.LT_S, I64.LT_S),
  ...minMax("amomax", 0x14, I32.GT_S, I64.GT_S),
  ...minMax("amominu", 0x18, I32.LT_U, I64.LT_U),
  ...minMax("amomaxu", 0x1c, I32.GT_U, I64.GT_U),
];
