/**
 * The end of tasks and groups: what they hold is given back, children find a new parent, the parent is told.
 */
import {
  type Held,
  kfreeRcu,
  listAddTail,
  listDelRcu,
  listFirst,
  listIsEmpty,
  listNext,
  type Ref,
} from "../../rcu/index.ts";
import { filesPut } from "../fs/close-range.ts";
import { fsPut } from "../fs/fsinfo.ts";
import { futexWakeAddress } from "../futex.ts";
import { exitRobustList } from "../futex-robust.ts";
import { spawnExited } from "../machine/spawn.ts";
import { Mm, mmPeakRss, mmPut } from "../mm/mm.ts";
import { freeRegs } from "../mm/ram.ts";
import { activateMm } from "../mm/tlb.ts";
import { accountSwitch } from "../sched/account.ts";
import { doLater } from "../sched/later.ts";
import { clearRestart } from "../sched/restart.ts";
import { destroyWaitQueue, finishWait, wakeUp } from "../sched/waitqueue.ts";
import { notifyTask } from "../sched/wake.ts";
import { notifyExit, notifyStopOrContinue } from "../signal/child.ts";
import { flushPending, hasPending } from "../signal/pending.ts";
import { forEachThread, sendSignal } from "../signal/send.ts";
import { sighandPut } from "../signal/sighand.ts";
import { hooks } from "../subsystem/hooks.ts";
import { tracer } from "../syscall-entry.ts";
import { freeGroupTimers } from "../time/itimer.ts";
import { freeTimer } from "../time/timer.ts";
import { SIGCHLD } from "../uapi/signal.ts";
import { credPut, dropLongGroups } from "./cred.ts";
import { completeVfork, storeTid } from "./fork.ts";
import { hangUpOrphans, newlyOrphaned } from "./jobs.ts";
import { detachPid, initGroup, lockTaskList, setFamily, type TaskListHeld, unlockTaskList } from "./pid.ts";
import { putProgram } from "./program.ts";
import { exitSession } from "./session.ts";
import {
  GROUP_DEAD,
  GROUP_EXEC,
  GROUP_EXITING,
  GROUP_STOP_REPORT,
  GROUP_STOPPED,
  GROUP_SUBREAPER,
  GROUP_ZOMBIE,
  Group,
  TASK_DEAD,
  TASK_EXITING,
  TASK_LEAVING,
  TASK_ZOMBIE,
  Task,
  WORK_SIGNAL,
} from "./task.ts";

/**
 * Ends the current task with the wait status in Task.exitCode. Afterwards the CPU must not touch the task but to
 * forget it: it stays allocated until the CPU's next quiescent state. `drain` runs delayed releases in the task's context.
 */
export function doExit(task: Ref<"task">, drain: (task: Ref<"task">) => void): void {
  const group = Task.group.get(task);
  Task.flags.set(task, Task.flags.get(task) | TASK_EXITING);
  finishWait(task);
  clearRestart(task);
  leaveMemory(task);
  doLater(task, () => false); // Whoever comes here by an exception has not done it before.
  const files = Task.files.exchange(task, 0);
  if (files !== 0) filesPut(files);
  const fs = Task.fs.exchange(task, 0);
  if (fs !== 0) fsPut(fs);
  dropLongGroups(task);
  drain(task);
  const timer = Task.sleepTimer.get(task) as Ref<"timer"> | 0;
  Task.sleepTimer.set(task, 0);
  if (timer !== 0) freeTimer(timer);
  // Not `alive`, which counts until the task list lock is had: the last two threads may come here at once.
  if (Group.running.add(group, -1) === 1) {
    freeGroupTimers(group);
    exitSession(group);
    drain(task);
  }
  hooks.taskExit?.(task);
  accountSwitch(task, true);
  finishExit(task);
}

/**
 * The task gives up its registers and leaves its group; whoever waits for it is told. By itself (a CPU that was lost in
 * doExit) this loses what the task still held, but nobody waits for ever.
 */
export function finishExit(task: Ref<"task">): void {
  Task.flags.set(task, Task.flags.get(task) | TASK_LEAVING);
  completeVfork(task);
  freeRegs(Task.regs.get(task));
  putProgram(task);
  leaveGroup(task, Task.group.get(task));
}

/** exit_mm: the address space, and what user mode asked to be told by it. */
function leaveMemory(task: Ref<"task">): void {
  const mm = Task.mm.access(task);
  if (mm === 0) return;
  exitRobustList(task);
  const address = Task.clearChildTid.get(task);
  // Only if somebody is left to see it.
  if (address !== 0 && Mm.users.load(mm) > 1) {
    storeTid(address, 0);
    futexWakeAddress(address, 1);
  }
  const group = Task.group.get(task);
  const rss = mmPeakRss(mm) * 4;
  if (rss > Group.maxRss.get(group)) Group.maxRss.set(group, rss);
  completeVfork(task);
  Task.mm.exchange(task, 0);
  activateMm(0);
  mmPut(mm);
}

function leaveGroup(task: Ref<"task">, group: Ref<"group">): void {
  const list = lockTaskList();
  const held = Group.lock.lock(group);
  Group.utime.set(group, Group.utime.get(group) + Task.utime.get(task));
  Group.stime.set(group, Group.stime.get(group) + Task.stime.get(task));
  Group.nvcsw.set(group, Group.nvcsw.get(group) + Task.nvcsw.get(task));
  Group.nivcsw.set(group, Group.nivcsw.get(group) + Task.nivcsw.get(task));
  Group.minorFaults.set(group, Group.minorFaults.get(group) + Task.minorFaults.get(task));
  Group.majorFaults.set(group, Group.majorFaults.get(group) + Task.majorFaults.get(task));
  flushPending(held, Task, task, -1, -1);
  const isLeader = Group.leader.load(group) === task;
  const last = Group.alive.add(group, -1) === 1;
  // The leader's status is the process's, unless the whole group was told to die.
  if (isLeader && (Group.flags.load(group) & GROUP_EXITING) === 0)
    Group.exitCode.store(group, Task.exitCode.get(task));
  let stopDone = false;
  if (!last) {
    // Signals of the group that this thread was to take. Threads that die all the same need not be told, by each of thousands.
    const shared = Group.pending.load(group, 0) | Group.pending.load(group, 1);
    if (shared !== 0 && (Group.flags.load(group) & GROUP_EXITING) === 0)
      forEachThread(held, group, (thread) => {
        if (thread !== task && hasPending(thread)) notifyTask(thread, WORK_SIGNAL);
      });
    stopDone =
      (Group.flags.load(group) & GROUP_STOPPED) !== 0 &&
      Group.stopped.get(held, group) === Group.alive.load(group);
    if (stopDone) Group.flags.or(group, GROUP_STOP_REPORT);
  }
  Task.state.store(task, isLeader ? TASK_ZOMBIE : TASK_DEAD);
  if (!isLeader) releaseThread(list, held, task);
  Group.lock.unlock(group);
  const signo = stopDone ? Group.stopSignal.racy(group) : 0;
  const orphans = last ? exitGroup(list, group) : [];
  unlockTaskList();
  if (stopDone) notifyStopOrContinue(group, signo);
  if (!last && (Group.flags.load(group) & GROUP_EXEC) !== 0) wakeUp(Group.threadWait.at(group), 0);
  hangUpOrphans(orphans);
}

/** Takes a dead thread out of its group and the pid table. Group.lock and the task list lock are held. */
export function releaseThread(list: TaskListHeld, held: Held, task: Ref<"task">): void {
  listDelRcu(held, Task.threadNode.at(task));
  detachPid(list, Task.pid.get(task));
  const cred = Task.cred.access(task);
  if (cred !== 0) credPut(cred);
  kfreeRcu(Task, task);
}

/** The last thread of the group is gone. Returns the process groups that became orphaned with stopped members. */
function exitGroup(list: TaskListHeld, group: Ref<"group">): number[] {
  const status = Group.exitCode.load(group);
  tracer?.exited(Group.leader.load(group), (status >> 8) & 0xff, status & 0x7f);
  const orphans = newlyOrphaned(group);
  reparentChildren(list, group);
  Group.flags.or(group, GROUP_ZOMBIE);
  wakeUp(Group.exitWait.at(group), 0);
  const request = Group.spawn.exchange(group, 0);
  const autoreap = notifyExit(group, status);
  if (autoreap) reap(list, group);
  if (request !== 0) spawnExited(request, status);
  return orphans;
}

/** The children of a dying group go to the nearest subreaper among its ancestors, or to the kernel. */
function reparentChildren(list: TaskListHeld, group: Ref<"group">): void {
  if (listIsEmpty(Group.children.at(group))) return;
  let heir = Group.parent.load(group) as Ref<"group">;
  while (
    heir !== initGroup() &&
    ((Group.flags.load(heir) & GROUP_SUBREAPER) === 0 || (Group.flags.load(heir) & GROUP_ZOMBIE) !== 0)
  )
    heir = Group.parent.load(heir) as Ref<"group">;
  const head = Group.children.at(group);
  let next = 0;
  for (let node = listFirst(head); node !== 0; node = next) {
    next = listNext(head, node);
    const child = Group.sibling.owner(node);
    listDelRcu(list, node);
    listAddTail(list, Group.children.at(heir), node);
    Group.parent.store(child, heir);
    Group.exitSignal.store(child, SIGCHLD);
    const leader = Group.leader.load(child);
    if (Task.deathSignal.get(leader) !== 0) sendSignal(leader, Task.deathSignal.get(leader));
    if ((Group.flags.load(child) & GROUP_ZOMBIE) !== 0 && notifyExit(child, Group.exitCode.load(child)))
      reap(list, child);
  }
}

/** release_task: forgets a zombie group. Who waited for it has added its usage to the parent's. */
export function reap(list: TaskListHeld, group: Ref<"group">): void {
  const leader = Group.leader.load(group);
  listDelRcu(list, Group.sibling.at(group));
  listDelRcu(list, Group.allNode.at(group));
  setFamily(list, group, 0, 0);
  const held = Group.lock.lock(group);
  Group.flags.or(group, GROUP_DEAD);
  flushPending(held, Group, group, -1, -1);
  releaseThread(list, held, leader);
  Group.lock.unlock(group);
  sighandPut(Group.sighand.load(group));
  destroyWaitQueue(Group.signalWait.at(group));
  destroyWaitQueue(Group.exitWait.at(group));
  kfreeRcu(Group, group);
}
