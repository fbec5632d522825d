import { once } from "node:events";
import { Worker } from "node:worker_threads";
import test from "ava";
import { alloc, liveObjects, RcuDomain, type Ref, rcuStats, Srcu } from "../../rcu/index.ts";
import { newThing, Root, Thing } from "./srcu-shared.ts";

const ROUNDS = 4000;
const WORKERS = 3;

test.serial(
  "callbacks of an Srcu never overtake its readers, from several threads at once, and all run",
  async (t) => {
    const domain = RcuDomain.create({ bytes: 32 << 20 });
    const root = alloc(Root) as Ref<"srcu test root">;
    Root.current.init(root, newThing());
    const srcu = new Srcu();
    const data = { heap: domain.handle(), root, srcu: srcu.ref, rounds: ROUNDS };
    const workers = Array.from(
      { length: WORKERS },
      () => new Worker(new URL("./srcu-worker.ts", import.meta.url), { workerData: data }),
    );
    const ends = workers.map((worker) => once(worker, "exit"));
    const wrong = await Promise.all(workers.map((worker) => once(worker, "message")));
    t.deepEqual(wrong.flat(), [0, 0, 0]);
    await Promise.all(ends);
    await srcu.barrier();
    domain.barrier(); // What the callbacks freed.
    t.is(liveObjects(Thing), 1, "the one that is current");
    t.is(rcuStats().callbacksPending, 0);
    srcu.destroy();
    domain.unregisterThread();
  },
);

test.serial("a worker that is terminated among them, at any moment, holds nobody up", async (t) => {
  const domain = RcuDomain.create({ bytes: 32 << 20 });
  const root = alloc(Root) as Ref<"srcu test root">;
  Root.current.init(root, newThing());
  const srcu = new Srcu();
  for (let n = 0; n < 4; n++) {
    const worker = new Worker(new URL("./srcu-worker.ts", import.meta.url), {
      workerData: { heap: domain.handle(), root, srcu: srcu.ref, rounds: 1e9 },
    });
    while (rcuStats().slots.length < 2 || rcuStats().slots[1]!.idle || srcu.pollState(srcu.startPoll()))
      await new Promise((resolve) => setTimeout(resolve, 1));
    const slot = 1;
    await worker.terminate();
    domain.heap.reap(slot);
    await srcu.synchronize();
    srcu.synchronizeBlocking();
    t.true(srcu.pollState(srcu.startPoll()));
  }
  domain.unregisterThread();
});
