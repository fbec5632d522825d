/**
 * Posting a signal to a thread or a process: making it pending, choosing who is to take it, and disturbing him.
 *
 * Who is disturbed: a thread that does not block the signal. For a process-directed signal the main thread is
 * preferred, then any other. SIGKILL and fatal defaults reach every thread at once.
 */
import { type Held, listFirst, listNext, type Ref } from "../../rcu/index.ts";
import { wakeUp } from "../sched/waitqueue.ts";
import { notifyTask, wakeStopped } from "../sched/wake.ts";
import { initGroup } from "../task/pid.ts";
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
import { EAGAIN } from "../uapi/errno.ts";
import {
  CLD_CONTINUED,
  CLD_STOPPED,
  SA_NOCLDSTOP,
  SIG_DFL,
  SIGCHLD,
  SIGCONT,
  SIGKILL,
} from "../uapi/signal.ts";
import { addPending, flushPending, infoChild, infoKernel, type SigInfo } from "./pending.ts";
import { actionFlags, handlerOf, isIgnored } from "./sighand.ts";
import { DEFAULT_IGNORED, inSet, STOPPING, sigBit } from "./sigset.ts";

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
 * Ignored signals vanish here, unless blocked. `fromChild`: the lock of a child's group may be held.
 */
export function sendInfo(task: Ref<"task">, info: SigInfo, shared: boolean, fromChild = false): number {
  const group = Task.group.get(task);
  if (group === initGroup()) return 0; // The kernel's own group takes no signals.
  const held = fromChild ? Group.lock.lockNested(group) : Group.lock.lock(group);
  const result = sendLocked(held, group, task, info, shared);
  Group.lock.unlock(group);
  return result;
}

/** As sendInfo, for who holds Group.lock. */
export function sendLocked(
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
  const target = shared ? chooseThread(held, group, task, signo) : wants(task, signo) ? task : 0;
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
  if (target !== 0) notifyTask(target, WORK_SIGNAL);
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

/** Default action: terminate. */
const isFatal = (sighand: Ref<"sighand">, signo: number): boolean =>
  handlerOf(sighand, signo) === SIG_DFL &&
  (signo > 32 || ((DEFAULT_IGNORED | STOPPING) & sigBit(signo)) === 0);

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

/** Clock ticks (100 per second) of nanoseconds: how siginfo and times(2) count. */
export const toTicks = (ns: number): number => Math.floor(ns / 10_000_000);

export function childInfo(group: Ref<"group">, signo: number, code: number, status: number): SigInfo {
  const leader = Group.leader.load(group);
  const cred = Task.cred.access(leader);
  const uid = cred === 0 ? 0 : Cred.uid.get(cred);
  const [utime, stime] = [toTicks(Group.utime.get(group)), toTicks(Group.stime.get(group))];
  return infoChild(signo, code, Group.tgid.get(group), uid, status, utime, stime);
}

/** The group stopped (signo: why) or was continued (SIGCONT). Its own lock may be held: locks go from child to parent. */
export function notifyStopOrContinue(group: Ref<"group">, signo: number): void {
  const parent = Group.parent.load(group);
  if (parent === 0 || parent === initGroup()) return;
  if ((actionFlags(Group.sighand.load(parent), SIGCHLD) & SA_NOCLDSTOP) === 0) {
    const code = signo === SIGCONT ? CLD_CONTINUED : CLD_STOPPED;
    sendInfo(Group.leader.load(parent), childInfo(group, SIGCHLD, code, signo), true, true);
  }
  wakeUp(Group.childWait.at(parent), 0);
}
