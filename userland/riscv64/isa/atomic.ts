import type { Emitter } from "../emitter.ts";
import { HOST, Q0, Q1, T0, T1, VA } from "../locals.ts";
import {
  loadReservation,
  loadReservedValue,
  storeReservation,
  storeReservedValue,
} from "../register-file.ts";
import { ATOMIC, type Integers } from "../wasm/integers.ts";
import type { I32, I64, Local } from "../wasm/types.ts";
import { type Instruction, instruction, rd } from "./instruction.ts";

/** aq and rl are not looked at: every wasm atomic is sequentially consistent. */
const MASK_AMO = 0xf800707f;
const MASK_LR = MASK_AMO | (31 << 20);

/** How words or doublewords are read, kept and worked on. */
interface Size<T> {
  readonly suffix: "w" | "d";
  readonly log2: 2 | 3;
  readonly funct3: 2 | 3;
  readonly int: (e: Emitter) => Integers<T, number>;
  /** The operand in rs2. */
  readonly operand: (e: Emitter) => T;
  /** A T of which the low bytes of a doubleword are made, and a T as a register has it. */
  readonly narrow: (e: Emitter, value: I64) => T;
  readonly extend: (e: Emitter, value: T) => I64;
  readonly locals: readonly [Local<T>, Local<T>];
}

const WORD: Size<I32> = {
  suffix: "w",
  log2: 2,
  funct3: 2,
  int: (e) => e.i32,
  operand: (e) => e.w("rs2"),
  narrow: (e, value) => e.i32.wrapI64(value),
  extend: (e, value) => e.i64.extendI32S(value),
  locals: [T0, T1],
};
const DOUBLE: Size<I64> = {
  suffix: "d",
  log2: 3,
  funct3: 3,
  int: (e) => e.i64,
  operand: (e) => e.x("rs2"),
  narrow: (_e, value) => value,
  extend: (_e, value) => value,
  locals: [Q0, Q1],
};

/** rd = `value`. */
function amo<T>(name: string, funct5: number, size: Size<T>, value: (e: Emitter) => I64): Instruction {
  const match = (funct5 << 27) | (size.funct3 << 12) | 0x2f;
  const reserves = name === "lr";
  const operands = reserves ? "rd,(rs1)" : "rd,rs2,(rs1)";
  const mask = reserves ? MASK_LR : MASK_AMO;
  return instruction(
    `${name}.${size.suffix}`,
    mask,
    match,
    "none",
    operands,
    rd((e) => value(e)),
  );
}

/** A read-modify-write that wasm has. */
function rmw<T>(name: string, funct5: number, operation: number, size: Size<T>): Instruction {
  return amo(name, funct5, size, (e) =>
    size.extend(e, size.int(e).atomicRmw(operation, e.atomicAddress(size.log2), size.operand(e))),
  );
}

/** Minimum or maximum: compare and exchange until nobody interfered. `keeps` is when the old value stays. */
function minMax<T>(
  name: string,
  funct5: number,
  size: Size<T>,
  keeps: (int: Integers<T, number>, old: T, mine: T) => I32,
): Instruction {
  const [old, mine] = size.locals;
  return amo(name, funct5, size, (e) => {
    const { c } = e;
    const int = size.int(e);
    c.drop(e.atomicAddress(size.log2));
    c.set(mine, size.operand(e));
    c.loop((again) => {
      const chosen = () => int.select(c.get(old), c.get(mine), keeps(int, c.get(old), c.get(mine)));
      const seen = int.atomicCmpxchg(c.get(HOST), c.tee(old, int.atomicLoad(c.get(HOST))), chosen());
      c.brIf(again, int.ne(seen, c.get(old)));
    });
    return size.extend(e, c.get(old));
  });
}

/** lr remembers the address and the value that it saw; only the same value at the same address lets sc succeed. */
function loadReserved<T>(size: Size<T>): Instruction {
  return amo("lr", 0x02, size, (e) => {
    const { c, i32 } = e;
    c.set(Q0, size.extend(e, size.int(e).atomicLoad(e.atomicAddress(size.log2))));
    storeReservation(c, () => i32.wrapI64(c.get(VA)));
    storeReservedValue(c, Q0);
    return c.get(Q0);
  });
}

/** 0 where it has stored rs2, 1 where it hasn't. */
function storeConditional<T>(size: Size<T>): Instruction {
  return amo("sc", 0x03, size, (e) => {
    const { c, i32, i64 } = e;
    const int = size.int(e);
    c.drop(e.atomicAddress(size.log2));
    const reserved = () => size.narrow(e, loadReservedValue(c));
    const exchange = () => {
      const seen = int.atomicCmpxchg(c.get(HOST), reserved(), size.operand(e));
      return i64.extendI32U(int.ne(seen, reserved()));
    };
    const reservation = loadReservation(c);
    storeReservation(c, () => i32.const(-1));
    return i64.if(i32.eq(reservation, i32.wrapI64(c.get(VA))), exchange, () => i64.const(1));
  });
}

const all = <T>(size: Size<T>): Instruction[] => [
  loadReserved(size),
  storeConditional(size),
  rmw("amoadd", 0x00, ATOMIC.ADD, size),
  rmw("amoswap", 0x01, ATOMIC.XCHG, size),
  rmw("amoxor", 0x04, ATOMIC.XOR, size),
  rmw("amoor", 0x08, ATOMIC.OR, size),
  rmw("amoand", 0x0c, ATOMIC.AND, size),
  minMax("amomin", 0x10, size, (int, old, mine) => int.ltS(old, mine)),
  minMax("amomax", 0x14, size, (int, old, mine) => int.gtS(old, mine)),
  minMax("amominu", 0x18, size, (int, old, mine) => int.ltU(old, mine)),
  minMax("amomaxu", 0x1c, size, (int, old, mine) => int.gtU(old, mine)),
];

const doubles = all(DOUBLE);

/** RV64A: each operation on words, then on doublewords. */
export const ATOMICS: readonly Instruction[] = all(WORD).flatMap((row, n) => [row, doubles[n]!]);
