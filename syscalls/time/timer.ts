/** setitimer(2), timer_create(2) and their families. */
import { copyFromUser, faultIn, putUser32, putUser64 } from "../../kernel/mm/uaccess.ts";
import { Task } from "../../kernel/task/task.ts";
import { NSEC_PER_SEC, NSEC_PER_USEC, nowNs, realtimeToMonotonic } from "../../kernel/time/clock.ts";
import { getItimer, setItimer } from "../../kernel/time/itimer.ts";
import {
  createPosixTimer,
  deletePosixTimer,
  findPosixTimer,
  PosixTimer,
  posixTimerRemaining,
  setPosixTimer,
} from "../../kernel/time/posix-timer.ts";
import { EFAULT, EINVAL, EOPNOTSUPP } from "../../kernel/uapi/errno.ts";
import { NSIG, SIGALRM } from "../../kernel/uapi/signal.ts";
import {
  CLOCK_PROCESS_CPUTIME_ID,
  CLOCK_THREAD_CPUTIME_ID,
  ITIMER_PROF,
  ITIMER_REAL,
  ITIMER_VIRTUAL,
  SIGEV_NONE,
  SIGEV_SIGNAL,
  SIGEV_THREAD,
  SIGEV_THREAD_ID,
  TIMER_ABSTIME,
} from "../../kernel/uapi/time.ts";
import { ACCESS } from "../../kernel/usermode.ts";
import type { Ref } from "../../rcu/index.ts";
import { flagSet, int, oneOf, ptr } from "../args.ts";
import { syscall } from "../syscall.ts";
import { lookup } from "../task/ids.ts";
import { clockId, isMonotonic, isReadOnly, isRealtime } from "./clock.ts";
import { readTimespec, readTimeval, timespecNs } from "./timespec.ts";

const which = oneOf({ ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF });

/** Writes struct itimerval { interval, value }, or itimerspec: seconds and units. */
function writePair(address: number, interval: number, value: number, unit: number): number {
  if (faultIn(address, 32, ACCESS.WRITE) < 0) return -EFAULT;
  [interval, value].forEach((ns, n) => {
    putUser64(address + 16 * n, Math.floor(ns / NSEC_PER_SEC));
    putUser64(address + 16 * n + 8, Math.floor((ns % NSEC_PER_SEC) / unit));
  });
  return 0;
}

export const getitimer = syscall({
  nr: 102,
  name: "getitimer",
  args: [which, ptr],
  handler(task, kind, address) {
    if (kind < ITIMER_REAL || kind > ITIMER_PROF) return -EINVAL;
    const now = getItimer(Task.group.get(task), kind);
    return writePair(address, now.interval, now.value, NSEC_PER_USEC);
  },
});

export const setitimer = syscall({
  nr: 103,
  name: "setitimer",
  args: [which, ptr, ptr],
  handler(task, kind, address, old) {
    if (kind < ITIMER_REAL || kind > ITIMER_PROF) return -EINVAL;
    const group = Task.group.get(task);
    const interval = address === 0 ? 0 : readTimeval(address);
    const value = address === 0 ? 0 : readTimeval(address + 16);
    if (interval < 0) return interval;
    if (value < 0) return value;
    if (old !== 0) {
      const now = getItimer(group, kind);
      const failed = writePair(old, now.interval, now.value, NSEC_PER_USEC);
      if (failed < 0) return failed;
    }
    return setItimer(group, kind, value, interval);
  },
});

export const timerCreate = syscall({
  nr: 107,
  name: "timer_create",
  args: [clockId, ptr, ptr],
  partial: "CPU-time clocks answer EOPNOTSUPP",
  handler(task, clock, event, address) {
    // struct sigevent: value 8, signo 4, notify 4, thread id 4.
    const bytes = event === 0 ? null : copyFromUser(event, 64);
    if (event !== 0 && bytes === null) return -EFAULT;
    const isCpuTime = clock === CLOCK_PROCESS_CPUTIME_ID || clock === CLOCK_THREAD_CPUTIME_ID;
    if (isReadOnly(clock) || isCpuTime) return -EOPNOTSUPP;
    if (!isRealtime(clock) && !isMonotonic(clock)) return -EINVAL;
    const spec = { clock, notify: SIGEV_SIGNAL, signo: SIGALRM, tid: 0, valueLow: -1, valueHigh: -1 };
    if (bytes !== null) {
      const view = new DataView(bytes.buffer, bytes.byteOffset, 64);
      spec.valueLow = view.getInt32(0, true);
      spec.valueHigh = view.getInt32(4, true);
      spec.signo = view.getInt32(8, true);
      spec.notify = view.getInt32(12, true);
      spec.tid = view.getInt32(16, true);
      // A thread is the C library's to make: to the kernel that is a signal.
      if (spec.notify === SIGEV_THREAD) spec.notify = SIGEV_SIGNAL;
      if (![SIGEV_SIGNAL, SIGEV_NONE, SIGEV_THREAD_ID].includes(spec.notify)) return -EINVAL;
      if (spec.notify !== SIGEV_NONE && (spec.signo < 1 || spec.signo > NSIG)) return -EINVAL;
      if (spec.notify === SIGEV_THREAD_ID && !isOwnThread(task, spec.tid)) return -EINVAL;
    }
    if (faultIn(address, 4, ACCESS.WRITE) < 0) return -EFAULT;
    const id = createPosixTimer(task, spec);
    if (id < 0) return id;
    putUser32(address, id);
    return 0;
  },
});

const isOwnThread = (task: Ref<"task">, tid: number): boolean => {
  const thread = lookup(tid);
  return thread !== 0 && Task.group.get(thread) === Task.group.get(task);
};

export const timerSettime = syscall({
  nr: 110,
  name: "timer_settime",
  args: [int, flagSet({ TIMER_ABSTIME }), ptr, ptr],
  handler(task, id, flags, address, old) {
    const timer = findPosixTimer(task, id);
    if (timer === 0) return -EINVAL;
    if (address === 0) return -EINVAL;
    let failed = readTimespec(address);
    if (failed < 0) return failed;
    const interval = timespecNs();
    failed = readTimespec(address + 16);
    if (failed < 0) return failed;
    const { seconds, nanoseconds } = readTimespec;
    let expires = timespecNs();
    if (expires !== 0) {
      if ((flags & TIMER_ABSTIME) === 0) expires += nowNs();
      else if (isRealtime(PosixTimer.clock.get(timer)))
        expires = Math.max(1, realtimeToMonotonic(seconds, nanoseconds));
    }
    if (old !== 0) {
      failed = writePair(old, PosixTimer.interval.get(timer), posixTimerRemaining(timer), 1);
      if (failed < 0) return failed;
    }
    return setPosixTimer(timer, expires, interval);
  },
});

export const timerGettime = syscall({
  nr: 108,
  name: "timer_gettime",
  args: [int, ptr],
  handler(task, id, address) {
    const timer = findPosixTimer(task, id);
    if (timer === 0) return -EINVAL;
    return writePair(address, PosixTimer.interval.get(timer), posixTimerRemaining(timer), 1);
  },
});

export const timerGetoverrun = syscall({
  nr: 109,
  name: "timer_getoverrun",
  args: [int],
  handler(task, id) {
    const timer = findPosixTimer(task, id);
    return timer === 0 ? -EINVAL : PosixTimer.overrun.get(timer);
  },
});

export const timerDelete = syscall({
  nr: 111,
  name: "timer_delete",
  args: [int],
  handler(task, id) {
    const timer = findPosixTimer(task, id);
    if (timer === 0) return -EINVAL;
    deletePosixTimer(timer);
    return 0;
  },
});
