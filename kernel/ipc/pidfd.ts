/** pidfd_open(2): a descriptor that names a process, and becomes readable when it ends. */
import {
  fixed,
  kfreeRcu,
  type Ref,
  rcuReadLock,
  rcuReadUnlock,
  struct,
  tryAlloc,
  wide,
} from "../../rcu/index.ts";
import { anonInodeFile, File } from "../fs/file.ts";
import { FOPS, registerFileOps } from "../fs/ops.ts";
import { current } from "../sched/current.ts";
import { infoFrom } from "../signal/pending.ts";
import { kill, sendUser, validSignal } from "../signal/send.ts";
import { credOf } from "../task/cred.ts";
import { findTask } from "../task/pid.ts";
import { Cred, GROUP_ZOMBIE, Group, Task } from "../task/task.ts";
import { EINVAL, ENOMEM, ESRCH } from "../uapi/errno.ts";
import { O_NONBLOCK, O_RDWR } from "../uapi/fcntl.ts";
import { POLLIN, POLLRDNORM } from "../uapi/poll.ts";
import { SI_TKILL, SI_USER } from "../uapi/signal.ts";

/** The process by pid and by the time it was made: pids come again. */
const Pidfd = struct("pidfd", { pid: fixed(), startTime: wide() });

const pidfdOf = (file: Ref<"file">): Ref<"pidfd"> => File.priv.peek(file) as Ref<"pidfd">;
export const isPidfd = (file: Ref<"file">): boolean => File.fops.get(file) === FOPS.PIDFD;

/** A file that names the task's process; -errno. */
export function pidfdFile(task: Ref<"task">, flags: number): Ref<"file"> | number {
  const ref = tryAlloc(Pidfd);
  if (ref === 0) return -ENOMEM;
  Pidfd.pid.init(ref, Task.pid.get(task));
  Pidfd.startTime.set(ref, Task.startTime.get(task));
  const file = anonInodeFile(FOPS.PIDFD, ref, O_RDWR | (flags & O_NONBLOCK), "[pidfd]");
  if (file < 0) kfreeRcu(Pidfd, ref);
  return file;
}

/** pidfd_open(2): the leader of a thread group. */
export function pidfdOpen(pid: number, flags: number): Ref<"file"> | number {
  if (pid <= 0 || (flags & ~O_NONBLOCK) !== 0) return -EINVAL;
  const task = findTask(rcuReadLock(), pid);
  rcuReadUnlock();
  if (task === 0) return -ESRCH;
  return Task.tgid.get(task) === pid ? pidfdFile(task, flags) : -EINVAL;
}

/** The process that a pidfd names, zombies included; 0 when it was reaped. */
export function pidfdTask(file: Ref<"file">): Ref<"task"> | 0 {
  const ref = pidfdOf(file);
  const task = findTask(rcuReadLock(), Pidfd.pid.get(ref));
  rcuReadUnlock();
  return task !== 0 && Task.startTime.get(task) === Pidfd.startTime.get(ref) ? task : 0;
}

/** Who gets the signal: the thread alone, the process, or its process group. */
export const PIDFD_SIGNAL_THREAD = 1;
export const PIDFD_SIGNAL_THREAD_GROUP = 2;
export const PIDFD_SIGNAL_PROCESS_GROUP = 4;

/** pidfd_send_signal(2) without siginfo, to the process that the descriptor named; 0 when it is gone. `scope`: one of the above, or 0. */
export function pidfdSignal(task: Ref<"task"> | 0, signo: number, scope: number): number {
  if (!validSignal(signo)) return -EINVAL;
  if (task === 0) return -ESRCH;
  if (scope === PIDFD_SIGNAL_PROCESS_GROUP) return kill(-Group.pgrp.load(Task.group.get(task)), signo);
  const self = current();
  const alone = scope === PIDFD_SIGNAL_THREAD;
  const code = alone ? SI_TKILL : SI_USER;
  return sendUser(task, infoFrom(signo, code, Task.tgid.get(self), Cred.uid.get(credOf(self))), !alone);
}

registerFileOps(FOPS.PIDFD, {
  poll(file) {
    const task = pidfdTask(file);
    const over = task === 0 || (Group.flags.load(Task.group.get(task)) & GROUP_ZOMBIE) !== 0;
    return over ? POLLIN | POLLRDNORM : 0;
  },
  waitQueues(file, visit) {
    const task = pidfdTask(file);
    if (task !== 0) visit(Group.exitWait.at(Task.group.get(task)));
  },
  release: (file) => kfreeRcu(Pidfd, pidfdOf(file)),
  fdinfo(file) {
    const pid = pidfdTask(file) === 0 ? -1 : Pidfd.pid.get(pidfdOf(file));
    return `Pid:\t${pid}\nNSpid:\t${pid}\n`;
  },
});
