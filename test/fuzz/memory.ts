/** Lays out what the arguments of a script point to. */
import type { Random } from "./random.ts";
import { type Chunk, DATA, DATA_BYTES, type Op, SHARED, SHARED_BYTES, type Value } from "./script.ts";
import { badAddress, hex } from "./values.ts";

/** The last page is kept for what has to end where memory does. */
const END = DATA + DATA_BYTES - 4096;

export class Memory {
  readonly random: Random;
  readonly chunks: Chunk[] = [];
  /** Stores that the next call needs first: values that are known only at run time. */
  before: Op[] = [];
  /** Places of the structures made for the next call: what a racing thread may flip. */
  places: number[] = [];
  #next = DATA + 64;

  constructor(random: Random) {
    this.random = random;
  }

  /** Room for `bytes`; from time to time at an odd address. */
  room(bytes: number): number {
    if (this.#next + bytes + 16 > END) this.#next = DATA + 64;
    const at = this.#next + (this.random.chance(3) ? 1 + this.random.below(8) : 0);
    this.#next = (at + bytes + 23) & ~15;
    return at;
  }

  put(bytes: Uint8Array): number {
    const at = this.room(bytes.length);
    this.chunks.push({ at, hex: Buffer.from(bytes).toString("hex") });
    this.places.push(at);
    return at;
  }

  text(text: string): number {
    return this.put(Buffer.from(`${text}\0`));
  }

  /**
   * A structure of 64-bit, 32-bit or 16-bit fields: `[8, value]`. A value that is known only at run time is stored before the call.
   * A few fields are replaced by something else.
   */
  struct(fields: readonly (readonly [1 | 2 | 4 | 8, Value | number | bigint])[]): number {
    const { random } = this;
    const bytes = Buffer.alloc(fields.reduce((sum, [size]) => sum + size, 0));
    const late: [number, 4 | 8, Value][] = [];
    let at = 0;
    const mutate = random.chance(12) ? random.below(fields.length) : -1;
    fields.forEach(([size, field], n) => {
      const value = n === mutate ? this.odd() : typeof field === "string" ? field : hex(field);
      if (!value.startsWith("0x")) late.push([at, size === 8 ? 8 : 4, value]);
      else bytes.set(word(BigInt(value)).subarray(0, size), at);
      at += size;
    });
    const address = this.put(bytes);
    for (const [offset, size, value] of late)
      this.before.push({ op: "store", at: hex(address + offset), value, bytes: size });
    return address;
  }

  /** Something that is seldom right. */
  odd(): Value {
    const { random } = this;
    if (random.chance(30)) return badAddress(random);
    if (random.chance(50))
      return hex(
        random.pick([0n, 1n, -1n, 0x7fffffffn, 0x80000000n, 0xffffffffn, 1n << 63n, (1n << 63n) - 1n]),
      );
    return hex(random.big() >> BigInt(random.below(64)));
  }

  /** A place of memory that several processes share. */
  shared(): number {
    return SHARED + 8 * this.random.below(this.random.chance(80) ? 8 : SHARED_BYTES / 8);
  }
}

function word(value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt.asUintN(64, value));
  return bytes;
}
