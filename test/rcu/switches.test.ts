/** PercpuRef and RcuSync: what they count and when they switch, in one thread and with real ones. */
import { once } from "node:events";
import { Worker } from "node:worker_threads";
import test from "ava";
import {
  defineReclaimer,
  Heap,
  PercpuRef,
  pollStateSynchronizeRcu,
  RcuDomain,
  RcuSync,
  rcuBarrier,
  rcuIdleEnter,
  rcuIdleExit,
  rcuQuiescent,
  rcuReadLock,
  rcuReadUnlock,
  rcuRunCallbacks,
  startPollSynchronizeRcu,
} from "../../rcu/index.ts";

let released: number[] = [];
const release = defineReclaimer("switches test: release", (arg) => {
  released.push(arg);
});

function inHeap(run: (heap: Heap) => void): void {
  const heap = Heap.create({ bytes: 8 << 20, debug: true });
  released = [];
  try {
    run(heap);
  } finally {
    heap.use().detach();
  }
}

test.serial(
  "PercpuRef counts on several threads, and releases once, a grace period after the last drop",
  (t) =>
    inHeap((heap) => {
      const ref = new PercpuRef({ reclaimer: release, arg: 7 });
      const other = Heap.attach(heap.handle());
      const same = new PercpuRef({ at: ref.ref });
      for (let n = 0; n < 5; n++) same.get();
      heap.use();
      for (let n = 0; n < 4; n++) ref.put(); // Taken there, dropped here.
      t.false(ref.isZero);
      t.true(ref.tryGetLive());
      ref.kill();
      t.true(ref.dying);
      t.throws(() => ref.kill(), { code: "ERR_RCU_IN_USE" });
      t.throws(() => ref.destroy(), { code: "ERR_RCU_IN_USE", message: /counts are left/ });
      t.false(ref.tryGetLive(), "nothing begins any more");
      t.true(ref.tryGet(), "but who may look at it may keep it");
      ref.put();
      other.detach();
      heap.use();
      rcuBarrier();
      t.deepEqual(released, []);
      rcuIdleEnter();
      ref.put(); // An idle thread may drop one.
      rcuIdleExit();
      t.false(ref.isZero);
      ref.put();
      t.true(ref.isZero);
      t.false(ref.tryGet());
      t.deepEqual(released, []);
      rcuBarrier();
      t.deepEqual(released, [7]);
      ref.reinit();
      t.false(ref.dying);
      t.throws(() => ref.reinit(), { code: "ERR_RCU_IN_USE", message: /alive/ });
      t.true(ref.tryGetLive());
      ref.kill();
      rcuBarrier();
      ref.put();
      rcuBarrier();
      t.deepEqual(released, [7, 7]);
      ref.destroy();
      rcuBarrier();
      t.throws(() => new PercpuRef({ at: ref.ref }), { code: "ERR_RCU_USE_AFTER_FREE" });
    }),
);

test.serial(
  "PercpuRef: threads that take and drop counts while it is killed never hold what was released",
  async (t) => {
    const domain = RcuDomain.create({ bytes: 16 << 20 });
    released = [];
    // Counts that both hold now; 1 when it was released there, -1 while one was held; threads that have begun.
    const words = new Int32Array(new SharedArrayBuffer(12));
    const code = `
    const { workerData: { rcu, handle, at, words } } = require("node:worker_threads");
    import(rcu).then(({ RcuDomain, PercpuRef, defineReclaimer }) => {
      const domain = RcuDomain.attach(handle);
      defineReclaimer("switches test: release", () => Atomics.store(words, 1, Atomics.load(words, 0) === 0 ? 1 : -1));
      let taken = 0;
      for (let alive = true; alive; )
        domain.run(() => {
          const ref = new PercpuRef({ at });
          alive = ref.tryGetLive();
          if (!alive) return;
          Atomics.add(words, 0, 1);
          if (taken++ === 0) Atomics.add(words, 2, 1);
          Atomics.sub(words, 0, 1);
          ref.put();
        });
      require("node:worker_threads").parentPort.postMessage(taken);
      domain.unregisterThread();
    });`;
    const rcu = new URL("../../rcu/index.ts", import.meta.url).href;
    for (let round = 0; round < 3; round++) {
      Atomics.store(words, 1, 0);
      Atomics.store(words, 2, 0);
      const ref = new PercpuRef({ reclaimer: release, arg: round });
      const workers = [0, 1].map(
        () =>
          new Worker(code, { eval: true, workerData: { rcu, handle: domain.handle(), at: ref.ref, words } }),
      );
      const ends = workers.map((worker) => once(worker, "exit"));
      const taken = Promise.all(workers.map((worker) => once(worker, "message")));
      while (Atomics.load(words, 2) < workers.length) await new Promise((resolve) => setTimeout(resolve, 1));
      ref.kill(); // While both take counts and drop them.
      for (const [count] of await taken) t.true((count as number) > 0);
      await Promise.all(ends);
      domain.barrier();
      domain.barrier();
      t.true(ref.isZero);
      t.true(
        released.includes(round) !== (Atomics.load(words, 1) === 1),
        "released once, when nobody held it",
      );
      ref.destroy();
    }
    domain.unregisterThread();
  },
);

test.serial(
  "RcuSync: the short way ends with enter, and comes back a grace period after the last exit",
  (t) =>
    inHeap((heap) => {
      const sync = new RcuSync();
      const idle = (): boolean => {
        const scope = rcuReadLock();
        const short = sync.isIdle(scope);
        rcuReadUnlock();
        return short;
      };
      t.true(idle());
      const cookie = startPollSynchronizeRcu();
      sync.enter();
      t.true(pollStateSynchronizeRcu(cookie), "the first writer has waited");
      t.false(idle());
      const other = Heap.attach(heap.handle()); // From here on a grace period would wait for ever.
      heap.use();
      new RcuSync({ at: sync.ref }).enter(); // A second one need not wait.
      sync.exit();
      t.false(idle());
      sync.exit();
      t.false(idle(), "readers may not have seen what was written");
      t.throws(() => sync.destroy(), { code: "ERR_RCU_IN_USE" });
      sync.enter(); // Nobody has gone the short way meanwhile: no need to wait.
      other.detach();
      heap.use();
      rcuBarrier();
      t.false(idle(), "somebody writes again");
      sync.exit();
      t.throws(() => sync.exit(), { code: "ERR_RCU_LOCK_PAIRING" });
      for (let n = 0; n < 3; n++) {
        rcuQuiescent();
        rcuRunCallbacks();
      }
      t.true(idle());
      rcuReadLock();
      t.throws(() => sync.enter(), { code: "ERR_RCU_INSIDE_SCOPE" });
      rcuReadUnlock();
      t.true(idle(), "what threw has changed nothing");
      sync.destroy();
    }),
);
