import { madvise as advise, mincore as inCore, msync as sync } from "../../kernel/mm/madvise.ts";
import { mlock as lock, mlockall as lockAll } from "../../kernel/mm/mlock.ts";
import { Mm } from "../../kernel/mm/mm.ts";
import { activeMm } from "../../kernel/mm/tlb.ts";
import { capable } from "../../kernel/task/cred.ts";
import { rlimit } from "../../kernel/task/rlimit.ts";
import { EINVAL, ENOMEM, EPERM } from "../../kernel/uapi/errno.ts";
import { MCL_CURRENT, MCL_FUTURE, MCL_ONFAULT, MLOCK_ONFAULT } from "../../kernel/uapi/mman.ts";
import { RLIMIT_MEMLOCK } from "../../kernel/uapi/resource.ts";
import type { Ref } from "../../rcu/index.ts";
import { ptr, size, uint } from "../args.ts";
import { syscall } from "../syscall.ts";
import { advice, lockFlags, msyncFlags } from "./flags.ts";

const CAP_IPC_LOCK = 14;
const mm = (): Ref<"mm"> => activeMm as Ref<"mm">;
/** Bytes that the task may lock. */
const lockLimit = (task: Ref<"task">): number =>
  capable(task, CAP_IPC_LOCK) ? Infinity : rlimit(task, RLIMIT_MEMLOCK);

/** madvise(2). */
export const madvise = syscall({
  nr: 233,
  name: "madvise",
  args: [ptr, size, advice],
  handler: (_task, addr, length, what) => advise(mm(), addr, length, what),
});

/** msync(2): writes a shared file mapping back. */
export const msync = syscall({
  nr: 227,
  name: "msync",
  args: [ptr, size, msyncFlags],
  handler: (_task, addr, length, flags) => sync(mm(), addr, length, flags),
});

/** mincore(2): which pages are in memory. */
export const mincore = syscall({
  nr: 232,
  name: "mincore",
  args: [ptr, size, ptr],
  handler: (_task, addr, length, vec) => inCore(mm(), addr, length, vec),
});

/** mlock(2): nothing is paged out, so this makes pages present and counts them. */
export const mlock = syscall({
  nr: 228,
  name: "mlock",
  args: [ptr, size],
  handler: (task, addr, length) => lock(mm(), addr, length, true, false, lockLimit(task)),
});

/** mlock2(2). */
export const mlock2 = syscall({
  nr: 284,
  name: "mlock2",
  args: [ptr, size, uint],
  handler: (task, addr, length, flags) =>
    (flags & ~MLOCK_ONFAULT) !== 0
      ? -EINVAL
      : lock(mm(), addr, length, true, (flags & MLOCK_ONFAULT) !== 0, lockLimit(task)),
});

/** munlock(2). */
export const munlock = syscall({
  nr: 229,
  name: "munlock",
  args: [ptr, size],
  handler: (_task, addr, length) => lock(mm(), addr, length, false, false, Infinity),
});

/** mlockall(2). */
export const mlockall = syscall({
  nr: 230,
  name: "mlockall",
  args: [lockFlags],
  handler(task, flags) {
    if ((flags & ~(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT)) !== 0 || flags === 0 || flags === MCL_ONFAULT)
      return -EINVAL;
    const limit = lockLimit(task);
    if (limit === 0) return -EPERM;
    if ((flags & MCL_CURRENT) !== 0 && Mm.totalVm.racy(mm()) * 4096 > limit) return -ENOMEM;
    return lockAll(
      mm(),
      (flags & MCL_CURRENT) !== 0,
      (flags & MCL_FUTURE) !== 0,
      (flags & MCL_ONFAULT) !== 0,
    );
  },
});

/** munlockall(2). */
export const munlockall = syscall({
  nr: 231,
  name: "munlockall",
  args: [],
  handler: () => lockAll(mm(), false, false, false),
});
