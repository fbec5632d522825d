/** clone(2), clone3(2), unshare(2). */
import { allocFd, closeFd } from "../../kernel/fs/fdtable.ts";
import { fput } from "../../kernel/fs/file.ts";
import { pidfdOpen } from "../../kernel/ipc/pidfd.ts";
import { Mm, TASK_SIZE } from "../../kernel/mm/mm.ts";
import { copyFromUser, faultIn, putUser32 } from "../../kernel/mm/uaccess.ts";
import { isBlock } from "../../kernel/sched/block.ts";
import { KEPT_VFORK, keptForRestart } from "../../kernel/sched/restart.ts";
import { type CloneArgs, clone as doClone } from "../../kernel/task/fork.ts";
import { Group, Task } from "../../kernel/task/task.ts";
import { unshareResources } from "../../kernel/task/unshare.ts";
import { E2BIG, EFAULT, EINVAL, EPERM } from "../../kernel/uapi/errno.ts";
import { O_CLOEXEC } from "../../kernel/uapi/fcntl.ts";
import {
  CLONE_CHILD_CLEARTID,
  CLONE_CHILD_SETTID,
  CLONE_CLEAR_SIGHAND,
  CLONE_DETACHED,
  CLONE_FILES,
  CLONE_FS,
  CLONE_PARENT,
  CLONE_PARENT_SETTID,
  CLONE_PIDFD,
  CLONE_SETTLS,
  CLONE_SIGHAND,
  CLONE_SYSVSEM,
  CLONE_THREAD,
  CLONE_VFORK,
  CLONE_VM,
  CSIGNAL,
} from "../../kernel/uapi/sched.ts";
import { NSIG, signalName } from "../../kernel/uapi/signal.ts";
import { ACCESS } from "../../kernel/usermode.ts";
import type { Ref } from "../../rcu/index.ts";
import { DECODE, flagSet, hexArg, only, pid, ptr, size } from "../args.ts";
import { syscall } from "../syscall.ts";

const FLAGS = {
  CLONE_VM,
  CLONE_PIDFD,
  CLONE_FS,
  CLONE_FILES,
  CLONE_SIGHAND,
  CLONE_VFORK,
  CLONE_PARENT,
  CLONE_THREAD,
  CLONE_SYSVSEM,
  CLONE_SETTLS,
  CLONE_PARENT_SETTID,
  CLONE_CHILD_CLEARTID,
  CLONE_CHILD_SETTID,
};
const names = flagSet(FLAGS, DECODE.ULONG);
const cloneFlags = {
  decode: DECODE.ULONG,
  values: Object.values(FLAGS),
  format(value: number, call: Parameters<typeof names.format>[1]): string {
    const signo = value & CSIGNAL;
    const flags = (value & ~CSIGNAL) >>> 0;
    const parts = flags === 0 ? [] : [names.format(flags, call)];
    if (signo !== 0) parts.push(signalName(signo));
    return parts.length === 0 ? "0" : parts.join("|");
  },
};

export const clone = syscall({
  nr: 220,
  name: "clone",
  args: [cloneFlags, ptr, ptr, hexArg, ptr],
  returns: pid,
  fullRegs: true,
  partial: "namespaces are refused with EINVAL",
  handler(task, flags, stack, parentTid, tls, childTid) {
    // Linux keeps a number that is no signal, and sends nothing.
    const signo = flags & CSIGNAL;
    const exitSignal = signo <= NSIG ? signo : 0;
    const args = { flags: flags & ~CSIGNAL, exitSignal, stack, parentTid, childTid, tls };
    if ((flags & CLONE_PIDFD) === 0) return doClone(task, args);
    // clone(2) has one argument for both.
    return (flags & CLONE_PARENT_SETTID) !== 0 ? -EINVAL : cloneWithPidfd(task, args, parentTid);
  },
});

/**
 * CLONE_PIDFD: stores a descriptor of the child at `address`. Whether one can be had is tried before the child is made,
 * since afterwards there is no error; the child itself does not get it.
 */
function cloneWithPidfd(task: Ref<"task">, args: CloneArgs, address: number): number {
  if (keptForRestart(task, KEPT_VFORK) !== 0) return doClone(task, args);
  if ((args.flags & CLONE_THREAD) !== 0) return -EINVAL;
  const files = Task.files.access(task);
  if (files === 0 || faultIn(address, 4, ACCESS.WRITE) < 0) return -EFAULT;
  const trial = openPidfd(files, Task.tgid.get(task));
  if (trial < 0) return trial;
  closeFd(files, trial);
  const result = doClone(task, args);
  const child = isBlock(result) ? keptForRestart(task, KEPT_VFORK) : result;
  if (child > 0) putUser32(address, openPidfd(files, child));
  return result;
}

function openPidfd(files: Ref<"files">, child: number): number {
  const file = pidfdOpen(child, 0);
  if (file < 0) return file;
  const fd = allocFd(files, file as Ref<"file">, O_CLOEXEC);
  if (fd < 0) fput(file as Ref<"file">);
  return fd;
}

/** What Linux can unshare besides: namespaces (CLONE_NEW*). */
const NAMESPACES = 0x7e020080;
/** These are the process's own unless it has threads, or shares its memory. */
const WHOLE = CLONE_THREAD | CLONE_SIGHAND | CLONE_VM;

const CLONE_ARGS_VER0 = 64;
const CLONE_ARGS_BYTES = 88;

export const clone3 = syscall({
  nr: 435,
  name: "clone3",
  args: [ptr, size],
  returns: pid,
  fullRegs: true,
  partial: "namespaces, set_tid and cgroups are refused with EINVAL",
  handler(task, address, bytes) {
    if (bytes < CLONE_ARGS_VER0) return -EINVAL;
    if (bytes > 4096) return -E2BIG;
    const raw = copyFromUser(address, bytes);
    if (raw === null) return -EFAULT;
    if (raw.subarray(CLONE_ARGS_BYTES).some((byte) => byte !== 0)) return -E2BIG;
    // Whatever the size given, the fields beyond it are zero.
    const known = new Uint8Array(CLONE_ARGS_BYTES);
    known.set(raw.subarray(0, CLONE_ARGS_BYTES));
    const view = new DataView(known.buffer);
    const field = (n: number): number => Number(view.getBigUint64(n * 8, true));
    // flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup
    const [flags, exitSignal, stack, stackSize] = [field(0), field(4), field(5), field(6)];
    if (flags >= 2 * CLONE_CLEAR_SIGHAND || (flags & (CSIGNAL | CLONE_DETACHED)) !== 0) return -EINVAL;
    if (exitSignal > NSIG || field(8) !== 0 || field(9) !== 0) return -EINVAL;
    // A thread, and a sibling of the caller, have the signal of the one they join.
    if ((flags & (CLONE_THREAD | CLONE_PARENT)) !== 0 && exitSignal !== 0) return -EINVAL;
    const clearHandlers = flags >= CLONE_CLEAR_SIGHAND;
    if (clearHandlers && (flags & CLONE_SIGHAND) !== 0) return -EINVAL;
    if ((stack === 0) !== (stackSize === 0) || stack + stackSize > TASK_SIZE) return -EINVAL;
    const args = {
      flags: flags | 0,
      clearHandlers,
      exitSignal,
      stack: stack === 0 ? 0 : stack + stackSize,
      childTid: field(2),
      parentTid: field(3),
      tls: field(7),
    };
    return (flags & CLONE_PIDFD) === 0 ? doClone(task, args) : cloneWithPidfd(task, args, field(1));
  },
});

export const unshare = syscall({
  nr: 97,
  name: "unshare",
  args: [only(names, CLONE_FS | CLONE_FILES | CLONE_SYSVSEM | WHOLE | NAMESPACES)],
  partial: "namespaces are refused with EPERM",
  handler(task, flags) {
    if ((flags & NAMESPACES) !== 0) return -EPERM;
    const mm = Task.mm.access(task);
    const alone = Group.alive.load(Task.group.get(task)) === 1 && mm !== 0 && Mm.users.load(mm) === 1;
    if ((flags & WHOLE) !== 0 && !alone) return -EINVAL;
    return unshareResources(task, flags);
  },
});
