/** One process of the fuzzer's kernel: an address space on scattered frames, a register file, what it wrote. */

import { ACCESS, PAGE_WRITABLE, USER_REGS, xAt } from "../../kernel/usermode.ts";
import { CODE_BASE, DATA_BASE } from "./fuzz-elf.ts";
import { CONTEXT_BYTES } from "./fuzz-faults.ts";

export const PAGE = 4096;
/** Pages that one process may have; it has two frames for each. */
const PAGES = 128;
/** Bytes of frames that one process needs. */
export const FRAMES_BYTES: number = 2 * (PAGES + 1) * PAGE;

export const REGS_BYTES: number = (USER_REGS.BYTES + 63) & ~63;

const ENOSYS = 38;
const EFAULT = 14;
const SYS_WRITE = 64;
const SYS_EXIT = 93;
const SYS_SIGALTSTACK = 132;
const SYS_RT_SIGACTION = 134;

interface Segment {
  start: number;
  end: number;
  writable: boolean;
  executable: boolean;
}

export class FuzzProcess {
  /** Byte address of the register file: it has two places, REGS_BYTES apart, and moves between them. */
  regs: number;
  space: number;
  exited = false;
  /** Why it stopped, when it did not exit. */
  stopped = "";
  calls = 0;
  readonly #view: DataView;
  readonly #bytes: Uint8Array;
  readonly #frames: number;
  readonly #firstRegs: number;
  readonly #pages = new Map<number, number>();
  readonly #segments: Segment[] = [];
  readonly #output: Uint8Array[] = [];
  #handlers = 0;

  /** Maps `elf` on the frames from `frames`. */
  constructor(memory: ArrayBufferLike, regs: number, frames: number, elf: Uint8Array, space: number) {
    this.regs = regs;
    this.#firstRegs = regs;
    this.space = space;
    this.#frames = frames;
    this.#view = new DataView(memory);
    this.#bytes = new Uint8Array(memory);
    this.#bytes.fill(0, regs, regs + USER_REGS.BYTES);
    this.#view.setInt32(regs + USER_REGS.RESERVATION, -1, true);
    this.pc = this.#load(elf);
  }

  get pc(): number {
    return Number(this.#view.getBigUint64(this.regs + USER_REGS.PC, true));
  }

  set pc(value: number) {
    this.#view.setBigUint64(this.regs + USER_REGS.PC, BigInt(value), true);
  }

  /** Moves the registers to their other place, as if to another task's slot, and spoils where they were. */
  moveRegisters(): void {
    const from = this.regs;
    this.regs = this.#firstRegs + (from === this.#firstRegs ? REGS_BYTES : 0);
    this.#bytes.copyWithin(this.regs, from, from + USER_REGS.BYTES);
    this.#bytes.fill(0xa5, from, from + USER_REGS.BYTES);
  }

  get done(): boolean {
    return this.exited || this.stopped !== "";
  }

  output(): Uint8Array {
    return new Uint8Array(Buffer.concat(this.#output));
  }

  /** Copies the segments to frames in a shuffled order; returns the entry point. */
  #load(elf: Uint8Array): number {
    const view = new DataView(elf.buffer, elf.byteOffset, elf.length);
    let used = 0;
    for (let n = 0; n < view.getUint16(56, true); n++) {
      const at = 64 + n * 56;
      const flags = view.getUint32(at + 4, true);
      const offset = Number(view.getBigUint64(at + 8, true));
      const start = Number(view.getBigUint64(at + 16, true));
      const bytes = Number(view.getBigUint64(at + 32, true));
      const end = start + Number(view.getBigUint64(at + 40, true));
      this.#segments.push({ start, end, writable: (flags & 2) !== 0, executable: (flags & 1) !== 0 });
      for (let page = start; page < end; page += PAGE) {
        // Neighbours in the address space are not neighbours in memory: every other page from the far end.
        const frame = this.#frames + (used % 2 === 0 ? used : PAGES - used) * PAGE;
        if (++used > PAGES) throw new Error("program too large");
        this.#pages.set(page, frame);
        this.#bytes.fill(0, frame, frame + PAGE);
        const from = offset + page - start;
        this.#bytes.set(elf.subarray(from, Math.max(from, Math.min(offset + bytes, from + PAGE))), frame);
      }
    }
    return Number(view.getBigUint64(24, true));
  }

  /** Moves a page to its other frame, as copy-on-write does, and spoils the old one. */
  movePage(page: number): void {
    const from = this.#pages.get(page)!;
    const half = PAGES * PAGE + PAGE;
    const to = from < this.#frames + half ? from + half : from - half;
    this.#bytes.copyWithin(to, from, from + PAGE);
    this.#bytes.fill(0xa5, from, from + PAGE);
    this.#pages.set(page, to);
  }

  /** Every page that is mapped. */
  pages(): number[] {
    return [...this.#pages.keys()];
  }

  /** As UserModeHost.translate; `mayWrite` false withholds the write permission from a load, as before copy-on-write. */
  translate(va: number, access: number, mayWrite: boolean): number {
    const frame = this.#pages.get(va - (va % PAGE));
    const segment = this.#segments.find(({ start, end }) => va >= start && va < Math.ceil(end / PAGE) * PAGE);
    if (frame === undefined || segment === undefined) return -EFAULT;
    if ((access & ACCESS.WRITE) !== 0 && !segment.writable) return -EFAULT;
    if ((access & ACCESS.EXEC) !== 0 && !segment.executable) return -EFAULT;
    return frame + (segment.writable && (mayWrite || (access & ACCESS.WRITE) !== 0) ? PAGE_WRITABLE : 0);
  }

  /** A synchronous signal; false when there is no handler for it. */
  signal(): boolean {
    if (this.#handlers === 0) return false;
    // What a program's own handler does under qemu: it writes the machine context and skips the instruction.
    const x = this.regs + USER_REGS.X;
    const f = this.regs + USER_REGS.F;
    const pc = this.pc;
    const context = new Uint8Array(CONTEXT_BYTES);
    context.set(this.#bytes.subarray(this.regs + USER_REGS.PC, this.regs + USER_REGS.PC + 8));
    context.set(this.#bytes.subarray(x + 8, x + 256), 8);
    context.set(this.#bytes.subarray(f, f + 256), 256);
    context.set(this.#bytes.subarray(this.regs + USER_REGS.FCSR, this.regs + USER_REGS.FCSR + 4), 512);
    this.#output.push(context);
    if (pc < CODE_BASE || pc >= DATA_BASE) {
      // A jump to nowhere: back to where it came from.
      this.pc = Number(this.#view.getBigUint64(x + 8, true));
    } else {
      this.pc = pc + ((this.#byte(pc) & 3) === 3 ? 4 : 2);
    }
    return true;
  }

  /** The system call in a7; its result goes to a0. */
  syscall(): void {
    const x = (n: number): bigint => this.#view.getBigUint64(this.regs + xAt(n), true);
    const nr = Number(x(17));
    let result = -ENOSYS;
    if (nr === SYS_EXIT) this.exited = true;
    if (nr === SYS_RT_SIGACTION) this.#handlers++;
    if (nr === SYS_RT_SIGACTION || nr === SYS_SIGALTSTACK) result = 0;
    if (nr === SYS_WRITE) {
      const from = Number(x(11));
      this.#output.push(Uint8Array.from({ length: Number(x(12)) }, (_, n) => this.#byte(from + n)));
      result = Number(x(12));
    }
    this.#view.setBigInt64(this.regs + xAt(10), BigInt(result), true);
  }

  #byte(va: number): number {
    return this.#bytes[this.#pages.get(va - (va % PAGE))! + (va % PAGE)]!;
  }
}
