import type { Code } from "./code.ts";
import { type I32, PUSHED, type ValueType } from "./types.ts";

/** What the instructions of all value types share. T is the type on the operand stack, N what its constants are made from. */
export abstract class Values<T, N extends number | bigint> {
  protected readonly c: Code;
  private readonly type: ValueType;
  private readonly firstComparison: number;
  private readonly firstArithmetic: number;

  constructor(code: Code, type: ValueType, firstComparison: number, firstArithmetic: number) {
    this.c = code;
    this.type = type;
    this.firstComparison = firstComparison;
    this.firstArithmetic = firstArithmetic;
  }

  /** Pushes a constant. */
  abstract const(value: N): T;

  /** `condition` ? what `then` pushes : what `otherwise` pushes. */
  if(_condition: I32, then: () => T, otherwise: () => T): T {
    this.c.openIf(this.type);
    then();
    this.c.openElse();
    otherwise();
    this.c.close();
    return PUSHED;
  }

  /** `condition` ? a : b; both are evaluated. */
  select(_a: T, _b: T, _condition: I32): T {
    return this.put(0x1b);
  }

  /** Writes the constant that an operand is, if it is one. */
  protected last(operand: T | N): void {
    if (operand !== undefined) this.const(operand as N);
  }

  protected put(opcode: number): never {
    this.c.byte(opcode);
    return PUSHED;
  }

  protected compare(n: number, operand?: T | N): never {
    if (operand !== undefined) this.const(operand as N);
    this.c.byte(this.firstComparison + n);
    return PUSHED;
  }

  protected arithmetic(n: number, operand?: T | N): never {
    if (operand !== undefined) this.const(operand as N);
    this.c.byte(this.firstArithmetic + n);
    return PUSHED;
  }

  /** A load or store. Its alignment is only a hint, and 0 is always valid. */
  protected memory(opcode: number, offset: number): never {
    this.c.byte(opcode);
    this.c.byte(0);
    this.c.unsigned(offset);
    return PUSHED;
  }

  /** A truncation that saturates, by its number after the 0xfc prefix. */
  protected saturating(n: number): never {
    this.c.byte(0xfc);
    this.c.byte(n);
    return PUSHED;
  }
}
