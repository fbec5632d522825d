/** signalfd(2): signals of the reading process, taken with read(2). */
import { atomic, kfreeRcu, type Ref, struct, tryAlloc } from "../../rcu/index.ts";
import { anonInodeFile, File } from "../fs/file.ts";
import { FOPS, registerFileOps } from "../fs/ops.ts";
import type { UserIo } from "../mm/iov.ts";
import { current } from "../sched/current.ts";
import { dequeueSignal, recalcPending, type SigInfo } from "../signal/pending.ts";
import { UNBLOCKABLE } from "../signal/sigset.ts";
import { Group, Task } from "../task/task.ts";
import { EAGAIN, EFAULT, EINVAL, ENOMEM } from "../uapi/errno.ts";
import { O_CLOEXEC, O_NONBLOCK, O_RDWR } from "../uapi/fcntl.ts";
import { POLLIN, POLLRDNORM } from "../uapi/poll.ts";
import { SIGCHLD } from "../uapi/signal.ts";

/** sizeof(struct signalfd_siginfo). */
const SIGINFO_BYTES = 128;

const Signalfd = struct("signalfd", {
  /** The signals to take. */
  low: atomic(),
  high: atomic(),
});

const signalfdOf = (file: Ref<"file">): Ref<"signalfd"> => File.priv.peek(file) as Ref<"signalfd">;
export const isSignalfd = (file: Ref<"file">): boolean => File.fops.get(file) === FOPS.SIGNALFD;

/** The file, or -errno. */
export function signalfdFile(low: number, high: number, flags: number): Ref<"file"> | number {
  if ((flags & ~(O_CLOEXEC | O_NONBLOCK)) !== 0) return -EINVAL;
  const ref = tryAlloc(Signalfd);
  if (ref === 0) return -ENOMEM;
  setSignals(ref, low, high);
  const file = anonInodeFile(FOPS.SIGNALFD, ref, O_RDWR | (flags & O_NONBLOCK), "[signalfd]");
  if (file < 0) kfreeRcu(Signalfd, ref);
  return file;
}

function setSignals(ref: Ref<"signalfd">, low: number, high: number): void {
  Signalfd.low.store(ref, low & ~UNBLOCKABLE);
  Signalfd.high.store(ref, high);
}

/** signalfd4 on an existing descriptor: other signals from now on. */
export function signalfdChange(file: Ref<"file">, low: number, high: number): void {
  setSignals(signalfdOf(file), low, high);
}

function encode(info: SigInfo): Uint8Array {
  const bytes = new Uint8Array(SIGINFO_BYTES);
  const words = new Int32Array(bytes.buffer);
  words[0] = info[0]!;
  words[1] = info[1]!;
  words[2] = info[2]!;
  words[3] = info[4]!;
  words[4] = info[5]!;
  if (info[0] === SIGCHLD) {
    words[10] = info[6]!;
    words.set(info.subarray(8, 12), 14);
  } else {
    // A timer's id and overrun count, or a user's value; for faults the address.
    words[6] = info[4]!;
    words[8] = info[5]!;
    words[11] = info[6]!;
    words.set(info.subarray(6, 8), 12);
    words.set(info.subarray(4, 6), 18);
  }
  return bytes;
}

function read(file: Ref<"file">, io: UserIo): number {
  if (io.remaining < SIGINFO_BYTES) return -EINVAL;
  const task = current();
  const group = Task.group.get(task);
  const ref = signalfdOf(file);
  let total = 0;
  while (io.remaining >= SIGINFO_BYTES) {
    const held = Group.lock.lock(group);
    const info = dequeueSignal(held, task, ~Signalfd.low.load(ref), ~Signalfd.high.load(ref));
    recalcPending(task);
    Group.lock.unlock(group);
    if (info === null) break;
    if (io.copyTo(encode(info), 0, SIGINFO_BYTES) !== SIGINFO_BYTES) return total === 0 ? -EFAULT : total;
    total += SIGINFO_BYTES;
  }
  return total === 0 ? -EAGAIN : total;
}

registerFileOps(FOPS.SIGNALFD, {
  read,
  poll(file) {
    const ref = signalfdOf(file);
    const task = current();
    const group = Task.group.get(task);
    const low = (Task.pending.load(task, 0) | Group.pending.load(group, 0)) & Signalfd.low.load(ref);
    const high = (Task.pending.load(task, 1) | Group.pending.load(group, 1)) & Signalfd.high.load(ref);
    return low !== 0 || high !== 0 ? POLLIN | POLLRDNORM : 0;
  },
  waitQueues: (_file, visit) => visit(Group.signalWait.at(Task.group.get(current()))),
  release: (file) => kfreeRcu(Signalfd, signalfdOf(file)),
  fdinfo(file) {
    const ref = signalfdOf(file);
    const hex = (word: number): string => (word >>> 0).toString(16).padStart(8, "0");
    return `sigmask:\t${hex(Signalfd.high.load(ref))}${hex(Signalfd.low.load(ref))}\n`;
  },
});
