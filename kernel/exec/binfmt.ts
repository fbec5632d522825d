/**
 * Binary formats: who can load a file that execve was given. Formats look at the first bytes; one that does not know them
 * answers -ENOEXEC and the next one is asked.
 */
import type { Ref } from "../../rcu/index.ts";
import { ENOEXEC } from "../uapi/errno.ts";
import type { ArgStrings } from "./strings.ts";

/** What is being executed (Linux's linux_binprm). */
export interface Bprm {
  task: Ref<"task">;
  /** The open file, counted by the caller of the format. */
  file: Ref<"file">;
  /** The path by which it was named: AT_EXECFN, and what a script's interpreter gets. */
  path: Uint8Array;
  /** The program's first bytes, up to BINPRM_BUF_SIZE. */
  header: Uint8Array;
  argv: ArgStrings;
  envp: ArgStrings;
  /** Scripts that led here. */
  depth: number;
  /** The new address space. */
  mm: Ref<"mm">;
  /** Set by the format that loads: where the program starts, and its stack pointer. */
  entry: number;
  sp: number;
  /** Set by a script: what is to be loaded instead. */
  interpreter: Uint8Array | null;
}

export const BINPRM_BUF_SIZE = 256;

export interface BinaryFormat {
  readonly name: string;
  /** 0 when loaded (or `interpreter` is set), -ENOEXEC when the format is not this one, or another -errno. */
  load(bprm: Bprm): number;
}

const formats: BinaryFormat[] = [];

/** Adds a format, asked before those that are there already. */
export function registerBinfmt(format: BinaryFormat): void {
  if (!formats.some((known) => known.name === format.name)) formats.unshift(format);
}

/** Why the last execve of this CPU answered -ENOEXEC, in words; "" when nobody knew the file. */
export let execReason = "";
export function setExecReason(reason: string): void {
  execReason = reason;
}

/** Asks the formats in turn. */
export function loadBinary(bprm: Bprm): number {
  for (const format of formats) {
    const result = format.load(bprm);
    if (result !== -ENOEXEC || execReason !== "") return result;
  }
  return -ENOEXEC;
}
