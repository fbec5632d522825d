/** RcuLockFreeMap: three workers take the same tickets, nobody waits, and each ticket goes to one of them. */
import { once } from "node:events";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import {
  Heap,
  RcuLockFreeMap,
  RcuReadScope,
  rcuIdleEnter,
  rcuIdleExit,
  rcuQuiescent,
  rcuRunCallbacks,
  text,
} from "sternix/rcu";

const TICKETS = 3000;

if (isMainThread) {
  const heap = Heap.create({ bytes: 16 << 20 });
  const owners = new RcuLockFreeMap();
  const visits = new RcuLockFreeMap<string, number>({ key: text() });
  visits.insert("all", 0);
  const workers = [1, 2, 3].map((worker) => {
    const shared = { heap: heap.handle(), owners: owners.handle(), visits: visits.handle(), worker };
    return new Worker(new URL(import.meta.url), { workerData: shared });
  });
  rcuIdleEnter();
  const taken = await Promise.all(workers.map(async (worker) => (await once(worker, "message"))[0]));
  rcuIdleExit();
  console.log(`tickets taken: ${taken.reduce((sum, each) => sum + each)}, in the map: ${owners.size}`);
  {
    using scope = new RcuReadScope();
    console.log(`visits: ${visits.get(scope, "all")}`);
  }
  while (owners.size > 0) owners.clear();
  while (!owners.resize(16)) rcuQuiescent(); // A grace period goes by before it is small.
  console.log(`buckets: ${owners.buckets}`);

  // A key may be there more than once.
  visits.addDuplicate("anna", 1);
  visits.addDuplicate("anna", 2);
  console.log(`there already: ${visits.addUnique("anna", 3)}`);
  console.log(`replaced the even one: ${visits.replaceIf("anna", (value) => value % 2 === 0, 4)}`);
  using scope = new RcuReadScope();
  console.log(`anna: ${[...visits.duplicates(scope, "anna")]}, old value ${visits.exchange("anna", 5)}`);
  console.log(`removed ${visits.removeAll("anna")}`);
} else {
  const heap = Heap.attach(workerData.heap);
  const owners = new RcuLockFreeMap({ at: workerData.owners });
  const visits = new RcuLockFreeMap<string, number>({ key: text(), at: workerData.visits });
  let taken = 0;
  for (let ticket = 0; ticket < TICKETS; ticket++) {
    if (owners.addUnique(ticket, workerData.worker) === undefined) taken++;
    visits.update("all", (count) => count + 1);
    rcuQuiescent();
    rcuRunCallbacks();
  }
  heap.detach();
  parentPort!.postMessage(taken);
}
