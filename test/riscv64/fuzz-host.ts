/**
 * The smallest kernel that can run fuzz programs on the engine. It is made to be unpleasant: several processes take turns, some
 * system calls go the slow way, needResched is set in the middle of things, TLBs are flushed, register
 * files move.
 */

import {
  ACCESS,
  CPU_AREA_BYTES,
  CPU_NEED_RESCHED,
  EXIT,
  type UserMode,
  type UserModeHost,
} from "../../kernel/usermode.ts";
import { Random } from "./fpu-operands.ts";
import { DATA_BASE } from "./fuzz-elf.ts";
import { FRAMES_BYTES, FuzzProcess, PAGE, REGS_BYTES } from "./fuzz-process.ts";

const MAX_PROCESSES = 4;

/** What became of a run. */
export interface Outcome {
  output: Uint8Array;
  /** "exited", or why it stopped: the engine's EXIT name and the pc. */
  end: string;
}

export class FuzzHost implements UserModeHost {
  readonly memory: WebAssembly.Memory;
  readonly cpu = 0;
  readonly cpuArea = PAGE * 16;
  readonly cpuAreas: readonly number[] = [this.cpuArea];
  readonly #regs: number;
  readonly #frames: number;
  readonly #view: DataView;
  #processes: FuzzProcess[] = [];
  #current!: FuzzProcess;
  #engine!: UserMode;
  #space = 0;
  #whim: Random = new Random(0);

  constructor() {
    this.#regs = this.cpuArea + CPU_AREA_BYTES;
    this.#frames = this.#regs + 4 * PAGE;
    const pages = Math.ceil((this.#frames + MAX_PROCESSES * FRAMES_BYTES) / 65536);
    this.memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
    this.#view = new DataView(this.memory.buffer);
  }

  /** Runs `elfs` on `engine` (created for this host), in turns, until all have ended. `seed` decides the mischief. */
  run(engine: UserMode, elfs: readonly Uint8Array[], seed: number): Outcome[] {
    this.#engine = engine;
    this.#whim = new Random(seed);
    this.#processes = elfs.map((elf, n) => {
      const frames = this.#frames + n * FRAMES_BYTES;
      const regs = this.#regs + n * 2 * REGS_BYTES;
      return new FuzzProcess(this.memory.buffer, regs, frames, elf, ++this.#space);
    });
    this.#switchTo(this.#processes[0]!);
    while (this.#processes.some((process) => !process.done)) this.#turn();
    return this.#processes.map((process) => ({
      output: process.output(),
      end: process.exited ? "exited" : process.stopped,
    }));
  }

  #switchTo(process: FuzzProcess): void {
    this.#current = process;
    this.#engine.tlbFlush();
    this.#engine.setSpace(process.space);
  }

  /** One stay in user mode, and what it came back for. */
  #turn(): void {
    const runnable = this.#processes.filter((process) => !process.done);
    if (this.#current.done || this.#whim.below(3) === 0) this.#switchTo(this.#whim.pick(runnable));
    const process = this.#current;
    if (this.#whim.below(3) === 0) process.moveRegisters();
    const reason = this.#engine.enter(process.regs);
    switch (reason) {
      case EXIT.PREEMPTED:
        this.#view.setInt32(this.cpuArea + CPU_NEED_RESCHED, 0, true);
        if (this.#whim.below(2) === 0) this.#engine.tlbFlush();
        return;
      case EXIT.SYSCALL:
        process.syscall();
        process.pc += 4;
        return;
      case EXIT.LEAVE:
        return;
      case EXIT.FAULT:
      case EXIT.ILLEGAL:
      case EXIT.BREAKPOINT:
        if (process.signal()) return;
    }
    const name = Object.entries(EXIT).find(([, value]) => value === reason)?.[0] ?? `reason ${reason}`;
    process.stopped = `${name} at ${process.pc.toString(16)}`;
  }

  translate(va: number, access: number): number {
    if (this.#whim.below(4) === 0) this.#view.setInt32(this.cpuArea + CPU_NEED_RESCHED, 1, true);
    if (this.#whim.below(4) === 0) this.#migrate(va - (va % PAGE), access);
    return this.#current.translate(va, access, this.#whim.below(2) === 0);
  }

  /** A page gets another frame in the middle of an access: the one that is stored to, or one far from it. */
  #migrate(page: number, access: number): void {
    const process = this.#current;
    const far = process.pages().filter((other) => Math.abs(other - page) > PAGE);
    const moved = (access & ACCESS.WRITE) !== 0 ? page : this.#whim.pick(far);
    if (!process.pages().includes(moved)) return;
    process.movePage(moved);
    this.#engine.tlbInvalidate(moved, moved + PAGE);
  }

  badAddress(): void {}
  misaligned(): void {}

  time(): bigint {
    return process.hrtime.bigint();
  }

  instructionFence(): void {
    this.#current.space = ++this.#space;
    this.#engine.setSpace(this.#space);
  }

  /** What mmap, munmap or mprotect in a system call would do to the engine: other code, other pages. */
  #upset(): void {
    if (this.#whim.below(3) === 0) this.instructionFence();
    if (this.#whim.below(3) === 0)
      this.#engine.tlbInvalidate(DATA_BASE, DATA_BASE + PAGE * this.#whim.below(12));
  }

  syscall(): number {
    const process = this.#current;
    process.calls++;
    // Every third call takes the way that needs the whole register file.
    if (process.calls % 3 === 0) return EXIT.SYSCALL;
    process.syscall();
    if (process.exited) return EXIT.LEAVE;
    this.#upset();
    if (process.calls % 5 === 0) {
      process.pc += 4;
      return EXIT.LEAVE;
    }
    return 0;
  }
}
