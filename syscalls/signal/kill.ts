/** kill(2), tkill(2), tgkill(2), rt_sigqueueinfo(2). */
import { copyFromUser, faultIn } from "../../kernel/mm/uaccess.ts";
import { INFO_WORDS, infoFrom } from "../../kernel/signal/pending.ts";
import { kill as doKill, sendUser } from "../../kernel/signal/send.ts";
import { credOf } from "../../kernel/task/cred.ts";
import { Cred, Task } from "../../kernel/task/task.ts";
import { EFAULT, EINVAL, EPERM, ESRCH } from "../../kernel/uapi/errno.ts";
import { SI_TKILL } from "../../kernel/uapi/signal.ts";
import { ACCESS } from "../../kernel/usermode.ts";
import type { Ref } from "../../rcu/index.ts";
import { NO_SIGNAL, pid, ptr, signal } from "../args.ts";
import { syscall } from "../syscall.ts";
import { lookup } from "../task/ids.ts";

const valid = (signo: number): boolean => signo !== NO_SIGNAL;

export const kill = syscall({
  nr: 129,
  name: "kill",
  args: [pid, signal],
  handler: (_task, id, signo) => (valid(signo) ? doKill(id, signo) : -EINVAL),
});

function sendThread(task: Ref<"task">, tgid: number, tid: number, signo: number): number {
  if (tid <= 0 || tgid === 0 || tgid < -1 || !valid(signo)) return -EINVAL;
  const target = lookup(tid);
  if (target === 0 || (tgid !== -1 && Task.tgid.get(target) !== tgid)) return -ESRCH;
  const info = infoFrom(signo, SI_TKILL, Task.tgid.get(task), Cred.uid.get(credOf(task)));
  return sendUser(target, info, false);
}

export const tkill = syscall({
  nr: 130,
  name: "tkill",
  args: [pid, signal],
  handler: (task, tid, signo) => sendThread(task, -1, tid, signo),
});

export const tgkill = syscall({
  nr: 131,
  name: "tgkill",
  args: [pid, pid, signal],
  handler: (task, tgid, tid, signo) => (tgid <= 0 ? -EINVAL : sendThread(task, tgid, tid, signo)),
});

/** Sends the siginfo at the address. Only to itself may a process claim that the kernel or kill(2) sent it. */
function queueInfo(
  task: Ref<"task">,
  target: Ref<"task"> | 0,
  id: number,
  signo: number,
  address: number,
  shared: boolean,
) {
  const bytes = copyFromUser(address, INFO_WORDS * 4);
  if (bytes === null) return -EFAULT;
  const info = new Int32Array(bytes.slice().buffer, 0, INFO_WORDS);
  const code = info[2]!;
  const forged = code >= 0 || code === SI_TKILL;
  if (forged && id !== Task.pid.get(task) && id !== Task.tgid.get(task)) return -EPERM;
  if (!valid(signo)) return -EINVAL;
  info[0] = signo;
  if (target === 0) return -ESRCH;
  if (forged && Task.tgid.get(target) !== Task.tgid.get(task)) return -EPERM;
  return sendUser(target, info, shared);
}

export const rtSigqueueinfo = syscall({
  nr: 138,
  name: "rt_sigqueueinfo",
  args: [pid, signal, ptr],
  handler: (task, id, signo, info) => queueInfo(task, lookup(id), id, signo, info, true),
});

export const rtTgsigqueueinfo = syscall({
  nr: 240,
  name: "rt_tgsigqueueinfo",
  args: [pid, pid, signal, ptr],
  handler(task, tgid, tid, signo, info) {
    if (faultIn(info, INFO_WORDS * 4, ACCESS.READ) < 0) return -EFAULT;
    if (tid <= 0 || tgid <= 0) return -EINVAL;
    const target = lookup(tid);
    const found = target !== 0 && Task.tgid.get(target) === tgid ? target : 0;
    return queueInfo(task, found, tid, signo, info, false);
  },
});
