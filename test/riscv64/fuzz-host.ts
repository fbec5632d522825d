/**
 * The smallest kernel that can run a fuzz program on the engine: a few segments on scattered frames, write and exit. It is made
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
import { CODE_BASE, DATA_BASE } from "./fuzz-elf.ts";
import { CONTEXT_BYTES } from "./fuzz-faults.ts";

const PAGE = 4096;
const ENOSYS = 38;
const EFAULT = 14;
const SYS_WRITE = 64;
const SYS_EXIT = 93;
const SYS_SIGALTSTACK = 132;
const SYS_RT_SIGACTION = 134;
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
  executable: boolean;
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
  #handlers = 0;
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
    this.#handlers = 0;
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
        case EXIT.FAULT:
        case EXIT.ILLEGAL:
        case EXIT.BREAKPOINT:
          if (this.#handlers === 0) return this.#stopped(reason, pc);
          this.#signal(Number(pc));
          break;
        default:
          return this.#stopped(reason, pc);
      }
    }
  }

  #stopped(reason: number, pc: bigint): string {
    const name = Object.entries(EXIT).find(([, value]) => value === reason)?.[0] ?? `reason ${reason}`;
    return `${name} at ${pc.toString(16)}`;
  }

  /** Does what a fuzz program's own handler does under qemu: writes the machine context and skips the instruction. */
  #signal(pc: number): void {
    const x = this.#regs + USER_REGS.X;
    const f = this.#regs + USER_REGS.F;
    const context = new Uint8Array(CONTEXT_BYTES);
    new DataView(context.buffer).setBigUint64(
      0,
      this.#view.getBigUint64(this.#regs + USER_REGS.PC, true),
      true,
    );
    context.set(this.#bytes.subarray(x + 8, x + 256), 8);
    context.set(this.#bytes.subarray(f, f + 256), 256);
    context.set(this.#bytes.subarray(this.#regs + USER_REGS.FCSR, this.#regs + USER_REGS.FCSR + 4), 512);
    this.#output.push(context);
    if (pc < CODE_BASE || pc >= DATA_BASE) {
      // A jump to nowhere: back to where it came from.
      this.#setPc(Number(this.#view.getBigUint64(x + 8, true)));
      return;
    }
    const low = this.#bytes[this.#pages.get(pc - (pc % PAGE))! + (pc % PAGE)]!;
    this.#setPc(pc + ((low & 3) === 3 ? 4 : 2));
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
      const end = start + Number(view.getBigUint64(at + 40, true));
      this.#segments.push({ start, end, writable: (flags & 2) !== 0, executable: (flags & 1) !== 0 });
      for (let page = start; page < end; page += PAGE) {
        // Neighbours in the address space are not neighbours in memory: every other page from the far end.
        const frame = this.#frames + (used % 2 === 0 ? used : FRAMES - used) * PAGE;
        used++;
        this.#pages.set(page, frame);
        this.#bytes.fill(0, frame, frame + PAGE);
        const from = offset + page - start;
        this.#bytes.set(elf.subarray(from, Math.max(from, Math.min(offset + bytes, from + PAGE))), frame);
      }
    }
    return Number(view.getBigUint64(24, true));
  }

  translate(va: number, access: number): number {
    const frame = this.#pages.get(va - (va % PAGE));
    const segment = this.#segments.find(
      ({ start, end }) => va >= start - (start % PAGE) && va < Math.ceil(end / PAGE) * PAGE,
    );
    if (frame === undefined || segment === undefined) return -EFAULT;
    if ((access & ACCESS.WRITE) !== 0 && !segment.writable) return -EFAULT;
    if ((access & ACCESS.EXEC) !== 0 && !segment.executable) return -EFAULT;
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
    if (nr === SYS_RT_SIGACTION) this.#handlers++;
    if (nr === SYS_RT_SIGACTION || nr === SYS_SIGALTSTACK) result = 0;
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
