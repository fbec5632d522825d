/** Signals that the host sends. */
import { rcuReadLock, rcuReadUnlock } from "../../rcu/index.ts";
import { infoKernel } from "../signal/pending.ts";
import { forEachGroup, sendInfo } from "../signal/send.ts";
import { findTask, initGroup, lockTaskList, unlockTaskList } from "../task/pid.ts";
import { Group, Task } from "../task/task.ts";
import { SIGKILL } from "../uapi/signal.ts";

/**
 * The host is nobody's process: it may signal everybody, with si_code SI_KERNEL. Signal 0 only asks whether the process, or one of
 * the group, is there. `signo` is 0 to 64.
 */
export function sendFromHost(pid: number, signo: number): boolean {
  let sent = false;
  if (pid > 0) {
    const scope = rcuReadLock();
    const task = findTask(scope, pid);
    // Pid 1 is the kernel's own, and takes none.
    if (task !== 0 && Task.group.get(task) !== initGroup())
      sent = signo === 0 || sendInfo(task, infoKernel(signo), true) === 0;
    rcuReadUnlock();
    return sent;
  }
  lockTaskList();
  forEachGroup((group) => {
    if (group === initGroup() || Group.pgrp.load(group) !== -pid) return;
    if (signo !== 0) sendInfo(Group.leader.load(group), infoKernel(signo), true);
    sent = true;
  });
  unlockTaskList();
  return sent;
}

/** SIGKILL to every process but the kernel's own. */
export function killEverybody(): void {
  lockTaskList();
  forEachGroup((group) => {
    if (group !== initGroup()) sendInfo(Group.leader.load(group), infoKernel(SIGKILL), true);
  });
  unlockTaskList();
}
