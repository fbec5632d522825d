import { CTL, TYPE } from "./opcodes.ts";

/**
 * A growing sequence of WebAssembly instructions. Labels are nesting depths: `block`, `loop` and `if` return
 * theirs, and `br` turns one into the relative index that the format wants.
 */
export class Code {
  bytes: Uint8Array<ArrayBuffer>;
  length = 0;
  depth = 0;
  /** Branch hints: offset of a br_if or if, then 0 for rarely taken, 1 for mostly. */
  readonly hints: number[] = [];

  /** `room` is how many bytes it has room for at first. */
  constructor(room = 4096) {
    this.bytes = new Uint8Array(room);
  }

  /** Forgets everything but keeps the buffer. */
  reset(): void {
    this.length = 0;
    this.depth = 0;
    this.hints.length = 0;
  }

  private grow(needed: number): void {
    const bytes = new Uint8Array(Math.max(this.bytes.length * 2, needed));
    bytes.set(this.bytes.subarray(0, this.length));
    this.bytes = bytes;
  }

  byte(value: number): void {
    if (this.length === this.bytes.length) this.grow(0);
    this.bytes[this.length++] = value;
  }

  /** One to four single-byte opcodes in sequence. */
  op(first: number, second?: number, third?: number, fourth?: number): void {
    this.byte(first);
    if (second === undefined) return;
    this.byte(second);
    if (third === undefined) return;
    this.byte(third);
    if (fourth !== undefined) this.byte(fourth);
  }

  ops(opcodes: readonly number[]): void {
    for (let i = 0; i < opcodes.length; i++) this.byte(opcodes[i]!);
  }

  append(bytes: Uint8Array, length = bytes.length): void {
    if (this.length + length > this.bytes.length) this.grow(this.length + length);
    this.bytes.set(length === bytes.length ? bytes : bytes.subarray(0, length), this.length);
    this.length += length;
  }

  /** Room for the unsigned LEB128 of a number that is not known yet: its place, for `setLength`. */
  reserveLength(): number {
    for (let i = 0; i < 5; i++) this.byte(0x80);
    return this.length;
  }

  /** Writes how many bytes have come since `reserveLength` returned `start`. */
  setLength(start: number): void {
    this.padded(start, this.length - start);
  }

  /** Unsigned LEB128 in the five bytes before `end`. */
  private padded(end: number, value: number): void {
    for (let i = 0; i < 5; i++) this.bytes[end - 5 + i] = ((value >>> (7 * i)) & 127) | (i < 4 ? 128 : 0);
  }

  /** Unsigned LEB128 of a value below 2^32. */
  unsigned(value: number): void {
    if (value >= 0 && value < 128) {
      this.byte(value);
      return;
    }
    let rest = value >>> 0;
    while (rest > 127) {
      this.byte((rest & 127) | 128);
      rest >>>= 7;
    }
    this.byte(rest);
  }

  /** Signed LEB128 of a 32-bit value. */
  signed(value: number): void {
    if (value >= -64 && value < 64) {
      this.byte(value & 127);
      return;
    }
    let rest = value | 0;
    for (;;) {
      const low = rest & 127;
      rest >>= 7;
      if ((rest === 0 && (low & 64) === 0) || (rest === -1 && (low & 64) !== 0)) {
        this.byte(low);
        return;
      }
      this.byte(low | 128);
    }
  }

  i32(value: number): void {
    this.byte(0x41);
    this.signed(value);
  }

  i64(value: number | bigint): void {
    this.byte(0x42);
    if (typeof value === "number" && value === (value | 0)) {
      this.signed(value);
      return;
    }
    let rest = BigInt.asIntN(64, BigInt(value));
    for (;;) {
      const low = Number(rest & 127n);
      rest >>= 7n;
      if ((rest === 0n && (low & 64) === 0) || (rest === -1n && (low & 64) !== 0)) {
        this.byte(low);
        return;
      }
      this.byte(low | 128);
    }
  }

  f64(value: number): void {
    this.byte(0x44);
    this.append(new Uint8Array(new Float64Array([value]).buffer));
  }

  f32(value: number): void {
    this.byte(0x43);
    this.append(new Uint8Array(new Float32Array([value]).buffer));
  }

  get(local: number): void {
    this.byte(0x20);
    this.unsigned(local);
  }

  set(local: number): void {
    this.byte(0x21);
    this.unsigned(local);
  }

  tee(local: number): void {
    this.byte(0x22);
    this.unsigned(local);
  }

  /** A load or store opcode with its static offset; alignment is only a hint and 0 is always valid. */
  memory(opcode: number, offset = 0): void {
    this.byte(opcode);
    this.byte(0);
    this.unsigned(offset);
  }

  /** An atomic access; its alignment must be the natural one. */
  atomic(opcode: number, log2: number, offset = 0): void {
    this.byte(0xfe);
    this.unsigned(opcode);
    this.byte(log2);
    this.unsigned(offset);
  }

  block(type: number = TYPE.VOID): number {
    this.byte(CTL.BLOCK);
    this.byte(type);
    return ++this.depth;
  }

  loop(type: number = TYPE.VOID): number {
    this.byte(CTL.LOOP);
    this.byte(type);
    return ++this.depth;
  }

  if(type: number = TYPE.VOID): number {
    this.byte(CTL.IF);
    this.byte(type);
    return ++this.depth;
  }

  else(): void {
    this.byte(CTL.ELSE);
  }

  end(): void {
    this.byte(CTL.END);
    this.depth--;
  }

  /** Says that the condition of the br_if or if that comes next is rarely true. */
  unlikely(): void {
    this.hints.push(this.length, 0);
  }

  /** Says that the condition of the br_if or if that comes next is mostly true. */
  likely(): void {
    this.hints.push(this.length, 1);
  }

  br(label: number): void {
    this.byte(CTL.BR);
    this.unsigned(this.depth - label);
  }

  brIf(label: number): void {
    this.byte(CTL.BR_IF);
    this.unsigned(this.depth - label);
  }

  /** Branches to labels[i] for the i32 on the stack, or to `otherwise`. */
  brTable(labels: number[], otherwise: number): void {
    this.byte(CTL.BR_TABLE);
    this.unsigned(labels.length);
    for (const label of labels) this.unsigned(this.depth - label);
    this.unsigned(this.depth - otherwise);
  }

  call(index: number): void {
    this.byte(CTL.CALL);
    this.unsigned(index);
  }

  /** A call whose function index `setCallee` will tell. Returns its place. */
  callLater(): number {
    this.byte(CTL.CALL);
    return this.reserveLength();
  }

  setCallee(place: number, index: number): void {
    this.padded(place, index);
  }

  /** call_indirect or return_call_indirect through table 0. */
  callIndirect(opcode: number, type: number): void {
    this.byte(opcode);
    this.unsigned(type);
    this.byte(0);
  }
}
