/** synchronize({ sleep }): the caller says how to wait; each time that it was in vain, lagging readers are looked for. */
import { setTimeout as after } from "node:timers/promises";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { RcuDomain, setRcuStallHandler } from "sternix/rcu";

if (isMainThread) {
  const domain = RcuDomain.create({ bytes: 16 << 20 });
  const worker = new Worker(new URL(import.meta.url), { workerData: domain.handle() });
  domain.watch(worker);
  await new Promise((resolve) => worker.once("message", resolve));
  let stalls = 0;
  let sleeps = 0;
  setRcuStallHandler(20, ({ laggards }) => {
    if (stalls++ === 0) console.log(`after 20 ms it still waits for slot ${laggards[0]!.slot}`);
  });
  await domain.synchronize({
    sleep: async (ms) => {
      sleeps++;
      await after(Math.min(ms, 10));
    },
  });
  console.log(`more sleeps than warnings: ${sleeps > stalls}`);
  domain.unregisterThread();
} else {
  const domain = RcuDomain.attach(workerData);
  domain.run(() => {
    parentPort!.postMessage("reading");
    for (const start = Date.now(); Date.now() - start < 100; );
  });
}
