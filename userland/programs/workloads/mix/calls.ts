/**
 * One safe form of each system call that the mix can make: it returns at once, touches only what the worker made for it, and
 * leaves things as they were. What it takes beside the call (closing what was opened, say) counts as support.
 */
import type { MixCall } from "./call.ts";
import { DESCRIPTOR_CALLS } from "./descriptors.ts";
import { MEMORY_CALLS } from "./memory.ts";
import { PATH_CALLS } from "./paths.ts";
import { PROCESS_CALLS } from "./processes.ts";

/** By the kernel's names. */
export const MIX_CALLS: ReadonlyMap<string, MixCall> = new Map([
  ...PATH_CALLS,
  ...DESCRIPTOR_CALLS,
  ...MEMORY_CALLS,
  ...PROCESS_CALLS,
]);
