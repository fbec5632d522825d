/**
 * Whether the host gives address space for the CPUs' threads. V8 ends the whole process when a new thread gets none, so where there is
 * a limit (`ulimit -v`), it is looked at before. Linux tells; elsewhere nothing is checked.
 */
import { readFileSync } from "node:fs";
import { MachineError } from "./error.ts";

/** What a worker takes, in KiB: V8 reserves 512 MiB for code, aligned, and its heap. Measured: 840 to 910 MiB, and more while it starts. */
const WORKER_KIB = 1280 * 1024;

/** Throws MachineError when so many more threads do not fit. */
export function checkAddressSpace(threads: number): void {
  const left = addressSpaceLeft();
  if (left === null || left >= threads * WORKER_KIB) return;
  throw new MachineError(
    `${threads} CPUs need about ${(threads * WORKER_KIB) >> 10} MiB of address space, of which \`ulimit -v\` ` +
      `leaves ${Math.max(0, left >> 10)} MiB: raise it, or give the machine fewer CPUs or less memory`,
  );
}

/** KiB that are left of it, or null where there is no limit, or none is told. */
export function addressSpaceLeft(): number | null {
  try {
    const limit = /^Max address space +(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1];
    if (limit === undefined) return null;
    const size = /^VmSize:\s+(\d+)/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1];
    return size === undefined ? null : Math.floor(Number(limit) / 1024) - Number(size);
  } catch {
    return null; // Not Linux.
  }
}
