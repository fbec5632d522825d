/** Any worker may register, leave and come back; heap and domain travel in one object through workerData. */
import { once } from "node:events";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { RcuDomain, RcuHashMap, rcuStats, text } from "sternix/rcu";

const online = (): number => rcuStats().slots.filter((slot) => !slot.idle).length;

if (isMainThread) {
  const domain = RcuDomain.create({ bytes: 16 << 20 });
  const names = new RcuHashMap<number, string>({ value: text() });
  names.insert(1, "one");
  const shared = { workerData: { domain: domain.handle(), names: names.handle() } };
  const workers = [1, 2, 3].map(() => new Worker(new URL(import.meta.url), shared));
  const ends = workers.map((worker) => once(worker, "exit"));
  const said = await Promise.all(workers.map((worker) => once(worker, "message")));
  for (const [text] of said) console.log(text);
  await Promise.all(ends);
  domain.synchronizeBlocking();
  console.log(`all have left: ${online()} thread online`);
  domain.unregisterThread();
} else {
  const domain = RcuDomain.attach(workerData.domain); // registerThread() is part of it.
  const names = new RcuHashMap<number, string>({ value: text(), at: workerData.names });
  domain.unregisterThread();
  let refused = "";
  try {
    domain.run(() => names.size);
  } catch (error) {
    refused = (error as Error).name;
  }
  domain.registerThread();
  parentPort!.postMessage(`${domain.run((scope) => names.get(scope, 1))}, unregistered: ${refused}`);
  domain.unregisterThread();
}
