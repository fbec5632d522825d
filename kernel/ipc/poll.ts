/**
 * Readiness: the poll mask of a file, and poll(2). select(2): select.ts.
 *
 * Both run again from the start after every wake-up; the deadline is what the task remembers of the first run.
 */
import type { Ref } from "../../rcu/index.ts";
import { fget } from "../fs/fdtable.ts";
import { File } from "../fs/file.ts";
import { DEFAULT_POLLMASK, fileOpsOf } from "../fs/ops.ts";
import { heapIsScarce } from "../mm/heap.ts";
import { faultIn, getUser16, getUser32, putUser16 } from "../mm/uaccess.ts";
import { BLOCK_EINTR } from "../sched/block.ts";
import { nowNs } from "../sched/current.ts";
import { blockUntil, restartDeadline } from "../sched/restart.ts";
import { waitOn } from "../sched/waitqueue.ts";
import { partAlso, partDone, yieldWhole } from "../sched/yield.ts";
import { Task } from "../task/task.ts";
import { EFAULT, ENOMEM } from "../uapi/errno.ts";
import { POLLERR, POLLFD_BYTES, POLLHUP, POLLNVAL } from "../uapi/poll.ts";
import { ACCESS } from "../usermode.ts";

/** The events that hold now; files without a poll operation are always ready. */
export function filePoll(file: Ref<"file">): number {
  const ops = fileOpsOf(File.fops.get(file));
  return ops.poll === undefined ? DEFAULT_POLLMASK : ops.poll(file);
}

/** Calls `visit` with each wait queue of the file. */
export function visitWaitQueues(file: Ref<"file">, visit: (queue: number) => void): void {
  fileOpsOf(File.fops.get(file)).waitQueues?.(file, visit);
}

let joinError = 0;
function join(queue: number): void {
  const error = waitOn(queue);
  if (error < 0) joinError = error;
}

/** The current task joins every wait queue of the file, for the call in progress; 0 or -ENOMEM. */
export function waitOnFile(file: Ref<"file">): number {
  joinError = 0;
  visitWaitQueues(file, join);
  return joinError;
}

const filesOf = (task: Ref<"task">): Ref<"files"> => Task.files.access(task) as Ref<"files">;

/** Descriptors that are looked at in about a millisecond. */
const PART = 2048;
/** Descriptors whose queues a call joins, in one piece. The others, of a call with more of them, are looked at again and again. */
const JOINED = 4096;
/** The same while the kernel's heap is scarce: each takes some of it. */
const FEW_JOINED = 256;
export const mostJoined = (): number => (heapIsScarce() ? FEW_JOINED : JOINED);
const NAP_NS = 10_000_000;
/** What a look at one descriptor takes: a call with very many of them sleeps about as long as it looks. */
const LOOK_NS = 500;

/** When a call wakes by itself that has joined the queues of some of its `count` descriptors, but not of all. */
export const napEnd = (deadline: number, count: number): number =>
  Math.min(deadline, nowNs() + Math.max(NAP_NS, count * LOOK_NS));

/** poll(2) over `count` struct pollfd at `address`. The time-out is in nanoseconds, negative for none. */
export function poll(task: Ref<"task">, address: number, count: number, timeoutNs: number): number {
  if (count !== 0 && faultIn(address, count * POLLFD_BYTES, ACCESS.WRITE) < 0) return -EFAULT;
  // Looking at very many takes its time, which counts.
  if (count > PART && timeoutNs > 0) restartDeadline(timeoutNs);
  let ready = count > PART ? pollParts(task, address, count) : pollOnce(task, address, 0, count, false);
  if (ready !== 0 || timeoutNs === 0) return ready;
  const deadline = restartDeadline(timeoutNs);
  if (nowNs() >= deadline) return 0;
  const joined = Math.min(count, mostJoined());
  ready = pollOnce(task, address, 0, joined, true);
  if (ready !== 0) return ready;
  blockUntil(joined === count ? deadline : napEnd(deadline, count));
  return BLOCK_EINTR;
}

/** One look at all of very many descriptors: the number of ready ones, or what yieldWhole says. */
function pollParts(task: Ref<"task">, address: number, count: number): number {
  let done = partDone();
  let ready = done === 0 ? 0 : partAlso();
  while (done < count) {
    const end = Math.min(count, done + PART);
    ready += pollOnce(task, address, done, end, false);
    done = end;
    const stop = done < count ? yieldWhole(done, ready) : 0;
    if (stop !== 0) return stop;
  }
  // When the call has waited, it looks at all of them again; and what a signal makes its result is not this.
  Task.partial.set(task, 0);
  return ready;
}

/** One look at descriptors [first, end), writing revents; with `wait` it joins their queues first. The number of ready ones. */
function pollOnce(task: Ref<"task">, address: number, first: number, end: number, wait: boolean): number {
  const files = filesOf(task);
  let ready = 0;
  for (let at = address + first * POLLFD_BYTES; at < address + end * POLLFD_BYTES; at += POLLFD_BYTES) {
    const fd = getUser32(at) | 0;
    let mask = 0;
    if (fd >= 0) {
      const file = fget(files, fd);
      if (file < 0) mask = POLLNVAL;
      else {
        if (wait && waitOnFile(file as Ref<"file">) < 0) return -ENOMEM;
        mask = filePoll(file as Ref<"file">) & (getUser16(at + 4) | POLLERR | POLLHUP);
      }
    }
    putUser16(at + 6, mask);
    if (mask !== 0) ready++;
  }
  return ready;
}
