/** Process, group and session ids: getpid(2), setpgid(2), setsid(2) and their family. */
import { faultIn, putUser32 } from "../../kernel/mm/uaccess.ts";
import { forEachGroup } from "../../kernel/signal/send.ts";
import { setpgid as doSetpgid, setsid as doSetsid } from "../../kernel/task/jobs.ts";
import { findTask, lockTaskList, unlockTaskList } from "../../kernel/task/pid.ts";
import { Group, Task } from "../../kernel/task/task.ts";
import { EFAULT, EINVAL, EPERM, ESRCH } from "../../kernel/uapi/errno.ts";
import { ACCESS } from "../../kernel/usermode.ts";
import { type Ref, rcuReadLock, rcuReadUnlock } from "../../rcu/index.ts";
import { pid, ptr, size } from "../args.ts";
import { syscall } from "../syscall.ts";

export const getpid = syscall({
  nr: 172,
  name: "getpid",
  args: [],
  returns: pid,
  handler: (task) => Task.tgid.get(task),
});

export const getppid = syscall({
  nr: 173,
  name: "getppid",
  args: [],
  returns: pid,
  handler(task) {
    // The parent cannot be freed before this CPU's next quiescent state.
    const parent = Group.parent.peek(Task.group.get(task));
    return parent === 0 ? 0 : Group.tgid.get(parent);
  },
});

export const gettid = syscall({
  nr: 178,
  name: "gettid",
  args: [],
  returns: pid,
  handler: (task) => Task.pid.get(task),
});

export const setTidAddress = syscall({
  nr: 96,
  name: "set_tid_address",
  args: [ptr],
  returns: pid,
  handler(task, address) {
    Task.clearChildTid.set(task, address);
    return Task.pid.get(task);
  },
});

const ROBUST_LIST_HEAD_BYTES = 24;

export const setRobustList = syscall({
  nr: 99,
  name: "set_robust_list",
  args: [ptr, size],
  handler(task, head, bytes) {
    if (bytes !== ROBUST_LIST_HEAD_BYTES) return -EINVAL;
    Task.robustList.set(task, head);
    return 0;
  },
});

export const getRobustList = syscall({
  nr: 100,
  name: "get_robust_list",
  args: [pid, ptr, ptr],
  handler(task, id, head, bytes) {
    const of = id === 0 ? task : lookup(id);
    if (of === 0) return -ESRCH;
    if (Task.group.get(of) !== Task.group.get(task)) return -EPERM;
    if (faultIn(head, 8, ACCESS.WRITE) < 0 || faultIn(bytes, 8, ACCESS.WRITE) < 0) return -EFAULT;
    putUser32(head, Task.robustList.get(of));
    putUser32(head + 4, 0);
    putUser32(bytes, ROBUST_LIST_HEAD_BYTES);
    putUser32(bytes + 4, 0);
    return 0;
  },
});

/** The task with this id, 0 when there is none. It stays allocated for as long as the handler runs. */
export function lookup(id: number): Ref<"task"> | 0 {
  const scope = rcuReadLock();
  const task = findTask(scope, id);
  rcuReadUnlock();
  return task;
}

/** Whether a process is in the process group. */
export function pgrpExists(pgrp: number): boolean {
  let found = false;
  lockTaskList();
  forEachGroup((group) => {
    found ||= Group.pgrp.load(group) === pgrp;
  });
  unlockTaskList();
  return found;
}

export const setpgid = syscall({
  nr: 154,
  name: "setpgid",
  args: [pid, pid],
  handler: (task, id, pgid) => (id < 0 ? (pgid <= 0 ? -EINVAL : -ESRCH) : doSetpgid(task, id, pgid)),
});

export const getpgid = syscall({
  nr: 155,
  name: "getpgid",
  args: [pid],
  returns: pid,
  handler(task, id) {
    const of = id === 0 ? task : lookup(id);
    return of === 0 ? -ESRCH : Group.pgrp.load(Task.group.get(of));
  },
});

export const getsid = syscall({
  nr: 156,
  name: "getsid",
  args: [pid],
  returns: pid,
  handler(task, id) {
    const of = id === 0 ? task : lookup(id);
    return of === 0 ? -ESRCH : Group.session.load(Task.group.get(of));
  },
});

export const setsid = syscall({
  nr: 157,
  name: "setsid",
  args: [],
  returns: pid,
  handler: (task) => doSetsid(task),
});
