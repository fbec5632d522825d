/**
 * The worker entry of a CPU: hands the user modes and the system-call table to the kernel's CPU loop, which may not
 * import them. piscina calls the default export with the boot message.
 */
import { writeSync } from "node:fs";
import "../kernel/fs/hostfs/index.ts";
import { type CpuBoot, type CpuReport, loadSubsystems, runCpu } from "../kernel/machine/cpu-main.ts";
import { setTracer } from "../kernel/syscall-entry.ts";
import type { ProgramHost, UserModeHost } from "../kernel/usermode.ts";
import { createSyscallEntry } from "../syscalls/entry.ts";
import { createStrace } from "../syscalls/strace.ts";
import type { Syscall } from "../syscalls/syscall.ts";
import { syscalls } from "../syscalls/table.ts";
import { createProgramMode } from "./programs/engine.ts";
import { createRiscvEngine } from "./riscv64/engine.ts";
import { loadSubsystem, registerSelf } from "./subsystem-modules.ts";

export default async function cpuWorker(boot: CpuBoot): Promise<CpuReport> {
  registerSelf();
  const subsystems = await loadSubsystems(boot, loadSubsystem);
  const tracer = boot.strace < 0 ? undefined : createStrace((text) => void writeSync(boot.strace, text));
  setTracer(tracer ?? null);
  return runCpu(boot, {
    // In the order of Task.kind: KIND_RISCV64, KIND_PROGRAM.
    createUserModes: (host: UserModeHost, programs: ProgramHost) => [
      createRiscvEngine(host),
      createProgramMode(host, programs),
    ],
    createSyscalls: (counts, { literals, hooks }) =>
      createSyscallEntry({ calls: [...syscalls, ...(literals as Syscall[])], counts, tracer, hooks }),
    subsystems,
  });
}
