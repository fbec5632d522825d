/**
 * Where a program's calls put the bytes that the kernel reads or writes: one mapping of the task, handed out like a
 * stack. Signal handlers nest, so their use of it nests too.
 */
import type { TaskMemory } from "./memory.ts";

/** Bytes of the mapping: also the most that one read or write moves. */
export const SCRATCH_BYTES = 128 * 1024;
/** The most that one transfer uses; the rest is for paths, structs and nested handlers. */
export const TRANSFER_MAX = 64 * 1024;

export class Scratch {
  readonly memory: TaskMemory;
  /** Address of the mapping in the task; 0 until it is made. */
  base = 0;
  #top = 0;

  constructor(memory: TaskMemory) {
    this.memory = memory;
  }

  /** Where to go back to with `release` when the call is over. */
  mark(): number {
    return this.#top;
  }
  release(mark: number): void {
    this.#top = mark;
  }

  /** Room for `length` bytes, 8-byte aligned. */
  reserve(length: number): number {
    const at = this.#top;
    this.#top = Math.ceil((at + length) / 8) * 8;
    if (this.#top > SCRATCH_BYTES) {
      this.#top = at;
      throw new RangeError(`a call of a TypeScript program passes at most ${SCRATCH_BYTES} bytes`);
    }
    return this.base + at;
  }

  put(bytes: Uint8Array): number {
    const address = this.reserve(bytes.length);
    this.memory.write(address, bytes);
    return address;
  }

  /** A NUL-terminated copy. */
  putString(text: string): number {
    return this.put(Buffer.from(`${text}\0`));
  }

  /** A NULL-terminated array of strings: argv, envp. */
  putStrings(texts: readonly string[]): number {
    return this.putWords([...texts.map((text) => this.putString(text)), 0]);
  }

  /** 64-bit little-endian words. */
  putWords(words: readonly number[]): number {
    const bytes = new DataView(new ArrayBuffer(words.length * 8));
    words.forEach((word, index) => {
      bytes.setBigInt64(index * 8, BigInt(word), true);
    });
    return this.put(new Uint8Array(bytes.buffer));
  }

  view(address: number, length: number): DataView {
    return new DataView(this.memory.read(address, length).buffer);
  }
}
