/** A CPU's worker on which programs can have the kernel fail: faults.ts. */
import { type CpuBoot, type CpuReport, runCpu } from "../../../kernel/machine/cpu-main.ts";
import { createSyscallEntry } from "../../../syscalls/entry.ts";
import { syscalls } from "../../../syscalls/table.ts";
import { createRiscvEngine } from "../../../userland/riscv64/engine.ts";
import { faultCalls } from "./faults.ts";

export default function cpuWorker(boot: CpuBoot): CpuReport {
  return runCpu(boot, {
    createUserModes: (host) => [createRiscvEngine(host)],
    createSyscalls: (counts) =>
      createSyscallEntry({ calls: [...syscalls, ...faultCalls], counts, tracer: undefined }),
  });
}
