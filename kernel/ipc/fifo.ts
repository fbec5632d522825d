/**
 * FIFOs, fifo(7): open(2) waits until the other end is open too.
 *
 * The file that is being opened counts as an open end from its first run, and stays with the call that waits (fs/open.ts): a
 * later run goes on with this file and its pipe, whatever the path leads to by then. However the wait ends otherwise, the file
 * is released, and with it the end that it counts as.
 */
import type { Held, Ref } from "../../rcu/index.ts";
import { File, FMODE_READ, FMODE_WRITE } from "../fs/file.ts";
import { Inode, inodeLock, inodeUnlock } from "../fs/inode.ts";
import { FOPS, registerFileOps } from "../fs/ops.ts";
import { BLOCK } from "../sched/block.ts";
import { waitOn } from "../sched/waitqueue.ts";
import { ENOMEM, ENXIO } from "../uapi/errno.ts";
import { O_NONBLOCK } from "../uapi/fcntl.ts";
import { pipeOf, pipeRelease } from "./pipe.ts";
import { closeEnds, openEnds, Pipe, pipeCreate, pipeDestroy, pipeWakeAll } from "./pipe-ends.ts";

/*
 * While a FIFO is being opened its file has FOPS.FIFO and
 *   priv   the pipe, once the file counts as an end of it
 *   priv2  how often the other end had been opened then (Pipe.readerOpens, Pipe.writerOpens)
 */

function openFifo(inode: Ref<"inode">, file: Ref<"file">): number {
  if (File.priv.peek(file) !== 0) return continueOpen(file);
  inodeLock(inode);
  let pipe = Inode.pipe.load(inode) as Ref<"pipe"> | 0;
  if (pipe === 0) {
    pipe = pipeCreate();
    if (pipe !== 0) Inode.pipe.store(inode, pipe);
  }
  const result = pipe === 0 ? -ENOMEM : startOpen(pipe, file);
  const unused = pipe !== 0 && Pipe.readers.racy(pipe) === 0 && Pipe.writers.racy(pipe) === 0;
  if (unused) Inode.pipe.store(inode, 0);
  inodeUnlock(inode);
  if (pipe !== 0 && unused) pipeDestroy(pipe);
  return result;
}

const modeOf = (file: Ref<"file">): number => File.mode.get(file) & (FMODE_READ | FMODE_WRITE);
const others = (held: Held<"lock">, pipe: Ref<"pipe">, mode: number): number =>
  mode === FMODE_READ ? Pipe.writers.get(held, pipe) : Pipe.readers.get(held, pipe);
const otherOpens = (held: Held<"lock">, pipe: Ref<"pipe">, mode: number): number =>
  mode === FMODE_READ ? Pipe.writerOpens.get(held, pipe) : Pipe.readerOpens.get(held, pipe);

/** Needs the inode's lock: nobody else finds the pipe unused and takes it away. */
function startOpen(pipe: Ref<"pipe">, file: Ref<"file">): number {
  const mode = modeOf(file);
  const nonBlocking = (File.flags.load(file) & O_NONBLOCK) !== 0;
  const held = Pipe.lock.lock(pipe);
  const complete =
    mode === (FMODE_READ | FMODE_WRITE) || Pipe.anonymous.get(pipe) !== 0 || others(held, pipe, mode) !== 0;
  const waits = !complete && !(nonBlocking && mode === FMODE_READ);
  if (waits && nonBlocking) {
    Pipe.lock.unlock(pipe);
    return -ENXIO;
  }
  File.priv.init(file, pipe);
  File.priv2.init(file, otherOpens(held, pipe, mode));
  openEnds(held, pipe, mode);
  // Whoever opens the other end takes the pipe's lock, which we hold: no wake-up is lost.
  const result = waits ? wait(pipe, mode) : 0;
  if (result === -ENOMEM) {
    closeEnds(held, pipe, mode);
    File.priv.init(file, 0);
  }
  Pipe.lock.unlock(pipe);
  return result < 0 ? result : opened(pipe, file);
}

/** The call runs again: it is over once the other end was opened, even if it is closed again. */
function continueOpen(file: Ref<"file">): number {
  const pipe = pipeOf(file);
  const mode = modeOf(file);
  const held = Pipe.lock.lock(pipe);
  const result = otherOpens(held, pipe, mode) === File.priv2.peek(file) ? wait(pipe, mode) : 0;
  Pipe.lock.unlock(pipe);
  if (result === -ENOMEM) pipeRelease(file);
  return result < 0 ? result : opened(pipe, file);
}

/** BLOCK or -ENOMEM. */
function wait(pipe: Ref<"pipe">, mode: number): number {
  const error = waitOn(mode === FMODE_READ ? Pipe.readWait.at(pipe) : Pipe.writeWait.at(pipe));
  return error < 0 ? error : BLOCK;
}

function opened(pipe: Ref<"pipe">, file: Ref<"file">): number {
  File.fops.set(file, FOPS.PIPE);
  File.priv2.init(file, 0);
  pipeWakeAll(pipe);
  return 0;
}

registerFileOps(FOPS.FIFO, {
  open: openFifo,
  // An open that waited and was given up.
  release: pipeRelease,
});
