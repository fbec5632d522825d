/** Runs a fuzz program under qemu-riscv64-static, where it is present. */

import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findTool } from "./fpu-oracle.ts";
import type { Outcome } from "./fuzz-host.ts";

export const haveQemu: boolean = findTool("qemu-riscv64-static") !== "";

/** What riscv64 makes of `elf`. */
export function runQemu(elf: Uint8Array): Outcome {
  const dir = mkdtempSync(join(tmpdir(), "fuzz-"));
  try {
    const path = join(dir, "program");
    writeFileSync(path, elf, { mode: 0o755 });
    const { stdout, status, signal } = spawnSync("qemu-riscv64-static", [path], {
      maxBuffer: 2 ** 26,
      timeout: 20_000,
    });
    return { output: stdout, end: status === 0 ? "exited" : `status ${status} signal ${signal}` };
  } finally {
    rmSync(dir, { recursive: true });
  }
}
