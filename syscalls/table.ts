/** Every system call that Sternix has: the areas' lists, one after the other. */

import { calls as exec } from "./exec.ts";
import { calls as fs } from "./fs/index.ts";
import { calls as ipc } from "./ipc/index.ts";
import { calls as mm } from "./mm/index.ts";
import { calls as signal } from "./signal/index.ts";
import type { Syscall } from "./syscall.ts";
import { calls as task } from "./task/index.ts";
import { calls as time } from "./time/index.ts";

export const syscalls: readonly Syscall[] = [...task, ...exec, ...mm, ...fs, ...ipc, ...signal, ...time];

const names = new Map(syscalls.map((call) => [call.nr, call.name]));

/** Name of a system call, or `syscall_N` as strace prints what it does not know. */
export function syscallName(nr: number): string {
  return names.get(nr) ?? `syscall_${nr.toString(16)}`;
}
