/** The threads of domains: what becomes of their slots when they end. */
import { currentHeap, type Heap } from "./heap.ts";
import { signedThreads } from "./liveness.ts";
import { onExit, unwatchThreads, type Worker, watchThreads } from "./platform.ts";

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
 * from now on, and, where the system tells (Linux, browsers), those of all that joined.
 */
export function joinTurns(heap: Heap): void {
  heap.sign();
  if (heaps.size === 0) watchThreads((id) => reap(id, heaps), leaveAll, owners);
  heaps.add(heap);
}

export function leaveTurns(heap: Heap): void {
  heaps.delete(heap);
  if (heaps.size === 0) unwatchThreads();
}

/** The worker's slots in this heap are given up when it ends, however it ends. */
export const reapAtExit = (worker: Worker, heap: Heap): void => onExit(worker, (id) => reap(id, [heap]));

function reap(id: number, of: Iterable<Heap>): void {
  for (const heap of of) inHeap(heap, () => heap.reapThread(id));
}

const owners = (): number[] => [...heaps].flatMap((heap) => signedThreads(heap.i32));

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
