/** rt_sigprocmask(2), rt_sigpending(2), rt_sigsuspend(2), rt_sigtimedwait(2). */
import { copyToUser, faultIn, getUser32, putUser32 } from "../../kernel/mm/uaccess.ts";
import { BLOCK_EINTR } from "../../kernel/sched/block.ts";
import { blockUntil, restartDeadline } from "../../kernel/sched/restart.ts";
import { prepareToWait } from "../../kernel/sched/waitqueue.ts";
import { setMask, setTemporaryMask } from "../../kernel/signal/mask.ts";
import { dequeueSignal, INFO_WORDS, recalcPending } from "../../kernel/signal/pending.ts";
import { UNBLOCKABLE } from "../../kernel/signal/sigset.ts";
import { Group, Task } from "../../kernel/task/task.ts";
import { nowNs } from "../../kernel/time/clock.ts";
import { EAGAIN, EFAULT, EINVAL } from "../../kernel/uapi/errno.ts";
import { SIG_BLOCK, SIG_SETMASK, SIG_UNBLOCK, SIGINFO_BYTES } from "../../kernel/uapi/signal.ts";
import { ACCESS } from "../../kernel/usermode.ts";
import type { Ref } from "../../rcu/index.ts";
import { oneOf, ptr, signal, size, timespec } from "../args.ts";
import { syscall } from "../syscall.ts";
import { readTimespec, timespecNs } from "../time/timespec.ts";
import { SIGSET_BYTES } from "./action.ts";

export const rtSigprocmask = syscall({
  nr: 135,
  name: "rt_sigprocmask",
  args: [oneOf({ SIG_BLOCK, SIG_UNBLOCK, SIG_SETMASK }), ptr, ptr, size],
  handler(task, how, set, old, bytes) {
    if (bytes !== SIGSET_BYTES) return -EINVAL;
    const low = Task.blocked.get(task, 0);
    const high = Task.blocked.get(task, 1);
    if (set !== 0) {
      if (how < SIG_BLOCK || how > SIG_SETMASK) return -EINVAL;
      if (faultIn(set, SIGSET_BYTES, ACCESS.READ) < 0) return -EFAULT;
      const setLow = getUser32(set);
      const setHigh = getUser32(set + 4);
      if (how === SIG_BLOCK) setMask(task, low | setLow, high | setHigh);
      else if (how === SIG_UNBLOCK) setMask(task, low & ~setLow, high & ~setHigh);
      else setMask(task, setLow, setHigh);
    }
    if (old === 0) return 0;
    if (faultIn(old, SIGSET_BYTES, ACCESS.WRITE) < 0) return -EFAULT;
    putUser32(old, low);
    putUser32(old + 4, high);
    return 0;
  },
});

export const rtSigpending = syscall({
  nr: 136,
  name: "rt_sigpending",
  args: [ptr, size],
  handler(task, set, bytes) {
    if (bytes > SIGSET_BYTES) return -EINVAL;
    const group = Task.group.get(task);
    const words = new Int32Array(2);
    for (const n of [0, 1])
      words[n] = (Task.pending.load(task, n) | Group.pending.load(group, n)) & Task.blocked.get(task, n);
    return copyToUser(set, new Uint8Array(words.buffer, 0, bytes)) < 0 ? -EFAULT : 0;
  },
});

export const rtSigsuspend = syscall({
  nr: 133,
  name: "rt_sigsuspend",
  args: [ptr, size],
  handler(task, set, bytes) {
    if (bytes !== SIGSET_BYTES) return -EINVAL;
    if (faultIn(set, SIGSET_BYTES, ACCESS.READ) < 0) return -EFAULT;
    prepareToWait();
    setTemporaryMask(task, getUser32(set), getUser32(set + 4));
    return BLOCK_EINTR;
  },
});

/** Takes a pending signal of the set; its number, or 0. */
function takeSignal(task: Ref<"task">, low: number, high: number, info: number): number {
  const group = Task.group.get(task);
  const held = Group.lock.lock(group);
  const found = dequeueSignal(held, task, ~low, ~high);
  // While it waits, senders wake the task for these signals though they are blocked.
  Task.waitMask.set(task, 0, found === null ? low : 0);
  Task.waitMask.set(task, 1, found === null ? high : 0);
  if (found !== null) recalcPending(task);
  Group.lock.unlock(group);
  if (found === null) return 0;
  if (info !== 0) {
    const bytes = new Uint8Array(SIGINFO_BYTES);
    bytes.set(new Uint8Array(found.buffer, 0, INFO_WORDS * 4));
    if (copyToUser(info, bytes) < 0) return -EFAULT;
  }
  return found[0]!;
}

export const rtSigtimedwait = syscall({
  nr: 137,
  name: "rt_sigtimedwait",
  args: [ptr, { ...ptr, out: true }, timespec, size],
  returns: signal,
  handler(task, set, info, timeout, bytes) {
    if (bytes !== SIGSET_BYTES) return -EINVAL;
    if (faultIn(set, SIGSET_BYTES, ACCESS.READ) < 0) return -EFAULT;
    const low = getUser32(set) & ~UNBLOCKABLE;
    const high = getUser32(set + 4);
    let deadline = Number.POSITIVE_INFINITY;
    if (timeout !== 0) {
      const failed = readTimespec(timeout);
      if (failed < 0) return failed;
      deadline = restartDeadline(timespecNs());
    }
    // Before the look, so that a signal sent after it ends the wait.
    blockUntil(deadline);
    const signo = takeSignal(task, low, high, info);
    if (signo !== 0) return signo;
    if (nowNs() >= deadline) {
      Task.waitMask.set(task, 0, 0);
      Task.waitMask.set(task, 1, 0);
      return -EAGAIN;
    }
    return BLOCK_EINTR;
  },
});
