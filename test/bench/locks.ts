/** Two threads under one protocol of the benchmarks: writers count, readers look for halves. */
import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { Heap } from "../../rcu/index.ts";
import { createLocks, type LockSet, type Protocol } from "../../userland/bench/locks.ts";

export const THREADS = 2;
export const WRITES = 4000;

export interface LockJob {
  readonly heap: ReturnType<Heap["handle"]>;
  readonly locks: LockSet;
  /** Two words that writers change one after the other, plainly; then words for meeting and for results. */
  readonly words: Int32Array<SharedArrayBuffer>;
  readonly thread: number;
  readonly protocol: Protocol;
}

export async function runLocks(
  protocol: Protocol,
): Promise<{ counter: number; torn: number; writes: number }> {
  const heap = Heap.create({ bytes: 8 << 20 });
  const locks = createLocks(THREADS);
  const words = new Int32Array(new SharedArrayBuffer(256));
  await Promise.all(
    Array.from({ length: THREADS }, async (_, thread) => {
      const workerData: LockJob = { heap: heap.handle(), locks, words, thread, protocol };
      await once(new Worker(new URL("./lock-worker.ts", import.meta.url), { workerData }), "exit");
    }),
  );
  heap.detach();
  return { counter: words[0]!, torn: words[3]!, writes: THREADS * WRITES };
}
