/**
 * The piscina worker of one CPU: hands the user modes and the system-call table to the kernel's CPU loop. The kernel imports
 * neither; this is the one place where they meet.
 */
import { writeSync } from "node:fs";
import { type CpuBoot, type CpuReport, runCpu } from "../kernel/machine/cpu-main.ts";
import { setTracer } from "../kernel/syscall-entry.ts";
import { createSyscallEntry } from "../syscalls/entry.ts";
import { createStrace } from "../syscalls/strace.ts";
import { syscalls } from "../syscalls/table.ts";
import { createProgramMode } from "./programs/engine.ts";
import { createRiscvEngine } from "./riscv64/engine.ts";

export default function cpuWorker(boot: CpuBoot): CpuReport {
  const tracer = boot.strace < 0 ? undefined : createStrace((text) => void writeSync(boot.strace, text));
  setTracer(tracer ?? null);
  return runCpu(boot, {
    // Indexed by Task.kind.
    createUserModes: (host) => [createRiscvEngine(host), createProgramMode(host)],
    createSyscalls: (counts) => createSyscallEntry({ calls: syscalls, counts, tracer }),
  });
}
