/** How large a machine may be. */
import { CPU_AREA_BYTES } from "../../kernel/usermode.ts";

/** Each takes 128 MiB of the machine's 4 GiB of address space. */
export const MAX_CPUS = 30;
export const MIN_MEMORY = 16 * 1024 ** 2;
export const MAX_MEMORY = 4 * 1024 ** 3;
/** For the register files, and what the machine keeps for itself. */
const RESERVED = 32 * 1024 ** 2;

/** 2 GiB, or what so many CPUs leave. */
export const defaultMemory = (cpus: number): number =>
  Math.min(2 * 1024 ** 3, MAX_MEMORY - cpus * CPU_AREA_BYTES - RESERVED);
