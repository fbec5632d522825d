/**
 * Sending signals: to a thread, a process, a process group; from the kernel and from users.
 *
 * Who is disturbed: a thread that does not block the signal. For a process-directed signal the main thread is
 * preferred, then any other. SIGKILL and fatal defaults reach every thread at once (completeSignal).
 */
import { type Held, listFirst, listNext, type Ref, rcuReadLock, rcuReadUnlock } from "../../rcu/index.ts";
import { current } from "../sched/current.ts";
import { wakeUp } from "../sched/waitqueue.ts";
import { notifyTask, wakeStopped } from "../sched/wake.ts";
import { CAP_KILL, capable, credOf } from "../task/cred.ts";
import { allGroups, findTask, initGroup, lockTaskList, unlockTaskList } from "../task/pid.ts";
import {
  Cred,
  GROUP_CONT_REPORT,
  GROUP_EXEC,
  GROUP_EXITING,
  GROUP_STOP_REPORT,
  GROUP_STOPPED,
  GROUP_ZOMBIE,
  Group,
  TASK_DEAD,
  TASK_EXITING,
  TASK_ZOMBIE,
  Task,
  WORK_SIGNAL,
} from "../task/task.ts";
import { EAGAIN, EPERM, ESRCH } from "../uapi/errno.ts";
import {
  NSIG,
  SI_KERNEL,
  SIG_DFL,
  SIGCONT,
  SIGKILL,
  SIGSTOP,
  SIGTSTP,
  SIGTTIN,
  SIGTTOU,
} from "../uapi/signal.ts";
import { notifyStopOrContinue } from "./child.ts";
import { addPending, flushPending, infoFault, infoKernel, infoUser, type SigInfo } from "./pending.ts";
import { actionFlags, handlerOf, isIgnored, setAction, sighandOf } from "./sighand.ts";
import { CORE_DUMPING, DEFAULT_IGNORED, inSet, STOPPING, sigBit } from "./sigset.ts";

const isDead = (task: Ref<"task">): boolean => {
  const state = Task.state.load(task);
  return state === TASK_ZOMBIE || state === TASK_DEAD || (Task.flags.get(task) & TASK_EXITING) !== 0;
};

/** Calls `visit` with each thread of the group. Group.lock is held. */
export function forEachThread(_held: Held, group: Ref<"group">, visit: (task: Ref<"task">) => void): void {
  const head = Group.threads.at(group);
  for (let node = listFirst(head); node !== 0; node = listNext(head, node))
    visit(Task.threadNode.owner(node));
}

/**
 * Sends to a thread (`shared` false) or to its whole process. 0; -EAGAIN when a real-time signal cannot be queued.
 * Ignored signals vanish here, unless blocked.
 */
export function sendInfo(task: Ref<"task">, info: SigInfo, shared: boolean): number {
  const group = Task.group.get(task);
  if (group === initGroup()) return 0; // The kernel's own group takes no signals.
  const held = Group.lock.lock(group);
  const result = sendLocked(held, group, task, info, shared);
  Group.lock.unlock(group);
  return result;
}

function sendLocked(
  held: Held,
  group: Ref<"group">,
  task: Ref<"task">,
  info: SigInfo,
  shared: boolean,
): number {
  const signo = info[0]!;
  if ((Group.flags.load(group) & GROUP_ZOMBIE) !== 0) return 0;
  if (!shared && isDead(task)) return 0;
  prepareStop(held, group, signo);
  const sighand = Group.sighand.load(group);
  const blocked = inSet(Task.blocked.get(task, 0), Task.blocked.get(task, 1), signo);
  const awaited = inSet(Task.waitMask.get(task, 0), Task.waitMask.get(task, 1), signo);
  if (isIgnored(sighand, signo) && !blocked && !awaited) return 0;
  const added = shared
    ? addPending(held, Group, group, signo, info)
    : addPending(held, Task, task, signo, info);
  if (!added) return -EAGAIN;
  wakeUp(Group.signalWait.at(group), 0);
  const target = shared ? chooseThread(held, group, task, signo) : task;
  if (
    signo === SIGKILL ||
    (target !== 0 &&
      isFatal(sighand, signo) &&
      !inSet(Task.waitMask.get(target, 0), Task.waitMask.get(target, 1), signo))
  ) {
    // Nobody gets to handle it: the whole group dies now, each thread by a SIGKILL of its own.
    if ((Group.flags.load(group) & (GROUP_EXITING | GROUP_EXEC)) === 0) {
      Group.exitCode.store(group, signo);
      Group.flags.or(group, GROUP_EXITING);
    }
    killThreads(held, group);
    return 0;
  }
  if (target !== 0 && wants(target, signo)) notifyTask(target, WORK_SIGNAL);
  return 0;
}

/** A stop signal cancels pending SIGCONT, and SIGCONT pending stops; SIGCONT also resumes the group. */
function prepareStop(held: Held, group: Ref<"group">, signo: number): void {
  if (signo === SIGCONT) {
    flushPending(held, Group, group, STOPPING, 0);
    forEachThread(held, group, (thread) => flushPending(held, Task, thread, STOPPING, 0));
    if ((Group.flags.load(group) & GROUP_STOPPED) !== 0) resume(held as Held<"lock">, group);
  } else if (signo <= 32 && (STOPPING & sigBit(signo)) !== 0) {
    flushPending(held, Group, group, sigBit(SIGCONT), 0);
    forEachThread(held, group, (thread) => flushPending(held, Task, thread, sigBit(SIGCONT), 0));
  }
}

function resume(held: Held<"lock">, group: Ref<"group">): void {
  Group.flags.and(group, ~(GROUP_STOPPED | GROUP_STOP_REPORT));
  Group.flags.or(group, GROUP_CONT_REPORT);
  Group.stopped.set(held, group, 0);
  forEachThread(held, group, wakeStopped);
  notifyStopOrContinue(group, SIGCONT);
}

/** Default action: terminate, without a core dump (which only the thread itself can make). */
const isFatal = (sighand: Ref<"sighand">, signo: number): boolean =>
  handlerOf(sighand, signo) === SIG_DFL &&
  (signo > 32 || ((DEFAULT_IGNORED | STOPPING | CORE_DUMPING) & sigBit(signo)) === 0);

const wants = (task: Ref<"task">, signo: number): boolean =>
  !isDead(task) &&
  (!inSet(Task.blocked.get(task, 0), Task.blocked.get(task, 1), signo) ||
    inSet(Task.waitMask.get(task, 0), Task.waitMask.get(task, 1), signo));

function chooseThread(
  held: Held,
  group: Ref<"group">,
  preferred: Ref<"task">,
  signo: number,
): Ref<"task"> | 0 {
  if (wants(preferred, signo)) return preferred;
  let found: Ref<"task"> | 0 = 0;
  forEachThread(held, group, (thread) => {
    if (found === 0 && wants(thread, signo)) found = thread;
  });
  return found;
}

/** Gives every thread that lives a SIGKILL of its own, and wakes it from whatever it waits for. */
export function killThreads(held: Held, group: Ref<"group">, except: Ref<"task"> | 0 = 0): void {
  Group.flags.and(group, ~GROUP_STOPPED);
  forEachThread(held, group, (thread) => {
    if (thread === except || isDead(thread)) return;
    addPending(held, Task, thread, SIGKILL, infoKernel(SIGKILL));
    notifyTask(thread, WORK_SIGNAL);
    wakeStopped(thread);
  });
}

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
  forEachGroup((group) => {
    if (Group.pgrp.load(group) !== pgrp) return;
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
 * A fault of the current task (force_sig_fault): cannot be blocked or ignored; then the default action is taken.
 */
export function forceFault(task: Ref<"task">, signo: number, code: number, address: number): void {
  forceInfo(task, code === SI_KERNEL ? infoKernel(signo) : infoFault(signo, code, address));
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
  forEachGroup((group) => {
    if (group === initGroup()) return;
    if (pid === -1 ? group === own : Group.pgrp.load(group) !== pgrp) return;
    const sent = sendUser(Group.leader.load(group), info, true);
    if (sent === 0 || result === -ESRCH) result = sent;
  });
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
