/**
 * FIFOs, fifo(7): open(2) waits until the other end is open too.
 *
 * The open call runs again after every wake-up, so what it did the first time is remembered: an opener counts as an open
 * end from its first run, and leaves a record in the pipe that says which task it is. An open that a signal
 * interrupted leaves a stale record, which the next look at the pipe's openers drops.
 */
import { alloc, free, type Held, type Ref } from "../../rcu/index.ts";
import { File, FMODE_READ, FMODE_WRITE } from "../fs/file.ts";
import { Inode, inodeLock, inodeUnlock } from "../fs/inode.ts";
import { FOPS, registerFileOps } from "../fs/ops.ts";
import { BLOCK } from "../sched/block.ts";
import { current } from "../sched/current.ts";
import { waitOn } from "../sched/waitqueue.ts";
import { Task } from "../task/task.ts";
import { ENOMEM, ENXIO } from "../uapi/errno.ts";
import { O_NONBLOCK } from "../uapi/fcntl.ts";
import {
  FifoOpener,
  type Opener,
  openEnds,
  Pipe,
  pipeCreate,
  pipeDestroy,
  pipeWakeAll,
  reapOpeners,
  unlinkOpener,
} from "./pipe-ends.ts";

function openFifo(inode: Ref<"inode">, file: Ref<"file">): number {
  inodeLock(inode);
  let pipe = Inode.pipe.load(inode) as Ref<"pipe"> | 0;
  if (pipe === 0) {
    pipe = pipeCreate();
    if (pipe !== 0) Inode.pipe.store(inode, pipe);
  }
  const result = pipe === 0 ? -ENOMEM : openEnd(pipe, file);
  const unused = pipe !== 0 && Pipe.readers.racy(pipe) === 0 && Pipe.writers.racy(pipe) === 0;
  if (unused) Inode.pipe.store(inode, 0);
  inodeUnlock(inode);
  if (pipe !== 0 && unused) pipeDestroy(pipe);
  return result;
}

/** Needs the inode's lock. */
function openEnd(pipe: Ref<"pipe">, file: Ref<"file">): number {
  const task = current();
  const mode = File.mode.get(file) & (FMODE_READ | FMODE_WRITE);
  const held = Pipe.lock.lock(pipe);
  reapOpeners(held, pipe);
  const waiting = Task.restartWord.get(task);
  const result =
    waiting !== 0
      ? continueOpen(held, pipe, mode, waiting as Ref<"fifo_opener">)
      : startOpen(held, pipe, mode, (File.flags.load(file) & O_NONBLOCK) !== 0);
  Pipe.lock.unlock(pipe);
  if (result < 0) return result;
  File.fops.set(file, FOPS.PIPE);
  File.priv.init(file, pipe);
  pipeWakeAll(pipe);
  return 0;
}

const others = (held: Held<"lock">, pipe: Ref<"pipe">, mode: number): number =>
  mode === FMODE_READ ? Pipe.writers.get(held, pipe) : Pipe.readers.get(held, pipe);
const otherOpens = (held: Held<"lock">, pipe: Ref<"pipe">, mode: number): number =>
  mode === FMODE_READ ? Pipe.writerOpens.get(held, pipe) : Pipe.readerOpens.get(held, pipe);

function startOpen(held: Held<"lock">, pipe: Ref<"pipe">, mode: number, nonBlocking: boolean): number {
  const complete =
    mode === (FMODE_READ | FMODE_WRITE) || Pipe.anonymous.get(pipe) !== 0 || others(held, pipe, mode) !== 0;
  if (complete || (nonBlocking && mode === FMODE_READ)) {
    openEnds(held, pipe, mode);
    return 0;
  }
  if (nonBlocking) return -ENXIO;
  const opener = alloc(FifoOpener);
  if (opener === 0) return -ENOMEM;
  FifoOpener.task.init(opener, current());
  FifoOpener.mode.init(opener, mode);
  FifoOpener.seen.init(opener, otherOpens(held, pipe, mode));
  FifoOpener.next.set(opener, Pipe.openers.get(held, pipe));
  Pipe.openers.set(held, pipe, opener);
  Task.restartWord.set(current(), opener);
  openEnds(held, pipe, mode);
  return wait(pipe, mode);
}

/** The call runs again: it is over once the other end was opened, even if it is closed again. */
function continueOpen(held: Held<"lock">, pipe: Ref<"pipe">, mode: number, mine: Ref<"fifo_opener">): number {
  if (otherOpens(held, pipe, mode) === FifoOpener.seen.get(mine)) return wait(pipe, mode);
  let previous: Opener = 0;
  for (let at: Opener = Pipe.openers.get(held, pipe); at !== mine; at = FifoOpener.next.get(at)) {
    if (at === 0) throw new Error("FIFO opener without a record");
    previous = at;
  }
  unlinkOpener(held, pipe, previous, FifoOpener.next.get(mine));
  free(FifoOpener, mine);
  return 0;
}

/** Whoever opens the other end takes the pipe's lock, which we hold: no wake-up is lost. */
function wait(pipe: Ref<"pipe">, mode: number): number {
  const error = waitOn(mode === FMODE_READ ? Pipe.readWait.at(pipe) : Pipe.writeWait.at(pipe));
  return error < 0 ? error : BLOCK;
}

registerFileOps(FOPS.FIFO, { open: openFifo });
