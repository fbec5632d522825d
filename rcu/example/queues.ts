/** Jobs for workers in a lock-free queue, results in a wait-free one, and buffers that are used again on a stack. */
import { once } from "node:events";
import { isMainThread, Worker, workerData } from "node:worker_threads";
import {
  Heap,
  RcuLockFreeQueue,
  RcuLockFreeStack,
  rcuIdleEnter,
  rcuIdleExit,
  rcuQuiescent,
  rcuReadLock,
  rcuReadUnlock,
  rcuRunCallbacks,
  text,
  WaitFreeQueue,
} from "sternix/rcu";

const JOBS = 2000;

if (isMainThread) {
  const heap = Heap.create({ bytes: 16 << 20 });
  const jobs = new RcuLockFreeQueue();
  const results = new WaitFreeQueue<string>({ value: text() });
  const buffers = new RcuLockFreeStack();
  for (let job = 1; job <= JOBS; job++) jobs.enqueue(job);
  for (const buffer of [1, 2, 3]) buffers.push(buffer);
  console.log(`waiting: ${jobs.values(rcuReadLock()).take(3).toArray()}, ...`);
  rcuReadUnlock();
  const shared = { heap: heap.handle(), jobs: jobs.ref, results: results.ref, buffers: buffers.ref };
  const workers = [1, 2, 3].map(() => new Worker(new URL(import.meta.url), { workerData: shared }));
  rcuIdleEnter();
  await Promise.all(workers.map((worker) => once(worker, "exit")));
  rcuIdleExit();
  console.log(`jobs left: ${jobs.dequeue()}`);

  const all = new WaitFreeQueue<string>({ value: text() });
  all.enqueue("job 0 done");
  all.splice(results); // In one step.
  console.log(`first: ${all.dequeue()}`);
  const sum = all.dequeueAll().reduce((sum, line) => sum + Number(line.split(" ")[1]), 0);
  console.log(`each job was done once: ${sum === (JOBS * (JOBS + 1)) / 2}, empty: ${all.isEmpty()}`);
  console.log(`buffers: ${buffers.popAll().toSorted()}, then ${buffers.pop()}`);
} else {
  const heap = Heap.attach(workerData.heap);
  const jobs = new RcuLockFreeQueue({ at: workerData.jobs });
  const results = new WaitFreeQueue<string>({ value: text(), at: workerData.results });
  const buffers = new RcuLockFreeStack({ at: workerData.buffers });
  for (let job = jobs.dequeue(); job !== undefined; job = jobs.dequeue()) {
    const buffer = buffers.pop(); // Nobody else has it.
    results.enqueue(`job ${job} done`);
    if (buffer !== undefined) buffers.push(buffer);
    rcuQuiescent();
    rcuRunCallbacks();
  }
  heap.detach();
}
