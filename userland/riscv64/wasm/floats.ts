import type { Code } from "./code.ts";
import { type F32, type F64, type I32, type I64, PUSHED, TYPE, type V128 } from "./types.ts";
import { Values } from "./values.ts";

/**
 * Instructions that f32 and f64 both have, counted as in integers.ts. Splat, lane and relaxed_madd are of relaxed SIMD: they are here for
 * the fused multiply-add of the machine.
 */
abstract class Floats<T> extends Values<T, number> {
  /** Numbers after the 0xfd prefix of splat, relaxed_madd and extract_lane, the last two as LEB128. */
  protected abstract readonly vector: {
    readonly splat: number;
    readonly madd: number;
    readonly lane: number;
  };

  eq(_a: T, b: T | number): I32 {
    return this.compare(0, b);
  }
  ne(_a: T, b: T | number): I32 {
    return this.compare(1, b);
  }
  lt(_a: T, b: T | number): I32 {
    return this.compare(2, b);
  }
  gt(_a: T, b: T | number): I32 {
    return this.compare(3, b);
  }
  le(_a: T, b: T | number): I32 {
    return this.compare(4, b);
  }
  ge(_a: T, b: T | number): I32 {
    return this.compare(5, b);
  }

  abs(_a: T): T {
    return this.arithmetic(0);
  }
  neg(_a: T): T {
    return this.arithmetic(1);
  }
  ceil(_a: T): T {
    return this.arithmetic(2);
  }
  floor(_a: T): T {
    return this.arithmetic(3);
  }
  trunc(_a: T): T {
    return this.arithmetic(4);
  }
  nearest(_a: T): T {
    return this.arithmetic(5);
  }
  sqrt(_a: T): T {
    return this.arithmetic(6);
  }
  add(_a: T, b: T | number): T {
    return this.arithmetic(7, b);
  }
  sub(_a: T, b: T | number): T {
    return this.arithmetic(8, b);
  }
  mul(_a: T, b: T | number): T {
    return this.arithmetic(9, b);
  }
  div(_a: T, b: T | number): T {
    return this.arithmetic(10, b);
  }
  min(_a: T, b: T | number): T {
    return this.arithmetic(11, b);
  }
  max(_a: T, b: T | number): T {
    return this.arithmetic(12, b);
  }
  copysign(_a: T, b: T | number): T {
    return this.arithmetic(13, b);
  }

  /** Every lane is a. */
  splat(_a: T): V128 {
    this.c.byte(0xfd);
    return this.put(this.vector.splat);
  }
  /** a * b + c in each lane, rounded once or twice. */
  relaxedMadd(_a: V128, _b: V128, _c: V128): V128 {
    this.c.byte(0xfd);
    this.c.unsigned(this.vector.madd);
    return PUSHED;
  }
  firstLane(_a: V128): T {
    this.c.byte(0xfd);
    this.c.byte(this.vector.lane);
    return this.put(0);
  }
}

/** Instructions whose result, or whose stored operand, is an f32. */
export class Floats32 extends Floats<F32> {
  protected readonly vector = { splat: 0x13, madd: 0x105, lane: 0x1f };

  constructor(code: Code) {
    super(code, TYPE.F32, 0x5b, 0x8b);
  }

  const(value: number): F32 {
    this.c.byte(0x43);
    this.c.append(new Uint8Array(new Float32Array([value]).buffer));
    return PUSHED;
  }
  load(_address: I32, offset = 0): F32 {
    return this.memory(0x2a, offset);
  }
  store(_address: I32, value: F32 | number, offset = 0): void {
    this.last(value);
    this.memory(0x38, offset);
  }
  convertI32S(_a: I32): F32 {
    return this.put(0xb2);
  }
  convertI32U(_a: I32): F32 {
    return this.put(0xb3);
  }
  convertI64S(_a: I64): F32 {
    return this.put(0xb4);
  }
  convertI64U(_a: I64): F32 {
    return this.put(0xb5);
  }
  demoteF64(_a: F64): F32 {
    return this.put(0xb6);
  }
  reinterpretI32(_a: I32): F32 {
    return this.put(0xbe);
  }
}

/** Instructions whose result, or whose stored operand, is an f64. */
export class Floats64 extends Floats<F64> {
  protected readonly vector = { splat: 0x14, madd: 0x107, lane: 0x21 };

  constructor(code: Code) {
    super(code, TYPE.F64, 0x61, 0x99);
  }

  const(value: number): F64 {
    this.c.byte(0x44);
    this.c.append(new Uint8Array(new Float64Array([value]).buffer));
    return PUSHED;
  }
  load(_address: I32, offset = 0): F64 {
    return this.memory(0x2b, offset);
  }
  store(_address: I32, value: F64 | number, offset = 0): void {
    this.last(value);
    this.memory(0x39, offset);
  }
  convertI32S(_a: I32): F64 {
    return this.put(0xb7);
  }
  convertI32U(_a: I32): F64 {
    return this.put(0xb8);
  }
  convertI64S(_a: I64): F64 {
    return this.put(0xb9);
  }
  convertI64U(_a: I64): F64 {
    return this.put(0xba);
  }
  promoteF32(_a: F32): F64 {
    return this.put(0xbb);
  }
  reinterpretI64(_a: I64): F64 {
    return this.put(0xbf);
  }
}

export type { Floats };
