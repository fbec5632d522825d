/** nanosleep(2), clock_nanosleep(2). */
import { BLOCK_EINTR } from "../../kernel/sched/block.ts";
import { blockUntil, restartDeadline } from "../../kernel/sched/restart.ts";
import { Task } from "../../kernel/task/task.ts";
import { nowNs, realtimeToMonotonic } from "../../kernel/time/clock.ts";
import { EINVAL, EOPNOTSUPP } from "../../kernel/uapi/errno.ts";
import { CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID, TIMER_ABSTIME } from "../../kernel/uapi/time.ts";
import type { Ref } from "../../rcu/index.ts";
import { flagSet, ptr, timespec } from "../args.ts";
import { syscall } from "../syscall.ts";
import { clockId, isMonotonic, isReadOnly, isRealtime } from "./clock.ts";
import { readTimespec, timespecNs } from "./timespec.ts";

/** Sleeps until the deadline; `remaining`: where the rest is written when a handler ends the sleep, or 0. */
function sleepUntil(task: Ref<"task">, deadline: number, remaining: number): number {
  if (nowNs() >= deadline) return 0;
  Task.restartRemaining.set(task, remaining);
  blockUntil(deadline);
  return BLOCK_EINTR;
}

function sleepFor(task: Ref<"task">, address: number, remaining: number): number {
  const failed = readTimespec(address);
  if (failed < 0) return failed;
  return sleepUntil(task, restartDeadline(timespecNs()), remaining);
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
  partial: "the CPU-time clock of the process answers EOPNOTSUPP",
  handler(task, clock, flags, request, remaining) {
    const isCpuTime = clock === CLOCK_PROCESS_CPUTIME_ID || clock === CLOCK_THREAD_CPUTIME_ID;
    if (isCpuTime || isReadOnly(clock)) return -EOPNOTSUPP;
    if (!isRealtime(clock) && !isMonotonic(clock)) return -EINVAL;
    if ((flags & TIMER_ABSTIME) === 0) return sleepFor(task, request, remaining);
    const failed = readTimespec(request);
    if (failed < 0) return failed;
    const { seconds, nanoseconds } = readTimespec;
    return sleepUntil(task, isRealtime(clock) ? realtimeToMonotonic(seconds, nanoseconds) : timespecNs(), 0);
  },
});
