/** What the tests of this folder and their workers share. */
import { Worker } from "node:worker_threads";
import {
  atomic,
  defineReclaimer,
  fixed,
  type Heap,
  mutex,
  type Ref,
  rwlock,
  spinlock,
  struct,
} from "../../rcu/index.ts";

export const Board = struct("rcu test board", {
  lock: spinlock(),
  rw: rwlock(),
  mutex: mutex(),
  count: atomic(),
  ran: atomic(),
  stage: atomic(),
  plain: fixed(),
});
export type BoardRef = Ref<"rcu test board">;

export const Item = struct("rcu test item", { value: fixed() });

/** Adds 1 to `ran` of the board whose reference is the argument. */
export const countRun = defineReclaimer("rcu test: count", (board) => {
  Board.ran.add(board as BoardRef, 1);
  Board.ran.notify(board as BoardRef);
});

export interface Job {
  buffer: SharedArrayBuffer;
  board: number;
  job: string;
  arg: number;
}

/** The end of every worker that was started: asked for at its start, since it may end before somebody waits. */
const ends = new WeakMap<Worker, Promise<void>>();

/** Starts a worker on a job of worker.ts. */
export function start(heap: Heap, board: BoardRef, job: string, arg = 0): Worker {
  const workerData: Job = { buffer: heap.buffer, board, job, arg };
  const worker = new Worker(new URL("./worker.ts", import.meta.url), { workerData });
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  worker.once("error", reject);
  worker.once("exit", () => resolve());
  promise.catch(() => {}); // Whoever waits gets the error; a test that waits for nobody must not die of it.
  ends.set(worker, promise);
  return worker;
}

/** Resolves when the worker has ended, rejects with its uncaught error. */
export const exited = (worker: Worker): Promise<void> => ends.get(worker)!;

/** Waits, without blocking the event loop, until the board's stage is at least `stage`. */
export async function reached(board: BoardRef, stage: number): Promise<void> {
  while (Board.stage.load(board) < stage) await new Promise((resolve) => setTimeout(resolve, 2));
}
