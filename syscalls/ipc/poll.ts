/** ppoll(2), pselect6(2), epoll(7). */
import { epollCtl, epollFile, epollWait } from "../../kernel/ipc/epoll.ts";
import { poll } from "../../kernel/ipc/poll.ts";
import { select } from "../../kernel/ipc/select.ts";
import { faultIn, getUser32, getUser64, getUserU64, putUser64 } from "../../kernel/mm/uaccess.ts";
import { isBlock } from "../../kernel/sched/block.ts";
import { nowNs } from "../../kernel/sched/current.ts";
import { setTemporaryMask } from "../../kernel/signal/mask.ts";
import { rlimit } from "../../kernel/task/rlimit.ts";
import { Task } from "../../kernel/task/task.ts";
import { NSEC_PER_MSEC, NSEC_PER_SEC } from "../../kernel/time/clock.ts";
import { EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD } from "../../kernel/uapi/epoll.ts";
import { EFAULT, EINVAL } from "../../kernel/uapi/errno.ts";
import { RLIMIT_NOFILE } from "../../kernel/uapi/resource.ts";
import { ACCESS } from "../../kernel/usermode.ts";
import type { Ref } from "../../rcu/index.ts";
import { fd, flagSet, int, oneOf, ptr, size, timespec, uint } from "../args.ts";
import { syscall } from "../syscall.ts";
import { toNs } from "../time/timespec.ts";
import { installFile } from "./event.ts";

const SIGSET_BYTES = 8;

/** Result of readTimeout(): nanoseconds, negative for none. */
let timeoutNs = 0;

/** struct timespec at the address, 0 for none. 0, -EFAULT, -EINVAL. */
function readTimeout(address: number): number {
  timeoutNs = -1;
  if (address === 0) return 0;
  if (faultIn(address, 16, ACCESS.READ) < 0) return -EFAULT;
  const seconds = getUser64(address);
  const nanoseconds = getUser64(address + 8);
  if (seconds < 0 || nanoseconds < 0 || nanoseconds >= NSEC_PER_SEC) return -EINVAL;
  timeoutNs = toNs(seconds, nanoseconds);
  return 0;
}

/** Installs the signal mask at the address for the call in progress; 0 for none. */
function readMask(task: Ref<"task">, address: number, bytes: number): number {
  if (address === 0) return 0;
  if (bytes !== SIGSET_BYTES) return -EINVAL;
  if (faultIn(address, SIGSET_BYTES, ACCESS.READ) < 0) return -EFAULT;
  setTemporaryMask(task, getUser32(address), getUser32(address + 4));
  return 0;
}

/** ppoll and pselect6 tell how much time was left. */
function writeTimeout(task: Ref<"task">, address: number, result: number): number {
  if (isBlock(result) || address === 0) return result;
  const deadline = Task.restartDeadline.get(task);
  const left = deadline === 0 ? timeoutNs : Math.max(0, deadline - nowNs());
  if (faultIn(address, 16, ACCESS.WRITE) < 0) return result;
  putUser64(address, Math.floor(left / NSEC_PER_SEC));
  putUser64(address + 8, left % NSEC_PER_SEC);
  return result;
}

export const ppoll = syscall({
  nr: 73,
  name: "ppoll",
  args: [ptr, uint, timespec, ptr, size],
  handler(task, fds, count, timeout, mask, maskBytes) {
    let error = readTimeout(timeout);
    if (error === 0) error = count > rlimit(task, RLIMIT_NOFILE) ? -EINVAL : readMask(task, mask, maskBytes);
    if (error < 0) return error;
    const ns = timeoutNs;
    return writeTimeout(task, timeout, poll(task, fds, count, ns));
  },
});

export const pselect6 = syscall({
  nr: 72,
  name: "pselect6",
  args: [int, ptr, ptr, ptr, timespec, ptr],
  handler(task, nfds, reads, writes, excepts, timeout, maskPair) {
    let error = readTimeout(timeout);
    if (error === 0 && maskPair !== 0) {
      // The sixth argument points to {mask, its size}: there are no more registers.
      if (faultIn(maskPair, 16, ACCESS.READ) < 0) return -EFAULT;
      error = readMask(task, getUserU64(maskPair), getUserU64(maskPair + 8));
    }
    if (error < 0) return error;
    const ns = timeoutNs;
    return writeTimeout(task, timeout, select(task, nfds, [reads, writes, excepts], ns));
  },
});

export const epollCreate1 = syscall({
  nr: 20,
  name: "epoll_create1",
  args: [flagSet({ EPOLL_CLOEXEC })],
  returns: fd,
  handler: (task, flags) => installFile(task, epollFile(flags), flags),
});

export const epollCtlCall = syscall({
  nr: 21,
  name: "epoll_ctl",
  args: [fd, oneOf({ EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD }), fd, ptr],
  handler: (task, epfd, op, descriptor, event) => epollCtl(task, epfd, op, descriptor, event),
});

export const epollPwait = syscall({
  nr: 22,
  name: "epoll_pwait",
  args: [fd, ptr, int, int, ptr, size],
  handler(task, epfd, events, maxEvents, timeoutMs, mask, maskBytes) {
    const error = readMask(task, mask, maskBytes);
    return error < 0 ? error : epollWait(task, epfd, events, maxEvents, timeoutMs * NSEC_PER_MSEC);
  },
});

export const epollPwait2 = syscall({
  nr: 441,
  name: "epoll_pwait2",
  args: [fd, ptr, int, timespec, ptr, size],
  handler(task, epfd, events, maxEvents, timeout, mask, maskBytes) {
    let error = readTimeout(timeout);
    if (error === 0) error = readMask(task, mask, maskBytes);
    return error < 0 ? error : epollWait(task, epfd, events, maxEvents, timeoutNs);
  },
});
