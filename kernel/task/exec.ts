/**
 * What execve(2) does to the task itself; the program's loading is in kernel/exec. In this order: deThread while
 * the old program can still get an error, beginNewProgram once the new address space is in place.
 */
import { kfreeRcu, listDelRcu, type Ref } from "../../rcu/index.ts";
import { futexWakeAddress } from "../futex.ts";
import { exitRobustList } from "../futex-robust.ts";
import { BLOCK_KILLABLE } from "../sched/block.ts";
import { KEPT_EXEC, keptForRestart } from "../sched/restart.ts";
import { waitOn } from "../sched/waitqueue.ts";
import { killThreads } from "../signal/send.ts";
import { copySighand, flushHandlers, Sighand, sighandPut } from "../signal/sighand.ts";
import { hooks } from "../subsystem/hooks.ts";
import { freePosixTimers } from "../time/posix-timer.ts";
import { EAGAIN, ENOMEM } from "../uapi/errno.ts";
import { credPut } from "./cred.ts";
import { completeVfork, storeTid } from "./fork.ts";
import { detachPid, lockTaskList, replacePid, unlockTaskList } from "./pid.ts";
import { GROUP_EXEC, GROUP_EXITING, Group, TASK_FORKNOEXEC, Task } from "./task.ts";

/**
 * Makes the caller the only thread of its group, with the group's pid. 0 when it is; BLOCK_KILLABLE while others
 * still live (the call keeps its file as KEPT_EXEC and runs again); -EAGAIN when the group is dying or another thread is ahead; -ENOMEM.
 */
export function deThread(task: Ref<"task">): number {
  const group = Task.group.get(task);
  if (Group.alive.load(group) > 1) {
    const held = Group.lock.lock(group);
    const flags = Group.flags.load(group);
    const mine = keptForRestart(task, KEPT_EXEC) !== 0;
    const refused = (flags & GROUP_EXITING) !== 0 || ((flags & GROUP_EXEC) !== 0 && !mine);
    if (!refused && !mine) {
      Group.flags.or(group, GROUP_EXEC);
      killThreads(held, group, task);
    }
    Group.lock.unlock(group);
    if (refused) return -EAGAIN;
    const failed = waitOn(Group.threadWait.at(group));
    if (failed < 0) {
      Group.flags.and(group, ~GROUP_EXEC);
      return failed;
    }
    if (Group.alive.load(group) > 1) return BLOCK_KILLABLE;
  }
  takeLeadership(task, group);
  Group.flags.and(group, ~GROUP_EXEC);
  return 0;
}

/** The old leader is a zombie by now: the caller takes over its pid, and it vanishes. */
function takeLeadership(task: Ref<"task">, group: Ref<"group">): void {
  const leader = Group.leader.load(group);
  if (leader === task) return;
  const list = lockTaskList();
  const held = Group.lock.lock(group);
  const own = Task.pid.get(task);
  replacePid(list, Task.pid.get(leader), task);
  Task.pid.set(task, Task.pid.get(leader));
  detachPid(list, own);
  Group.leader.store(group, task);
  listDelRcu(held, Task.threadNode.at(leader));
  Group.lock.unlock(group);
  unlockTaskList();
  const cred = Task.cred.access(leader);
  if (cred !== 0) credPut(cred);
  kfreeRcu(Task, leader);
}

/** The caller is about to leave its old address space, which is still current: robust futexes, CLEARTID, vfork. */
export function leaveOldProgram(task: Ref<"task">): void {
  exitRobustList(task);
  const address = Task.clearChildTid.get(task);
  if (address !== 0) {
    storeTid(address, 0);
    futexWakeAddress(address, 1);
  }
  Task.clearChildTid.set(task, 0);
  Task.robustList.set(task, 0);
}

/** The new address space is in place. `name`: the program's file name, of which 15 bytes become the task's name. */
export function beginNewProgram(task: Ref<"task">, name: Uint8Array): number {
  const failed = ownHandlers(task);
  if (failed < 0) return failed;
  completeVfork(task);
  const group = Task.group.get(task);
  freePosixTimers(group);
  Task.altStack.set(task, 0);
  Task.altStackSize.set(task, 0);
  Task.altStackFlags.set(task, 0);
  Task.flags.set(task, Task.flags.get(task) & ~TASK_FORKNOEXEC);
  Task.dumpable.set(task, 1);
  setComm(task, name);
  hooks.taskExec?.(task);
  return 0;
}

/** Handlers that nobody shares, all caught ones back to default. */
function ownHandlers(task: Ref<"task">): number {
  const group = Task.group.get(task);
  const sighand = Group.sighand.load(group);
  if (Sighand.refcount.load(sighand) > 1) {
    const own = copySighand(sighand);
    if (own === 0) return -ENOMEM;
    Group.sighand.store(group, own);
    sighandPut(sighand);
  }
  Group.lock.lock(group);
  flushHandlers(Group.sighand.load(group));
  Group.lock.unlock(group);
  return 0;
}

/** Sets the task's name (prctl PR_SET_NAME, execve): up to the first NUL, 15 bytes. */
export function setComm(task: Ref<"task">, name: Uint8Array): void {
  for (let n = 0, ended = false; n < 16; n++) {
    const byte = n < 15 && !ended ? (name[n] ?? 0) : 0;
    if (byte === 0) ended = true;
    Task.comm.set(task, n, byte);
  }
}

/** The task's name as text. */
export function commText(task: Ref<"task">): string {
  let text = "";
  for (let n = 0; n < 16; n++) {
    const byte = Task.comm.get(task, n);
    if (byte === 0) break;
    text += String.fromCharCode(byte);
  }
  return text;
}
