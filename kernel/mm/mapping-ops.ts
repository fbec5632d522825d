/** How file systems fill and clean the pages of their mappings: tables of code by number. */
import type { Ref } from "../../rcu/index.ts";
import { Mapping } from "./mm-types.ts";

/** Numbers of mapping operations: part of the heap's format. */
export const MOPS = {
  /** Pages are the content, zero where nothing was written: tmpfs, memfd, MAP_SHARED | MAP_ANONYMOUS. */
  SHMEM: 1,
  HOSTFS: 2,
  /** The kernel's own pages ("[vdso]"). */
  SPECIAL: 3,
  /** As SHMEM, with a size: tmpfs and memfd. */

  /** tmpfs and memfd files: as SHMEM, with the size of an inode. */
  TMPFS: 4,
  /** First number free for modules from outside. */
  MODULE: 8,
} as const;

/** How a file system fills and cleans pages. Calls may block on the host; no lock is held. */
export interface MappingOps {
  /** Fills the frame at byte address `frame` (4096 bytes, contents undefined) with page `index`: 0 or -errno. */
  readPage?(mapping: Ref<"mapping">, index: number, frame: number): number;
  /**
   * Fills `count` contiguous frames with pages index, index + 1...: how many were filled, or -errno. All of
   * each filled page is written, zero beyond the end of the file. Used for reading ahead; optional.
   */
  readPages?(mapping: Ref<"mapping">, index: number, frame: number, count: number): number;
  /** Writes a dirty page back: 0 or -errno. */
  writePage?(mapping: Ref<"mapping">, index: number, frame: number): number;
  /** Size in bytes: accesses to pages beyond it through a VMA get SIGBUS. Infinity when there is no end. */
  size(mapping: Ref<"mapping">): number;
}

const table: (MappingOps | undefined)[] = [];

export function registerMappingOps(id: number, ops: MappingOps): void {
  table[id] = ops;
}

export function mappingOps(mapping: Ref<"mapping">): MappingOps {
  const ops = table[Mapping.ops.get(mapping)];
  if (ops === undefined) throw new Error(`mapping operations ${Mapping.ops.get(mapping)} are not registered`);
  return ops;
}

/** Whether the pages are the content and must not be dropped: shared memory. */
export const isShmem = (mapping: Ref<"mapping">): boolean => mappingOps(mapping).readPage === undefined;
