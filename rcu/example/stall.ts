/** A reader that does not leave is named: its slot (CPU), its thread, and the task that runs there. */
import { once } from "node:events";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { RcuDomain, rcuStallText, setRcuStallHandler, setRcuTaskNamer } from "sternix/rcu";

if (isMainThread) {
  const domain = RcuDomain.create({ bytes: 16 << 20 });
  const worker = new Worker(new URL(import.meta.url), { workerData: domain.handle() });
  await once(worker, "message");
  setRcuTaskNamer((slot) => (slot === 1 ? "the indexer" : "the main loop"));
  setRcuStallHandler(30, (stall) => {
    setRcuStallHandler(10_000); // Once is enough here.
    console.log(rcuStallText(stall));
    const [late] = stall.laggards;
    console.log(`it is the worker's thread: ${late!.thread === worker.threadId}`);
    void worker.terminate().then(() => domain.heap.reap(late!.slot)); // Nobody waits for the dead.
  });
  await domain.synchronize();
  console.log("the grace period is over");
  domain.unregisterThread();
} else {
  const domain = RcuDomain.attach(workerData);
  domain.run(() => {
    parentPort!.postMessage("reading");
    for (;;);
  });
}
