/** A thread of offload.test.ts: a helper, or one that updates and never comes by to reclaim. */
import { workerData } from "node:worker_threads";
import {
  alloc,
  atomicAdd,
  atomicLoad,
  atomicNotify,
  atomicStore,
  atomicWait,
  callRcu,
  callRcuLazy,
  kfreeRcu,
  RcuDomain,
} from "../../rcu/index.ts";
import { Cell, counted, OFFLOAD, type OffloadData, Thing } from "./offload-shared.ts";

const { domain: handle, words, cell, job, updates } = workerData as OffloadData;
counted(words); // Who attaches may find callbacks to run at once.
const domain = RcuDomain.attach(handle);

function ready(): void {
  atomicAdd(words, OFFLOAD.READY, 1);
  atomicNotify(words, OFFLOAD.READY);
}

if (job === "help") {
  ready();
  atomicAdd(words, OFFLOAD.HELPED, domain.help());
} else if (job === "lazy") {
  for (let n = 0; n < updates; n++) callRcuLazy(counted(words), 1);
  ready();
  atomicWait(words, OFFLOAD.STOP, 0);
} else {
  domain.offload();
  for (let n = 0; n < updates; n++) {
    const fresh = alloc(Thing);
    Thing.alive.init(fresh, 1);
    const old = Cell.current.exchange(cell, fresh);
    kfreeRcu(Thing, old as never);
    callRcu(counted(words), 1);
    domain.run(() => {
      const thing = Cell.current.load(cell);
      if (Thing.alive.get(thing as never) !== 1) atomicAdd(words, OFFLOAD.DEAD_SEEN, 1);
    });
  }
  ready();
  // One turn for as long as the test likes: it reads, and waits, and never reclaims.
  while (atomicLoad(words, OFFLOAD.STOP) === 0) {
    for (let n = 0; n < 64; n++) domain.run(() => 0);
    atomicWait(words, OFFLOAD.STOP, 0, 1);
  }
  atomicStore(words, OFFLOAD.ENDED, 1);
}
domain.unregisterThread();
