/** Four workers read a table that the main thread updates a million times; memory stays bounded. Run: node table.ts */
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { RcuDomain, RcuHashMap, rcuStats } from "sternix/rcu";

const KEYS = 1000;
if (isMainThread) {
  const updates = Number(process.argv[2] ?? 1_000_000);
  const domain = RcuDomain.create({ bytes: 64 << 20 });
  const table = new RcuHashMap();
  for (let key = 0; key < KEYS; key++) table.insert(key, 0);
  const shared = { workerData: { domain: domain.handle(), table: table.ref } };
  const workers = [1, 2, 3, 4].map(() => new Worker(new URL(import.meta.url), shared));
  for (let n = 1; n <= updates; n++) {
    table.insert(n % KEYS, n); // A reader sees the old value or the new one.
    table.insert(KEYS + (n % 64), n);
    table.remove(KEYS + (n % 64)); // The node is freed when no reader can stand on it.
    if (n % 10_000 === 0) await domain.synchronize();
  }
  for (const [n, worker] of workers.entries()) {
    worker.postMessage("stop");
    console.log(`worker ${n}: ${await new Promise((resolve) => worker.once("message", resolve))} reads`);
  }
  domain.barrier();
  const stats = rcuStats();
  console.log(`${updates} updates, ${stats.gracePeriods} grace periods`);
  console.log(`${stats.callbacksRun} freed, ${stats.callbacksPending} waiting`);
} else {
  const domain = RcuDomain.attach(workerData.domain);
  const table = new RcuHashMap({ at: workerData.table });
  let reads = 0;
  const turn = setInterval(() => {
    for (let key = 0; key < KEYS; key++, reads++)
      if (domain.run((scope) => table.get(scope, key)) === undefined)
        throw new Error(`key ${key} is missing`);
  });
  parentPort?.once("message", () => parentPort?.postMessage(reads));
  parentPort?.once("message", () => clearInterval(turn));
}
