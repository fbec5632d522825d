/**
 * How a long system call makes room. User space chooses how long many calls last (bytes, pages, ranges), and no call has a stack
 * of its own that the CPU could leave. So a handler does a part of about a millisecond and asks:
 *
 *   const stop = yieldPart(done);       // `done` > 0: what the next run skips, and what a signal makes the result
 *   if (stop !== 0) return stop;
 *
 * Without a reason to stop the answer is 0. With a signal pending it is `done`, the partial result. Otherwise `done` is kept in
 * Task.partial and the answer is YIELD: the loop passes a safe point, lets others run who wait for the CPU, and runs the call again,
 * which begins with `Task.partial`. A call that can have no partial result keeps what it needs in the kernel's heap, asks
 * mustYield() and returns YIELD itself; such a call looks at fatalPending().
 *
 *   const stop = yieldWhole(done);      // for a call that is done as a whole or not at all (munmap, mlock, fallocate)
 *
 * `done` says where the next run goes on, and only the end of the process ends the call before it is done.
 */
import type { Ref } from "../../rcu/index.ts";
import { sigBit } from "../signal/sigset.ts";
import { GROUP_EXITING, Group, Task, WORK_SIGNAL } from "../task/task.ts";
import { EINTR } from "../uapi/errno.ts";
import { SIGKILL } from "../uapi/signal.ts";
import { YIELD } from "./block.ts";
import { needResched } from "./cpus.ts";
import { current, thisCpu } from "./current.ts";

/** Whether somebody wants this CPU: another task, a signal, a timer, a grace period. False on the host's thread. */
export let mustYield = plainMustYield;

function plainMustYield(): boolean {
  const cpu = thisCpu();
  return cpu >= 0 && needResched(cpu);
}

/** Has `hook` called whenever a handler asks: chosen at a CPU's boot, so that nobody asks at run time. */
export function setYieldHook(hook: () => void): void {
  mustYield = () => {
    hook();
    return plainMustYield();
  };
}

/** A signal waits for the task: a call that has done something ends with that. */
export const signalPending = (task: Ref<"task">): boolean => (Task.work.load(task) & WORK_SIGNAL) !== 0;

/** The task is to die: whatever it does may stop. */
export const fatalPending = (task: Ref<"task">): boolean =>
  (Task.pending.load(task, 0) & sigBit(SIGKILL)) !== 0 ||
  (Group.flags.load(Task.group.get(task)) & GROUP_EXITING) !== 0;

/** What the call in progress did at its earlier runs (bytes, pages): 0 at its first. */
export function partDone(): number {
  const task = current();
  return task === 0 ? 0 : Task.partial.get(task);
}

/**
 * After a part: 0 to go on, or what the handler returns now (see above). `killable`: only a signal that ends the process makes the
 * result partial, as for files that programs expect to be written whole.
 */
export function yieldPart(done: number, killable = false): number {
  const task = current();
  const wanted = mustYield();
  if (task === 0) return 0;
  if (killable ? wanted && fatalPending(task) : signalPending(task)) return done;
  if (!wanted) return 0;
  Task.partial.set(task, done);
  return YIELD;
}

/**
 * After a part of a call without partial results: 0 to go on, or what the handler returns now: YIELD, and the next run finds `done`
 * (> 0) in partDone() and `also` in partAlso(); -EINTR, which nobody sees, when the process ends.
 */
export function yieldWhole(done: number, also = 0): number {
  if (!mustYield()) return 0;
  const task = current();
  if (task === 0) return 0;
  if (fatalPending(task)) return -EINTR;
  Task.partial.set(task, done);
  Task.partialAlso.set(task, also);
  return YIELD;
}

/** As yieldWhole, but whether anybody wants the CPU or not: what the part has left for a safe point is done there. */
export function yieldAlways(done: number): number {
  const task = current();
  mustYield();
  if (task === 0) return 0;
  if (fatalPending(task)) return -EINTR;
  Task.partial.set(task, done);
  return YIELD;
}

/** The call goes over to its next phase, which begins at its start. */
export function resetPart(): void {
  const task = current();
  if (task !== 0) Task.partial.set(task, 0);
}

/** What the call in progress kept beside partDone(): counts only when that is not 0. */
export function partAlso(): number {
  const task = current();
  return task === 0 ? 0 : Task.partialAlso.get(task);
}
