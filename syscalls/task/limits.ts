/** getrlimit(2), prlimit(2), getrusage(2). */
import { Mm } from "../../kernel/mm/mm.ts";
import { copyFromUser, copyToUser } from "../../kernel/mm/uaccess.ts";
import { CAP_SYS_RESOURCE, capable } from "../../kernel/task/cred.ts";
import { hardLimit, setLimit, softLimit } from "../../kernel/task/rlimit.ts";
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
const INFINITY = 0xffff_ffff_ffff_ffffn;

function readLimit(address: number): [number, number] | null {
  const raw = copyFromUser(address, 16);
  if (raw === null) return null;
  const view = new DataView(raw.buffer, raw.byteOffset, 16);
  const field = (offset: number): number => {
    const value = view.getBigUint64(offset, true);
    return value === INFINITY ? resource.RLIM_INFINITY : Number(value);
  };
  return [field(0), field(8)];
}

function writeLimit(address: number, group: Ref<"group">, which: number): number {
  const out = new BigUint64Array(
    [softLimit(group, which), hardLimit(group, which)].map((value) =>
      value === resource.RLIM_INFINITY ? INFINITY : BigInt(value),
    ),
  );
  return copyToUser(address, new Uint8Array(out.buffer)) < 0 ? -EFAULT : 0;
}

const NR_OPEN = 1048576;

function change(task: Ref<"task">, group: Ref<"group">, which: number, address: number): number {
  const next = readLimit(address);
  if (next === null) return -EFAULT;
  const [soft, hard] = next;
  if (soft > hard) return -EINVAL;
  if (which === resource.RLIMIT_NOFILE && hard > NR_OPEN) return -EPERM;
  if (hard > hardLimit(group, which) && !capable(task, CAP_SYS_RESOURCE)) return -EPERM;
  setLimit(group, which, soft, hard);
  const mm = Task.mm.access(Group.leader.load(group));
  if (mm !== 0 && which === resource.RLIMIT_AS) Mm.asLimit.set(mm, Math.floor(soft / 4096));
  if (mm !== 0 && which === resource.RLIMIT_STACK) Mm.stackLimit.set(mm, soft);
  return 0;
}

export const getrlimit = syscall({
  nr: 163,
  name: "getrlimit",
  args: [resources, ptr],
  handler: (task, which, address) =>
    which < 0 || which >= RLIM_NLIMITS ? -EINVAL : writeLimit(address, Task.group.get(task), which),
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
    const before = [softLimit(group, which), hardLimit(group, which)] as const;
    if (next !== 0) {
      const failed = change(task, group, which, next);
      if (failed < 0) return failed;
    }
    if (old === 0) return 0;
    const out = new BigUint64Array(
      before.map((value) => (value === resource.RLIM_INFINITY ? INFINITY : BigInt(value))),
    );
    return copyToUser(old, new Uint8Array(out.buffer)) < 0 ? -EFAULT : 0;
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
