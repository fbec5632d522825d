/** Job control: process groups and sessions (credentials(7), setpgid(2), setsid(2)). */
import { listFirst, listNext, type Ref, rcuReadLock, rcuReadUnlock } from "../../rcu/index.ts";
import { sendPgrpSignal } from "../signal/send.ts";
import { EACCES, EINVAL, EPERM, ESRCH } from "../uapi/errno.ts";
import { SIGCONT, SIGHUP } from "../uapi/signal.ts";
import { findTask, forEachMember, lockTaskList, setFamily, unlockTaskList } from "./pid.ts";
import { GROUP_STOPPED, GROUP_ZOMBIE, Group, TASK_FORKNOEXEC, Task } from "./task.ts";

/** setpgid(2). */
export function setpgid(task: Ref<"task">, pid: number, pgid: number): number {
  const own = Task.group.get(task);
  if (pgid < 0) return -EINVAL;
  const held = lockTaskList();
  try {
    const scope = rcuReadLock();
    const leader = findTask(scope, pid === 0 ? Group.tgid.get(own) : pid);
    rcuReadUnlock();
    if (leader === 0) return -ESRCH;
    const group = Task.group.get(leader);
    if (Group.leader.load(group) !== leader) return -EINVAL;
    if (group !== own) {
      if (Group.parent.load(group) !== own) return -ESRCH;
      if (Group.session.load(group) !== Group.session.load(own)) return -EPERM;
      if ((Task.flags.get(leader) & TASK_FORKNOEXEC) === 0) return -EACCES;
    }
    if (Group.session.load(group) === Group.tgid.get(group)) return -EPERM;
    const pgrp = pgid === 0 ? Group.tgid.get(group) : pgid;
    if (pgrp !== Group.tgid.get(group)) {
      let exists = false;
      forEachMember(pgrp, (other) => {
        exists = Group.session.load(other) === Group.session.load(own);
        return !exists;
      });
      if (!exists) return -EPERM;
    }
    setFamily(held, group, pgrp, Group.session.load(group));
    return 0;
  } finally {
    unlockTaskList();
  }
}

/** setsid(2): a new session and process group, without a controlling terminal. */
export function setsid(task: Ref<"task">): number {
  const group = Task.group.get(task);
  const pid = Group.tgid.get(group);
  const held = lockTaskList();
  let taken = Group.session.load(group) === pid;
  forEachMember(pid, () => {
    taken = true;
    return false;
  });
  if (!taken) {
    setFamily(held, group, pid, pid);
    Group.tty.store(group, 0);
  }
  unlockTaskList();
  return taken ? -EPERM : pid;
}

/** Whether no member of the group's process group has its parent in another one of the same session. */
export function isOrphaned(group: Ref<"group">): boolean {
  lockTaskList();
  const orphaned = isOrphanedLocked(Group.pgrp.load(group), 0);
  unlockTaskList();
  return orphaned;
}

function isOrphanedLocked(pgrp: number, without: Ref<"group"> | 0): boolean {
  let orphaned = true;
  forEachMember(pgrp, (member) => {
    if (member === without || (Group.flags.load(member) & GROUP_ZOMBIE) !== 0) return;
    const parent = Group.parent.load(member);
    if (parent === 0 || Group.pgrp.load(parent) === pgrp) return;
    orphaned = Group.session.load(parent) !== Group.session.load(member);
    return orphaned;
  });
  return orphaned;
}

const hasStopped = (pgrp: number): boolean => {
  let stopped = false;
  forEachMember(pgrp, (member) => {
    stopped = (Group.flags.load(member) & GROUP_STOPPED) !== 0;
    return !stopped;
  });
  return stopped;
};

/**
 * The group exits: process groups that this orphans and that have stopped members. They get SIGHUP and SIGCONT once
 * the task list lock is released. The lock is held.
 */
export function newlyOrphaned(group: Ref<"group">): number[] {
  const pgrps = new Set<number>();
  const head = Group.children.at(group);
  for (let node = listFirst(head); node !== 0; node = listNext(head, node)) {
    const pgrp = Group.pgrp.load(Group.sibling.owner(node));
    if (pgrp !== Group.pgrp.load(group)) pgrps.add(pgrp);
  }
  const parent = Group.parent.load(group);
  if (
    parent !== 0 &&
    Group.pgrp.load(parent) !== Group.pgrp.load(group) &&
    Group.session.load(parent) === Group.session.load(group)
  )
    pgrps.add(Group.pgrp.load(group));
  return [...pgrps].filter((pgrp) => hasStopped(pgrp) && isOrphanedLocked(pgrp, group));
}

export function hangUpOrphans(pgrps: number[]): void {
  for (const pgrp of pgrps) {
    sendPgrpSignal(pgrp, SIGHUP);
    sendPgrpSignal(pgrp, SIGCONT);
  }
}
