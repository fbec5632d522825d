/**
 * Looks at a host file before a machine boots for it, so that the commonest mistakes get a sentence instead of a bare
 * ENOEXEC. The kernel checks everything again, and far more strictly.
 */
import { closeSync, openSync, readSync, statSync } from "node:fs";
import { Failure, STATUS } from "./failure.ts";

const EM_RISCV = 243;
const MACHINES: Readonly<Record<number, string>> = {
  3: "i386",
  8: "MIPS",
  20: "PowerPC",
  21: "PowerPC64",
  22: "s390",
  40: "ARM",
  62: "x86-64",
  183: "AArch64",
  243: "RISC-V",
  258: "LoongArch",
};

/** Throws Failure unless `path` is a 64-bit RISC-V ELF executable or a `#!` script. */
export function checkProgramFile(path: string): void {
  const bad = (reason: string) => new Failure(`${path}: ${reason}`, STATUS.NOT_EXECUTABLE);
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined) throw new Failure(`${path}: no such program on this machine`, STATUS.NOT_FOUND);
  if (stat.isDirectory()) throw bad("is a folder, not a program");
  const head = Buffer.alloc(64);
  let length: number;
  try {
    const fd = openSync(path, "r");
    try {
      length = readSync(fd, head, 0, 64, 0);
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    throw bad(`cannot be read (${(error as NodeJS.ErrnoException).code})`);
  }
  if (head.toString("latin1", 0, 2) === "#!") return;
  if (head.readUInt32BE(0) !== 0x7f454c46)
    throw bad("is not a program: neither ELF, nor #!, nor a .ts or .js file");
  if (length < 64) throw bad("is a truncated ELF file");
  if (head[4] !== 2) throw bad("is a 32-bit ELF file; Sternix runs 64-bit RISC-V Linux programs");
  if (head[5] !== 1) throw bad("is a big-endian ELF file; Sternix runs little-endian RISC-V Linux programs");
  const machine = head.readUInt16LE(18);
  if (machine !== EM_RISCV) {
    throw bad(
      `is made for ${MACHINES[machine] ?? `machine ${machine}`}; Sternix runs riscv64 Linux programs`,
    );
  }
  const type = head.readUInt16LE(16);
  if (type !== 2 && type !== 3) throw bad(`is an ELF file of type ${type}, not an executable`);
}
