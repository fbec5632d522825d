/** What can go wrong with a process, as exceptions. */
import { existsSync } from "node:fs";
import { MachineError } from "../../kernel/machine/error.ts";
import { ERRNO } from "../../kernel/uapi/errno.ts";

/** What is wrong with the program, and what helps, where errno(3) says too little. */
const REASONS: Readonly<Record<string, string>> = {
  ENOENT:
    "there is no such program in the guest, or its interpreter is missing (mount the folders that hold it)",
  ENOEXEC: "is not a riscv64 Linux program",
  EACCES: "is not executable",
  ENOMEM: "does not fit into the guest's memory: give the machine more (memory)",
  ENOTDIR: "part of its path is not a folder",
  ELOOP: "its path has too many symbolic links",
  E2BIG: "its arguments and environment are too long",
  ELIBBAD: "its interpreter is not a riscv64 program",
};

/** A program that cannot be started, or loaded. Named like Node's own system errors. */
export class SpawnError extends MachineError {
  override name = "SpawnError";
  /** Name of the error as in errno(3): "ENOENT", "EACCES", "ENOEXEC"... */
  declare readonly code: string;
  readonly errno: number;
  /** What failed: loading the program, or going to the working directory. */
  readonly syscall: "execve" | "chdir";
  /** The program or the working directory, as it was given. */
  readonly path: string;
  /** The message without the path. */
  readonly reason: string;

  constructor(path: string, errno: number, reason = "", syscall: "execve" | "chdir" = "execve") {
    const known = ERRNO.get(errno);
    const said = reason || REASONS[known?.name ?? ""] || known?.text || `errno ${errno}`;
    super(`${syscall === "chdir" ? "working directory " : ""}${path}: ${said}`, {
      code: known?.name ?? `E${errno}`,
    });
    this.errno = errno;
    this.syscall = syscall;
    this.path = path;
    this.reason = said;
  }
}

/** Why a program was not found, when the guest looked: `reason` is the kernel's. */
export function notFound(program: string, reason: string): string {
  if (reason !== "") return `${reason}: mount the folders that hold it, or give the guest a root that does`;
  return existsSync(program)
    ? "there is no such program in the guest; this machine's is there when its folder is mounted"
    : "";
}

/** The CPU that ran the process died: the thread was ended, or a subsystem on it did not return. The machine goes on. */
export class CpuLostError extends MachineError {
  override name = "CpuLostError";
  readonly cpu: number;
  readonly pid: number;
  constructor(cpu: number, pid: number, program: string) {
    super(`CPU ${cpu} was lost while it ran pid ${pid} (${program}): the kernel log says why`);
    this.cpu = cpu;
    this.pid = pid;
  }
}
