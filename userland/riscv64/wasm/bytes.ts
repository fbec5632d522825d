/** A growing sequence of bytes, with the integer encodings of the WebAssembly binary format. */
export class Bytes {
  bytes: Uint8Array<ArrayBuffer>;
  length = 0;

  /** `room` is how many bytes it has room for at first. */
  constructor(room = 4096) {
    this.bytes = new Uint8Array(room);
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

  list(values: readonly number[]): void {
    for (let i = 0; i < values.length; i++) this.byte(values[i]!);
  }

  append(bytes: Uint8Array, length = bytes.length): void {
    if (this.length + length > this.bytes.length) this.grow(this.length + length);
    this.bytes.set(length === bytes.length ? bytes : bytes.subarray(0, length), this.length);
    this.length += length;
  }

  /** Leaves room for the unsigned LEB128 of a number that is not known yet. Returns its place, for `setLength` or `padded`. */
  reserveLength(): number {
    for (let i = 0; i < 5; i++) this.byte(0x80);
    return this.length;
  }

  /** Writes how many bytes have come since `reserveLength` returned `start`. */
  setLength(start: number): void {
    this.padded(start, this.length - start);
  }

  /** Writes a value as unsigned LEB128 in the five bytes before `end`. */
  padded(end: number, value: number): void {
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

  /** Signed LEB128 of a 64-bit value. */
  signed64(value: number | bigint): void {
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

  /** The length of `text`, then its characters, which are ASCII. */
  name(text: string): void {
    this.unsigned(text.length);
    for (let i = 0; i < text.length; i++) this.byte(text.charCodeAt(i));
  }
}
