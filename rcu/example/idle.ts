/** Extended quiescent states: a thread that sleeps in Atomics.wait holds no grace period up and is woken for none. */
import { once } from "node:events";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import {
  atomicNotify,
  atomicStore,
  atomicWait,
  Heap,
  rcuIdleEnter,
  rcuIdleExit,
  rcuIsWatching,
  rcuLaggards,
  rcuStats,
  startPollSynchronizeRcu,
  synchronizeRcu,
} from "sternix/rcu";

if (isMainThread) {
  const heap = Heap.create({ bytes: 16 << 20 });
  const bell = new Int32Array(new SharedArrayBuffer(4));
  const worker = new Worker(new URL(import.meta.url), { workerData: { heap: heap.handle(), bell } });
  rcuIdleEnter(); // This thread is about to await: the same rule.
  await once(worker, "message");
  rcuIdleExit();
  startPollSynchronizeRcu();
  console.log(`a grace period waits for slots ${rcuLaggards().join(" ")}, not for the sleeper's`);
  const { wakeups } = rcuStats();
  for (let n = 0; n < 100; n++) synchronizeRcu();
  console.log(`100 grace periods, ${rcuStats().wakeups - wakeups} threads woken`);
  console.log(`idle: ${rcuStats().slots.map((slot) => slot.idle)}`);
  atomicStore(bell, 0, 1);
  atomicNotify(bell, 0);
  rcuIdleEnter();
  console.log(`watched: ${rcuIsWatching()}`); // No read scope may be opened here.
  await once(worker, "exit");
  rcuIdleExit();
  heap.detach();
} else {
  const heap = Heap.attach(workerData.heap);
  rcuIdleEnter(); // Before it sleeps, after its last read.
  parentPort!.postMessage("asleep");
  atomicWait(workerData.bell, 0, 0);
  rcuIdleExit(); // Before it reads again.
  heap.detach();
}
