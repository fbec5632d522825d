/** One of the threads of locks.ts. */
import { workerData } from "node:worker_threads";
import { Heap } from "../../rcu/index.ts";
import { guardOf } from "../../userland/bench/locks.ts";
import { type LockJob, THREADS, WRITES } from "./locks.ts";

const { heap, locks, words, thread, protocol } = workerData as LockJob;
const attached = Heap.attach(heap);
const guard = guardOf(protocol, locks, thread);

/** Whether the two words differ, seen under the protocol's rules for readers. */
function look(): boolean {
  for (;;) {
    const seen = guard.begin?.() ?? 0;
    guard.enterRead?.();
    const differ = words[0] !== words[1];
    guard.exitRead?.();
    if (guard.retry === null || !guard.retry(seen)) return differ;
  }
}

Atomics.add(words, 2, 1);
while (Atomics.load(words, 2) < THREADS);
for (let n = 0; n < WRITES; n++) {
  guard.enterWrite!();
  words[0] = words[0]! + 1;
  words[1] = words[1]! + 1;
  guard.exitWrite!();
  if (look()) Atomics.add(words, 3, 1);
}
attached.detach();
