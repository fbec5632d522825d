/**
 * A pipe as an object: its two counts of open ends and its wait queues. What flows through it is pipe.ts; how a FIFO is opened is fifo.ts.
 */
import {
  fixed,
  free,
  type Held,
  kfreeRcu,
  locked,
  type Ref,
  spinlock,
  struct,
  tryAlloc,
} from "../../rcu/index.ts";
import { FMODE_READ, FMODE_WRITE } from "../fs/file.ts";
import { current } from "../sched/current.ts";
import { destroyWaitQueue, waitqueue, wakeUp } from "../sched/waitqueue.ts";
import { CAP_SYS_ADMIN, CAP_SYS_RESOURCE, capable, userOfTask } from "../task/cred.ts";
import { limit } from "../task/limits.ts";
import { userCharge, userGet, userPut, userUncharge } from "../task/user.ts";
import { POLLERR, POLLHUP, POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM } from "../uapi/poll.ts";
import { ringCreate, ringFree } from "./ring.ts";

/** Writes up to this size are atomic. */
export const PIPE_BUF = 4096;
export const PIPE_DEF_BYTES = 65536;
/** /proc/sys/fs/pipe-max-size: what F_SETPIPE_SZ allows without CAP_SYS_RESOURCE. */
export const PIPE_MAX_BYTES = 1048576;

export const Pipe = struct("pipe", {
  ring: fixed<Ref<"ring">>(),
  /** Charged for its pages, or 0; how many they are, under the lock. */
  user: fixed<Ref<"user"> | 0>(),
  charged: locked("lock"),
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

const PAGE = 4096;
/** What a pipe of a user has who has pipe-user-pages-soft pages in pipes already. */
const SMALL_BYTES = 2 * PAGE;

/** Whether more pages than a user may have in pipes are no matter: pipe(7), /proc/sys/fs/pipe-user-pages-soft. */
const mayExceed = (task: Ref<"task">): boolean =>
  task === 0 || capable(task, CAP_SYS_RESOURCE) || capable(task, CAP_SYS_ADMIN);

/** Changes what the pipe's pages are counted as; false when the user may not have so many. The lock is held, if others know the pipe. */
export function chargePipe(held: Held<"lock">, pipe: Ref<"pipe">, bytes: number): boolean {
  const user = Pipe.user.get(pipe);
  const charged = Pipe.charged.get(held, pipe);
  const more = bytes / PAGE - charged;
  // Each charge holds the user once, and the pipe gives one back in the end.
  if (more < 0) {
    userGet(user);
    userUncharge(user, "pipePages", -more);
  } else if (more > 0) {
    const most = mayExceed(current()) ? Infinity : limit("pipePages");
    if (!userCharge(user, "pipePages", more, most)) return false;
    if (charged !== 0) userPut(user);
  }
  Pipe.charged.set(held, pipe, bytes / PAGE);
  return true;
}

/** A pipe without open ends; 0 when memory is short. */
export function pipeCreate(): Ref<"pipe"> | 0 {
  const pipe = tryAlloc(Pipe);
  if (pipe === 0) return 0;
  const task = current();
  if (task !== 0) Pipe.user.init(pipe, userOfTask(task));
  const unknown = 1 as Held<"lock">;
  const full = chargePipe(unknown, pipe, PIPE_DEF_BYTES);
  if (!full) {
    userCharge(Pipe.user.get(pipe), "pipePages", SMALL_BYTES / PAGE, Infinity);
    Pipe.charged.set(unknown, pipe, SMALL_BYTES / PAGE);
  }
  const ring = ringCreate(full ? PIPE_DEF_BYTES : SMALL_BYTES);
  if (ring === 0) {
    userUncharge(Pipe.user.get(pipe), "pipePages", Pipe.charged.get(unknown, pipe));
    free(Pipe, pipe);
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
  userUncharge(Pipe.user.get(pipe), "pipePages", Pipe.charged.get(1 as Held<"lock">, pipe));
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
