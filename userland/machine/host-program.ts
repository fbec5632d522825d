/** Programs of this machine, and programs that the guest has: what the kernel is to load. */
import { closeSync, openSync, readSync, realpathSync, statSync } from "node:fs";
import { basename } from "node:path";
import { fileURLToPath } from "node:url";
import { pathLookup } from "../../kernel/fs/namei.ts";
import { mountHost } from "../../kernel/fs/vfs.ts";
import type { Machine as KernelMachine } from "../../kernel/machine/machine.ts";
import { EACCES, EISDIR, ENOENT, ENOEXEC, ERRNO } from "../../kernel/uapi/errno.ts";
import { AT_FDCWD } from "../../kernel/uapi/fcntl.ts";
import { codedTypeError } from "./process.ts";
import { SpawnError } from "./spawn-error.ts";

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
const MODULE = /\.[cm]?[jt]s$/;
/** Whether a file of this machine is a program in TypeScript or JavaScript, by its name. */
export const isModule = (path: string): boolean => MODULE.test(path);

/**
 * Looks at a host file before a guest sees it, so that the commonest mistakes get a sentence instead of a bare ENOEXEC. The
 * kernel checks everything again, and far more strictly. Throws SpawnError.
 */
export function checkHostProgram(path: string): void {
  const bad = (reason: string, errno = ENOEXEC) => new SpawnError(path, errno, reason);
  let head: Buffer;
  let mode: number;
  try {
    const stat = statSync(path);
    mode = stat.mode;
    if (stat.isDirectory()) throw bad("is a folder, not a program", EISDIR);
    if (!stat.isFile()) throw bad("is neither a program nor a file", EACCES);
    head = isModule(path) ? Buffer.alloc(0) : headOf(path);
  } catch (error) {
    if (error instanceof SpawnError) throw error;
    const { code } = error as NodeJS.ErrnoException;
    const errno = [...ERRNO].find(([, known]) => known.name === code)?.[0] ?? ENOENT;
    throw bad(
      code === "ENOENT" ? "there is no such program on this machine" : `cannot be read (${code})`,
      errno,
    );
  }
  if (isModule(path)) return;
  if (head.toString("latin1", 0, 2) !== "#!") checkElf(head, bad);
  if ((mode & 0o111) === 0) throw bad("is not executable: chmod +x makes it so", EACCES);
}

function checkElf(head: Buffer, bad: (reason: string) => SpawnError): void {
  if (head.length < 4 || head.readUInt32BE(0) !== 0x7f454c46)
    throw bad("is not a program: neither ELF, nor #!, nor a .ts or .js file");
  if (head.length < 64) throw bad("is a truncated ELF file");
  if (head[4] !== 2) throw bad("is a 32-bit ELF file; Sternix runs 64-bit RISC-V Linux programs");
  if (head[5] !== 1) throw bad("is a big-endian ELF file; Sternix runs little-endian RISC-V Linux programs");
  const machine = head.readUInt16LE(18);
  if (machine !== EM_RISCV)
    throw bad(
      `is made for ${MACHINES[machine] ?? `machine ${machine}`}; Sternix runs riscv64 Linux programs`,
    );
  const type = head.readUInt16LE(16);
  if (type !== 2 && type !== 3) throw bad(`is an ELF file of type ${type}, not an executable`);
}

function headOf(path: string): Buffer {
  const head = Buffer.alloc(64);
  const fd = openSync(path, "r");
  try {
    return head.subarray(0, readSync(fd, head, 0, 64, 0));
  } finally {
    closeSync(fd);
  }
}

/** What the kernel is to run: a guest path, or a module of the host. Throws SpawnError. */
export function findProgram(
  kernel: KernelMachine,
  program: string | URL,
  searchPath: string,
): { path: string; program?: true } {
  if (program instanceof URL) {
    const path = fileURLToPath(program);
    checkHostProgram(path);
    return isModule(path) ? { path: realpathSync(path), program: true } : { path: showProgram(kernel, path) };
  }
  if (program === "") throw new SpawnError(program, ENOENT, "a program has a name");
  if (program.includes("\0")) throw codedTypeError("ERR_SPAWN_OPTION", "program: a path holds no NUL");
  if (program.includes("/")) return { path: program };
  const candidates = searchPath.split(":").map((folder) => `${folder || "."}/${program}`);
  const path = kernel.run(() => candidates.find((one) => pathLookup(AT_FDCWD, one) === 0));
  if (path === undefined) {
    const hint = isHostFile(program)
      ? "; the file of that name on this machine needs a path, or a file: URL"
      : "";
    throw new SpawnError(program, ENOENT, `there is no such program in the guest's PATH${hint}`);
  }
  return { path };
}

/** Whether this machine has a file of that name; a name that it cannot have is none. */
function isHostFile(name: string): boolean {
  try {
    return statSync(name).isFile();
  } catch {
    return false;
  }
}

/** Host programs that a machine shows: guest paths by name and host path. */
const shown = new WeakMap<KernelMachine, Map<string, string>>();

/** Shows the guest this one file of the host, read-only, and nothing around it. */
function showProgram(kernel: KernelMachine, path: string): string {
  const file = realpathSync(path);
  const name = basename(path);
  const known = shown.get(kernel) ?? new Map<string, string>();
  shown.set(kernel, known);
  const key = `${name}\0${file}`;
  const before = known.get(key);
  if (before !== undefined) return before;
  for (let copy = 0; ; copy++) {
    const guest = copy === 0 ? `/usr/bin/${name}` : `/usr/bin/${copy}/${name}`;
    if (kernel.run(() => pathLookup(AT_FDCWD, guest)) === 0) continue;
    const error = kernel.run(() => mountHost(file, guest, false));
    if (error < 0) {
      const why = ERRNO.get(-error)?.text ?? `errno ${-error}`;
      throw new SpawnError(
        path,
        -error,
        `cannot be shown to the guest as ${guest}: ${why}; mount its folder`,
      );
    }
    known.set(key, guest);
    return guest;
  }
}
