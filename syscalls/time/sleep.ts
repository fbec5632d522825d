/** nanosleep(2), clock_nanosleep(2). */
import { BLOCK_EINTR } from "../../kernel/sched/block.ts";
import { blockUntil, restartDeadline } from "../../kernel/sched/restart.ts";
import { nowNs, realtimeToMonotonic } from "../../kernel/time/clock.ts";
import { EINVAL, EOPNOTSUPP } from "../../kernel/uapi/errno.ts";
import { TIMER_ABSTIME } from "../../kernel/uapi/time.ts";
import type { Ref } from "../../rcu/index.ts";
import { flagSet, ptr, timespec } from "../args.ts";
import { syscall } from "../syscall.ts";
import { clockId, isMonotonic, isRealtime } from "./clock.ts";
import { readTimespec, timespecNs, writeTimespecNs } from "./timespec.ts";

/** Sleeps until the deadline; `remaining`: where the rest is written in case a handler ends the sleep, or 0. */
function sleepUntil(deadline: number, remaining: number): number {
  const now = nowNs();
  if (now >= deadline) return 0;
  // Nobody knows yet whether a signal will end the sleep: the rest is kept up to date for that case.
  if (remaining !== 0) {
    const failed = writeTimespecNs(remaining, deadline - now);
    if (failed < 0) return failed;
  }
  blockUntil(deadline);
  return BLOCK_EINTR;
}

function sleepFor(_task: Ref<"task">, address: number, remaining: number): number {
  const failed = readTimespec(address);
  if (failed < 0) return failed;
  return sleepUntil(restartDeadline(timespecNs()), remaining);
}

export const nanosleep = syscall({
  nr: 101,
  name: "nanosleep",
  args: [timespec, ptr],
  handler: (task, request, remaining) => sleepFor(task, request, remaining),
});

export const clockNanosleep = syscall({
  nr: 115,
  name: "clock_nanosleep",
  args: [clockId, flagSet({ TIMER_ABSTIME }), timespec, ptr],
  partial: "CPU-time clocks answer EOPNOTSUPP",
  handler(task, clock, flags, request, remaining) {
    if (!isRealtime(clock) && !isMonotonic(clock)) return clock < 0 || clock > 11 ? -EINVAL : -EOPNOTSUPP;
    if ((flags & TIMER_ABSTIME) === 0) return sleepFor(task, request, remaining);
    const failed = readTimespec(request);
    if (failed < 0) return failed;
    const { seconds, nanoseconds } = readTimespec;
    return sleepUntil(isRealtime(clock) ? realtimeToMonotonic(seconds, nanoseconds) : timespecNs(), 0);
  },
});
