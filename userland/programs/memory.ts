/**
 * The memory of the current task, as a TypeScript program sees it: byte addresses of its own address space.
 * Every access goes through the kernel's `translate`, so it faults, copies on write and is refused as a guest's would be.
 */
import { ACCESS, PAGE_WRITABLE, type UserModeHost } from "../../kernel/usermode.ts";
import {
  atomicAdd,
  atomicCas,
  atomicExchange,
  atomicLoad,
  atomicStore,
  type SharedWords,
} from "../../rcu/index.ts";
import type { Gate } from "./gate.ts";

const PAGE = 4096;

/** An address that the task may not access that way. A program may catch it; uncaught, it ends the program. */
export class MemoryFault extends Error {
  constructor(address: number, access: number) {
    const verb = access === ACCESS.WRITE ? "written" : "read";
    super(`address 0x${address.toString(16)} cannot be ${verb}`);
  }
}

export class TaskMemory {
  readonly #gate: Gate;
  readonly #bytes: Uint8Array;
  readonly #words: SharedWords;

  constructor(host: UserModeHost, gate: Gate) {
    this.#gate = gate;
    const buffer = host.memory.buffer as unknown as SharedArrayBuffer;
    this.#bytes = new Uint8Array(buffer);
    this.#words = new Int32Array(buffer);
  }

  /** Byte address in RAM of a guest address. The kernel rounds nothing: the page offset is added here. */
  #translate(address: number, access: number): number {
    if (!Number.isInteger(address) || address < 0 || address >= 2 ** 32)
      throw new MemoryFault(address, access);
    const page = address - (address % PAGE);
    const frame = this.#gate.translate(page, access);
    if (frame < 0) throw new MemoryFault(address, access);
    return ((frame & ~PAGE_WRITABLE) >>> 0) + (address % PAGE);
  }

  /** A copy of `length` bytes. */
  read(address: number, length: number): Uint8Array {
    const out = new Uint8Array(length);
    for (let done = 0; done < length; ) {
      const at = this.#translate(address + done, ACCESS.READ);
      const chunk = Math.min(length - done, PAGE - (at % PAGE));
      out.set(this.#bytes.subarray(at, at + chunk), done);
      done += chunk;
    }
    return out;
  }

  write(address: number, bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length; ) {
      const at = this.#translate(address + done, ACCESS.WRITE);
      const chunk = Math.min(bytes.length - done, PAGE - (at % PAGE));
      this.#bytes.set(bytes.subarray(done, done + chunk), at);
      done += chunk;
    }
  }

  /** A NUL-terminated string, UTF-8. */
  string(address: number): string {
    const parts: Uint8Array[] = [];
    for (let at = address; ; ) {
      const chunk = this.read(at, PAGE - (at % PAGE));
      const end = chunk.indexOf(0);
      if (end >= 0) return Buffer.concat([...parts, chunk.subarray(0, end)]).toString("utf8");
      parts.push(chunk);
      at += chunk.length;
    }
  }

  /** 64 bits, as a number: exact below 2^53. */
  word(address: number): number {
    const bytes = this.read(address, 8);
    return Number(new DataView(bytes.buffer).getBigUint64(0, true));
  }

  /** A double: where programs keep counts beyond 32 bits. Not atomic. */
  float64(address: number): number {
    return new DataView(this.read(address, 8).buffer).getFloat64(0, true);
  }
  storeFloat64(address: number, value: number): void {
    this.write(address, new Uint8Array(Float64Array.of(value).buffer));
  }

  #index(address: number, access: number): number {
    if (address % 4 !== 0)
      throw new RangeError(`address 0x${address.toString(16)} is not aligned to 4 bytes`);
    return this.#translate(address, access) / 4;
  }

  // Atomic operations on 32-bit words: what programs build locks from, together with futexes.
  load(address: number): number {
    return atomicLoad(this.#words, this.#index(address, ACCESS.READ));
  }
  store(address: number, value: number): void {
    atomicStore(this.#words, this.#index(address, ACCESS.WRITE), value);
  }
  /** Adds and returns the old value. */
  add(address: number, value: number): number {
    return atomicAdd(this.#words, this.#index(address, ACCESS.WRITE), value);
  }
  exchange(address: number, value: number): number {
    return atomicExchange(this.#words, this.#index(address, ACCESS.WRITE), value);
  }
  /** Stores `next` when the word holds `expected`; says whether it did. */
  cas(address: number, expected: number, next: number): boolean {
    return atomicCas(this.#words, this.#index(address, ACCESS.WRITE), expected, next);
  }
}
