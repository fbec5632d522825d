/**
 * A pipe as an object: its two counts of open ends and its wait queues. What flows through it is pipe.ts; how a FIFO is opened is fifo.ts.
 */
import { alloc, fixed, type Held, kfreeRcu, locked, type Ref, spinlock, struct } from "../../rcu/index.ts";
import { FMODE_READ, FMODE_WRITE } from "../fs/file.ts";
import { destroyWaitQueue, waitqueue, wakeUp } from "../sched/waitqueue.ts";
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
  lock: spinlock(40),
  /** Open ends. */
  readers: locked("lock"),
  writers: locked("lock"),
  /** Opens of each end so far: how a FIFO's opener sees that somebody came, even if they left again. */
  readerOpens: locked("lock"),
  writerOpens: locked("lock"),
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
