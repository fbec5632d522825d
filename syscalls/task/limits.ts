/** getrlimit(2), prlimit(2), getrusage(2). */
import { Mm } from "../../kernel/mm/mm.ts";
import { copyFromUser, copyToUser } from "../../kernel/mm/uaccess.ts";
import { CAP_SYS_RESOURCE, capable } from "../../kernel/task/cred.ts";
import { exactLimits, setExactLimits, softLimit } from "../../kernel/task/rlimit.ts";
import { Group, RLIM_NLIMITS, Task } from "../../kernel/task/task.ts";
import { childrenUsage, encodeUsage, groupUsage, taskUsage } from "../../kernel/task/usage.ts";
import { EFAULT, EINVAL, EPERM, ESRCH } from "../../kernel/uapi/errno.ts";
import * as resource from "../../kernel/uapi/resource.ts";
import type { Ref } from "../../rcu/index.ts";
import { oneOf, pid, ptr } from "../args.ts";
import { syscall } from "../syscall.ts";
import { lookup } from "./ids.ts";

const resources = oneOf(
  Object.fromEntries(Object.entries(resource).filter(([name]) => name.startsWith("RLIMIT_"))) as Record<
    string,
    number
  >,
);

const NR_OPEN = 1048576n;

function change(task: Ref<"task">, group: Ref<"group">, which: number, address: number): number {
  const raw = copyFromUser(address, 16);
  if (raw === null) return -EFAULT;
  const next = new BigUint64Array(raw.buffer);
  const [soft, hard] = next as unknown as [bigint, bigint];
  if (soft > hard) return -EINVAL;
  if (which === resource.RLIMIT_NOFILE && hard > NR_OPEN) return -EPERM;
  if (hard > exactLimits(group, which)[1]! && !capable(task, CAP_SYS_RESOURCE)) return -EPERM;
  setExactLimits(group, which, next);
  const mm = Task.mm.access(Group.leader.load(group));
  const limit = softLimit(group, which);
  if (mm !== 0 && which === resource.RLIMIT_AS) Mm.asLimit.set(mm, Math.floor(limit / 4096));
  if (mm !== 0 && which === resource.RLIMIT_STACK) Mm.stackLimit.set(mm, limit);
  return 0;
}

const store = (address: number, limits: BigUint64Array<ArrayBuffer>): number =>
  copyToUser(address, new Uint8Array(limits.buffer)) < 0 ? -EFAULT : 0;

export const getrlimit = syscall({
  nr: 163,
  name: "getrlimit",
  args: [resources, ptr],
  handler: (task, which, address) =>
    which < 0 || which >= RLIM_NLIMITS ? -EINVAL : store(address, exactLimits(Task.group.get(task), which)),
});

export const setrlimit = syscall({
  nr: 164,
  name: "setrlimit",
  args: [resources, ptr],
  handler: (task, which, address) =>
    which < 0 || which >= RLIM_NLIMITS ? -EINVAL : change(task, Task.group.get(task), which, address),
});

export const prlimit64 = syscall({
  nr: 261,
  name: "prlimit64",
  args: [pid, resources, ptr, ptr],
  handler(task, id, which, next, old) {
    if (which < 0 || which >= RLIM_NLIMITS) return -EINVAL;
    const of = id === 0 ? task : lookup(id);
    if (of === 0) return -ESRCH;
    const group = Task.group.get(of);
    if (group !== Task.group.get(task) && !capable(task, CAP_SYS_RESOURCE)) return -EPERM;
    const before = exactLimits(group, which);
    if (next !== 0) {
      const failed = change(task, group, which, next);
      if (failed < 0) return failed;
    }
    return old === 0 ? 0 : store(old, before);
  },
});

const { RUSAGE_SELF, RUSAGE_CHILDREN, RUSAGE_THREAD } = resource;

export const getrusage = syscall({
  nr: 165,
  name: "getrusage",
  args: [oneOf({ RUSAGE_SELF, RUSAGE_CHILDREN, RUSAGE_THREAD }), ptr],
  handler(task, which, address) {
    const group = Task.group.get(task);
    let usage = null;
    if (which === RUSAGE_SELF) usage = groupUsage(group);
    else if (which === RUSAGE_CHILDREN) usage = childrenUsage(group);
    else if (which === RUSAGE_THREAD) usage = taskUsage(task);
    if (usage === null) return -EINVAL;
    return copyToUser(address, encodeUsage(usage)) < 0 ? -EFAULT : 0;
  },
});
