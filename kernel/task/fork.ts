/**
 * Making tasks: clone(2) and what the host spawns. A new task is complete before it is linked and published
 * under its pid, in one critical section of the task list lock.
 */

import { free, listAddTail, type Ref, rcuReadLock, rcuReadUnlock, tryAlloc } from "../../rcu/index.ts";
import { filesPut } from "../fs/close-range.ts";
import { copyFiles, takeCopy } from "../fs/fd-copy.ts";
import { filesGet } from "../fs/fdtable.ts";
import { fsFork, fsGet, fsPut } from "../fs/fsinfo.ts";
import { forkMm } from "../mm/fork.ts";
import { mmGet, mmPut } from "../mm/mm.ts";
import { allocRegs, freeRegs } from "../mm/ram.ts";
import { faultIn, putUser32 } from "../mm/uaccess.ts";
import { BLOCK_KILLABLE } from "../sched/block.ts";
import { current } from "../sched/current.ts";
import { defineKept, KEPT_VFORK, keepForRestart, keptForRestart, takeKept } from "../sched/restart.ts";
import { finishWait, prepareToWait } from "../sched/waitqueue.ts";
import { wakeNewTask, wakeTask } from "../sched/wake.ts";
import { copySighand, flushHandlers, newSighand, sighandGet, sighandPut } from "../signal/sighand.ts";
import { hooks } from "../subsystem/hooks.ts";
import { nowNs } from "../time/clock.ts";
import { EAGAIN, EINVAL, ENOMEM } from "../uapi/errno.ts";
import {
  CLONE_CHILD_CLEARTID,
  CLONE_CHILD_SETTID,
  CLONE_FILES,
  CLONE_FS,
  CLONE_NEWCGROUP,
  CLONE_NEWIPC,
  CLONE_NEWNET,
  CLONE_NEWNS,
  CLONE_NEWPID,
  CLONE_NEWUSER,
  CLONE_NEWUTS,
  CLONE_PARENT,
  CLONE_PARENT_SETTID,
  CLONE_SETTLS,
  CLONE_SIGHAND,
  CLONE_THREAD,
  CLONE_VFORK,
  CLONE_VM,
} from "../uapi/sched.ts";
import { ACCESS } from "../usermode.ts";
import { credGet, credOf, credPut } from "./cred.ts";
import { allGroups, allocPid, attachPid, findTask, lockTaskList, setFamily, unlockTaskList } from "./pid.ts";
import { copyProgram, putProgram } from "./program.ts";
import {
  clearReservation,
  copyRegisters,
  ECALL_BYTES,
  getPc,
  setPc,
  setReg,
  X_A0,
  X_SP,
  X_TP,
} from "./registers.ts";
import { defaultLimits } from "./rlimit.ts";
import {
  GROUP_EXEC,
  GROUP_EXITING,
  Group,
  TASK_FORKNOEXEC,
  TASK_KEEP_CAPS,
  TASK_NEW,
  TASK_NO_NEW_PRIVS,
  TASK_VFORK,
  Task,
  WORK_CHILD_TID,
} from "./task.ts";
import { tooManyTasks } from "./too-many.ts";

const NAMESPACES =
  CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET;

/** Arguments of clone(2) and clone3(2). Addresses are 0 when not given. */
export interface CloneArgs {
  readonly flags: number;
  /** CLONE_CLEAR_SIGHAND: what the parent catches has its default in the child. */
  readonly clearHandlers?: boolean;
  readonly exitSignal: number;
  /** Initial stack pointer of the child; 0: the parent's. */
  readonly stack: number;
  readonly parentTid: number;
  readonly childTid: number;
  readonly tls: number;
}

/** A task and, with `group` 0, a group for it: fields that have no other default. Not published. 0: no memory. */
export function newTask(group: Ref<"group"> | 0, kind: number): Ref<"task"> | 0 {
  const task = tryAlloc(Task);
  if (task === 0) return 0;
  const regs = allocRegs();
  const owner = group !== 0 ? group : newGroup();
  if (regs === 0 || owner === 0) {
    if (regs !== 0) freeRegs(regs);
    if (owner !== 0 && group === 0) free(Group, owner);
    free(Task, task);
    return 0;
  }
  Task.group.init(task, owner);
  Task.regs.set(task, regs);
  Task.kind.set(task, kind);
  Task.state.init(task, TASK_NEW);
  Task.startTime.set(task, nowNs());
  Task.sigqueue.init(task);
  Task.runNode.init(task);
  Task.affinity.set(task, 0, -1);
  Task.affinity.set(task, 1, -1);
  Task.altStackFlags.set(task, 0);
  Task.dumpable.set(task, 1);
  Task.timerSlack.set(task, 50_000);
  clearReservation(regs);
  return task;
}

function newGroup(): Ref<"group"> | 0 {
  const group = tryAlloc(Group);
  if (group === 0) return 0;
  Group.threads.init(group);
  Group.sigqueue.init(group);
  Group.posixTimers.init(group);
  Group.children.init(group);
  Group.sibling.init(group);
  return group;
}

/** Takes apart what newTask made and the caller filled in: nothing of it was published. */
export function discardTask(task: Ref<"task">, ownGroup: boolean): void {
  const [mm, files, fs, cred] = [
    Task.mm.access(task),
    Task.files.access(task),
    Task.fs.access(task),
    Task.cred.access(task),
  ];
  if (mm !== 0) mmPut(mm);
  if (files !== 0) filesPut(files);
  if (fs !== 0) fsPut(fs);
  if (cred !== 0) credPut(cred);
  freeRegs(Task.regs.get(task));
  putProgram(task);
  const group = Task.group.get(task);
  if (ownGroup) {
    const sighand = Group.sighand.peek(group);
    if (sighand !== 0) sighandPut(sighand);
    free(Group, group);
  }
  free(Task, task);
}

/**
 * Gives the task a pid and makes it visible: as a thread of its group, or as the leader of a new one under `parent`.
 * `pgrp`, `session`: of a new group; 0 makes it the leader of its own. -EAGAIN when no pid is free or the
 * group dies.
 */
export function publishTask(
  task: Ref<"task">,
  parent: Ref<"group"> | 0,
  pgrp: number,
  session: number,
): number {
  const group = Task.group.get(task);
  const isThread = parent === 0;
  const listHeld = lockTaskList();
  const pid = allocPid(listHeld);
  const held = Group.lock.lock(group);
  const dying = isThread && (Group.flags.load(group) & (GROUP_EXITING | GROUP_EXEC)) !== 0;
  if (pid === 0 || dying) {
    Group.lock.unlock(group);
    unlockTaskList();
    return -EAGAIN;
  }
  Task.pid.set(task, pid);
  if (isThread) {
    Task.tgid.init(task, Group.tgid.get(group));
  } else {
    Task.tgid.init(task, pid);
    Group.tgid.init(group, pid);
    Group.leader.init(group, task);
    Group.parent.init(group, parent);
    // Not by its parent, which may be the kernel's own group for whoever asks for a brother.
    const by = current();
    Group.origin.init(group, by === 0 ? pid : Group.origin.load(Task.group.get(by)));
    setFamily(listHeld, group, pgrp === 0 ? pid : pgrp, session === 0 ? pid : session);
    listAddTail(listHeld, Group.children.at(parent), Group.sibling.at(group));
    listAddTail(listHeld, allGroups(), Group.allNode.at(group));
  }
  Group.alive.add(group, 1);
  Group.running.add(group, 1);
  listAddTail(held, Group.threads.at(group), Task.threadNode.at(task));
  attachPid(listHeld, pid, task);
  Group.lock.unlock(group);
  unlockTaskList();
  return pid;
}

/** clone(2): returns the child's pid in the parent. Blocks for vfork until the child has called execve or exited. */
export function clone(parent: Ref<"task">, args: CloneArgs): number {
  // Second run: the vfork child exists and was waited for.
  if (keptForRestart(parent, KEPT_VFORK) !== 0) return waitForVfork(parent);
  const { flags } = args;
  if ((flags & CLONE_SIGHAND) !== 0 && (flags & CLONE_VM) === 0) return -EINVAL;
  if ((flags & CLONE_THREAD) !== 0 && (flags & CLONE_SIGHAND) === 0) return -EINVAL;
  if ((flags & NAMESPACES) !== 0) return -EINVAL;
  if (tooManyTasks(parent)) return -EAGAIN;
  // First, since this is what costs: it may take several runs.
  const copied = (flags & CLONE_FILES) !== 0 ? 0 : copyFiles(parent);
  if (copied !== 0) return copied;
  const mm = Task.mm.access(parent) as Ref<"mm">;
  const memory = (flags & CLONE_VM) !== 0 ? mmGet(mm) : forkMm(mm);
  if (memory < 0) return memory;
  const child = copyTask(parent, args, memory as Ref<"mm">);
  if (child < 0) return child;
  return start(parent, child as Ref<"task">, args);
}

/** Takes over one count of the memory. */
function copyTask(parent: Ref<"task">, args: CloneArgs, memory: Ref<"mm">): Ref<"task"> | number {
  const { flags } = args;
  const isThread = (flags & CLONE_THREAD) !== 0;
  const group = Task.group.get(parent);
  const child = newTask(isThread ? group : 0, Task.kind.get(parent));
  if (child === 0) {
    mmPut(memory);
    return -ENOMEM;
  }
  Task.mm.init(child, memory);
  if (!copyResources(parent, child, args)) {
    discardTask(child, !isThread);
    return -ENOMEM;
  }
  copyOwn(parent, child, args);
  return child;
}

function copyResources(parent: Ref<"task">, child: Ref<"task">, args: CloneArgs): boolean {
  const { flags } = args;
  const files = Task.files.access(parent) as Ref<"files">;
  const newFiles = (flags & CLONE_FILES) !== 0 ? filesGet(files) : takeCopy(parent);
  Task.files.init(child, newFiles);
  const fs = Task.fs.access(parent) as Ref<"fsinfo">;
  const newFs = (flags & CLONE_FS) !== 0 ? fsGet(fs) : fsFork(fs);
  Task.fs.init(child, newFs);
  Task.cred.init(child, credGet(credOf(parent)));
  if (newFiles === 0 || newFs === 0) return false;
  if ((flags & CLONE_THREAD) === 0) {
    const from = Task.group.get(parent);
    const group = Task.group.get(child);
    const sighand = Group.sighand.load(from);
    const own = (flags & CLONE_SIGHAND) !== 0 ? sighandGet(sighand) : copySighand(sighand);
    if (own === 0) return false;
    if (args.clearHandlers === true) flushHandlers(own);
    Group.sighand.init(group, own);
    Group.rlimits.copy(from, group);
    Group.oomScoreAdj.init(group, Group.oomScoreAdj.load(from));
    Group.oomScoreAdjMin.init(group, Group.oomScoreAdjMin.load(from));
    Group.tty.init(group, Group.tty.load(from));
  }
  return true;
}

function copyOwn(parent: Ref<"task">, child: Ref<"task">, args: CloneArgs): void {
  const { flags } = args;
  const from = Task.regs.get(parent);
  const regs = Task.regs.get(child);
  copyRegisters(regs, from);
  setReg(regs, X_A0, 0);
  setPc(regs, getPc(from) + ECALL_BYTES);
  if (args.stack !== 0) setReg(regs, X_SP, args.stack);
  if ((flags & CLONE_SETTLS) !== 0) setReg(regs, X_TP, args.tls);
  Task.comm.view(child).set(Task.comm.view(parent));
  Task.affinity.copy(parent, child);
  Task.blocked.copy(parent, child);
  Task.cpu.init(child, Task.cpu.load(parent));
  Task.nice.init(child, Task.nice.load(parent));
  Task.policy.init(child, Task.policy.load(parent));
  Task.rtPriority.init(child, Task.rtPriority.load(parent));
  Task.dumpable.set(child, Task.dumpable.get(parent));
  Task.personality.set(child, Task.personality.get(parent));
  Task.timerSlack.set(child, Task.timerSlack.get(parent));
  copyProgram(parent, child);
  // A thread starts without an alternate stack; a process keeps the one of its copy, vfork's child has none.
  if ((flags & CLONE_VM) === 0 || (flags & CLONE_VFORK) !== 0) {
    Task.altStack.set(child, Task.altStack.get(parent));
    Task.altStackSize.set(child, Task.altStackSize.get(parent));
    Task.altStackFlags.set(child, Task.altStackFlags.get(parent));
  }
  let childFlags = TASK_FORKNOEXEC | (Task.flags.get(parent) & (TASK_NO_NEW_PRIVS | TASK_KEEP_CAPS));
  if ((flags & CLONE_VFORK) !== 0) {
    childFlags |= TASK_VFORK;
    Task.vforkParent.init(child, parent);
  }
  Task.flags.set(child, childFlags);
  if ((flags & CLONE_CHILD_CLEARTID) !== 0) Task.clearChildTid.set(child, args.childTid);
  if ((flags & CLONE_CHILD_SETTID) !== 0) {
    Task.setChildTid.set(child, args.childTid);
    Task.work.init(child, WORK_CHILD_TID);
  }
}

function start(parent: Ref<"task">, child: Ref<"task">, args: CloneArgs): number {
  const { flags } = args;
  const own = Task.group.get(parent);
  const isThread = (flags & CLONE_THREAD) !== 0;
  let family: Ref<"group"> | 0 = 0;
  if (!isThread) {
    family = (flags & CLONE_PARENT) !== 0 ? (Group.parent.load(own) as Ref<"group">) : own;
    Group.exitSignal.init(
      Task.group.get(child),
      (flags & CLONE_PARENT) !== 0 ? Group.exitSignal.load(own) : args.exitSignal,
    );
  }
  if ((flags & CLONE_VFORK) !== 0) Task.vforkChild.store(parent, 1);
  const pid = publishTask(child, family, Group.pgrp.load(own), Group.session.load(own));
  if (pid < 0) {
    Task.vforkChild.store(parent, 0);
    discardTask(child, !isThread);
    return pid;
  }
  hooks.taskCreate?.(child, parent);
  // A bad address is the caller's loss, as in Linux: the child exists.
  if ((flags & CLONE_PARENT_SETTID) !== 0) storeTid(args.parentTid, pid);
  if ((flags & CLONE_VFORK) === 0) {
    wakeNewTask(child);
    return pid;
  }
  keepForRestart(KEPT_VFORK, pid);
  wakeNewTask(child);
  return waitForVfork(parent);
}

function waitForVfork(parent: Ref<"task">): number {
  if (Task.vforkChild.load(parent) !== 0) {
    prepareToWait();
    if (Task.vforkChild.load(parent) !== 0) return BLOCK_KILLABLE;
    finishWait(parent);
  }
  return takeKept(parent);
}

/** A parent that is killed while it waits in vfork: the child must not wake a task that is gone. */
defineKept(KEPT_VFORK, (parent, pid) => {
  if (Task.vforkChild.load(parent) === 0) return;
  const scope = rcuReadLock();
  const child = findTask(scope, pid);
  if (child !== 0) Task.vforkParent.cas(child, parent, 0);
  rcuReadUnlock();
  Task.vforkChild.store(parent, 0);
});

/** mm_release: the task leaves its address space (execve, exit): a parent that waits in vfork goes on. */
export function completeVfork(task: Ref<"task">): void {
  const parent = Task.vforkParent.exchange(task, 0);
  if (parent === 0) return;
  Task.flags.set(task, Task.flags.get(task) & ~TASK_VFORK);
  Task.vforkChild.store(parent, 0);
  wakeTask(parent);
}

/** Stores a thread id at a user address of the current address space, if it can be written. */
export function storeTid(address: number, tid: number): void {
  if (address !== 0 && faultIn(address, 4, ACCESS.WRITE) === 0) putUser32(address, tid);
}

/** A process that the host starts: child of the kernel's group, leader of its own session. Not started yet. */
export function newProcess(kind: number, cred: Ref<"cred">): Ref<"task"> | 0 {
  const task = newTask(0, kind);
  if (task === 0) return 0;
  Task.cred.init(task, cred);
  const group = Task.group.get(task);
  const sighand = newSighand();
  if (sighand === 0) {
    discardTask(task, true);
    return 0;
  }
  Group.sighand.init(group, sighand);
  defaultLimits(group);
  return task;
}
