/** Runs fpu-oracle.c under qemu: the results of a real riscv64 implementation, where the tools are present. */

import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export interface FpCase {
  op: number;
  rm: number;
  a: bigint;
  b: bigint;
  c: bigint;
}

export interface FpAnswer {
  result: bigint;
  flags: number;
}

/** Where `name` is on PATH, or "". */
export function findTool(name: string): string {
  for (const dir of (process.env.PATH ?? "").split(":")) {
    const path = join(dir, name);
    if (existsSync(path) && statSync(path).isFile()) return path;
  }
  return "";
}

/** Builds the oracle; returns its path, or "" when the cross compiler or qemu is missing. */
export function buildOracle(): string {
  const gcc = findTool("riscv64-linux-gnu-gcc");
  if (gcc === "" || findTool("qemu-riscv64-static") === "") return "";
  const out = join(mkdtempSync(join(tmpdir(), "fpu-oracle-")), "fpu-oracle");
  const source = fileURLToPath(new URL("./fpu-oracle.c", import.meta.url));
  execFileSync(gcc, ["-O2", "-static", "-nostdlib", "-ffreestanding", "-fno-builtin", "-o", out, source]);
  return out;
}

const IN_BYTES = 32;
const OUT_BYTES = 16;

/** What riscv64 says about `cases`. */
export function askOracle(oracle: string, cases: readonly FpCase[]): FpAnswer[] {
  const input = Buffer.alloc(cases.length * IN_BYTES);
  cases.forEach((k, i) => {
    const at = i * IN_BYTES;
    input.writeUInt32LE(k.op, at);
    input.writeUInt32LE(k.rm, at + 4);
    input.writeBigUInt64LE(BigInt.asUintN(64, k.a), at + 8);
    input.writeBigUInt64LE(BigInt.asUintN(64, k.b), at + 16);
    input.writeBigUInt64LE(BigInt.asUintN(64, k.c), at + 24);
  });
  const { stdout, status, stderr } = spawnSync("qemu-riscv64-static", [oracle], {
    input,
    maxBuffer: cases.length * OUT_BYTES + 4096,
  });
  if (status !== 0 || stdout.length !== cases.length * OUT_BYTES) throw new Error(`oracle failed: ${stderr}`);
  return cases.map((_, i) => ({
    result: stdout.readBigInt64LE(i * OUT_BYTES),
    flags: Number(stdout.readBigUInt64LE(i * OUT_BYTES + 8)),
  }));
}
