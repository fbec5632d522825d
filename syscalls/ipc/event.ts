/** eventfd(2), timerfd_create(2), signalfd(2), pidfd_open(2): kernel objects as descriptors. */
import { allocFd, fget } from "../../kernel/fs/fdtable.ts";
import { fput } from "../../kernel/fs/file.ts";
import { EFD_SEMAPHORE, eventfdFile } from "../../kernel/ipc/eventfd.ts";
import {
  isPidfd,
  PIDFD_SIGNAL_PROCESS_GROUP,
  PIDFD_SIGNAL_THREAD,
  PIDFD_SIGNAL_THREAD_GROUP,
  pidfdOpen,
  pidfdSignal,
  pidfdTask,
} from "../../kernel/ipc/pidfd.ts";
import { isSignalfd, signalfdChange, signalfdFile } from "../../kernel/ipc/signalfd.ts";
import { isTimerfd, timerfdFile, timerfdGet, timerfdSet } from "../../kernel/ipc/timerfd.ts";
import { faultIn, getUser32, getUser64, putUser64 } from "../../kernel/mm/uaccess.ts";
import { procTask } from "../../kernel/proc/inode.ts";
import { Task } from "../../kernel/task/task.ts";
import { NSEC_PER_SEC } from "../../kernel/time/clock.ts";
import { EFAULT, EINVAL } from "../../kernel/uapi/errno.ts";
import { O_CLOEXEC, O_NONBLOCK } from "../../kernel/uapi/fcntl.ts";
import { ACCESS } from "../../kernel/usermode.ts";
import type { Ref } from "../../rcu/index.ts";
import { fd, flagSet, oneOf, only, pid, ptr, signal, size, uint } from "../args.ts";
import { syscall } from "../syscall.ts";
import { toNs } from "../time/timespec.ts";

const filesOf = (task: Ref<"task">): Ref<"files"> => Task.files.access(task) as Ref<"files">;

/** Gives a new file a descriptor; drops it when there is none. `file` may be -errno. */
export function installFile(task: Ref<"task">, file: Ref<"file"> | number, flags: number): number {
  if (file < 0) return file;
  const descriptor = allocFd(filesOf(task), file as Ref<"file">, flags);
  if (descriptor < 0) fput(file as Ref<"file">);
  return descriptor;
}

const clock = oneOf({ CLOCK_REALTIME: 0, CLOCK_MONOTONIC: 1, CLOCK_BOOTTIME: 7 });

export const eventfd2 = syscall({
  nr: 19,
  name: "eventfd2",
  args: [uint, flagSet({ EFD_SEMAPHORE, EFD_CLOEXEC: O_CLOEXEC, EFD_NONBLOCK: O_NONBLOCK })],
  returns: fd,
  handler: (task, count, flags) => installFile(task, eventfdFile(count, flags), flags),
});

export const timerfdCreate = syscall({
  nr: 85,
  name: "timerfd_create",
  args: [clock, flagSet({ TFD_CLOEXEC: O_CLOEXEC, TFD_NONBLOCK: O_NONBLOCK })],
  returns: fd,
  handler: (task, clockId, flags) => installFile(task, timerfdFile(clockId, flags), flags),
});

/** struct itimerspec: interval and value, a struct timespec each. */
const ITIMERSPEC_BYTES = 32;

function putTimes(address: number, interval: number, value: number): void {
  for (const [offset, ns] of [
    [0, interval],
    [16, value],
  ] as const) {
    putUser64(address + offset, Math.floor(ns / NSEC_PER_SEC));
    putUser64(address + offset + 8, ns % NSEC_PER_SEC);
  }
}

function timerfdOf(task: Ref<"task">, descriptor: number): Ref<"file"> | number {
  const file = fget(filesOf(task), descriptor);
  if (file < 0) return file;
  return isTimerfd(file as Ref<"file">) ? file : -EINVAL;
}

export const timerfdSettime = syscall({
  nr: 86,
  name: "timerfd_settime",
  args: [fd, flagSet({ TFD_TIMER_ABSTIME: 1, TFD_TIMER_CANCEL_ON_SET: 2 }), ptr, ptr],
  partial: "TFD_TIMER_CANCEL_ON_SET never cancels",
  handler(task, descriptor, flags, newValue, oldValue) {
    if (faultIn(newValue, ITIMERSPEC_BYTES, ACCESS.READ) < 0) return -EFAULT;
    const [intervalSeconds, intervalNs] = [getUser64(newValue), getUser64(newValue + 8)];
    const [seconds, nanoseconds] = [getUser64(newValue + 16), getUser64(newValue + 24)];
    for (const ns of [intervalNs, nanoseconds]) if (ns < 0 || ns >= NSEC_PER_SEC) return -EINVAL;
    if (seconds < 0 || intervalSeconds < 0) return -EINVAL;
    if (oldValue !== 0 && faultIn(oldValue, ITIMERSPEC_BYTES, ACCESS.WRITE) < 0) return -EFAULT;
    const file = timerfdOf(task, descriptor);
    if (file < 0) return file;
    const old = timerfdGet(file as Ref<"file">);
    const interval = toNs(intervalSeconds, intervalNs);
    const error = timerfdSet(file as Ref<"file">, flags, { interval, seconds, nanoseconds });
    if (error === 0 && oldValue !== 0) putTimes(oldValue, old.interval, old.remaining);
    return error;
  },
});

export const timerfdGettime = syscall({
  nr: 87,
  name: "timerfd_gettime",
  args: [fd, ptr],
  handler(task, descriptor, value) {
    const file = timerfdOf(task, descriptor);
    if (file < 0) return file;
    if (faultIn(value, ITIMERSPEC_BYTES, ACCESS.WRITE) < 0) return -EFAULT;
    const { interval, remaining } = timerfdGet(file as Ref<"file">);
    putTimes(value, interval, remaining);
    return 0;
  },
});

/** signalfd4(2): descriptor -1 makes a new one. */
export const signalfd4 = syscall({
  nr: 74,
  name: "signalfd4",
  args: [fd, ptr, size, flagSet({ SFD_CLOEXEC: O_CLOEXEC, SFD_NONBLOCK: O_NONBLOCK })],
  returns: fd,
  handler(task, descriptor, mask, bytes, flags) {
    if (bytes !== 8) return -EINVAL;
    if (faultIn(mask, 8, ACCESS.READ) < 0) return -EFAULT;
    const [low, high] = [getUser32(mask), getUser32(mask + 4)];
    if (descriptor === -1) return installFile(task, signalfdFile(low, high, flags), flags);
    const file = fget(filesOf(task), descriptor);
    if (file < 0) return file;
    if (!isSignalfd(file as Ref<"file">)) return -EINVAL;
    signalfdChange(file as Ref<"file">, low, high);
    return descriptor;
  },
});

export const pidfdOpenCall = syscall({
  nr: 434,
  name: "pidfd_open",
  args: [pid, flagSet({ PIDFD_NONBLOCK: O_NONBLOCK })],
  returns: fd,
  handler: (task, target, flags) => installFile(task, pidfdOpen(target, flags), flags | O_CLOEXEC),
});

const SCOPES = { PIDFD_SIGNAL_THREAD, PIDFD_SIGNAL_THREAD_GROUP, PIDFD_SIGNAL_PROCESS_GROUP };
const signalScope = only(
  flagSet(SCOPES),
  PIDFD_SIGNAL_THREAD | PIDFD_SIGNAL_THREAD_GROUP | PIDFD_SIGNAL_PROCESS_GROUP,
);
export const pidfdSendSignal = syscall({
  nr: 424,
  name: "pidfd_send_signal",
  args: [fd, signal, ptr, signalScope],
  partial: "the siginfo is always that of kill(2)",
  handler(task, descriptor, signo, _info, flags) {
    // One of them at most.
    if ((flags & (flags - 1)) !== 0) return -EINVAL;
    const file = fget(filesOf(task), descriptor);
    if (file < 0) return file;
    // A descriptor of /proc/PID does as well.
    const to = isPidfd(file as Ref<"file">) ? pidfdTask(file as Ref<"file">) : procTask(file as Ref<"file">);
    return to < 0 ? to : pidfdSignal(to as Ref<"task"> | 0, signo, flags);
  },
});
