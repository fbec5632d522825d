/** exit(2), exit_group(2), wait4(2), waitid(2). */
import { fget } from "../../kernel/fs/fdtable.ts";
import { File } from "../../kernel/fs/file.ts";
import { isPidfd, pidfdTask } from "../../kernel/ipc/pidfd.ts";
import { copyToUser, faultIn, putUser32 } from "../../kernel/mm/uaccess.ts";
import { EXIT_TASK, isControl } from "../../kernel/sched/block.ts";
import { killGroup } from "../../kernel/signal/send.ts";
import { Group, Task } from "../../kernel/task/task.ts";
import { encodeUsage, type Usage } from "../../kernel/task/usage.ts";
import { doWait, waited } from "../../kernel/task/wait.ts";
import { EAGAIN, EBADF, ECHILD, EFAULT, EINVAL, ESRCH } from "../../kernel/uapi/errno.ts";
import { O_NONBLOCK } from "../../kernel/uapi/fcntl.ts";
import {
  CLD_CONTINUED,
  CLD_EXITED,
  CLD_KILLED,
  CLD_STOPPED,
  SIGCHLD,
  SIGCONT,
  SIGINFO_BYTES,
} from "../../kernel/uapi/signal.ts";
import {
  __WALL,
  __WCLONE,
  __WNOTHREAD,
  P_ALL,
  P_PGID,
  P_PID,
  P_PIDFD,
  WCONTINUED,
  WEXITED,
  WNOHANG,
  WNOWAIT,
  WUNTRACED,
} from "../../kernel/uapi/wait.ts";
import { ACCESS } from "../../kernel/usermode.ts";
import type { Ref } from "../../rcu/index.ts";
import { flagSet, int, oneOf, pid, ptr } from "../args.ts";
import { syscall } from "../syscall.ts";

export const exit = syscall({
  nr: 93,
  name: "exit",
  args: [int],
  handler(task, code) {
    Task.exitCode.set(task, (code & 0xff) << 8);
    return EXIT_TASK;
  },
});

export const exitGroup = syscall({
  nr: 94,
  name: "exit_group",
  args: [int],
  handler(task, code) {
    const status = (code & 0xff) << 8;
    Task.exitCode.set(task, status);
    killGroup(task, status);
    return EXIT_TASK;
  },
});

const waitFlags = flagSet({
  WNOHANG,
  WUNTRACED,
  WEXITED,
  WCONTINUED,
  WNOWAIT,
  __WNOTHREAD,
  __WALL,
  __WCLONE,
});

export const wait4 = syscall({
  nr: 260,
  name: "wait4",
  args: [pid, { ...ptr, out: true }, waitFlags, { ...ptr, out: true }],
  returns: pid,
  handler(task, id, status, options, usage) {
    if ((options & ~(WNOHANG | WUNTRACED | WCONTINUED | __WNOTHREAD | __WALL | __WCLONE)) !== 0)
      return -EINVAL;
    if (id === -0x80000000) return -ESRCH;
    const own = Group.pgrp.load(Task.group.get(task));
    const idtype = id > 0 ? P_PID : id === -1 ? P_ALL : P_PGID;
    const found = doWait(task, idtype, id > 0 ? id : id === 0 ? own : -id, options | WEXITED);
    if (found <= 0) return found;
    // The child is gone, as on Linux, even when its parent has no place for what it left.
    if (status !== 0) {
      if (faultIn(status, 4, ACCESS.WRITE) < 0) return -EFAULT;
      putUser32(status, waited.status);
    }
    if (usage !== 0 && copyToUser(usage, encodeUsage(waited.usage as Usage)) < 0) return -EFAULT;
    return found;
  },
});

function putSiginfo(address: number, found: number): number {
  const bytes = new Uint8Array(SIGINFO_BYTES);
  const view = new DataView(bytes.buffer);
  if (found > 0) {
    const { status } = waited;
    view.setInt32(0, SIGCHLD, true);
    let code = CLD_EXITED;
    let value = (status >> 8) & 0xff;
    if (status === 0xffff) [code, value] = [CLD_CONTINUED, SIGCONT];
    else if ((status & 0xff) === 0x7f) code = CLD_STOPPED;
    else if ((status & 0x7f) !== 0) [code, value] = [CLD_KILLED, status & 0x7f];
    view.setInt32(8, code, true);
    view.setInt32(16, waited.pid, true);
    view.setInt32(20, waited.uid, true);
    view.setInt32(24, value, true);
  }
  // Linux writes the fields and leaves the rest of the structure alone: the first 32 bytes.
  return copyToUser(address, bytes.subarray(0, 32));
}

export const waitid = syscall({
  nr: 95,
  name: "waitid",
  args: [
    oneOf({ P_ALL, P_PID, P_PGID, P_PIDFD }),
    pid,
    { ...ptr, out: true },
    waitFlags,
    { ...ptr, out: true },
  ],
  handler(task: Ref<"task">, idtype, id, info, options, usage) {
    const found = wait(task, idtype, id, options);
    if (isControl(found)) return found;
    // Linux writes to `info` whatever came of it, and only then tells of an error.
    if (found > 0 && usage !== 0 && copyToUser(usage, encodeUsage(waited.usage as Usage)) < 0) return -EFAULT;
    if (info !== 0 && putSiginfo(info, found) < 0) return -EFAULT;
    return Math.min(found, 0);
  },
});

/** Pid of a child as waitid(2) names it, 0, -errno or BLOCK. */
function wait(task: Ref<"task">, idtype: number, id: number, options: number): number {
  const kinds = WEXITED | WUNTRACED | WCONTINUED;
  if ((options & ~(kinds | WNOHANG | WNOWAIT | __WNOTHREAD | __WALL | __WCLONE)) !== 0) return -EINVAL;
  if ((options & kinds) === 0 || idtype < P_ALL || idtype > P_PIDFD) return -EINVAL;
  if ((idtype === P_PIDFD || idtype === P_PGID) && id < 0) return -EINVAL;
  if (idtype === P_PIDFD) {
    const file = fget(Task.files.access(task) as Ref<"files">, id);
    if (file < 0) return file;
    if (!isPidfd(file as Ref<"file">)) return -EBADF;
    const named = pidfdTask(file as Ref<"file">);
    if (named === 0) return -ECHILD;
    [idtype, id] = [P_PID, Task.tgid.get(named)];
    // A non-blocking pidfd does not wait: EAGAIN instead of nothing found.
    if ((File.flags.load(file as Ref<"file">) & O_NONBLOCK) !== 0 && (options & WNOHANG) === 0) {
      const found = doWait(task, idtype, id, options | WNOHANG | WNOWAIT);
      if (found === 0) return -EAGAIN;
    }
  }
  if (idtype === P_PID && id <= 0) return -EINVAL;
  const own = Group.pgrp.load(Task.group.get(task));
  return doWait(task, idtype, idtype === P_PGID && id === 0 ? own : id, options);
}
