/** clone(2), clone3(2), unshare(2). */
import { copyFromUser } from "../../kernel/mm/uaccess.ts";
import { clone as doClone } from "../../kernel/task/fork.ts";
import { unshareResources } from "../../kernel/task/unshare.ts";
import { E2BIG, EFAULT, EINVAL, EPERM } from "../../kernel/uapi/errno.ts";
import {
  CLONE_CHILD_CLEARTID,
  CLONE_CHILD_SETTID,
  CLONE_FILES,
  CLONE_FS,
  CLONE_PARENT,
  CLONE_PARENT_SETTID,
  CLONE_SETTLS,
  CLONE_SIGHAND,
  CLONE_SYSVSEM,
  CLONE_THREAD,
  CLONE_VFORK,
  CLONE_VM,
  CSIGNAL,
} from "../../kernel/uapi/sched.ts";
import { signalName } from "../../kernel/uapi/signal.ts";
import { DECODE, flagSet, hexArg, pid, ptr, size } from "../args.ts";
import { syscall } from "../syscall.ts";

const FLAGS = {
  CLONE_VM,
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
  partial: "namespaces and CLONE_PIDFD are refused with EINVAL",
  handler: (task, flags, stack, parentTid, tls, childTid) =>
    doClone(task, { flags: flags & ~CSIGNAL, exitSignal: flags & CSIGNAL, stack, parentTid, childTid, tls }),
});

const CLONE_ARGS_VER0 = 64;
const CLONE_ARGS_BYTES = 88;

export const clone3 = syscall({
  nr: 435,
  name: "clone3",
  args: [ptr, size],
  returns: pid,
  fullRegs: true,
  partial: "namespaces, CLONE_PIDFD, set_tid and cgroups are refused with EINVAL",
  handler(task, address, bytes) {
    if (bytes < CLONE_ARGS_VER0) return -EINVAL;
    if (bytes > 4096) return -E2BIG;
    const raw = copyFromUser(address, bytes);
    if (raw === null) return -EFAULT;
    if (raw.subarray(CLONE_ARGS_BYTES).some((byte) => byte !== 0)) return -E2BIG;
    const view = new DataView(raw.buffer, raw.byteOffset, raw.byteLength);
    const field = (n: number): number => (n * 8 < bytes ? Number(view.getBigUint64(n * 8, true)) : 0);
    // flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup
    const [flags, exitSignal, stack, stackSize] = [field(0), field(4), field(5), field(6)];
    if (flags > 0xffffffff || (flags & CSIGNAL) !== 0 || exitSignal > 64 || field(8) !== 0) return -EINVAL;
    if ((stack === 0) !== (stackSize === 0)) return -EINVAL;
    return doClone(task, {
      flags: flags | 0,
      exitSignal,
      stack: stack === 0 ? 0 : stack + stackSize,
      childTid: field(2),
      parentTid: field(3),
      tls: field(7),
    });
  },
});

export const unshare = syscall({
  nr: 97,
  name: "unshare",
  args: [names],
  partial: "namespaces are refused with EPERM",
  handler(task, flags) {
    const known = CLONE_FS | CLONE_FILES | CLONE_SYSVSEM;
    if ((flags & ~known) !== 0) return -EPERM;
    return unshareResources(task, flags);
  },
});
