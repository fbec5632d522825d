/** Sending signals from the kernel and from users: to a thread, a process, a process group; faults that cannot be blocked. */
import { listFirst, listNext, type Ref, rcuReadLock, rcuReadUnlock } from "../../rcu/index.ts";
import { current } from "../sched/current.ts";
import { CAP_KILL, capable, credOf } from "../task/cred.ts";
import { allGroups, findTask, forEachMember, initGroup, lockTaskList, unlockTaskList } from "../task/pid.ts";
import { Cred, GROUP_EXITING, Group, Task, WORK_SIGNAL } from "../task/task.ts";
import { EPERM, ESRCH } from "../uapi/errno.ts";
import { NSIG, SI_KERNEL, SIG_DFL, SIGCONT, SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU } from "../uapi/signal.ts";
import { addPending, infoFault, infoKernel, infoUser, type SigInfo } from "./pending.ts";
import { forEachThread, killThreads, sendInfo } from "./post.ts";
import { actionFlags, handlerOf, isIgnored, setAction, sighandOf } from "./sighand.ts";
import { inSet, sigBit } from "./sigset.ts";

export { forEachThread, killThreads, sendInfo };

/** Kernel: a signal to one thread, as SIGPIPE. */
export function sendSignal(task: Ref<"task">, signo: number): void {
  sendInfo(task, infoKernel(signo), false);
}

/** Kernel: a signal to the task's whole process. */
export function sendGroupSignal(group: Ref<"group">, signo: number): void {
  sendInfo(Group.leader.load(group), infoKernel(signo), true);
}

/** Kernel: a signal to all processes of a process group (terminal: SIGINT, SIGTSTP, SIGHUP...). Returns how many. */
export function sendPgrpSignal(pgrp: number, signo: number): number {
  let sent = 0;
  lockTaskList();
  forEachMember(pgrp, (group) => {
    sendGroupSignal(group, signo);
    sent++;
  });
  unlockTaskList();
  return sent;
}

/** Visits every group. The task list lock is held. */
export function forEachGroup(visit: (group: Ref<"group">) => void): void {
  const head = allGroups();
  for (let node = listFirst(head); node !== 0; node = listNext(head, node)) visit(Group.allNode.owner(node));
}

/**
 * A fault of the current task (force_sig_fault): cannot be blocked or ignored; then the default action is taken. `low` and
 * `high` are the words of the address.
 */
export function forceFault(task: Ref<"task">, signo: number, code: number, low: number, high = 0): void {
  forceInfo(task, code === SI_KERNEL ? infoKernel(signo) : infoFault(signo, code, low, high));
}

export function forceInfo(task: Ref<"task">, info: SigInfo): void {
  const signo = info[0]!;
  const group = Task.group.get(task);
  const sighand = sighandOf(task);
  const held = Group.lock.lock(group);
  const blocked = inSet(Task.blocked.get(task, 0), Task.blocked.get(task, 1), signo);
  if (blocked || isIgnored(sighand, signo)) {
    setAction(sighand, signo, {
      handler: SIG_DFL,
      flags: actionFlags(sighand, signo),
      maskLow: 0,
      maskHigh: 0,
    });
    const word = signo <= 32 ? 0 : 1;
    Task.blocked.set(task, word, Task.blocked.get(task, word) & ~sigBit(signo));
  }
  addPending(held, Task, task, signo, info);
  Task.work.or(task, WORK_SIGNAL);
  Group.lock.unlock(group);
}

/** kill(2)'s permission rule. */
export function mayKill(sender: Ref<"task">, target: Ref<"task">, signo: number): boolean {
  const from = credOf(sender);
  const to = credOf(target);
  if (from === to || capable(sender, CAP_KILL)) return true;
  for (const id of [Cred.euid.get(from), Cred.uid.get(from)])
    if (id === Cred.suid.get(to) || id === Cred.uid.get(to)) return true;
  const [mine, its] = [Task.group.get(sender), Task.group.get(target)];
  return signo === SIGCONT && Group.session.load(mine) === Group.session.load(its);
}

/** Sends a user's signal to one process or thread; signo 0 only asks for permission. */
export function sendUser(target: Ref<"task">, info: SigInfo, shared: boolean): number {
  const signo = info[0]!;
  if (!mayKill(current(), target, signo)) return -EPERM;
  return signo === 0 ? 0 : sendInfo(target, info, shared);
}

/** kill(2): pid > 0 a process, 0 the caller's process group, -1 everybody it may, < -1 a process group. */
export function kill(pid: number, signo: number): number {
  const self = current();
  const own = Task.group.get(self);
  const info = infoUser(signo, Task.tgid.get(self), Cred.uid.get(credOf(self)));
  if (pid > 0) {
    const scope = rcuReadLock();
    const task = findTask(scope, pid);
    const result = task === 0 ? -ESRCH : sendUser(task, info, true);
    rcuReadUnlock();
    return result;
  }
  const pgrp = pid === 0 ? Group.pgrp.load(own) : -pid;
  let result = -ESRCH;
  lockTaskList();
  const send = (group: Ref<"group">): void => {
    if (group === initGroup() || (pid === -1 && group === own)) return;
    const sent = sendUser(Group.leader.load(group), info, true);
    if (sent === 0 || result === -ESRCH) result = sent;
  };
  if (pid === -1) forEachGroup(send);
  else forEachMember(pgrp, send);
  unlockTaskList();
  return result;
}

/** exit_group(2), a fatal signal: the group is to die with this wait status. Threads other than the caller get SIGKILL. */
export function killGroup(task: Ref<"task">, status: number): void {
  const group = Task.group.get(task);
  const held = Group.lock.lock(group);
  if ((Group.flags.load(group) & GROUP_EXITING) === 0) {
    Group.exitCode.store(group, status);
    Group.flags.or(group, GROUP_EXITING);
    killThreads(held, group, task);
  }
  Group.lock.unlock(group);
}

export const validSignal = (signo: number): boolean => signo >= 0 && signo <= NSIG;
export const isStopSignal = (signo: number): boolean =>
  signo === SIGSTOP || signo === SIGTSTP || signo === SIGTTIN || signo === SIGTTOU;
export const isCaught = (task: Ref<"task">, signo: number): boolean => handlerOf(sighandOf(task), signo) > 1;
