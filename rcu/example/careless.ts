/**
 * A domain in careless hands: a callback that throws, a thread that blocks outside of its scopes, one that ends inside a scope. None of
 * them holds anybody up. The second domain is an announcing one, where readers that are busy elsewhere need not say so.
 */
import { once } from "node:events";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { atomicWait, callRcu, defineReclaimer, RcuDomain } from "sternix/rcu";

const careless = defineReclaimer("careless", () => {
  throw new Error("the callback threw");
});

if (isMainThread) {
  for (const announce of [false, true]) {
    const domain = RcuDomain.create({
      bytes: 16 << 20,
      announce,
      onError: (error, where) => console.log(`${where}: ${(error as Error).message}`),
    });
    domain.run(() => callRcu(careless, 0));
    await domain.synchronize();
    for (const how of ["blocks", "hangs"]) {
      const worker = new Worker(new URL(import.meta.url), { workerData: { domain: domain.handle(), how } });
      await once(worker, "message");
      if (how === "hangs") await worker.terminate(); // In its scope.
      await domain.synchronize();
      console.log(`${announce ? "announcing" : "ordinary"} domain: a worker that ${how} holds nobody up`);
      await worker.terminate();
    }
    domain.unregisterThread();
  }
} else {
  const domain = RcuDomain.attach(workerData.domain);
  const sleep = () => {
    parentPort!.postMessage("asleep");
    atomicWait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
  };
  domain.run(() => workerData.how === "hangs" && sleep());
  if (domain.announcing)
    sleep(); // Nobody waits for a thread outside of its scopes.
  else domain.blocking(sleep); // Nor for one that says so.
}
