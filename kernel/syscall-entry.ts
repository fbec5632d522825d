/**
 * What the CPU loop needs of the system-call table, and the per-CPU counters that both sides see.
 *
 * The table itself is in syscalls/, which imports the kernel; the worker entry hands it in as a `SyscallEntry`.
 */
import { type Ref, struct, tryAlloc, words } from "../rcu/index.ts";

export interface SyscallEntry {
  /**
   * Runs the call whose number is in a7 with a0..a5 of the register file at `regs` (byte address in RAM).
   * Returns the result, -errno, or one of the BLOCK values of kernel/sched/block.ts. Stores nothing to the file.
   */
  call(task: Ref<"task">, regs: number): number;
  /** Whether the call reads or replaces the whole register file (clone, execve, rt_sigreturn). */
  needsFullRegs(nr: number): boolean;
  /** Name of a call, for reports. */
  nameOf(nr: number): string;
}

/** One more than the largest system-call number with a counter of its own; higher ones share the last word. */
export const NR_SYSCALLS = 512;

/** Calls made on one CPU, by number. Only that CPU writes; the host reads whenever it likes. */
export const SyscallCounts = struct("syscall_counts", { count: words(NR_SYSCALLS) });

export function newSyscallCounts(): Ref<"syscall_counts"> | 0 {
  return tryAlloc(SyscallCounts);
}

/** Adds up the counters of several CPUs: element n is the number of calls of system call n. */
export function sumSyscallCounts(refs: readonly Ref<"syscall_counts">[]): number[] {
  const sum = new Array<number>(NR_SYSCALLS).fill(0);
  for (const ref of refs)
    for (let nr = 0; nr < NR_SYSCALLS; nr++) sum[nr] = sum[nr]! + (SyscallCounts.count.get(ref, nr) >>> 0);
  return sum;
}

/** Where strace lines go. Installed by the worker entry when the machine is traced; null otherwise. */
export interface SyscallTracer {
  /** A signal is delivered to the task. */
  signal(task: Ref<"task">, signo: number, code: number, value: number): void;
  /** The task is gone: by exit with `status`, or killed by `signal` when it is not 0. */
  exited(task: Ref<"task">, status: number, signal: number): void;
}

export let tracer: SyscallTracer | null = null;
export function setTracer(next: SyscallTracer | null): void {
  tracer = next;
}
