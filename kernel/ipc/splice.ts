/** splice(2), tee(2), vmsplice(2): bytes are copied, never shared. */
import type { Ref } from "../../rcu/index.ts";
import { fget } from "../fs/fdtable.ts";
import { File, FMODE_READ, FMODE_WRITE } from "../fs/file.ts";
import { FOPS } from "../fs/ops.ts";
import { copyBetween, filePwrite, fileRead, fileWrite, isRange, writeSome } from "../fs/read-write.ts";
import { MAX_RW_COUNT, UserIo } from "../mm/iov.ts";
import { faultIn, getUser64, putUser64 } from "../mm/uaccess.ts";
import { BLOCK } from "../sched/block.ts";
import { waitOn, wakeUp } from "../sched/waitqueue.ts";
import { Task } from "../task/task.ts";
import { EAGAIN, EBADF, EFAULT, EINVAL, ENOMEM, ESPIPE } from "../uapi/errno.ts";
import { O_APPEND, O_NONBLOCK, RWF_NOWAIT } from "../uapi/fcntl.ts";
import { POLLIN, POLLRDNORM } from "../uapi/poll.ts";
import { ACCESS } from "../usermode.ts";
import { brokenPipe, pipeOf } from "./pipe.ts";
import { Pipe } from "./pipe-ends.ts";
import { Ring, ringPeek, ringRoom, ringUnread, ringWrite } from "./ring.ts";

const scratch = new Uint8Array(65536);
const io = new UserIo();

const SPLICE_F_NONBLOCK = 2;
const FLAGS = 15;

const filesOf = (task: Ref<"task">): Ref<"files"> => Task.files.access(task) as Ref<"files">;
const isOpenFor = (file: Ref<"file">, mode: number): boolean => (File.mode.get(file) & mode) !== 0;
const isPipe = (file: Ref<"file">): boolean => File.fops.get(file) === FOPS.PIPE;

/** Room in the pipe, or bytes in it: what can move without waiting. */
const roomOf = (file: Ref<"file">): number =>
  isPipe(file) ? ringRoom(Pipe.ring.get(pipeOf(file))) : Infinity;

/** splice(2): -EINVAL unless one side is a pipe; a pipe has no offset. Blocks while nothing can move at all. */
export function splicePipe(
  task: Ref<"task">,
  fdIn: number,
  offIn: number,
  fdOut: number,
  offOut: number,
  length: number,
  flags: number,
): number {
  if ((flags & ~FLAGS) !== 0) return -EINVAL;
  if (length === 0) return 0;
  const from = fget(filesOf(task), fdIn);
  const to = fget(filesOf(task), fdOut);
  if (from < 0 || to < 0) return -EBADF;
  const [source, target] = [from as Ref<"file">, to as Ref<"file">];
  if (!isOpenFor(source, FMODE_READ) || !isOpenFor(target, FMODE_WRITE)) return -EBADF;
  if (!isPipe(source) && !isPipe(target)) return -EINVAL;
  if ((isPipe(source) && offIn !== 0) || (isPipe(target) && offOut !== 0)) return -ESPIPE;
  if (isPipe(source) && isPipe(target) && pipeOf(source) === pipeOf(target)) return -EINVAL;
  if (!isPipe(target) && (File.flags.load(target) & O_APPEND) !== 0) return -EINVAL;
  for (const address of [offIn, offOut])
    if (address !== 0 && faultIn(address, 8, ACCESS.WRITE) < 0) return -EFAULT;
  if (length >= 2 ** 63) return -EINVAL;
  const fromPos = offIn === 0 ? -1 : getUser64(offIn);
  const toPos = offOut === 0 ? -1 : getUser64(offOut);
  if (
    (offIn !== 0 && !isRange(fromPos, Math.min(length, MAX_RW_COUNT))) ||
    (offOut !== 0 && !isRange(toPos, Math.min(length, MAX_RW_COUNT)))
  )
    return -EINVAL;
  // Only what the target pipe has room for is taken out of the source.
  if (isPipe(target)) {
    const full = pipeFull(target, flags);
    if (full !== 0) return full;
  }
  if (isPipe(source) && (flags & SPLICE_F_NONBLOCK) !== 0 && pipeIsWaiting(source)) return -EAGAIN;
  const most = Math.min(length, roomOf(target));
  const moved = isPipe(source)
    ? drainPipe(source, target, toPos, most)
    : copyBetween(source, fromPos, target, toPos, most);
  if (moved > 0 && offIn !== 0) putUser64(offIn, fromPos + moved);
  if (moved > 0 && offOut !== 0) putUser64(offOut, toPos + moved);
  return moved;
}

/** From a pipe to anything: what the target does not take goes back into the pipe. */
function drainPipe(source: Ref<"file">, target: Ref<"file">, toPos: number, length: number): number {
  const pipe = pipeOf(source);
  io.setKernel(scratch.subarray(0, Math.min(length, scratch.length)));
  const got = fileRead(source, io);
  if (got <= 0) return got;
  io.setKernel(scratch.subarray(0, got));
  const put = toPos >= 0 ? filePwrite(target, io, toPos) : writeSome(target, io);
  const taken = Math.max(put, 0);
  if (taken < got) {
    Pipe.lock.lock(pipe);
    const kept = ringUnread(Pipe.ring.get(pipe), scratch.subarray(taken), got - taken);
    Pipe.lock.unlock(pipe);
    wakeUp(Pipe.readWait.at(pipe), 1, POLLIN | POLLRDNORM);
    if (!kept) return -ENOMEM;
  }
  return put;
}

/** Why the target pipe takes nothing now: -EPIPE and SIGPIPE, -EAGAIN, BLOCK; 0 when it has room. */
function pipeFull(target: Ref<"file">, flags: number): number {
  const pipe = pipeOf(target);
  const isOpen = () => Pipe.readers.racy(pipe) !== 0;
  if (!isOpen()) return brokenPipe();
  if (roomOf(target) !== 0) return 0;
  return blocked(target, Pipe.writeWait, flags, () => roomOf(target) !== 0 || !isOpen());
}

/** Empty, with writers that may come up with something. */
const pipeIsWaiting = (file: Ref<"file">): boolean =>
  Ring.used.get(Pipe.ring.get(pipeOf(file))) === 0 && Pipe.writers.racy(pipeOf(file)) !== 0;

function blocked(
  file: Ref<"file">,
  queue: typeof Pipe.writeWait,
  flags: number,
  ready: () => boolean,
): number {
  if ((flags & SPLICE_F_NONBLOCK) !== 0 || (File.flags.load(file) & O_NONBLOCK) !== 0) return -EAGAIN;
  const error = waitOn(queue.at(pipeOf(file)));
  // The call runs again either way: at once when the wake-up came before the task joined the queue.
  if (error < 0) return error;
  if (ready()) wakeUp(queue.at(pipeOf(file)));
  return BLOCK;
}

/** tee(2): bytes copied, 0 at the end of the source, -EAGAIN, BLOCK. */
export function teePipe(
  task: Ref<"task">,
  fdIn: number,
  fdOut: number,
  length: number,
  flags: number,
): number {
  if ((flags & ~FLAGS) !== 0) return -EINVAL;
  if (length === 0) return 0;
  const from = fget(filesOf(task), fdIn);
  const to = fget(filesOf(task), fdOut);
  if (from < 0 || to < 0) return -EBADF;
  const [source, target] = [from as Ref<"file">, to as Ref<"file">];
  if (!isOpenFor(source, FMODE_READ) || !isOpenFor(target, FMODE_WRITE)) return -EBADF;
  if (!isPipe(source) || !isPipe(target) || pipeOf(source) === pipeOf(target)) return -EINVAL;
  const input = pipeOf(source);
  const output = pipeOf(target);
  if (pipeIsWaiting(source)) return blocked(source, Pipe.readWait, flags, () => !pipeIsWaiting(source));
  const full = pipeFull(target, flags);
  if (full !== 0) return full;
  Pipe.lock.lock(input);
  const count = ringPeek(Pipe.ring.get(input), 0, scratch, 0, Math.min(length, scratch.length));
  Pipe.lock.unlock(input);
  Pipe.lock.lock(output);
  const copied = ringWrite(Pipe.ring.get(output), scratch, 0, count);
  Pipe.lock.unlock(output);
  if (copied > 0) wakeUp(Pipe.readWait.at(output), 1, POLLIN | POLLRDNORM);
  return copied;
}

/** vmsplice(2): as writev or readv on the pipe. */
export function vmsplicePipe(
  task: Ref<"task">,
  fd: number,
  iov: number,
  count: number,
  flags: number,
): number {
  if ((flags & ~FLAGS) !== 0) return -EINVAL;
  const file = fget(filesOf(task), fd);
  if (file < 0) return file;
  const error = io.setIovec(iov, count);
  if (error < 0) return error;
  if (io.remaining === 0) return 0;
  if (!isPipe(file as Ref<"file">)) return -EBADF;
  if ((flags & SPLICE_F_NONBLOCK) !== 0) io.flags |= RWF_NOWAIT;
  const writes = isOpenFor(file as Ref<"file">, FMODE_WRITE);
  return writes ? fileWrite(file as Ref<"file">, io) : fileRead(file as Ref<"file">, io);
}
