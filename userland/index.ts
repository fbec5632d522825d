/** The library: machines to run guests in, what TypeScript programs import, and what subsystems are made of. */

export { MachineError, OopsError, PanicError } from "../kernel/machine/error.ts";
export type { CpuStats } from "../kernel/machine/machine-stats.ts";
export { copyFromUser, copyToUser, strncpyFromUser } from "../kernel/mm/uaccess.ts";
export { BLOCK } from "../kernel/sched/block.ts";
export { nowNs } from "../kernel/sched/current.ts";
export { waitOn, waitqueue, wakeUp } from "../kernel/sched/waitqueue.ts";
export * from "../kernel/subsystem/index.ts";
export * from "../kernel/uapi/errno.ts";
export * from "../kernel/uapi/poll.ts";
export * as args from "../syscalls/args.ts";
export { type Syscall, syscall } from "../syscalls/syscall.ts";
export { syscallName } from "../syscalls/table.ts";
export { Machine } from "./machine/machine.ts";
export type { MachineOptions } from "./machine/machine-options.ts";
export { GuestProcess, type ProcessExit, type ProcessOutput } from "./machine/process.ts";
export { CpuLostError, SpawnError } from "./machine/spawn-error.ts";
export { DEFAULT_ENV, type Input, type Output, type SpawnOptions } from "./machine/spawn-options.ts";
export type { MachineStats } from "./machine/stats.ts";
export { MemoryFault, type TaskMemory } from "./programs/memory.ts";
export { type Entries, type Main, type Program, program, type Steps } from "./programs/program.ts";
export {
  type Body,
  type DirEntry,
  type EpollEvent,
  type PollFd,
  type SignalHandler,
  type Stat,
  type Sys,
  SysError,
  type Waited,
} from "./programs/sys.ts";
export * as uapi from "./programs/uapi.ts";
export type { SubsystemSpec } from "./subsystem-modules.ts";
