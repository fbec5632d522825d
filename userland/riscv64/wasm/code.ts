import { Bytes } from "./bytes.ts";
import { Floats32, Floats64 } from "./floats.ts";
import { Integers32, Integers64 } from "./integers.ts";
import {
  type Func,
  type I32,
  type Local,
  type Operands,
  PUSHED,
  type Result,
  type Several,
  type Signature,
  TYPE,
  type TypeIndex,
} from "./types.ts";

const IF = 0x04;
const ELSE = 0x05;
const END = 0x0b;

declare const label: unique symbol;

/** A block, loop or if that code may branch to: how deep it is nested. */
export type Label = number & { readonly [label]: true };

/** A case of a switch: what the selector is, and what is then done. */
export interface Case {
  readonly values: readonly number[];
  readonly body: () => void;
}

/**
 * The body of one WebAssembly function while it is being written. Expressions nest as calls do (types.ts says how), and control
 * structures take their parts as functions:
 *
 *     const { i32 } = c;
 *     c.loop((again) => {
 *       c.if(c.unlikely(i32.load(c.get(AREA))), () => c.return(i32.const(EXIT)));
 *       c.brIf(again, c.tee(COUNT, i32.sub(c.get(COUNT), 1)));
 *     });
 *
 * Whether operands fit is checked by the TypeScript compiler, and whether the stack balances by V8, which validates every module.
 */
export class Code extends Bytes {
  readonly i32: Integers32 = new Integers32(this);
  readonly i64: Integers64 = new Integers64(this);
  readonly f32: Floats32 = new Floats32(this);
  readonly f64: Floats64 = new Floats64(this);
  /** Blocks, loops and ifs that are open. */
  private depth = 0;
  /** Branch hints: offset of a br_if or if, then 0 for rarely taken, 1 for mostly. */
  readonly hints: number[] = [];

  /** Forgets everything but keeps the buffer. */
  reset(): void {
    this.length = 0;
    this.depth = 0;
    this.hints.length = 0;
  }

  get<T>(local: Local<T>): T {
    this.byte(0x20);
    this.unsigned(local);
    return PUSHED;
  }

  set<T>(local: Local<T>, _value: T): void {
    this.byte(0x21);
    this.unsigned(local);
  }

  /** Sets a local and leaves its value. */
  tee<T>(local: Local<T>, _value: T): T {
    this.byte(0x22);
    this.unsigned(local);
    return PUSHED;
  }

  /** Sets two locals to the results of a call that has two. */
  setBoth<A, B>(first: Local<A>, second: Local<B>, _values: Several<readonly [A, B]>): void {
    this.set(second, PUSHED);
    this.set(first, PUSHED);
  }

  drop(_value: unknown): void {
    this.byte(0x1a);
  }

  /** Code that can branch to its end. */
  block(body: (end: Label) => void): void {
    this.open(0x02, TYPE.VOID);
    body(this.depth as Label);
    this.close();
  }

  /** Code that can branch to its start. */
  loop(body: (start: Label) => void): void {
    this.open(0x03, TYPE.VOID);
    body(this.depth as Label);
    this.close();
  }

  /** For an `if` that has a value, see `i32.if` and its like. */
  if(_condition: I32, then: () => void, otherwise?: () => void): void {
    this.openIf(TYPE.VOID);
    then();
    if (otherwise !== undefined) {
      this.openElse();
      otherwise();
    }
    this.close();
  }

  /** Runs the body of the case whose values have the selector, or of `otherwise`. What doesn't branch or return runs into the next case. */
  switch(selector: () => I32, cases: readonly Case[], otherwise: Case): void {
    const labels: number[] = [];
    let fallback = 0;
    for (let i = cases.length - 1; i >= 0; i--) {
      this.open(0x02, TYPE.VOID);
      for (const value of cases[i]!.values) labels[value] = this.depth;
      if (cases[i] === otherwise) fallback = this.depth;
    }
    selector();
    this.byte(0x0e);
    this.unsigned(labels.length);
    for (let value = 0; value < labels.length; value++)
      this.unsigned(this.depth - (labels[value] ?? fallback));
    this.unsigned(this.depth - fallback);
    for (const { body } of cases) {
      this.close();
      body();
    }
  }

  private open(opcode: number, type: number): void {
    this.byte(opcode);
    this.byte(type);
    this.depth++;
  }

  /** The parts of an `if`, for those who write it as one. */
  openIf(type: number): void {
    this.open(IF, type);
  }

  openElse(): void {
    this.byte(ELSE);
  }

  close(): void {
    this.byte(END);
    this.depth--;
  }

  /** A condition that is rarely true; it must be that of an `if` or `brIf`. */
  unlikely(_condition: I32): I32 {
    this.hints.push(this.length, 0);
    return PUSHED;
  }

  /** A condition that is mostly true; it must be that of an `if` or `brIf`. */
  likely(_condition: I32): I32 {
    this.hints.push(this.length, 1);
    return PUSHED;
  }

  br(to: Label): void {
    this.byte(0x0c);
    this.unsigned(this.depth - to);
  }

  brIf(to: Label, _condition: I32): void {
    this.byte(0x0d);
    this.unsigned(this.depth - to);
  }

  /** Returns from the function; the operands are its results. */
  return(..._results: unknown[]): void;
  return(): void {
    this.byte(0x0f);
  }

  /** A place that control doesn't reach. */
  unreachable(): void {
    this.byte(0x00);
  }

  call<S extends Signature>(func: Func<S>, ...operands: Operands<S>): Result<S>;
  call(func: number): never {
    return this.callIndex(func);
  }

  /** A call whose operands nobody checks before V8 does. */
  callIndex(func: number): never {
    this.byte(0x10);
    this.unsigned(func);
    return PUSHED;
  }

  /** A call whose function `setCallee` will tell; its place is added to `places`. */
  callLater<S extends Signature>(type: TypeIndex<S>, places: number[], ...operands: Operands<S>): Result<S>;
  callLater(_type: number, places: number[]): never {
    this.byte(0x10);
    places.push(this.reserveLength());
    return PUSHED;
  }

  setCallee(place: number, func: number): void {
    this.padded(place, func);
  }

  /** Calls the function of the type at an index of table 0: the operand behind those of the function. */
  callIndirect<S extends Signature>(type: TypeIndex<S>, ...operands: [...Operands<S>, I32]): Result<S>;
  callIndirect(type: number, ..._operands: unknown[]): never {
    return this.indirect(0x11, type);
  }

  /** The same as a tail call. */
  returnCallIndirect<S extends Signature>(type: TypeIndex<S>, ...operands: [...Operands<S>, I32]): void;
  returnCallIndirect(type: number, ..._operands: unknown[]): void {
    this.indirect(0x13, type);
  }

  private indirect(opcode: number, type: number): never {
    this.byte(opcode);
    this.unsigned(type);
    this.byte(0);
    return PUSHED;
  }

  atomicFence(): void {
    this.byte(0xfe);
    this.byte(0x03);
    this.byte(0x00);
  }

  /** Wakes up to `count` waiters at the address; how many it were. */
  atomicNotify(_address: I32, _count: I32): I32 {
    this.byte(0xfe);
    this.byte(0x00);
    this.byte(2);
    this.byte(0);
    return PUSHED;
  }
}
