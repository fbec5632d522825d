/**
 * Reading and writing open files: modes, positions, waiting.
 *
 * Files with positions never wait. Streams may: the operation answers -EAGAIN, the task joins the file's wait queues, the
 * operation is tried once more (which closes the race with a wake-up), and the call returns BLOCK to run again.
 * A stream write that got rid of some bytes remembers how many in Task.partial: the call goes on there when it runs
 * again, and returns that number if a signal ends it. Long transfers of files that say how long a part is (FileOps.part) do the
 * same whenever somebody wants the CPU (sched/yield.ts).
 */
import type { Ref } from "../../rcu/index.ts";
import { UserIo } from "../mm/iov.ts";
import { BLOCK, YIELD } from "../sched/block.ts";
import { current } from "../sched/current.ts";
import { waitOn } from "../sched/waitqueue.ts";
import { mustYield, partDone, yieldPart } from "../sched/yield.ts";
import { Task } from "../task/task.ts";
import { EAGAIN, EBADF, EINVAL, EISDIR, ENOMEM, ESPIPE } from "../uapi/errno.ts";
import { SEEK_HOLE } from "../uapi/fcntl.ts";
import { IN_ACCESS, IN_MODIFY } from "../uapi/inotify.ts";
import { S_IFDIR, S_IFREG } from "../uapi/stat.ts";
import { File, FMODE_LSEEK, FMODE_READ, FMODE_WRITE, fileMayWait } from "./file.ts";
import { Inode, inodeType } from "./inode.ts";
import { notifyFile } from "./notify.ts";
import { type FileOps, fileOpsOf } from "./ops.ts";
import { seekSized, setWriteEnd, writeEnd } from "./regular.ts";

type F = Ref<"file">;

let waitFailed = 0;
const joinQueue = (wq: number): void => {
  const error = waitOn(wq);
  if (error < 0) waitFailed = error;
};
/** The current task joins all wait queues of the file: 0, -ENOMEM. */
export function waitOnFile(file: F, ops: FileOps): number {
  waitFailed = 0;
  ops.waitQueues?.(file, joinQueue);
  return waitFailed;
}

/**
 * A transfer in parts of `part` bytes: `move(done)` moves what `io` shows of it now, `done` bytes behind its start. Bytes, -errno
 * when there are none, or YIELD: the call runs again and goes on from there. Ends early where a part is short. `killable` as for
 * yieldPart.
 */
export function inParts(io: UserIo, part: number, killable: boolean, move: (done: number) => number): number {
  let done = partDone();
  io.skip(done);
  for (;;) {
    const hidden = io.hide(part);
    const [wanted, before] = [io.remaining, io.done];
    const count = move(done);
    if (count > 0) {
      done += count;
      io.skip(count - (io.done - before)); // A device that takes everything looks at nothing.
    }
    io.reveal(hidden);
    if (count < wanted) return done > 0 ? done : count;
    if (io.remaining === 0) return done;
    const stop = yieldPart(done, killable);
    if (stop !== 0) return stop;
  }
}

const isLong = (ops: FileOps, io: UserIo): boolean => ops.part !== undefined && io.remaining > ops.part;

/** Moves bytes from `pos` on, `before` of which earlier runs of this call moved. */
function moveLong(file: F, ops: FileOps, io: UserIo, pos: number, writes: boolean): number {
  const step = (writes ? ops.write : ops.read)!;
  const killable = inodeType(File.inode.get(file)) === S_IFREG;
  return inParts(io, ops.part!, killable, (done) => step(file, io, pos + done));
}

/** The same at the file's own position, which goes along: other threads find it behind what was moved so far. */
function moveLongHere(file: F, ops: FileOps, io: UserIo, writes: boolean): number {
  const before = partDone();
  const held = File.posLock.lock(file);
  const pos = File.pos.get(held, file);
  setWriteEnd(-1);
  const result = moveLong(file, ops, io, pos - before, writes);
  const moved = result === YIELD ? partDone() - before : result - before;
  if (result === YIELD || result > 0)
    File.pos.set(held, file, writes && writeEnd >= 0 ? writeEnd : pos + moved);
  File.posLock.unlock(file);
  if (result > 0) notifyFile(file, writes ? IN_MODIFY : IN_ACCESS);
  return result;
}

/** read(2) into `io`: bytes, -errno or BLOCK. */
export function fileRead(file: F, io: UserIo): number {
  const mode = File.mode.get(file);
  if ((mode & FMODE_READ) === 0) return -EBADF;
  const ops = fileOpsOf(File.fops.get(file));
  if (ops.read === undefined) return inodeType(File.inode.get(file)) === S_IFDIR ? -EISDIR : -EINVAL;
  if ((mode & FMODE_LSEEK) !== 0) {
    if (isLong(ops, io)) return moveLongHere(file, ops, io, false);
    const held = File.posLock.lock(file);
    const pos = File.pos.get(held, file);
    const result = ops.read(file, io, pos);
    if (result > 0) File.pos.set(held, file, pos + result);
    File.posLock.unlock(file);
    if (result > 0) notifyFile(file, IN_ACCESS);
    return result;
  }
  const result = ops.read(file, io, 0);
  if (result !== -EAGAIN || !fileMayWait(file, io.flags)) return result;
  if (waitOnFile(file, ops) < 0) return -ENOMEM;
  const again = ops.read(file, io, 0);
  return again === -EAGAIN ? BLOCK : again;
}

/** write(2) from `io`: bytes, -errno or BLOCK. */
export function fileWrite(file: F, io: UserIo): number {
  const mode = File.mode.get(file);
  if ((mode & FMODE_WRITE) === 0) return -EBADF;
  const ops = fileOpsOf(File.fops.get(file));
  if (ops.write === undefined) return -EINVAL;
  if ((mode & FMODE_LSEEK) !== 0) {
    if (isLong(ops, io)) return moveLongHere(file, ops, io, true);
    const held = File.posLock.lock(file);
    const pos = File.pos.get(held, file);
    setWriteEnd(-1);
    const result = ops.write(file, io, pos);
    if (result > 0) File.pos.set(held, file, writeEnd >= 0 ? writeEnd : pos + result);
    File.posLock.unlock(file);
    if (result > 0) notifyFile(file, IN_MODIFY);
    return result;
  }
  return streamWrite(file, ops, io);
}

function streamWrite(file: F, ops: FileOps, io: UserIo): number {
  const task = current();
  let done = 0;
  if (task !== 0 && (done = Task.partial.get(task)) > 0) io.skip(done);
  const total = done + io.remaining;
  let joined = false;
  for (;;) {
    const result = ops.write!(file, io, 0);
    if (result >= 0) {
      done += result;
      if (done >= total || (result === 0 && io.remaining === 0)) return done;
      // A short write that is no full buffer: the file decided to stop there (tty, fault).
    } else if (result !== -EAGAIN) return done > 0 ? done : result;
    if (result > 0 && mustYield()) {
      const stop = yieldPart(done);
      if (stop !== 0) return stop;
    }
    if (!fileMayWait(file, io.flags)) return done > 0 ? done : result < 0 ? result : done;
    if (joined) {
      if (result >= 0) continue;
      Task.partial.set(task, done);
      return BLOCK;
    }
    if (result >= 0 && ops.waitQueues === undefined) return done;
    if (waitOnFile(file, ops) < 0) return done > 0 ? done : -ENOMEM;
    joined = true;
  }
}

/** The largest offsets, as user memory and registers give them: up to 2^63 - 1 they are one number (uaccess.ts). */
const LAST_OFFSETS = 2 ** 63 - 2048;
/** Whether all of a transfer lies at positions that an off_t can name. */
export const isRange = (pos: number, length: number): boolean =>
  pos >= 0 && (length === 0 || pos + length < LAST_OFFSETS);

/** pread(2): the file's position stays. */
export function filePread(file: F, io: UserIo, pos: number): number {
  const mode = File.mode.get(file);
  if ((mode & FMODE_READ) === 0) return -EBADF;
  if (!isRange(pos, io.remaining)) return -EINVAL;
  const ops = fileOpsOf(File.fops.get(file));
  if ((mode & FMODE_LSEEK) === 0) return inodeType(File.inode.get(file)) === S_IFDIR ? -EISDIR : -ESPIPE;
  if (ops.read === undefined) return inodeType(File.inode.get(file)) === S_IFDIR ? -EISDIR : -EINVAL;
  const result = isLong(ops, io) ? moveLong(file, ops, io, pos, false) : ops.read(file, io, pos);
  if (result > 0) notifyFile(file, IN_ACCESS);
  return result;
}

/** pwrite(2). With O_APPEND the data goes to the end, as on Linux. */
export function filePwrite(file: F, io: UserIo, pos: number): number {
  const mode = File.mode.get(file);
  if ((mode & FMODE_WRITE) === 0) return -EBADF;
  if (!isRange(pos, io.remaining)) return -EINVAL;
  if ((mode & FMODE_LSEEK) === 0) return -ESPIPE;
  const ops = fileOpsOf(File.fops.get(file));
  if (ops.write === undefined) return -EINVAL;
  const result = isLong(ops, io) ? moveLong(file, ops, io, pos, true) : ops.write(file, io, pos);
  if (result > 0) notifyFile(file, IN_MODIFY);
  return result;
}

/** lseek(2): the new position or -errno. */
export function fileSeek(file: F, offset: number, whence: number): number {
  if (!(whence >= 0 && whence <= SEEK_HOLE)) return -EINVAL;
  if ((File.mode.get(file) & FMODE_LSEEK) === 0) return -ESPIPE;
  const ops = fileOpsOf(File.fops.get(file));
  const held = File.posLock.lock(file);
  const next =
    ops.lseek?.(file, offset, whence) ??
    seekSized(Inode.size.racy(File.inode.get(file)), File.pos.get(held, file), offset, whence);
  if (next >= 0) File.pos.set(held, file, next);
  File.posLock.unlock(file);
  return next;
}

const kernelIo = new UserIo();

/** Reads up to buf.length bytes at `pos` into kernel memory: bytes or -errno (-EAGAIN where it would wait). */
export function kernelRead(file: F, buf: Uint8Array, pos: number): number {
  kernelIo.setKernel(buf);
  return fileOpsOf(File.fops.get(file)).read?.(file, kernelIo, pos) ?? -EINVAL;
}
/** The same for writing. */
export function kernelWrite(file: F, buf: Uint8Array, pos: number): number {
  kernelIo.setKernel(buf);
  return fileOpsOf(File.fops.get(file)).write?.(file, kernelIo, pos) ?? -EINVAL;
}

const COPY_BYTES = 1 << 16;
/** Copies of so many bytes, what a pipe can hold among them, are made in one run. */
const WHOLE_BYTES = 1 << 20;
let copyBuffer: Uint8Array | null = null;

/**
 * sendfile, copy_file_range, splice from files: moves up to `length` bytes. A position of -1 means the file's own one;
 * the target may be a stream. Bytes moved, -errno, BLOCK when the very first byte would wait, or YIELD: the call runs again with the
 * same arguments, as the positions given are those of its start.
 */
export function copyBetween(from: F, fromPos: number, to: F, toPos: number, length: number): number {
  // What a stream gave could not be put back if the target took only some of it (Linux refuses streams here as well).
  if (fromPos < 0 && (File.mode.get(from) & FMODE_LSEEK) === 0) return -EINVAL;
  copyBuffer ??= new Uint8Array(COPY_BYTES);
  const io = new UserIo();
  let done = partDone();
  while (done < length) {
    const chunk = copyBuffer.subarray(0, Math.min(COPY_BYTES, length - done));
    io.setKernel(chunk);
    const start = fromPos >= 0 ? fromPos + done : File.pos.racy(from);
    const got = fromPos >= 0 ? filePread(from, io, fromPos + done) : fileRead(from, io);
    if (got <= 0) return done > 0 ? done : got;
    io.setKernel(chunk.subarray(0, got));
    const put = toPos >= 0 ? filePwrite(to, io, toPos + done) : writeSome(to, io);
    if (put < got && fromPos < 0 && (File.mode.get(from) & FMODE_LSEEK) !== 0) {
      const held = File.posLock.lock(from);
      File.pos.set(held, from, start + Math.max(0, put));
      File.posLock.unlock(from);
    }
    if (put < 0) return done > 0 ? done : put;
    done += put;
    if (put < got && !mustYield()) break;
    const stop = done < length && length > WHOLE_BYTES ? yieldPart(done) : 0;
    if (stop !== 0) return stop;
  }
  return done;
}

/** One write without remembering partial progress; BLOCK when nothing could be written. */
export function writeSome(file: F, io: UserIo): number {
  const mode = File.mode.get(file);
  if ((mode & FMODE_LSEEK) !== 0) return fileWrite(file, io);
  if ((mode & FMODE_WRITE) === 0) return -EBADF;
  const ops = fileOpsOf(File.fops.get(file));
  if (ops.write === undefined) return -EINVAL;
  const result = ops.write(file, io, 0);
  if (result !== -EAGAIN || !fileMayWait(file, io.flags)) return result;
  if (waitOnFile(file, ops) < 0) return -ENOMEM;
  const again = ops.write(file, io, 0);
  return again === -EAGAIN ? BLOCK : again;
}
