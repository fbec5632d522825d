/** Memory: mappings, advice, barriers. */
import type { Syscall } from "../syscall.ts";
import { madvise, mincore, mlock, mlock2, mlockall, msync, munlock, munlockall } from "./advise.ts";
import { membarrier, riscvFlushIcache, riscvHwprobe } from "./barrier.ts";
import { brk, mmap, mprotect, mremap, munmap } from "./mmap.ts";

export const calls: readonly Syscall[] = [
  brk,
  munmap,
  mremap,
  mmap,
  mprotect,
  msync,
  mlock,
  munlock,
  mlockall,
  munlockall,
  mincore,
  madvise,
  membarrier,
  mlock2,
  riscvHwprobe,
  riscvFlushIcache,
];
