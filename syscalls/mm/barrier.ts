import { newCodeSpace } from "../../kernel/mm/codespace.ts";
import { Mm, TASK_SIZE } from "../../kernel/mm/mm.ts";
import { activeMm, mmBarrier, tlbLazyEnter, tlbLazyExit } from "../../kernel/mm/tlb.ts";
import { faultIn, getUser64, putUser64 } from "../../kernel/mm/uaccess.ts";
import { EFAULT, EINVAL, EPERM } from "../../kernel/uapi/errno.ts";
import {
  MEMBARRIER_CMD_GLOBAL,
  MEMBARRIER_CMD_GLOBAL_EXPEDITED,
  MEMBARRIER_CMD_PRIVATE_EXPEDITED,
  MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE,
  MEMBARRIER_CMD_QUERY,
  MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED,
  MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED,
  MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE,
} from "../../kernel/uapi/mman.ts";
import { HWPROBE_IMA_EXT_0 } from "../../kernel/uapi/riscv.ts";
import { ACCESS } from "../../kernel/usermode.ts";
import { type Ref, synchronizeRcuExpedited } from "../../rcu/index.ts";
import { hexArg, int, ptr, size, uint } from "../args.ts";
import { syscall } from "../syscall.ts";
import { membarrierCmd } from "./flags.ts";

const SUPPORTED =
  MEMBARRIER_CMD_GLOBAL |
  MEMBARRIER_CMD_GLOBAL_EXPEDITED |
  MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED |
  MEMBARRIER_CMD_PRIVATE_EXPEDITED |
  MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED |
  MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE |
  MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE;

/** membarrier(2): a memory barrier on every CPU that runs the process (or any): each passes through the kernel once. */
export const membarrier = syscall({
  nr: 283,
  name: "membarrier",
  args: [membarrierCmd, uint, int],
  handler(_task, command, flags) {
    if (flags !== 0) return -EINVAL;
    const mm = activeMm as Ref<"mm">;
    switch (command) {
      case MEMBARRIER_CMD_QUERY:
        return SUPPORTED;
      case MEMBARRIER_CMD_GLOBAL:
      case MEMBARRIER_CMD_GLOBAL_EXPEDITED:
        // A grace period: every CPU has passed a safe point, which orders its accesses.
        tlbLazyEnter();
        synchronizeRcuExpedited();
        tlbLazyExit();
        return 0;
      case MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED:
      case MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED:
      case MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE:
        Mm.membarrier.or(mm, command);
        return 0;
      case MEMBARRIER_CMD_PRIVATE_EXPEDITED:
        if ((Mm.membarrier.load(mm) & MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) === 0) return -EPERM;
        mmBarrier(mm);
        return 0;
      case MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE:
        if ((Mm.membarrier.load(mm) & MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE) === 0)
          return -EPERM;
        newCodeSpace(mm);
        mmBarrier(mm);
        return 0;
      default:
        return -EINVAL;
    }
  },
});

const FLUSH_LOCAL = 1;

/** riscv_flush_icache(2): instructions written before are what every thread executes afterwards. */
export const riscvFlushIcache = syscall({
  nr: 259,
  name: "riscv_flush_icache",
  args: [ptr, ptr, hexArg],
  handler(_task, _start, _end, flags) {
    if ((flags & ~FLUSH_LOCAL) !== 0) return -EINVAL;
    const mm = activeMm as Ref<"mm">;
    newCodeSpace(mm);
    if ((flags & FLUSH_LOCAL) === 0) mmBarrier(mm);
    return 0;
  },
});

/** struct riscv_hwprobe: s64 key, u64 value. */
const PAIR_BYTES = 16;
/** riscv_hwprobe(2) keys and what this machine answers: mvendorid, marchid, mimpid, IMA, extensions, slow misaligned access... */
const HWPROBE = new Map<number, number>([
  [0, 0],
  [1, 0],
  [2, 0],
  [3, 1],
  [4, HWPROBE_IMA_EXT_0],
  [5, 2],
  [6, 0],
  [7, TASK_SIZE],
  [8, 1_000_000_000],
  [9, 2],
]);

/** riscv_hwprobe(2): what the processor can do. */
export const riscvHwprobe = syscall({
  nr: 258,
  name: "riscv_hwprobe",
  args: [ptr, size, size, ptr, uint],
  partial: "the set of CPUs is not looked at (all are the same) and RISCV_HWPROBE_WHICH_CPUS is refused",
  handler(_task, pairs, count, _setSize, _cpus, flags) {
    if (flags !== 0) return -EINVAL;
    if (faultIn(pairs, count * PAIR_BYTES, ACCESS.WRITE) < 0) return -EFAULT;
    for (let n = 0; n < count; n++) {
      const pair = pairs + n * PAIR_BYTES;
      const value = HWPROBE.get(getUser64(pair));
      if (value === undefined) putUser64(pair, -1);
      putUser64(pair + 8, value ?? 0);
    }
    return 0;
  },
});
