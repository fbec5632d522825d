import { once } from "node:events";
import { Worker } from "node:worker_threads";
import test from "ava";
import {
  defineReclaimer,
  liveObjects,
  RcuDomain,
  type RcuError,
  type Ref,
  rcuStats,
  Srcu,
  tryAlloc,
} from "../../rcu/index.ts";
import { newThing, Relay, Root, retire, Thing } from "./srcu-shared.ts";

const ROUNDS = 4000;
const WORKERS = 3;

test.serial(
  "callbacks of an Srcu never overtake its readers, from several threads at once, and all run",
  async (t) => {
    const domain = RcuDomain.create({ bytes: 32 << 20 });
    const root = tryAlloc(Root) as Ref<"srcu test root">;
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
  const root = tryAlloc(Root) as Ref<"srcu test root">;
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

/** Whether it could be destroyed: not while its callback waits. */
function destroyed(srcu: Srcu): boolean {
  try {
    srcu.destroy();
    return true;
  } catch (error) {
    if ((error as RcuError).code === "ERR_RCU_IN_USE") return false;
    throw error;
  }
}

// CPU 1 leaves, and is counted as gone; CPU 0 sees that, is done, and frees the Srcu; CPU 1 looks whether somebody waits.
test.serial(
  "an Srcu may be destroyed as soon as it is synchronized, while its reader is still leaving",
  async (t) => {
    const domain = RcuDomain.create({ bytes: 8 << 20, debug: true });
    const relay = tryAlloc(Relay) as Ref<"srcu test relay">;
    const rounds = 4000;
    const worker = new Worker(new URL("./srcu-relay-worker.ts", import.meta.url), {
      workerData: { heap: domain.handle(), relay, rounds },
    });
    const end = once(worker, "exit");
    for (let n = 0; n < rounds; n++) {
      const srcu = new Srcu();
      Relay.srcu.store(relay, srcu.ref);
      Relay.turn.store(relay, 3 * n + 1);
      Relay.turn.notify(relay);
      for (let wait = 0; Relay.turn.load(relay) !== 3 * n + 2 && wait < 60; wait++)
        Relay.turn.wait(relay, 3 * n + 1, 1000);
      if (Relay.turn.load(relay) !== 3 * n + 2) break; // The worker has died: its exit code says so.
      // Asleep; or awake, and with a callback that the reader looks after too.
      if (n % 2 === 0) srcu.synchronizeBlocking();
      else {
        srcu.call(retire, newThing());
        const cookie = srcu.startPoll();
        while (!srcu.pollState(cookie));
      }
      while (!destroyed(srcu)) srcu.pollState(srcu.startPoll());
      Relay.turn.store(relay, 3 * n + 3);
    }
    t.deepEqual(await end, [0]);
    domain.unregisterThread();
  },
);

let retired = 0;
const retireHere = defineReclaimer("srcu test: here only", () => {
  retired++;
});

test.serial(
  "a callback that is handed to a thread that has not loaded its reclaimer runs on one that has",
  async (t) => {
    const domain = RcuDomain.create({ bytes: 8 << 20 });
    const srcu = new Srcu();
    const words = new Int32Array(new SharedArrayBuffer(4));
    const code = `
    const { parentPort, workerData: { rcu, handle, at, words } } = require("node:worker_threads");
    import(rcu).then(({ RcuDomain, Srcu, rcuBarrier }) => {
      const domain = RcuDomain.attach(handle);
      const srcu = new Srcu({ at });
      domain.run(() => {
        const scope = srcu.readLock();
        parentPort.postMessage("reading");
        Atomics.wait(words, 0, 0);
        srcu.readUnlock(scope); // Finds that the grace period is over, and takes the callback.
      });
      domain.run(() => {});
      domain.quiesce();
      domain.unregisterThread();
    });`;
    const worker = new Worker(code, {
      eval: true,
      workerData: {
        rcu: new URL("../../rcu/index.ts", import.meta.url).href,
        handle: domain.handle(),
        at: srcu.ref,
        words,
      },
    });
    const end = once(worker, "exit");
    await once(worker, "message");
    srcu.call(retireHere, 1);
    Atomics.store(words, 0, 1);
    Atomics.notify(words, 0);
    t.deepEqual(await end, [0], "the worker does not fail");
    await srcu.barrier();
    t.is(retired, 1);
    srcu.destroy();
    domain.unregisterThread();
  },
);
