/**
 * The smallest kernel that can run a fuzz program on the engine: two segments on scattered frames, write and exit. It is made
 * to be unpleasant: some system calls go the slow way, needResched is set in the middle of things, TLBs are flushed.
 */

import {
  ACCESS,
  CPU_AREA_BYTES,
  CPU_NEED_RESCHED,
  EXIT,
  PAGE_WRITABLE,
  USER_REGS,
  type UserMode,
  type UserModeHost,
} from "../../kernel/usermode.ts";
import { Random } from "./fpu-operands.ts";

const PAGE = 4096;
const ENOSYS = 38;
const EFAULT = 14;
const SYS_WRITE = 64;
const SYS_EXIT = 93;
const FRAMES = 512;

/** What became of a run. */
export interface Outcome {
  output: Uint8Array;
  /** "exited", or why it stopped: the engine's EXIT name and the pc. */
  end: string;
}

interface Segment {
  start: number;
  end: number;
  writable: boolean;
}

export class FuzzHost implements UserModeHost {
  readonly memory: WebAssembly.Memory;
  readonly cpu = 0;
  readonly cpuArea = PAGE * 16;
  readonly #regs: number;
  readonly #frames: number;
  readonly #view: DataView;
  readonly #bytes: Uint8Array;
  readonly #pages = new Map<number, number>();
  #segments: Segment[] = [];
  #output: Uint8Array[] = [];
  #exited = false;
  #space = 0;
  #calls = 0;
  #whim: Random = new Random(0);
  #engine: UserMode | undefined;

  constructor() {
    this.#regs = this.cpuArea + CPU_AREA_BYTES;
    this.#frames = this.#regs + PAGE;
    const pages = Math.ceil((this.#frames + FRAMES * PAGE) / 65536);
    this.memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
    this.#view = new DataView(this.memory.buffer);
    this.#bytes = new Uint8Array(this.memory.buffer);
  }

  /** Maps `elf`, runs it on `engine` (created for this host) until it exits or cannot go on. */
  run(engine: UserMode, elf: Uint8Array, seed: number): Outcome {
    this.#engine = engine;
    this.#whim = new Random(seed);
    this.#output = [];
    this.#exited = false;
    this.#calls = 0;
    const entry = this.#load(elf);
    this.#bytes.fill(0, this.#regs, this.#regs + USER_REGS.BYTES);
    this.#view.setInt32(this.#regs + USER_REGS.RESERVATION, -1, true);
    this.#setPc(entry);
    engine.tlbFlush();
    engine.setSpace(++this.#space);
    const end = this.#loop(engine);
    const output = new Uint8Array(this.#output.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of this.#output) {
      output.set(part, at);
      at += part.length;
    }
    return { output, end };
  }

  #loop(engine: UserMode): string {
    for (;;) {
      const reason = engine.enter(this.#regs);
      const pc = this.#view.getBigUint64(this.#regs + USER_REGS.PC, true);
      switch (reason) {
        case EXIT.PREEMPTED:
          this.#view.setInt32(this.cpuArea + CPU_NEED_RESCHED, 0, true);
          if (this.#whim.below(2) === 0) engine.tlbFlush();
          break;
        case EXIT.SYSCALL:
          this.#perform();
          this.#setPc(Number(pc) + 4);
          if (this.#exited) return "exited";
          break;
        case EXIT.LEAVE:
          if (this.#exited) return "exited";
          break;
        default: {
          const name = Object.entries(EXIT).find(([, value]) => value === reason)?.[0] ?? `reason ${reason}`;
          return `${name} at ${pc.toString(16)}`;
        }
      }
    }
  }

  #setPc(pc: number): void {
    this.#view.setBigUint64(this.#regs + USER_REGS.PC, BigInt(pc), true);
  }

  /** Copies the segments to frames in a shuffled order; returns the entry point. */
  #load(elf: Uint8Array): number {
    const view = new DataView(elf.buffer, elf.byteOffset, elf.length);
    this.#pages.clear();
    this.#segments = [];
    let used = 0;
    for (let n = 0; n < view.getUint16(56, true); n++) {
      const at = 64 + n * 56;
      const flags = view.getUint32(at + 4, true);
      const offset = Number(view.getBigUint64(at + 8, true));
      const start = Number(view.getBigUint64(at + 16, true));
      const bytes = Number(view.getBigUint64(at + 32, true));
      this.#segments.push({ start, end: start + bytes, writable: (flags & 2) !== 0 });
      for (let page = start; page < start + bytes; page += PAGE) {
        // Neighbours in the address space are not neighbours in memory: every other page from the far end.
        const frame = this.#frames + (used % 2 === 0 ? used : FRAMES - used) * PAGE;
        used++;
        this.#pages.set(page, frame);
        this.#bytes.fill(0, frame, frame + PAGE);
        this.#bytes.set(
          elf.subarray(offset + page - start, Math.min(offset + bytes, offset + page - start + PAGE)),
          frame,
        );
      }
    }
    return Number(view.getBigUint64(24, true));
  }

  translate(va: number, access: number): number {
    const frame = this.#pages.get(va - (va % PAGE));
    const segment = this.#segments.find(({ start, end }) => va >= start - (start % PAGE) && va < end + PAGE);
    if (frame === undefined || segment === undefined) return -EFAULT;
    if ((access & ACCESS.WRITE) !== 0 && !segment.writable) return -EFAULT;
    if (this.#whim.below(4) === 0) this.#view.setInt32(this.cpuArea + CPU_NEED_RESCHED, 1, true);
    // Like a page before copy-on-write: not every load makes it writable.
    const mayWrite = (access & ACCESS.WRITE) !== 0 || this.#whim.below(2) === 0;
    return frame + (segment.writable && mayWrite ? PAGE_WRITABLE : 0);
  }

  badAddress(): void {}

  time(): bigint {
    return process.hrtime.bigint();
  }

  instructionFence(): void {
    this.#engine!.setSpace(++this.#space);
  }

  syscall(): number {
    // Every third call takes the way that needs the whole register file.
    if (++this.#calls % 3 === 0) return EXIT.SYSCALL;
    this.#perform();
    if (this.#exited) return EXIT.LEAVE;
    if (this.#calls % 5 === 0) {
      this.#setPc(Number(this.#view.getBigUint64(this.#regs + USER_REGS.PC, true)) + 4);
      return EXIT.LEAVE;
    }
    return 0;
  }

  #perform(): void {
    const x = (n: number): bigint => this.#view.getBigUint64(this.#regs + USER_REGS.X + 8 * n, true);
    const nr = Number(x(17));
    let result = -ENOSYS;
    if (nr === SYS_EXIT) this.#exited = true;
    if (nr === SYS_WRITE) {
      const from = Number(x(11));
      const count = Number(x(12));
      const bytes = new Uint8Array(count);
      for (let n = 0; n < count; n++) {
        const va = from + n;
        bytes[n] = this.#bytes[this.#pages.get(va - (va % PAGE))! + (va % PAGE)]!;
      }
      this.#output.push(bytes);
      result = count;
    }
    this.#view.setBigInt64(this.#regs + USER_REGS.X + 8 * 10, BigInt(result), true);
  }
}
