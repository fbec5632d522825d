/**
 * A busy thread and its helper: the worker updates without ever returning to its event loop, and another worker frees what it leaves behind.
 * Closures cannot be offloaded: whoever tries is told.
 */
import { once } from "node:events";
import { isMainThread, Worker, workerData } from "node:worker_threads";
import { alloc, callRcuHere, fixed, kfreeRcu, liveObjects, RcuDomain, rcuStats, struct } from "sternix/rcu";

const Item = struct("item", { value: fixed() });
const UPDATES = 10_000;

if (isMainThread) {
  const domain = RcuDomain.create({ bytes: 32 << 20 });
  const stop = new Int32Array(new SharedArrayBuffer(4));
  const start = (job: string) =>
    new Worker(new URL(import.meta.url), { workerData: { domain: domain.handle(), job, stop } });
  const helper = start("help");
  while (rcuStats().helpers === 0) await new Promise((resolve) => setTimeout(resolve, 1));
  const busy = start("busy");
  await once(busy, "message");
  while (liveObjects(Item) > 0) await new Promise((resolve) => setTimeout(resolve, 1));
  console.log("everything is freed, and the worker is still busy");
  Atomics.store(stop, 0, 1);
  await once(busy, "exit");
  domain.endHelp();
  await once(helper, "exit");
  domain.unregisterThread();
} else {
  const { domain: handle, job, stop } = workerData;
  const domain = RcuDomain.attach(handle);
  if (job === "help") domain.help();
  else {
    domain.offload();
    try {
      callRcuHere(() => {});
    } catch (error) {
      console.log((error as { code: string }).code);
    }
    for (let n = 0; n < UPDATES; n++) kfreeRcu(Item, alloc(Item));
    const { parentPort } = await import("node:worker_threads");
    parentPort!.postMessage("updated");
    while (Atomics.wait(stop as Int32Array, 0, 0, 1) === "timed-out");
  }
}
