import type { Code } from "./code.ts";
import { type F32, type F64, type I32, type I64, PUSHED, TYPE } from "./types.ts";
import { Values } from "./values.ts";

/** Read-modify-writes that are atomic, by their number after the 0xfe prefix for i32; the one for i64 is the next number. */
export const ATOMIC = { ADD: 0x1e, SUB: 0x25, AND: 0x2c, OR: 0x33, XOR: 0x3a, XCHG: 0x41 } as const;

/**
 * Instructions that i32 and i64 both have. The opcodes of both types are laid out alike, so they are counted from the first comparison and
 * the first arithmetic instruction of the type (core specification, "Index of Instructions").
 *
 * The last operand may be a number: it becomes a constant. Methods are called as the instructions are, in camel case.
 */
abstract class Integers<T, N extends number | bigint> extends Values<T, N> {
  /** 0 for i32, 1 for i64: what is added to the number of an atomic instruction, and to the logarithm of its alignment. */
  protected abstract readonly twin: number;

  eqz(_a: T): I32 {
    return this.compare(0);
  }
  eq(_a: T, b: T | N): I32 {
    return this.compare(1, b);
  }
  ne(_a: T, b: T | N): I32 {
    return this.compare(2, b);
  }
  ltS(_a: T, b: T | N): I32 {
    return this.compare(3, b);
  }
  ltU(_a: T, b: T | N): I32 {
    return this.compare(4, b);
  }
  gtS(_a: T, b: T | N): I32 {
    return this.compare(5, b);
  }
  gtU(_a: T, b: T | N): I32 {
    return this.compare(6, b);
  }
  leS(_a: T, b: T | N): I32 {
    return this.compare(7, b);
  }
  leU(_a: T, b: T | N): I32 {
    return this.compare(8, b);
  }
  geS(_a: T, b: T | N): I32 {
    return this.compare(9, b);
  }
  geU(_a: T, b: T | N): I32 {
    return this.compare(10, b);
  }

  add(_a: T, b: T | N): T {
    return this.arithmetic(3, b);
  }
  sub(_a: T, b: T | N): T {
    return this.arithmetic(4, b);
  }
  mul(_a: T, b: T | N): T {
    return this.arithmetic(5, b);
  }
  divS(_a: T, b: T | N): T {
    return this.arithmetic(6, b);
  }
  divU(_a: T, b: T | N): T {
    return this.arithmetic(7, b);
  }
  remS(_a: T, b: T | N): T {
    return this.arithmetic(8, b);
  }
  remU(_a: T, b: T | N): T {
    return this.arithmetic(9, b);
  }
  and(_a: T, b: T | N): T {
    return this.arithmetic(10, b);
  }
  or(_a: T, b: T | N): T {
    return this.arithmetic(11, b);
  }
  xor(_a: T, b: T | N): T {
    return this.arithmetic(12, b);
  }
  shl(_a: T, b: T | N): T {
    return this.arithmetic(13, b);
  }
  shrS(_a: T, b: T | N): T {
    return this.arithmetic(14, b);
  }
  shrU(_a: T, b: T | N): T {
    return this.arithmetic(15, b);
  }
  rotl(_a: T, b: T | N): T {
    return this.arithmetic(16, b);
  }
  rotr(_a: T, b: T | N): T {
    return this.arithmetic(17, b);
  }

  atomicLoad(_address: I32, offset = 0): T {
    return this.atomic(0x10, offset);
  }
  /** What was at the address before `operation`, one of ATOMIC, was done there. */
  atomicRmw(operation: number, _address: I32, value: T | N, offset = 0): T {
    this.last(value);
    return this.atomic(operation, offset);
  }
  /** What was at the address; it is replaced when that is what is expected. */
  atomicCmpxchg(_address: I32, _expected: T, replacement: T | N, offset = 0): T {
    this.last(replacement);
    return this.atomic(0x48, offset);
  }
  /** 0 woken, 1 something else was there, 2 the time was over. `timeout` in nanoseconds, negative: none. */
  atomicWait(_address: I32, _expected: T, _timeout: I64, offset = 0): I32 {
    return this.atomic(0x01, offset);
  }

  private atomic(opcode: number, offset: number): never {
    this.c.byte(0xfe);
    this.c.byte(opcode + this.twin);
    this.c.byte(2 + this.twin); // the natural alignment, which an atomic access must have
    this.c.unsigned(offset);
    return PUSHED;
  }
}

/** Instructions whose result, or whose stored operand, is an i32. */
export class Integers32 extends Integers<I32, number> {
  protected readonly twin = 0;

  constructor(code: Code) {
    super(code, TYPE.I32, 0x45, 0x67);
  }

  const(value: number): I32 {
    this.c.byte(0x41);
    this.c.signed(value);
    return PUSHED;
  }

  load(_address: I32, offset = 0): I32 {
    return this.memory(0x28, offset);
  }
  load8S(_address: I32, offset = 0): I32 {
    return this.memory(0x2c, offset);
  }
  load8U(_address: I32, offset = 0): I32 {
    return this.memory(0x2d, offset);
  }
  load16S(_address: I32, offset = 0): I32 {
    return this.memory(0x2e, offset);
  }
  load16U(_address: I32, offset = 0): I32 {
    return this.memory(0x2f, offset);
  }
  store(_address: I32, value: I32 | number, offset = 0): void {
    this.last(value);
    this.memory(0x36, offset);
  }
  store8(_address: I32, value: I32 | number, offset = 0): void {
    this.last(value);
    this.memory(0x3a, offset);
  }
  store16(_address: I32, value: I32 | number, offset = 0): void {
    this.last(value);
    this.memory(0x3b, offset);
  }

  wrapI64(_a: I64): I32 {
    return this.put(0xa7);
  }
  reinterpretF32(_a: F32): I32 {
    return this.put(0xbc);
  }
  truncSatF32S(_a: F32): I32 {
    return this.saturating(0);
  }
  truncSatF32U(_a: F32): I32 {
    return this.saturating(1);
  }
  truncSatF64S(_a: F64): I32 {
    return this.saturating(2);
  }
  truncSatF64U(_a: F64): I32 {
    return this.saturating(3);
  }
}

/** Instructions whose result, or whose stored operand, is an i64. */
export class Integers64 extends Integers<I64, number | bigint> {
  protected readonly twin = 1;

  constructor(code: Code) {
    super(code, TYPE.I64, 0x50, 0x79);
  }

  const(value: number | bigint): I64 {
    this.c.byte(0x42);
    this.c.signed64(value);
    return PUSHED;
  }

  load(_address: I32, offset = 0): I64 {
    return this.memory(0x29, offset);
  }
  load8S(_address: I32, offset = 0): I64 {
    return this.memory(0x30, offset);
  }
  load8U(_address: I32, offset = 0): I64 {
    return this.memory(0x31, offset);
  }
  load16S(_address: I32, offset = 0): I64 {
    return this.memory(0x32, offset);
  }
  load16U(_address: I32, offset = 0): I64 {
    return this.memory(0x33, offset);
  }
  load32S(_address: I32, offset = 0): I64 {
    return this.memory(0x34, offset);
  }
  load32U(_address: I32, offset = 0): I64 {
    return this.memory(0x35, offset);
  }
  store(_address: I32, value: I64 | number, offset = 0): void {
    this.last(value);
    this.memory(0x37, offset);
  }
  store8(_address: I32, value: I64 | number, offset = 0): void {
    this.last(value);
    this.memory(0x3c, offset);
  }
  store16(_address: I32, value: I64 | number, offset = 0): void {
    this.last(value);
    this.memory(0x3d, offset);
  }
  store32(_address: I32, value: I64 | number, offset = 0): void {
    this.last(value);
    this.memory(0x3e, offset);
  }

  extendI32S(_a: I32): I64 {
    return this.put(0xac);
  }
  extendI32U(_a: I32): I64 {
    return this.put(0xad);
  }
  /** The low half, sign-extended. */
  extend32S(_a: I64): I64 {
    return this.put(0xc4);
  }
  reinterpretF64(_a: F64): I64 {
    return this.put(0xbd);
  }
  truncSatF32S(_a: F32): I64 {
    return this.saturating(4);
  }
  truncSatF32U(_a: F32): I64 {
    return this.saturating(5);
  }
  truncSatF64S(_a: F64): I64 {
    return this.saturating(6);
  }
  truncSatF64U(_a: F64): I64 {
    return this.saturating(7);
  }
}

export type { Integers };
