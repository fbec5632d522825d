/** Trace events, named as Linux names them, of all threads; and the counters. */
import { once } from "node:events";
import { isMainThread, Worker, workerData } from "node:worker_threads";
import {
  alloc,
  fixed,
  kfreeRcu,
  RcuDomain,
  rcuStats,
  readRcuTrace,
  startRcuTrace,
  stopRcuTrace,
  struct,
} from "sternix/rcu";

const Thing = struct("thing", { value: fixed() });
const retire = (): void => kfreeRcu(Thing, alloc(Thing));

if (isMainThread) {
  const domain = RcuDomain.create({ bytes: 16 << 20 });
  startRcuTrace({ entries: 1024 }); // For all threads, those included that attach later.
  const worker = new Worker(new URL(import.meta.url), { workerData: domain.handle() });
  await once(worker, "exit");
  domain.run(retire);
  domain.barrier();
  stopRcuTrace();
  const events = readRcuTrace();
  const counts = new Map<string, number>();
  for (const { name, detail } of events)
    counts.set(`${name} ${detail}`, (counts.get(`${name} ${detail}`) ?? 0) + 1);
  for (const name of [
    "rcu_grace_period start",
    "rcu_grace_period end",
    "rcu_kvfree_callback ",
    "rcu_barrier Begin",
  ])
    console.log(`${name.trim()}: ${counts.get(name)}`);
  const [first] = events;
  console.log(`the first of ${events.length} was ${first!.name} on slot ${first!.slot}`);
  const { gracePeriods, callbacksRun, callbacksPending, wakeups, floods } = rcuStats();
  console.log(JSON.stringify({ gracePeriods, callbacksRun, callbacksPending, wakeups, floods }));
  domain.unregisterThread();
} else {
  const domain = RcuDomain.attach(workerData);
  domain.run(() => {
    for (let n = 0; n < 3; n++) retire();
  });
  domain.unregisterThread();
}
