/** The library: machines to run guests in, and what TypeScript programs import. */
export { Machine, type MachineOptions, type MachineStats } from "../kernel/machine/machine.ts";
export {
  type BootedGuest,
  type BootOptions,
  bootGuest,
  type GuestResult,
  type GuestRun,
  runGuest,
} from "./cli/guest.ts";
export { MemoryFault, type TaskMemory } from "./programs/memory.ts";
export { type Main, type Program, program, type Steps } from "./programs/program.ts";
export type { Body, SignalHandler, Sys } from "./programs/sys.ts";
