/**
 * Readiness: the poll mask of a file, poll(2) and select(2).
 *
 * Both run again from the start after every wake-up; the deadline is what the task remembers of the first run.
 */
import type { Ref } from "../../rcu/index.ts";
import { fget } from "../fs/fdtable.ts";
import { File } from "../fs/file.ts";
import { DEFAULT_POLLMASK, fileOpsOf } from "../fs/ops.ts";
import { faultIn, getUser16, getUser32, putUser16, putUser32 } from "../mm/uaccess.ts";
import { BLOCK_EINTR } from "../sched/block.ts";
import { nowNs } from "../sched/current.ts";
import { blockUntil, restartDeadline } from "../sched/restart.ts";
import { waitOn } from "../sched/waitqueue.ts";
import { partAlso, partDone, yieldWhole } from "../sched/yield.ts";
import { Task } from "../task/task.ts";
import { EBADF, EFAULT, EINVAL, ENOMEM } from "../uapi/errno.ts";
import { POLLERR, POLLFD_BYTES, POLLHUP, POLLNVAL, SELECT_EX, SELECT_IN, SELECT_OUT } from "../uapi/poll.ts";
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
const PART = 4096;
/** Descriptors whose queues a call joins. The others, of a call with more of them, are looked at again every NAP_NS. */
const JOINED = 65536;
const NAP_NS = 10_000_000;

/** poll(2) over `count` struct pollfd at `address`. The time-out is in nanoseconds, negative for none. */
export function poll(task: Ref<"task">, address: number, count: number, timeoutNs: number): number {
  if (count !== 0 && faultIn(address, count * POLLFD_BYTES, ACCESS.WRITE) < 0) return -EFAULT;
  let ready = count > PART ? pollParts(task, address, count) : pollOnce(task, address, 0, count, false);
  if (ready !== 0 || timeoutNs === 0) return ready;
  const deadline = restartDeadline(timeoutNs);
  if (nowNs() >= deadline) return 0;
  const joined = Math.min(count, JOINED);
  ready = pollOnce(task, address, 0, joined, true);
  if (ready !== 0) return ready;
  blockUntil(joined === count ? deadline : Math.min(deadline, nowNs() + NAP_NS));
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

/** The three sets of a select call: 32-bit words of read, write and except bits, then of the results. */
let sets = new Uint32Array(6 * 32);

/**
 * select(2): bit sets of `nfds` bits at the three addresses (0: none), replaced by the ready ones when the call
 * returns a value >= 0.
 */
export function select(
  task: Ref<"task">,
  nfds: number,
  readSet: number,
  writeSet: number,
  exceptSet: number,
  timeoutNs: number,
): number {
  if (nfds < 0) return -EINVAL;
  // The sets are arrays of unsigned long: whole 64-bit words are read and written.
  const words = Math.ceil(Math.min(nfds, 65536) / 64) * 2;
  if (sets.length < 6 * words) sets = new Uint32Array(6 * words);
  const addresses = [readSet, writeSet, exceptSet];
  for (let n = 0; n < 3; n++) {
    const address = addresses[n]!;
    sets.fill(0, n * words, (n + 1) * words);
    if (address === 0 || words === 0) continue;
    if (faultIn(address, words * 4, ACCESS.WRITE) < 0) return -EFAULT;
    for (let word = 0; word < words; word++) sets[n * words + word] = getUser32(address + word * 4);
  }
  let ready = selectOnce(task, nfds, words, false);
  if (ready === 0 && timeoutNs !== 0) {
    const deadline = restartDeadline(timeoutNs);
    if (nowNs() < deadline) {
      ready = selectOnce(task, nfds, words, true);
      if (ready === 0) {
        blockUntil(deadline);
        return BLOCK_EINTR;
      }
    }
  }
  if (ready < 0) return ready;
  for (let n = 0; n < 3; n++) {
    const address = addresses[n]!;
    if (address === 0) continue;
    for (let word = 0; word < words; word++) putUser32(address + word * 4, sets[(n + 3) * words + word]!);
  }
  return ready;
}

function selectOnce(task: Ref<"task">, nfds: number, words: number, wait: boolean): number {
  const files = filesOf(task);
  sets.fill(0, 3 * words, 6 * words);
  let ready = 0;
  for (let word = 0; word < words; word++) {
    const wanted = sets[word]! | sets[words + word]! | sets[2 * words + word]!;
    if (wanted === 0) continue;
    for (let bit = 0; bit < 32; bit++) {
      const fd = word * 32 + bit;
      if (((wanted >>> bit) & 1) === 0 || fd >= nfds) continue;
      const file = fget(files, fd);
      if (file < 0) return -EBADF;
      if (wait && waitOnFile(file as Ref<"file">) < 0) return -ENOMEM;
      const mask = filePoll(file as Ref<"file">);
      ready += report(word, bit, words, 0, mask & SELECT_IN);
      ready += report(word, bit, words, 1, mask & SELECT_OUT);
      ready += report(word, bit, words, 2, mask & SELECT_EX);
    }
  }
  return ready;
}

/** Sets the result bit of one set when it was asked for and `mask` is not empty; 1 if it did. */
function report(word: number, bit: number, words: number, set: number, mask: number): number {
  if (mask === 0 || ((sets[set * words + word]! >>> bit) & 1) === 0) return 0;
  sets[(3 + set) * words + word] = sets[(3 + set) * words + word]! | (1 << bit);
  return 1;
}
