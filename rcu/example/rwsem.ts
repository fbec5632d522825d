/** PercpuRwSemaphore: readers that may sleep count themselves for next to nothing, until somebody writes. */

import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { PercpuRwSemaphore, RcuDomain } from "sternix/rcu";

if (isMainThread) {
  const domain = RcuDomain.create({ bytes: 16 << 20 });
  const config = new PercpuRwSemaphore();
  config.readLock();
  const worker = new Worker(new URL(import.meta.url), {
    workerData: { domain: domain.handle(), config: config.handle() },
  });
  await once(worker, "message"); // It is about to write, and waits for us:
  await sleep(20); // a reader may sleep.
  console.log("the reader leaves");
  config.readUnlock();
  const [said] = await once(worker, "message");
  console.log(said);
  config.readLock(); // Waits while the other writes.
  console.log("the reader is in again");
  config.readUnlock();
  console.log(`and tries: ${config.tryReadLock()}`);
  config.readUnlock();
  await once(worker, "exit");
  domain.unregisterThread();
} else {
  const domain = RcuDomain.attach(workerData.domain);
  const config = new PercpuRwSemaphore({ at: workerData.config });
  parentPort!.postMessage("ready");
  config.writeLock();
  parentPort!.postMessage("the writer is alone");
  config.writeUnlock();
  domain.unregisterThread();
}
