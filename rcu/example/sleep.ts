/** synchronize({ sleep }): the caller says how to wait; each time that it was in vain, lagging readers are looked for. */
import { once } from "node:events";
import { setTimeout as after } from "node:timers/promises";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { atomicLoad, atomicStore, RcuDomain, setRcuStallHandler } from "sternix/rcu";

if (isMainThread) {
  const domain = RcuDomain.create({ bytes: 16 << 20 });
  const leave = new Int32Array(new SharedArrayBuffer(4));
  const worker = new Worker(new URL(import.meta.url), { workerData: { domain: domain.handle(), leave } });
  domain.watch(worker);
  await once(worker, "message");
  let stalls = 0;
  let sleeps = 0;
  setRcuStallHandler(20, ({ laggards }) => {
    if (stalls++ === 0) console.log(`after 20 ms it still waits for slot ${laggards[0]!.slot}`);
    atomicStore(leave, 0, 1);
  });
  await domain.synchronize({
    sleep: async (ms) => {
      sleeps++;
      await after(Math.min(ms, 10));
    },
  });
  console.log(`every warning came after a sleep: ${sleeps >= stalls}`);
  domain.unregisterThread();
} else {
  const domain = RcuDomain.attach(workerData.domain);
  domain.run(() => {
    parentPort!.postMessage("reading");
    while (atomicLoad(workerData.leave, 0) === 0); // Far too long a scope.
  });
  domain.unregisterThread();
}
