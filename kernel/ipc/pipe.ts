/**
 * Pipes and FIFOs, pipe(7): a ring of bytes, two counts of open ends, two wait queues.
 *
 * Bytes move between user memory and the ring with the lock held; their pages are made present first, and a CPU that
 * waits for the lock answers TLB requests, so a fault in between only makes the copy short. Wake-ups come after
 * the unlock: whoever queues itself looks at the pipe again under the lock, so either it sees the bytes or we see it.
 */
import type { Ref } from "../../rcu/index.ts";
import { allocFile, File, FMODE_READ, FMODE_WRITE, fileAbort, newAnonInode } from "../fs/file.ts";
import { Inode, igrab, inodeLock, inodeUnlock, iput } from "../fs/inode.ts";
import { type FileOps, FOPS, registerFileOps } from "../fs/ops.ts";
import type { UserIo } from "../mm/iov.ts";
import { current } from "../sched/current.ts";
import { wakeUp } from "../sched/waitqueue.ts";
import { sendSignal } from "../signal/send.ts";
import { EAGAIN, EBUSY, EFAULT, EINVAL, ENOMEM, EPERM, EPIPE } from "../uapi/errno.ts";
import { O_RDONLY, O_WRONLY } from "../uapi/fcntl.ts";
import { POLLERR, POLLHUP, POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM } from "../uapi/poll.ts";
import { SIGPIPE } from "../uapi/signal.ts";
import { S_IFIFO } from "../uapi/stat.ts";
import { ACCESS } from "../usermode.ts";
import {
  chargePipe,
  closeEnds,
  openEnds,
  PIPE_BUF,
  PIPE_MAX_BYTES,
  Pipe,
  pipeCreate,
  pipeDestroy,
  pipeWakeAll,
} from "./pipe-ends.ts";
import { Ring, ringPages, ringReadTo, ringResize, ringRoom, ringWriteFrom } from "./ring.ts";

const FRAME = 4096;
/** Reads what is there: bytes, 0 at the end (no writers), -EAGAIN when it is empty. */
export function pipeRead(pipe: Ref<"pipe">, io: UserIo): number {
  if (io.remaining === 0) return 0;
  const ring = Pipe.ring.get(pipe);
  if (Ring.used.get(ring) !== 0 && io.prefault(Ring.used.get(ring), ACCESS.WRITE) < 0) return -EFAULT;
  const held = Pipe.lock.lock(pipe);
  const count = ringReadTo(ring, io, io.remaining);
  const writers = Pipe.writers.get(held, pipe);
  Pipe.lock.unlock(pipe);
  if (count === 0) return writers === 0 ? 0 : -EAGAIN;
  if (count > 0) wakeUp(Pipe.writeWait.at(pipe), 1, POLLOUT | POLLWRNORM);
  return count;
}

/**
 * Writes what fits; up to PIPE_BUF bytes go in one piece or not at all. -EAGAIN when nothing fits,
 * -EPIPE and SIGPIPE without readers.
 */
export function pipeWrite(pipe: Ref<"pipe">, io: UserIo): number {
  if (io.remaining === 0) return 0;
  const ring = Pipe.ring.get(pipe);
  const wanted = io.remaining;
  if (io.prefault(Math.min(wanted, Ring.capacity.get(ring)), ACCESS.READ) < 0) return -EFAULT;
  const held = Pipe.lock.lock(pipe);
  const readers = Pipe.readers.get(held, pipe);
  const room = ringRoom(ring);
  const fits = readers !== 0 && (wanted <= PIPE_BUF ? room >= wanted : room !== 0);
  const count = fits ? ringWriteFrom(ring, io, wanted) : 0;
  Pipe.lock.unlock(pipe);
  if (readers === 0) return brokenPipe();
  if (count > 0) wakeUp(Pipe.readWait.at(pipe), 1, POLLIN | POLLRDNORM);
  else if (count === 0) return fits ? -ENOMEM : -EAGAIN;
  return count;
}

/** Nobody will read what is written: -EPIPE, and SIGPIPE for the writer. */
export function brokenPipe(): number {
  // The host, which is nobody's task, just learns it.
  if (current() !== 0) sendSignal(current(), SIGPIPE);
  return -EPIPE;
}

/** The events that hold now for an open file of this mode. */
export function pipePoll(pipe: Ref<"pipe">, mode: number): number {
  let mask = 0;
  const held = Pipe.lock.lock(pipe);
  if ((mode & FMODE_READ) !== 0) {
    if (Ring.used.get(Pipe.ring.get(pipe)) !== 0) mask |= POLLIN | POLLRDNORM;
    if (Pipe.writers.get(held, pipe) === 0 && Pipe.writerOpens.get(held, pipe) !== 0) mask |= POLLHUP;
  }
  if ((mode & FMODE_WRITE) !== 0) {
    if (ringRoom(Pipe.ring.get(pipe)) >= PIPE_BUF) mask |= POLLOUT | POLLWRNORM;
    if (Pipe.readers.get(held, pipe) === 0) mask |= POLLERR;
  }
  Pipe.lock.unlock(pipe);
  return mask;
}

/** F_GETPIPE_SZ. */
export const pipeSize = (pipe: Ref<"pipe">): number => Ring.capacity.get(Pipe.ring.get(pipe));

/** F_SETPIPE_SZ: rounds up to a power-of-two number of pages; the new size, -EBUSY below what the pipe holds, -EPERM when the user has too much in pipes. */
export function setPipeSize(pipe: Ref<"pipe">, bytes: number, privileged: boolean): number {
  if (bytes < 0 || bytes > 2 ** 31) return -EINVAL;
  let size = FRAME;
  while (size < bytes) size *= 2;
  if (size > PIPE_MAX_BYTES && !privileged) return -EPERM;
  const ring = Pipe.ring.get(pipe);
  const held = Pipe.lock.lock(pipe);
  const old = Ring.capacity.get(ring);
  let result = size;
  if (Ring.used.get(ring) > size) result = -EBUSY;
  else if (!chargePipe(held, pipe, size)) result = -EPERM;
  else if (!ringResize(ring, size)) {
    chargePipe(held, pipe, old);
    result = -ENOMEM;
  }
  Pipe.lock.unlock(pipe);
  wakeUp(Pipe.writeWait.at(pipe), 1, POLLOUT | POLLWRNORM);
  return result;
}

/** The pipe behind an open file of kind FOPS.PIPE. */
export const pipeOf = (file: Ref<"file">): Ref<"pipe"> => File.priv.peek(file) as Ref<"pipe">;
/** Pages that its bytes lie in, about, counted at the end that reads. Racy. */
export const pipePages = (file: Ref<"file">): number =>
  (File.mode.get(file) & FMODE_READ) === 0 ? 0 : ringPages(Pipe.ring.get(pipeOf(file)));

/** The inode of a pipe points at it while an end is open; pipe2 and FIFOs alike. Its lock orders open against close. */
export function pipeRelease(file: Ref<"file">): void {
  const pipe = pipeOf(file);
  const inode = File.inode.get(file) as Ref<"inode">;
  inodeLock(inode);
  const held = Pipe.lock.lock(pipe);
  const last = closeEnds(held, pipe, File.mode.get(file));
  Pipe.lock.unlock(pipe);
  if (last) Inode.pipe.store(inode, 0);
  inodeUnlock(inode);
  if (last) pipeDestroy(pipe);
  else pipeWakeAll(pipe);
}

const pipeOps: FileOps = {
  read: (file, io) => pipeRead(pipeOf(file), io),
  write: (file, io) => pipeWrite(pipeOf(file), io),
  poll: (file) => pipePoll(pipeOf(file), File.mode.get(file)),
  waitQueues(file, visit) {
    const mode = File.mode.get(file);
    if ((mode & FMODE_READ) !== 0) visit(Pipe.readWait.at(pipeOf(file)));
    if ((mode & FMODE_WRITE) !== 0) visit(Pipe.writeWait.at(pipeOf(file)));
  },
  available: (file) => Ring.used.get(Pipe.ring.get(pipeOf(file))),
  release: pipeRelease,
};

registerFileOps(FOPS.PIPE, pipeOps);

/** Results of pipeFiles(). */
export let readEnd = 0 as Ref<"file">;
export let writeEnd = 0 as Ref<"file">;

/** pipe2(2): fills readEnd and writeEnd with a file each, one count; 0 or -errno. `flags`: O_NONBLOCK, O_DIRECT. */
export function pipeFiles(flags: number): number {
  const inode = newAnonInode(S_IFIFO | 0o600);
  if (inode === 0) return -ENOMEM;
  const pipe = pipeCreate();
  if (pipe === 0) {
    iput(inode);
    return -ENOMEM;
  }
  Pipe.anonymous.init(pipe, 1);
  // Opened again through /proc/self/fd it is a FIFO, but for waiting.
  Inode.fops.init(inode, FOPS.FIFO);
  Inode.pipe.init(inode, pipe);
  const reader = allocFile(inode, FOPS.PIPE, FMODE_READ, O_RDONLY | flags);
  igrab(inode);
  const writer = reader < 0 ? reader : allocFile(inode, FOPS.PIPE, FMODE_WRITE, O_WRONLY | flags);
  if (writer < 0) {
    iput(inode);
    if (reader < 0) iput(inode);
    else fileAbort(reader as Ref<"file">);
    pipeDestroy(pipe);
    return writer;
  }
  readEnd = reader as Ref<"file">;
  writeEnd = writer as Ref<"file">;
  File.priv.init(readEnd, pipe);
  File.priv.init(writeEnd, pipe);
  const held = Pipe.lock.lock(pipe);
  openEnds(held, pipe, FMODE_READ | FMODE_WRITE);
  Pipe.lock.unlock(pipe);
  return 0;
}
