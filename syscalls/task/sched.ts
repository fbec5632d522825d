/** sched(7): yielding, affinity, policies and priorities. Policies are accepted and remembered nowhere: there is one. */
import { copyFromUser, copyToUser, faultIn, putUser32 } from "../../kernel/mm/uaccess.ts";
import { CPU_ONLINE, Cpu, cpuOf, nrCpus, setNeedResched } from "../../kernel/sched/cpus.ts";
import { thisCpu } from "../../kernel/sched/current.ts";
import { cpuAllowed } from "../../kernel/sched/runqueue.ts";
import { partAlso, partDone, yieldWhole } from "../../kernel/sched/yield.ts";
import { CAP_SYS_NICE, capable, credOf } from "../../kernel/task/cred.ts";
import { PID_MAX } from "../../kernel/task/limits.ts";
import { findTask, initGroup, nextPid } from "../../kernel/task/pid.ts";
import { Cred, Group, KIND_PROGRAM, Task } from "../../kernel/task/task.ts";
import { EACCES, EFAULT, EINVAL, EPERM, ESRCH } from "../../kernel/uapi/errno.ts";
import { SCHED_BATCH, SCHED_FIFO, SCHED_IDLE, SCHED_OTHER, SCHED_RR } from "../../kernel/uapi/sched.ts";
import { ACCESS } from "../../kernel/usermode.ts";
import { type Ref, rcuReadLock, rcuReadUnlock } from "../../rcu/index.ts";
import { int, oneOf, outTimespec, pid, ptr, uint, within } from "../args.ts";
import { syscall } from "../syscall.ts";
import { writeTimespecNs } from "../time/timespec.ts";
import { lookup } from "./ids.ts";

export const schedYield = syscall({
  nr: 124,
  name: "sched_yield",
  args: [],
  handler(task) {
    if (Cpu.queued.load(cpuOf(thisCpu())) === 0) return 0;
    Task.yielding.set(task, 1);
    setNeedResched(thisCpu());
    return 0;
  },
});

const target = (task: Ref<"task">, id: number): Ref<"task"> | 0 => (id === 0 ? task : lookup(id));

export const schedSetaffinity = syscall({
  nr: 122,
  name: "sched_setaffinity",
  args: [pid, uint, ptr],
  handler(task, id, bytes, address) {
    const raw = copyFromUser(address, Math.min(bytes, 8));
    if (raw === null) return -EFAULT;
    const of = target(task, id);
    if (of === 0) return -ESRCH;
    if (!mayNice(task, of)) return -EPERM;
    // Its generator lives on its CPU: as a Linux thread with PF_NO_SETAFFINITY.
    if (Task.kind.get(of) === KIND_PROGRAM) return -EINVAL;
    const words = new Int32Array(2);
    new Uint8Array(words.buffer).set(raw);
    let usable = false;
    for (let cpu = 0; cpu < nrCpus(); cpu++)
      if (((words[cpu >> 5]! >>> (cpu & 31)) & 1) !== 0 && Cpu.state.load(cpuOf(cpu)) === CPU_ONLINE)
        usable = true;
    if (!usable) return -EINVAL;
    Task.affinity.store(of, 0, words[0]!);
    Task.affinity.store(of, 1, words[1]!);
    // It moves when it leaves its CPU; if that one is forbidden now, soon.
    const on = Task.cpu.load(of);
    if (!cpuAllowed(of, on)) setNeedResched(on);
    return 0;
  },
});

export const schedGetaffinity = syscall({
  nr: 123,
  name: "sched_getaffinity",
  args: [pid, uint, ptr],
  handler(task, id, bytes, address) {
    // The bits are counted in 32 of them, as on Linux.
    if (bytes % 8 !== 0 || (bytes * 8) % 2 ** 32 < nrCpus()) return -EINVAL;
    const of = target(task, id);
    if (of === 0) return -ESRCH;
    const words = new Int32Array(2);
    for (let cpu = 0; cpu < nrCpus(); cpu++) if (cpuAllowed(of, cpu)) words[cpu >> 5]! |= 1 << (cpu & 31);
    return copyToUser(address, new Uint8Array(words.buffer)) < 0 ? -EFAULT : 8;
  },
});

export const getcpu = syscall({
  nr: 168,
  name: "getcpu",
  args: [ptr, ptr, ptr],
  handler(_task, cpu, node) {
    for (const [address, value] of [
      [cpu, thisCpu()],
      [node, 0],
    ] as const) {
      if (address === 0) continue;
      if (faultIn(address, 4, ACCESS.WRITE) < 0) return -EFAULT;
      putUser32(address, value);
    }
    return 0;
  },
});

const policies = oneOf({ SCHED_OTHER, SCHED_FIFO, SCHED_RR, SCHED_BATCH, SCHED_IDLE });
const isRealtime = (policy: number): boolean => policy === SCHED_FIFO || policy === SCHED_RR;
const isPolicy = (policy: number): boolean =>
  [SCHED_OTHER, SCHED_FIFO, SCHED_RR, SCHED_BATCH, SCHED_IDLE].includes(policy);

export const schedSetscheduler = syscall({
  nr: 119,
  name: "sched_setscheduler",
  args: [pid, policies, ptr],
  partial: "every policy runs as SCHED_OTHER",
  handler(task, id, policy, address) {
    if (policy < 0 || id < 0 || address === 0) return -EINVAL;
    const raw = copyFromUser(address, 4);
    if (raw === null) return -EFAULT;
    const of = target(task, id);
    if (of === 0) return -ESRCH;
    const priority = new DataView(raw.buffer, raw.byteOffset, 4).getInt32(0, true);
    const kind = policy & 0xffff;
    if (!isPolicy(kind) || isRealtime(kind) !== priority >= 1 || priority < 0 || priority > 99)
      return -EINVAL;
    if (isRealtime(kind) && !capable(task, CAP_SYS_NICE)) return -EPERM;
    if (!mayNice(task, of)) return -EPERM;
    Task.policy.store(of, kind);
    Task.rtPriority.store(of, priority);
    return 0;
  },
});

export const schedGetscheduler = syscall({
  nr: 120,
  name: "sched_getscheduler",
  args: [pid],
  returns: policies,
  handler(task, id) {
    if (id < 0) return -EINVAL;
    const of = target(task, id);
    return of === 0 ? -ESRCH : Task.policy.load(of);
  },
});

export const schedSetparam = syscall({
  nr: 118,
  name: "sched_setparam",
  args: [pid, ptr],
  handler(task, id, address) {
    if (id < 0 || address === 0) return -EINVAL;
    const raw = copyFromUser(address, 4);
    if (raw === null) return -EFAULT;
    const of = target(task, id);
    if (of === 0) return -ESRCH;
    const priority = new DataView(raw.buffer, raw.byteOffset, 4).getInt32(0, true);
    if (isRealtime(Task.policy.load(of)) !== priority >= 1 || priority < 0 || priority > 99) return -EINVAL;
    if (!mayNice(task, of)) return -EPERM;
    Task.rtPriority.store(of, priority);
    return 0;
  },
});

export const schedGetparam = syscall({
  nr: 121,
  name: "sched_getparam",
  args: [pid, ptr],
  handler(task, id, address) {
    if (id < 0 || address === 0) return -EINVAL;
    const of = target(task, id);
    if (of === 0) return -ESRCH;
    const priority = new Uint8Array(Int32Array.of(Task.rtPriority.load(of)).buffer);
    return copyToUser(address, priority) < 0 ? -EFAULT : 0;
  },
});

export const schedGetPriorityMax = syscall({
  nr: 125,
  name: "sched_get_priority_max",
  args: [policies],
  handler: (_task, policy) => (!isPolicy(policy) ? -EINVAL : isRealtime(policy) ? 99 : 0),
});

export const schedGetPriorityMin = syscall({
  nr: 126,
  name: "sched_get_priority_min",
  args: [policies],
  handler: (_task, policy) => (!isPolicy(policy) ? -EINVAL : isRealtime(policy) ? 1 : 0),
});

const SLICE_NS = 4_000_000;

export const schedRrGetInterval = syscall({
  nr: 127,
  name: "sched_rr_get_interval",
  args: [within(pid, 0, 2 ** 31 - 1), outTimespec],
  handler: (task, id, address) => (target(task, id) === 0 ? -ESRCH : writeTimespecNs(address, SLICE_NS)),
});

const PRIO_PROCESS = 0;
const PRIO_PGRP = 1;
const PRIO_USER = 2;
const who = oneOf({ PRIO_PROCESS, PRIO_PGRP, PRIO_USER });

const mayNice = (task: Ref<"task">, of: Ref<"task">): boolean => {
  const euid = Cred.euid.get(credOf(task));
  const cred = Task.cred.access(of);
  if (cred === 0) return true;
  return euid === Cred.euid.get(cred) || euid === Cred.uid.get(cred) || capable(task, CAP_SYS_NICE);
};

/** Pids that are looked at in less than a millisecond. */
const PRIO_PART = 2048;

/**
 * Goes through the tasks that setpriority and getpriority speak of, in parts: `visit` gets the result so far, -ESRCH at first, and answers the
 * new one.
 */
function forSelected(
  task: Ref<"task">,
  which: number,
  id: number,
  visit: (result: number, of: Ref<"task">) => number,
): number {
  if (which === PRIO_PROCESS) {
    const of = target(task, id);
    return of === 0 ? -ESRCH : visit(-ESRCH, of);
  }
  const pgrp = id === 0 ? Group.pgrp.load(Task.group.get(task)) : id;
  const user = id === 0 ? Cred.uid.get(credOf(task)) : id;
  let from = partDone();
  let result = from === 0 ? -ESRCH : partAlso();
  for (; from < PID_MAX; ) {
    const end = from + PRIO_PART;
    const scope = rcuReadLock();
    for (let pid = nextPid(scope, from); pid !== 0 && pid < end; pid = nextPid(scope, pid + 1)) {
      const of = findTask(scope, pid);
      if (of === 0) continue;
      const group = Task.group.get(of);
      const cred = Task.cred.access(of);
      const inIt =
        which === PRIO_PGRP ? Group.pgrp.load(group) === pgrp : cred !== 0 && Cred.uid.get(cred) === user;
      if (inIt && group !== initGroup()) result = visit(result, of);
    }
    rcuReadUnlock();
    from = end;
    const stop = from < PID_MAX ? yieldWhole(from, result) : 0;
    if (stop !== 0) return stop;
  }
  return result;
}

export const setpriority = syscall({
  nr: 140,
  name: "setpriority",
  args: [who, int, int],
  partial: "the nice value is kept and reported; the scheduler treats all alike",
  handler(task, which, id, nice) {
    if (which < PRIO_PROCESS || which > PRIO_USER) return -EINVAL;
    const value = Math.max(-20, Math.min(19, nice));
    // Whoever may be changed is, as in Linux, also where others may not.
    return forSelected(task, which, id, (result, of) => {
      if (!mayNice(task, of)) return -EPERM;
      if (value < Task.nice.load(of) && !capable(task, CAP_SYS_NICE)) return -EACCES;
      Task.nice.store(of, value);
      return result === -ESRCH ? 0 : result;
    });
  },
});

export const getpriority = syscall({
  nr: 141,
  name: "getpriority",
  args: [who, int],
  handler(task, which, id) {
    if (which < PRIO_PROCESS || which > PRIO_USER) return -EINVAL;
    // The call itself answers 20 - nice, so that it is never negative.
    return forSelected(task, which, id, (result, of) => Math.max(result, 20 - Task.nice.load(of)));
  },
});
