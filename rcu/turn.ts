/**
 * The threads of domains as the process knows them: what becomes of their slots when they end, and where errors go that are
 * nobody's result.
 */
import { isMainThread, type Worker } from "node:worker_threads";
import type { Heap } from "./heap.ts";
import { currentHeap } from "./heap.ts";

/** Heaps of this thread's domains. */
const heaps = new Set<Heap>();

/** Does something in a heap between two turns of others, and gives back the heap that was in use. */
export function inHeap<T>(heap: Heap, what: () => T): T {
  const outer = currentHeap();
  heap.use();
  try {
    return what();
  } finally {
    if (outer !== null && outer !== heap && outer.slot >= 0) outer.use();
  }
}

/**
 * From here on the heap's slots come back by themselves when threads end: this thread's own one, those of workers that it starts
 * from now on, and, where the system tells (Linux), those of all that joined.
 */
export function joinTurns(heap: Heap): void {
  heap.sign();
  if (heaps.size === 0) {
    process.on("worker", onWorker);
    if (!isMainThread) process.on("exit", leaveAll);
  }
  heaps.add(heap);
}

export function leaveTurns(heap: Heap): void {
  heaps.delete(heap);
  if (heaps.size > 0) return;
  process.off("worker", onWorker);
  process.off("exit", leaveAll);
}

/** The worker's slots in these heaps are given up when it ends, however it ends. */
export function reapAtExit(worker: Worker, of: Iterable<Heap>): void {
  const id = worker.threadId;
  worker.once("exit", () => {
    for (const heap of of) inHeap(heap, () => heap.reapThread(id));
  });
}
const onWorker = (worker: Worker): void => reapAtExit(worker, heaps);

/** This worker ends: it returned, threw, or called process.exit() somewhere. */
function leaveAll(): void {
  for (const heap of heaps)
    try {
      heap.leave();
    } catch {
      // It may have ended in the middle of anything. Others reap what is left, as if it had been terminated.
    }
  heaps.clear();
}

/** Throws an error where nobody's call is in the way: it becomes an 'uncaughtException' of this thread, once. */
export function throwOutOfBand(error: unknown): void {
  setImmediate(() => {
    throw error;
  });
}
