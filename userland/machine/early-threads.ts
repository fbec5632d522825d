/**
 * Threads for CPUs that are started before the kernel's code is loaded, let alone booted: they load theirs meanwhile. For `sternix run`,
 * which knows what it will boot before it can.
 */
import { addressSpaceLeft } from "../../kernel/machine/address-space.ts";
import { CpuThreads } from "../../kernel/machine/cpu-threads.ts";
import { shareCompileCache, workerUrl } from "../worker-url.ts";

let early: { readonly cpus: number; readonly threads: CpuThreads } | null = null;

/** Starts them, unless the address space is limited: whether they fit is known only when the machine has its memory. */
export function startEarlyThreads(cpus: number): void {
  if (addressSpaceLeft() !== null) return;
  shareCompileCache();
  early = { cpus, threads: new CpuThreads(workerUrl, cpus) };
}

/** The threads for a machine with so many CPUs, if they have been started; the machine ends them. */
export function takeEarlyThreads(cpus: number): CpuThreads | null {
  if (early === null || early.cpus !== cpus) return null;
  const { threads } = early;
  early = null;
  return threads;
}

/** Ends the threads that no machine took. */
export async function dropEarlyThreads(): Promise<void> {
  const dropped = early;
  early = null;
  await dropped?.threads.destroy();
}
