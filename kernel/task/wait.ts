/** wait4(2), waitid(2): finding a child that changed. */
import { listFirst, listNext, type Ref, rcuReadLock, rcuReadUnlock } from "../../rcu/index.ts";
import { BLOCK } from "../sched/block.ts";
import { waitOn } from "../sched/waitqueue.ts";
import { ECHILD } from "../uapi/errno.ts";
import { SIGCHLD } from "../uapi/signal.ts";
import {
  __WALL,
  __WCLONE,
  P_ALL,
  P_PGID,
  P_PID,
  WCONTINUED,
  WEXITED,
  WNOHANG,
  WNOWAIT,
  WUNTRACED,
} from "../uapi/wait.ts";
import { reap } from "./exit.ts";
import { findTask, lockTaskList, type TaskListHeld, unlockTaskList } from "./pid.ts";
import {
  Cred,
  GROUP_CONT_REPORT,
  GROUP_STOP_REPORT,
  GROUP_STOPPED,
  GROUP_ZOMBIE,
  Group,
  Task,
} from "./task.ts";
import { addChildUsage, totalUsage, type Usage } from "./usage.ts";

/** What was found: filled by doWait when it returns a pid. */
export const waited = {
  pid: 0,
  uid: 0,
  /** Status as wait4 reports it. */
  status: 0,
  usage: null as Usage | null,
};

const WSTOPSIG = (signo: number): number => (signo << 8) | 0x7f;
const CONTINUED_STATUS = 0xffff;

/** Pid of a child that changed (see `waited`), 0 with WNOHANG when none did, -ECHILD, or BLOCK. */
export function doWait(task: Ref<"task">, idtype: number, id: number, options: number): number {
  const group = Task.group.get(task);
  let result = scan(group, idtype, id, options);
  if (result !== 0 || (options & WNOHANG) !== 0) return result;
  const failed = waitOn(Group.childWait.at(group));
  if (failed < 0) return failed;
  result = scan(group, idtype, id, options);
  return result !== 0 ? result : BLOCK;
}

function scan(parent: Ref<"group">, idtype: number, id: number, options: number): number {
  const list = lockTaskList();
  try {
    let eligible = false;
    if (idtype === P_PID) {
      // One child is found by its number, however many there are.
      const scope = rcuReadLock();
      const task = findTask(scope, id);
      rcuReadUnlock();
      const child = task === 0 ? 0 : Task.group.get(task);
      if (child === 0 || Group.parent.load(child) !== parent || !matches(child, idtype, id, options))
        return -ECHILD;
      if ((options & WEXITED) !== 0 || (Group.flags.load(child) & GROUP_ZOMBIE) === 0) eligible = true;
      const pid = collect(list, child, options);
      return pid !== 0 ? pid : eligible ? 0 : -ECHILD;
    }
    const head = Group.children.at(parent);
    for (let node = listFirst(head); node !== 0; node = listNext(head, node)) {
      const child = Group.sibling.owner(node);
      if (!matches(child, idtype, id, options)) continue;
      // A zombie will neither stop nor go on: who asks only for that has no child to wait for.
      if ((options & WEXITED) !== 0 || (Group.flags.load(child) & GROUP_ZOMBIE) === 0) eligible = true;
      const pid = collect(list, child, options);
      if (pid !== 0) return pid;
    }
    return eligible ? 0 : -ECHILD;
  } finally {
    unlockTaskList();
  }
}

function matches(child: Ref<"group">, idtype: number, id: number, options: number): boolean {
  if (idtype === P_PID && Group.tgid.get(child) !== id) return false;
  if (idtype === P_PGID && Group.pgrp.load(child) !== id) return false;
  if (idtype !== P_ALL && idtype !== P_PID && idtype !== P_PGID) return false;
  if ((options & __WALL) !== 0) return true;
  // "Clone children" are those that do not send SIGCHLD.
  return (Group.exitSignal.load(child) !== SIGCHLD) === ((options & __WCLONE) !== 0);
}

/** Takes what the child has to report, if the caller asked for that kind. */
function collect(list: TaskListHeld, child: Ref<"group">, options: number): number {
  const flags = Group.flags.load(child);
  const keep = (options & WNOWAIT) !== 0;
  if ((flags & GROUP_ZOMBIE) !== 0) {
    if ((options & WEXITED) === 0) return 0;
    report(child, Group.exitCode.load(child));
    if (!keep) {
      addChildUsage(Group.parent.load(child) as Ref<"group">, child);
      reap(list, child);
    }
    return waited.pid;
  }
  if ((options & WUNTRACED) !== 0 && (flags & GROUP_STOPPED) !== 0 && (flags & GROUP_STOP_REPORT) !== 0) {
    if (!keep) Group.flags.and(child, ~GROUP_STOP_REPORT);
    report(child, WSTOPSIG(Group.stopSignal.racy(child)));
    return waited.pid;
  }
  if ((options & WCONTINUED) !== 0 && (flags & GROUP_CONT_REPORT) !== 0) {
    if (!keep) Group.flags.and(child, ~GROUP_CONT_REPORT);
    report(child, CONTINUED_STATUS);
    return waited.pid;
  }
  return 0;
}

function report(child: Ref<"group">, status: number): void {
  const leader = Group.leader.load(child);
  const cred = Task.cred.access(leader);
  waited.pid = Group.tgid.get(child);
  waited.uid = cred === 0 ? 0 : Cred.uid.get(cred);
  waited.status = status;
  waited.usage = totalUsage(child);
}
