/**
 * A pipe as an object: its two counts of open ends, its wait queues, and the FIFO opens that wait for the other end.
 * What flows through it is pipe.ts; how a FIFO is opened is fifo.ts.
 */
import {
  alloc,
  fixed,
  free,
  type Held,
  kfreeRcu,
  locked,
  owned,
  type Ref,
  spinlock,
  struct,
} from "../../rcu/index.ts";
import { FMODE_READ, FMODE_WRITE } from "../fs/file.ts";
import { destroyWaitQueue, waitqueue, wakeUp } from "../sched/waitqueue.ts";
import { Task } from "../task/task.ts";
import { POLLERR, POLLHUP, POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM } from "../uapi/poll.ts";
import { ringCreate, ringFree } from "./ring.ts";

/** Writes up to this size are atomic. */
export const PIPE_BUF = 4096;
export const PIPE_DEF_BYTES = 65536;
/** /proc/sys/fs/pipe-max-size: what F_SETPIPE_SZ allows without CAP_SYS_RESOURCE. */
export const PIPE_MAX_BYTES = 1048576;

export const Pipe = struct("pipe", {
  ring: fixed<Ref<"ring">>(),
  /** Made by pipe2(2), not a FIFO: opening it again by /proc/self/fd never waits. */
  anonymous: fixed(),
  lock: spinlock(),
  /** Open ends. */
  readers: locked("lock"),
  writers: locked("lock"),
  /** Opens of each end so far: how a FIFO's opener sees that somebody came, even if they left again. */
  readerOpens: locked("lock"),
  writerOpens: locked("lock"),
  /** FIFO opens that wait for the other end (fifo.ts). */
  openers: locked<"lock", Ref<"fifo_opener"> | 0>("lock"),
  readWait: waitqueue(),
  writeWait: waitqueue(),
});

/** A pipe without open ends; 0 when memory is short. */
export function pipeCreate(): Ref<"pipe"> | 0 {
  const ring = ringCreate(PIPE_DEF_BYTES);
  if (ring === 0) return 0;
  const pipe = alloc(Pipe);
  if (pipe === 0) {
    ringFree(ring);
    return 0;
  }
  Pipe.ring.init(pipe, ring);
  return pipe;
}

/** Nobody can reach the pipe any more, but for tasks that still stand in its wait queues. */
export function pipeDestroy(pipe: Ref<"pipe">): void {
  destroyWaitQueue(Pipe.readWait.at(pipe));
  destroyWaitQueue(Pipe.writeWait.at(pipe));
  ringFree(Pipe.ring.get(pipe));
  kfreeRcu(Pipe, pipe);
}

/** Counts the ends that an open file of this mode stands for. */
export function openEnds(held: Held<"lock">, pipe: Ref<"pipe">, mode: number): void {
  if ((mode & FMODE_READ) !== 0) {
    Pipe.readers.set(held, pipe, Pipe.readers.get(held, pipe) + 1);
    Pipe.readerOpens.set(held, pipe, Pipe.readerOpens.get(held, pipe) + 1);
  }
  if ((mode & FMODE_WRITE) !== 0) {
    Pipe.writers.set(held, pipe, Pipe.writers.get(held, pipe) + 1);
    Pipe.writerOpens.set(held, pipe, Pipe.writerOpens.get(held, pipe) + 1);
  }
}

/** Drops them again; true when no end is open any more. */
export function closeEnds(held: Held<"lock">, pipe: Ref<"pipe">, mode: number): boolean {
  if ((mode & FMODE_READ) !== 0) Pipe.readers.set(held, pipe, Pipe.readers.get(held, pipe) - 1);
  if ((mode & FMODE_WRITE) !== 0) Pipe.writers.set(held, pipe, Pipe.writers.get(held, pipe) - 1);
  return Pipe.readers.get(held, pipe) === 0 && Pipe.writers.get(held, pipe) === 0;
}

/** An end was opened or closed: everybody looks again. */
export function pipeWakeAll(pipe: Ref<"pipe">): void {
  wakeUp(Pipe.readWait.at(pipe), 0, POLLIN | POLLRDNORM | POLLHUP);
  wakeUp(Pipe.writeWait.at(pipe), 0, POLLOUT | POLLWRNORM | POLLERR);
}

/**
 * A FIFO open that waits. It counts as an open end from its first run; when a signal interrupts the call, the record is
 * stale and the next look drops it.
 */
export const FifoOpener = struct("fifo_opener", {
  task: fixed<Ref<"task">>(),
  mode: fixed(),
  /** Pipe.readerOpens or writerOpens of the other end at the first run. */
  seen: fixed(),
  /** Next record of the pipe, under its lock. */
  next: owned<Ref<"fifo_opener"> | 0>(),
});
export type Opener = Ref<"fifo_opener"> | 0;

/** Drops the records of opens that were interrupted. */
export function reapOpeners(held: Held<"lock">, pipe: Ref<"pipe">): void {
  let previous: Opener = 0;
  for (let opener: Opener = Pipe.openers.get(held, pipe); opener !== 0; ) {
    const next: Opener = FifoOpener.next.get(opener);
    // The record's own number in the task says that the task is still in that very call.
    if (Task.restartWord.get(FifoOpener.task.get(opener)) === opener) previous = opener;
    else {
      unlinkOpener(held, pipe, previous, next);
      closeEnds(held, pipe, FifoOpener.mode.get(opener));
      free(FifoOpener, opener);
    }
    opener = next;
  }
}

export function unlinkOpener(held: Held<"lock">, pipe: Ref<"pipe">, previous: Opener, next: Opener): void {
  if (previous === 0) Pipe.openers.set(held, pipe, next);
  else FifoOpener.next.set(previous, next);
}
