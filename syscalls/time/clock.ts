/** clock_gettime(2) and its family, gettimeofday(2), times(2). */
import { copyToUser, faultIn, getUser64, putUser32 } from "../../kernel/mm/uaccess.ts";
import { toTicks } from "../../kernel/signal/child.ts";
import { CAP_SYS_TIME, capable } from "../../kernel/task/cred.ts";
import { Group, Task } from "../../kernel/task/task.ts";
import { groupUsage, taskUsage } from "../../kernel/task/usage.ts";
import {
  monotonic,
  monotonicNanoseconds,
  monotonicSeconds,
  NSEC_PER_SEC,
  NSEC_PER_USEC,
  nowNs,
  realtime,
  realtimeNanoseconds,
  realtimeSeconds,
  setRealtime,
} from "../../kernel/time/clock.ts";
import { EFAULT, EINVAL, EPERM } from "../../kernel/uapi/errno.ts";
import {
  CLOCK_BOOTTIME,
  CLOCK_BOOTTIME_ALARM,
  CLOCK_MONOTONIC,
  CLOCK_MONOTONIC_COARSE,
  CLOCK_MONOTONIC_RAW,
  CLOCK_PROCESS_CPUTIME_ID,
  CLOCK_REALTIME,
  CLOCK_REALTIME_ALARM,
  CLOCK_REALTIME_COARSE,
  CLOCK_TAI,
  CLOCK_THREAD_CPUTIME_ID,
} from "../../kernel/uapi/time.ts";
import { ACCESS } from "../../kernel/usermode.ts";
import type { Ref } from "../../rcu/index.ts";
import { oneOf, outTimespec, ptr, timespec } from "../args.ts";
import { syscall } from "../syscall.ts";
import { lookup } from "../task/ids.ts";
import { readTimespec, writeTimespec, writeTimespecNs } from "./timespec.ts";

export const clockId = oneOf({
  CLOCK_REALTIME,
  CLOCK_MONOTONIC,
  CLOCK_PROCESS_CPUTIME_ID,
  CLOCK_THREAD_CPUTIME_ID,
  CLOCK_MONOTONIC_RAW,
  CLOCK_REALTIME_COARSE,
  CLOCK_MONOTONIC_COARSE,
  CLOCK_BOOTTIME,
  CLOCK_REALTIME_ALARM,
  CLOCK_BOOTTIME_ALARM,
  CLOCK_TAI,
});

export const isRealtime = (clock: number): boolean =>
  clock === CLOCK_REALTIME ||
  clock === CLOCK_REALTIME_COARSE ||
  clock === CLOCK_REALTIME_ALARM ||
  clock === CLOCK_TAI;

const isCoarse = (clock: number): boolean =>
  clock === CLOCK_REALTIME_COARSE || clock === CLOCK_MONOTONIC_COARSE;

/** Clocks that are only read: nobody sleeps by them, and no timer is set by them. */
export const isReadOnly = (clock: number): boolean => clock === CLOCK_MONOTONIC_RAW || isCoarse(clock);

export const isMonotonic = (clock: number): boolean =>
  clock === CLOCK_MONOTONIC ||
  clock === CLOCK_MONOTONIC_RAW ||
  clock === CLOCK_MONOTONIC_COARSE ||
  clock === CLOCK_BOOTTIME ||
  clock === CLOCK_BOOTTIME_ALARM;

/** CPU time in nanoseconds of a CPU-time clock, or -EINVAL for a clock that does not exist. */
function cpuTime(task: Ref<"task">, clock: number): number {
  if (clock === CLOCK_THREAD_CPUTIME_ID) return sum(taskUsage(task));
  if (clock === CLOCK_PROCESS_CPUTIME_ID) return sum(groupUsage(Task.group.get(task)));
  // pthread_getcpuclockid, clock_getcpuclockid: ~pid << 3 | thread << 2 | kind.
  if (clock >= 0 || (clock & 3) === 3) return -EINVAL;
  const id = ~(clock >> 3);
  const of = id === 0 ? task : lookup(id);
  if (of === 0) return -EINVAL;
  return sum((clock & 4) !== 0 ? taskUsage(of) : groupUsage(Task.group.get(of)));
}
const sum = (usage: { utime: number; stime: number }): number => usage.utime + usage.stime;

export const clockGettime = syscall({
  nr: 113,
  name: "clock_gettime",
  args: [clockId, outTimespec],
  handler(task, clock, address) {
    if (clock === CLOCK_MONOTONIC) {
      monotonic();
      return writeTimespec(address, monotonicSeconds, monotonicNanoseconds);
    }
    if (isRealtime(clock)) {
      realtime();
      return writeTimespec(address, realtimeSeconds, realtimeNanoseconds);
    }
    if (isMonotonic(clock)) return writeTimespecNs(address, nowNs());
    const time = cpuTime(task, clock);
    return time < 0 ? time : writeTimespecNs(address, time);
  },
});

const COARSE_NS = 4_000_000;

export const clockGetres = syscall({
  nr: 114,
  name: "clock_getres",
  args: [clockId, outTimespec],
  handler(task, clock, address) {
    if (!isRealtime(clock) && !isMonotonic(clock) && cpuTime(task, clock) < 0) return -EINVAL;
    return address === 0 ? 0 : writeTimespecNs(address, isCoarse(clock) ? COARSE_NS : 1);
  },
});

/** Latest time that the clock can be set to: 30 years before its numbers end (TIME_SETTOD_SEC_MAX). */
const SETTABLE_SECONDS = Math.floor(2 ** 63 / NSEC_PER_SEC) - 30 * 365 * 86400;

export const clockSettime = syscall({
  nr: 112,
  name: "clock_settime",
  args: [clockId, timespec],
  handler(task, clock, address) {
    if (clock !== CLOCK_REALTIME) return -EINVAL;
    const failed = readTimespec(address);
    if (failed < 0) return failed;
    if (readTimespec.seconds > SETTABLE_SECONDS) return -EINVAL;
    if (!capable(task, CAP_SYS_TIME)) return -EPERM;
    setRealtime(readTimespec.seconds, readTimespec.nanoseconds);
    return 0;
  },
});

export const gettimeofday = syscall({
  nr: 169,
  name: "gettimeofday",
  args: [ptr, ptr],
  handler(_task, address, zone) {
    if (address !== 0) {
      realtime();
      const failed = writeTimespec(address, realtimeSeconds, Math.floor(realtimeNanoseconds / NSEC_PER_USEC));
      if (failed < 0) return failed;
    }
    if (zone === 0) return 0;
    if (faultIn(zone, 8, ACCESS.WRITE) < 0) return -EFAULT;
    putUser32(zone, 0);
    putUser32(zone + 4, 0);
    return 0;
  },
});

export const settimeofday = syscall({
  nr: 170,
  name: "settimeofday",
  args: [ptr, ptr],
  handler(task, address, zone) {
    if (address !== 0 && faultIn(address, 16, ACCESS.READ) < 0) return -EFAULT;
    const [seconds, microseconds] = address === 0 ? [0, 0] : [getUser64(address), getUser64(address + 8)];
    if (microseconds < 0 || microseconds >= 1_000_000) return -EINVAL;
    if (seconds < 0 || seconds > SETTABLE_SECONDS) return -EINVAL;
    if (zone !== 0 && faultIn(zone, 8, ACCESS.READ) < 0) return -EFAULT;
    if (!capable(task, CAP_SYS_TIME)) return -EPERM;
    if (address === 0) return 0;
    setRealtime(seconds, microseconds * NSEC_PER_USEC);
    return 0;
  },
});

export const times = syscall({
  nr: 153,
  name: "times",
  args: [ptr],
  handler(task, address) {
    if (address !== 0) {
      const group = Task.group.get(task);
      const usage = groupUsage(group);
      const out = new BigInt64Array(
        [usage.utime, usage.stime, Group.childUtime.get(group), Group.childStime.get(group)].map((ns) =>
          BigInt(toTicks(ns)),
        ),
      );
      if (copyToUser(address, new Uint8Array(out.buffer)) < 0) return -EFAULT;
    }
    return Math.floor(nowNs() / (NSEC_PER_SEC / 100));
  },
});
