/** uname(2), sysinfo(2), sethostname(2), personality(2), prctl(2). */

import { frameTotal, freeFrames } from "../../kernel/mm/frame.ts";
import { PAGE_SIZE } from "../../kernel/mm/ram.ts";
import {
  copyFromUser,
  copyStringIn,
  copyToUser,
  faultIn,
  putUser32,
  putUser64,
} from "../../kernel/mm/uaccess.ts";
import { Cpu, cpuOf, nrCpus } from "../../kernel/sched/cpus.ts";
import { changeAmbient, dropBound, inBounds } from "../../kernel/task/capability.ts";
import { CAP_SYS_ADMIN, capable } from "../../kernel/task/cred.ts";
import { setComm } from "../../kernel/task/exec.ts";
import { nrTasks } from "../../kernel/task/pid.ts";
import { GROUP_SUBREAPER, Group, TASK_KEEP_CAPS, TASK_NO_NEW_PRIVS, Task } from "../../kernel/task/task.ts";
import { setName, utsname } from "../../kernel/task/uts.ts";
import { bootNs, NSEC_PER_SEC, nowNs } from "../../kernel/time/clock.ts";
import { EFAULT, EINVAL, EPERM } from "../../kernel/uapi/errno.ts";
import { NSIG } from "../../kernel/uapi/signal.ts";
import { UTS_FIELD } from "../../kernel/uapi/utsname.ts";
import { ACCESS } from "../../kernel/usermode.ts";
import type { Ref } from "../../rcu/index.ts";
import { hexArg, int, oneOf, orElse, ptr, str, uint, ulong } from "../args.ts";
import { syscall } from "../syscall.ts";

export const uname = syscall({
  nr: 160,
  name: "uname",
  args: [ptr],
  handler: (_task, address) => (copyToUser(address, utsname()) < 0 ? -EFAULT : 0),
});

const namer = (nr: number, name: string, which: "nodename" | "domainname") =>
  syscall({
    nr,
    name,
    args: [str, orElse(int, 0, UTS_FIELD - 1, -1)],
    handler(task, address, length) {
      if (!capable(task, CAP_SYS_ADMIN)) return -EPERM;
      if (length < 0) return -EINVAL;
      const text = copyFromUser(address, length);
      if (text === null) return -EFAULT;
      setName(which, text);
      return 0;
    },
  });
export const sethostname = namer(161, "sethostname", "nodename");
export const setdomainname = namer(162, "setdomainname", "domainname");

const SYSINFO_BYTES = 112;
const LOAD_ONE = 65536;

export const sysinfo = syscall({
  nr: 179,
  name: "sysinfo",
  args: [ptr],
  partial: "load averages are the present load",
  handler(_task, address) {
    const view = new DataView(new ArrayBuffer(SYSINFO_BYTES));
    const put = (offset: number, value: number): void =>
      view.setBigUint64(offset, BigInt(Math.floor(value)), true);
    put(0, (nowNs() - bootNs()) / NSEC_PER_SEC);
    let running = 0;
    for (let cpu = 0; cpu < nrCpus(); cpu++)
      running += Cpu.queued.load(cpuOf(cpu)) + (Cpu.curr.load(cpuOf(cpu)) === 0 ? 0 : 1);
    for (const offset of [8, 16, 24]) put(offset, running * LOAD_ONE);
    put(32, frameTotal() * PAGE_SIZE);
    put(40, freeFrames() * PAGE_SIZE);
    view.setUint16(80, Math.min(nrTasks(), 65535), true);
    view.setUint32(104, 1, true);
    return copyToUser(address, new Uint8Array(view.buffer)) < 0 ? -EFAULT : 0;
  },
});

export const personality = syscall({
  nr: 92,
  name: "personality",
  args: [{ ...uint, format: hexArg.format }],
  returns: hexArg,
  handler(task, value) {
    const old = Task.personality.get(task);
    if (value !== 0xffffffff) Task.personality.set(task, value | 0);
    return old >>> 0;
  },
});

const PR = {
  PR_SET_PDEATHSIG: 1,
  PR_GET_PDEATHSIG: 2,
  PR_GET_DUMPABLE: 3,
  PR_SET_DUMPABLE: 4,
  PR_GET_KEEPCAPS: 7,
  PR_SET_KEEPCAPS: 8,
  PR_GET_TIMING: 13,
  PR_SET_NAME: 15,
  PR_GET_NAME: 16,
  PR_GET_SECCOMP: 21,
  PR_CAPBSET_READ: 23,
  PR_CAPBSET_DROP: 24,
  PR_GET_SECUREBITS: 27,
  PR_SET_TIMERSLACK: 29,
  PR_GET_TIMERSLACK: 30,
  PR_SET_CHILD_SUBREAPER: 36,
  PR_GET_CHILD_SUBREAPER: 37,
  PR_SET_NO_NEW_PRIVS: 38,
  PR_GET_NO_NEW_PRIVS: 39,
  PR_GET_TID_ADDRESS: 40,
  PR_GET_THP_DISABLE: 42,
  PR_CAP_AMBIENT: 47,
  PR_SET_VMA: 0x53564d41,
} as const;

const COMM_BYTES = 16;
const DEFAULT_SLACK = 50_000;

function putInt(address: number, value: number): number {
  if (faultIn(address, 4, ACCESS.WRITE) < 0) return -EFAULT;
  putUser32(address, value);
  return 0;
}

function setTaskName(task: Ref<"task">, address: number): number {
  // Up to 15 bytes; a longer name is cut, so its end need not be readable.
  const text = new Uint8Array(COMM_BYTES - 1);
  const length = copyStringIn(address, text, 0, text.length);
  if (length === -EFAULT) return length;
  setComm(task, length < 0 ? text : text.subarray(0, length));
  return 0;
}

const PR_SET_VMA_ANON_NAME = 0;

export const prctl = syscall({
  nr: 167,
  name: "prctl",
  args: [oneOf(PR), ulong, ulong, ulong, ulong],
  partial: "other operations answer EINVAL",
  handler(task, op, arg, third, fourth, fifth) {
    const group = Task.group.get(task);
    switch (op) {
      case PR.PR_SET_PDEATHSIG:
        if (arg > NSIG) return -EINVAL;
        Task.deathSignal.set(task, arg);
        return 0;
      case PR.PR_GET_PDEATHSIG:
        return putInt(arg, Task.deathSignal.get(task));
      case PR.PR_GET_DUMPABLE:
        return Task.dumpable.get(task);
      case PR.PR_SET_DUMPABLE:
        if (arg > 1) return -EINVAL;
        Task.dumpable.set(task, arg);
        return 0;
      case PR.PR_SET_NAME:
        return setTaskName(task, arg);
      case PR.PR_GET_NAME:
        return copyToUser(arg, Task.comm.view(task).slice()) < 0 ? -EFAULT : 0;
      case PR.PR_CAPBSET_READ:
        return inBounds(task, arg);
      case PR.PR_CAPBSET_DROP:
        return dropBound(task, arg);
      case PR.PR_CAP_AMBIENT:
        return fourth !== 0 || fifth !== 0 ? -EINVAL : changeAmbient(task, arg, third);
      case PR.PR_SET_TIMERSLACK:
        Task.timerSlack.set(task, arg === 0 ? DEFAULT_SLACK : arg);
        return 0;
      case PR.PR_GET_TIMERSLACK:
        return Task.timerSlack.get(task);
      case PR.PR_SET_CHILD_SUBREAPER:
        if (arg !== 0) Group.flags.or(group, GROUP_SUBREAPER);
        else Group.flags.and(group, ~GROUP_SUBREAPER);
        return 0;
      case PR.PR_GET_CHILD_SUBREAPER:
        return putInt(arg, (Group.flags.load(group) & GROUP_SUBREAPER) !== 0 ? 1 : 0);
      case PR.PR_SET_NO_NEW_PRIVS:
        if (arg !== 1 || third !== 0 || fourth !== 0 || fifth !== 0) return -EINVAL;
        Task.flags.set(task, Task.flags.get(task) | TASK_NO_NEW_PRIVS);
        return 0;
      case PR.PR_GET_NO_NEW_PRIVS:
        if (arg !== 0 || third !== 0 || fourth !== 0 || fifth !== 0) return -EINVAL;
        return (Task.flags.get(task) & TASK_NO_NEW_PRIVS) !== 0 ? 1 : 0;
      case PR.PR_SET_KEEPCAPS:
        if (arg > 1) return -EINVAL;
        Task.flags.set(task, (Task.flags.get(task) & ~TASK_KEEP_CAPS) | (arg === 1 ? TASK_KEEP_CAPS : 0));
        return 0;
      case PR.PR_GET_KEEPCAPS:
        return (Task.flags.get(task) & TASK_KEEP_CAPS) !== 0 ? 1 : 0;
      case PR.PR_GET_TID_ADDRESS:
        if (faultIn(arg, 8, ACCESS.WRITE) < 0) return -EFAULT;
        putUser64(arg, Task.clearChildTid.get(task));
        return 0;
      case PR.PR_GET_THP_DISABLE:
        return arg !== 0 || third !== 0 || fourth !== 0 || fifth !== 0 ? -EINVAL : 0;
      // Nothing here ever makes them other than 0: there is no seccomp, and securebits cannot be set.
      case PR.PR_GET_SECCOMP:
      case PR.PR_GET_SECUREBITS:
      case PR.PR_GET_TIMING:
        return 0;
      // Names of anonymous mappings: accepted, and shown nowhere.
      case PR.PR_SET_VMA:
        return arg !== PR_SET_VMA_ANON_NAME || third % PAGE_SIZE !== 0 ? -EINVAL : 0;
      default:
        return -EINVAL;
    }
  },
});
