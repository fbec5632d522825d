/** Many callers share a grace period; an expedited one asks the reader that holds it up to leave its scope (force notifier). */
import { once } from "node:events";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import {
  atomicLoad,
  atomicStore,
  RcuDomain,
  rcuExpediteGp,
  rcuStats,
  rcuUnexpediteGp,
  setForceNotifier,
  synchronizeRcu,
  synchronizeRcuExpedited,
} from "sternix/rcu";

if (isMainThread) {
  const domain = RcuDomain.create({ bytes: 16 << 20 });
  const please = new Int32Array(new SharedArrayBuffer(4)); // The kernel's needResched is such a word.
  const worker = new Worker(new URL(import.meta.url), { workerData: { domain: domain.handle(), please } });
  domain.watch(worker);
  const ended = once(worker, "exit");
  await once(worker, "message");
  setForceNotifier((slot) => {
    if (atomicLoad(please, 0) === 0) console.log(`slot ${slot} is asked to leave its scope`);
    atomicStore(please, 0, 1);
  });
  rcuExpediteGp(); // While a machine boots, say:
  synchronizeRcu(); // is as the other one.
  rcuUnexpediteGp();
  synchronizeRcuExpedited();
  setForceNotifier(null);
  console.log("the grace period is over");
  const { gracePeriods } = rcuStats();
  await Promise.all(Array.from({ length: 1000 }, () => domain.synchronize()));
  console.log(`1000 callers, ${rcuStats().gracePeriods - gracePeriods} grace period(s)`);
  await ended;
  domain.unregisterThread();
} else {
  const domain = RcuDomain.attach(workerData.domain);
  domain.run(() => {
    parentPort!.postMessage("reading");
    while (atomicLoad(workerData.please, 0) === 0); // A long walk that looks at the word now and then.
  });
  domain.unregisterThread();
}
