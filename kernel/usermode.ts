/**
 * The line between the kernel and what runs in user mode.
 *
 * The kernel sees user mode as `enter() -> reason`. A user-mode engine (riscv64, TypeScript programs) is handed
 * to the CPU loop by the worker entry; it reaches the kernel only through the `UserModeHost` it was created with.
 * Everything here is per CPU: one engine instance, one host, one CPU area.
 */

/**
 * Layout of one task's user register file, in bytes from its base in RAM (8-byte aligned, little endian).
 * The integer registers come first so that x(i) is at 8*i; x0's slot always reads 0.
 */
export const USER_REGS = {
  /** x0..x31, 8 bytes each. */
  X: 0,
  /** Program counter, 8 bytes. */
  PC: 256,
  /** f0..f31, 8 bytes each, single precision NaN-boxed. */
  F: 264,
  /** fcsr: frm << 5 | fflags, 4 bytes. */
  FCSR: 520,
  /** LR/SC reservation: virtual address (4 bytes, -1 none), then the value that LR saw (8 bytes at 528). */
  RESERVATION: 524,
  RESERVED_VALUE: 528,
  /** Size of a register file slot. */
  BYTES: 576,
} as const;

/** Byte offsets of the registers x(n) and f(n) in it. */
export const xAt = (n: number): number => USER_REGS.X + 8 * n;
export const fAt = (n: number): number => USER_REGS.F + 8 * n;

/** Why user mode came back to the kernel. The register file in RAM is complete and the pc is precise in every case. */
export const EXIT = {
  /** `ecall` whose handling needs the whole register file (pc is still on the ecall instruction). */
  SYSCALL: 1,
  /** `translate` refused an access; the kernel remembered why (pc on the faulting instruction). */
  FAULT: 2,
  /** needResched was set (pc on the next instruction to run). */
  PREEMPTED: 3,
  /** Undefined or reserved instruction (pc on it). */
  ILLEGAL: 4,
  /** `ebreak` (pc on it). */
  BREAKPOINT: 5,
  /** A syscall handled inside `host.syscall()` wants the CPU loop: blocked, exited, signal pending. */
  LEAVE: 6,
  /** What the task was to run is gone: the steps of a TypeScript program, with the thread that held them. */
  LOST: 7,
} as const;

/** What an access wants; `translate` checks it against the VMA. */
export const ACCESS = { READ: 1, WRITE: 2, EXEC: 4 } as const;

/** Set in `translate`'s result when the page may be cached as writable. */
export const PAGE_WRITABLE = 1;

/** Bytes of RAM address space that each CPU has for its engine: TLBs, jump cache, scratch. Lazily committed. */
export const CPU_AREA_BYTES = 128 * 1024 * 1024;

/**
 * The part of a CPU area that an engine may have others read: it keeps its contents when the CPU dies and a new engine takes over,
 * while the rest is zero again.
 */
export const CPU_AREA_KEPT = { START: 48 * 1024 * 1024, END: 64 * 1024 * 1024 } as const;

/** Byte offset in the CPU area of the 32-bit needResched flag: non-zero asks user mode to leave soon. */
export const CPU_NEED_RESCHED = 0;

/**
 * Byte offsets in the CPU area of the words by which the host can end a CPU whose TypeScript program does not come back, and
 * never in the middle of kernel code (machine/stuck-program.ts).
 */
export const CPU_PROGRAM = {
  /** Where the CPU is: a PROGRAM_ state. Plain stores of the CPU. */
  STATE: 16,
  /** Counts how often a program was resumed. */
  RESUMED: 20,
  /** Non-zero: whoever leaves the program's own code waits on this word until it is zero again. Written by the host. */
  HOLD: 24,
} as const;

/** Values of CPU_PROGRAM.STATE: in kernel code or a riscv64 program. */
export const PROGRAM_OUT = 0;
/** In a TypeScript program's own code. */
export const PROGRAM_IN = 1;
/** Held on its way from there into the kernel, which it would come back from; and on its way to a system call. */
export const PROGRAM_HELD_IN = 2;
export const PROGRAM_HELD_OUT = 3;

/**
 * What the kernel keeps of the current task for the engine of TypeScript programs: in its heap, where no guest reads or writes.
 */
export interface ProgramHost {
  /** Which of the engine's generators the task runs; 0: it begins. */
  token(): number;
  /** A number that no task of this machine had before. */
  newToken(): number;
  /** Names the generator that the task runs from now on. */
  setToken(token: number): void;
  /** Names the generator of the child that the task is about to clone; 0: none. */
  announce(token: number): void;
  /** How the task starts: JSON of a ProgramRequest (exec/exec.ts). It stays on this CPU from now on. */
  begin(): string;
  /** Has the task begin anew on CPU `cpu`, as `request` says: 0 or -errno. The engine sets the pc and leaves. */
  beginAnew(cpu: number, request: string): number;
}

/** What the kernel offers to the engine of one CPU. */
export interface UserModeHost {
  /** All guest memory, shared by every CPU. */
  readonly memory: WebAssembly.Memory;
  readonly cpu: number;
  /** Byte address in `memory` of this CPU's area (CPU_AREA_BYTES, page aligned, zero at boot). */
  readonly cpuArea: number;
  /** The areas of all CPUs of the machine, this one's among them. */
  readonly cpuAreas: readonly number[];

  /**
   * The `ecall` fast path: the engine has stored a0..a7 and the pc *of the ecall* in the register file.
   * Returns 0: done, a0 holds the result in the register file, continue after the ecall;
   * otherwise the engine spills everything and returns from `enter` with that EXIT reason (SYSCALL or LEAVE).
   * On LEAVE the kernel itself has already set the pc it wants in the register file: the engine must not store it.
   * On SYSCALL the pc is on the ecall and nothing was done yet.
   */
  syscall(): number;

  /**
   * Resolves one page of the current address space, faulting it in as needed.
   * `va` is a byte address below 2^32. Returns the byte address in `memory` of the page's frame, plus
   * PAGE_WRITABLE when stores may be cached too; or a negative number when the access is a fault
   * (the kernel has recorded it: leave with EXIT.FAULT). May call the engine's `tlbInvalidate`.
   */
  translate(va: number, access: number): number;

  /** An access outside the 4 GiB that a process sees: recorded as a fault. `va` is the full 64-bit address. */
  badAddress(va: bigint, access: number): void;

  /** An atomic instruction at an address that is not a multiple of its size: recorded as a fault (SIGBUS). */
  misaligned(va: bigint): void;

  /** The `time` CSR: nanoseconds of a monotonic clock. */
  time(): bigint;

  /** The guest executed fence.i: the kernel gives the address space a new code space number (calls `setSpace`). */
  instructionFence(): void;
}

/** What the CPU loop needs of an engine. */
export interface UserMode {
  /** Runs from the register file at byte address `regs` until the kernel is needed; returns an EXIT reason. */
  enter(regs: number): number;
  /** Another address space is current: forget every cached page (entries touched are remembered, so it is cheap). */
  tlbFlush(): void;
  /** Pages in [start, end) (byte addresses) changed: forget them. */
  tlbInvalidate(start: number, end: number): void;
  /**
   * Names the code that is visible now. The kernel changes the number whenever the mapping of executable pages may
   * have changed (switch of process, mmap/munmap/mprotect on code, fence.i, exec). Numbers are never reused for other
   * contents, but a number may become current again after a switch of process and then means the same contents.
   */
  setSpace(space: number): void;
  /** Counters for --stats: units translated, bytes of wasm, instructions interpreted... name to count. */
  stats(): Record<string, number>;
}
