import { once } from "node:events";
import { Worker } from "node:worker_threads";
import test from "ava";
import {
  callRcu,
  defineReclaimer,
  fixed,
  kfreeRcu,
  liveObjects,
  pollStateSynchronizeRcu,
  RcuDomain,
  RcuDomainError,
  RcuHashMap,
  type RcuStall,
  type Ref,
  rcuStats,
  Srcu,
  setRcuStallHandler,
  startPollSynchronizeRcu,
  struct,
  tryAlloc,
} from "../../rcu/index.ts";

const Thing = struct("domain test thing", { x: fixed() });
const ran: number[] = [];
const note = defineReclaimer("domain test: note", (arg) => ran.push(arg));

const start = async (job: string, data: object): Promise<Worker> => {
  const worker = new Worker(new URL("./domain-worker.ts", import.meta.url), { workerData: { job, ...data } });
  await once(worker, "message");
  return worker;
};
const small = { bytes: 8 << 20, debug: true };

test.serial(
  "run nests, returns what the function returns, and closes the scope when it throws",
  async (t) => {
    const domain = RcuDomain.create(small);
    t.is(
      domain.run((_scope, n) => n + domain.run((_inner, m) => m, 2), 1),
      3,
    );
    t.throws(
      () =>
        domain.run(() => {
          throw new Error("inside");
        }),
      { message: "inside" },
    );
    t.false(domain.reading);
    domain.synchronizeBlocking();
    await domain.synchronize();
    domain.unregisterThread();
  },
);

test.serial("waiting inside a reader, and awaiting inside run, are typed errors", async (t) => {
  const domain = RcuDomain.create(small);
  domain.enter();
  t.throws(() => domain.synchronizeBlocking(), {
    instanceOf: RcuDomainError,
    message: /inside a read scope/,
  });
  await t.throwsAsync(domain.synchronize(), { instanceOf: RcuDomainError });
  t.throws(() => domain.quiesce(), { instanceOf: RcuDomainError });
  domain.exit();
  t.throws(() => domain.exit(), { instanceOf: RcuDomainError });
  t.throws(() => domain.run(async () => 1), { instanceOf: RcuDomainError, message: /Srcu/ });
  domain.unregisterThread();
  t.throws(() => domain.run(() => 1), { instanceOf: RcuDomainError, message: /registerThread/ });
  domain.registerThread();
  t.is(
    domain.run(() => 1),
    1,
  );
  domain.unregisterThread();
});

test.serial("two domains in one thread, one inside the other, keep their scopes apart", async (t) => {
  const a = RcuDomain.create(small);
  const inA = tryAlloc(Thing) as Ref<"domain test thing">;
  const b = RcuDomain.create(small);
  t.is(liveObjects(Thing), 0);
  a.run(() => {
    b.run(() => t.throws(() => b.synchronizeBlocking(), { instanceOf: RcuDomainError }));
    b.synchronizeBlocking();
    a.heap.use();
    t.is(liveObjects(Thing), 1);
    kfreeRcu(Thing, inA);
  });
  a.barrier();
  t.is(liveObjects(Thing), 0);
  a.unregisterThread();
  b.unregisterThread();
});

test.serial(
  "the end of the turn is the quiescent state: what was queued runs without further calls",
  async (t) => {
    const domain = RcuDomain.create(small);
    ran.length = 0;
    domain.run(() => callRcu(note, 1));
    t.deepEqual(ran, []);
    await new Promise((resolve) => setTimeout(resolve, 5));
    t.deepEqual(ran, [1]);
    domain.unregisterThread();
  },
);

test.serial(
  "readers in workers never miss a key while one thread updates; memory stays bounded",
  async (t) => {
    const domain = RcuDomain.create(small);
    const map = new RcuHashMap({ buckets: 4 });
    for (let n = 0; n < 16; n++) map.insert(n, n);
    const data = { domain: domain.handle(), map: map.ref };
    const workers = await Promise.all([1, 2, 3].map(() => start("reader", data)));
    for (let round = 0; round < 60; round++) {
      domain.run(() => {
        for (let n = 0; n < 16; n++) map.insert(n, round);
        for (let n = 100; n < 1500; n++) map.insert(n, n);
        for (let n = 100; n < 1500; n++) map.remove(n);
      });
      await domain.synchronize();
    }
    for (const worker of workers) {
      const left = once(worker, "message");
      const gone = once(worker, "exit");
      worker.postMessage("stop");
      const [{ reads, wrong }] = await left;
      t.is(wrong, 0);
      t.true(reads > 0);
      await gone;
    }
    domain.barrier();
    t.is(rcuStats().callbacksPending, 0);
    domain.unregisterThread();
  },
);

test.serial("when every reader is quiesced, synchronize wakes nobody", async (t) => {
  const domain = RcuDomain.create(small);
  const workers = await Promise.all([1, 2].map(() => start("asleep", { domain: domain.handle() })));
  while (rcuStats().slots.filter((slot) => slot.idle).length < 3)
    await new Promise((resolve) => setTimeout(resolve, 5));
  const { wakeups } = rcuStats();
  domain.synchronizeBlocking();
  await Promise.all([domain.synchronize(), domain.synchronize()]);
  t.is(rcuStats().wakeups, wakeups);
  for (const worker of workers) {
    worker.postMessage("stop");
    await once(worker, "exit");
  }
  domain.unregisterThread();
});

test.serial(
  "a thread that never returns to its event loop passes quiescent states as it reads",
  async (t) => {
    const domain = RcuDomain.create(small);
    const map = new RcuHashMap();
    map.insert(0, 1);
    const worker = new Worker(new URL("./domain-worker.ts", import.meta.url), {
      workerData: { job: "spin", domain: domain.handle(), map: map.ref },
    });
    await once(worker, "online");
    for (let n = 0; n < 20; n++) await domain.synchronize();
    await domain.quiesceOnPending(domain.synchronize());
    map.insert(0, -1);
    await once(worker, "exit");
    t.pass();
    domain.unregisterThread();
  },
);

test.serial("a worker that is terminated in a scope is reaped when the domain watches it", async (t) => {
  const domain = RcuDomain.create(small);
  const map = new RcuHashMap();
  map.insert(0, 1);
  const worker = new Worker(new URL("./domain-worker.ts", import.meta.url), {
    workerData: { job: "spin", domain: domain.handle(), map: map.ref },
  });
  domain.watch(worker);
  await once(worker, "online");
  while (domain.heap.use() && rcuStats().slots.length < 2)
    await new Promise((resolve) => setTimeout(resolve, 2));
  await worker.terminate();
  await domain.synchronize();
  domain.synchronizeBlocking();
  t.true(rcuStats().slots[1]!.idle);
  domain.unregisterThread();
});

test.serial("synchronize({ sleep }) looks for stalls at the pace of the given sleep", async (t) => {
  const domain = RcuDomain.create(small);
  const stalls: RcuStall[] = [];
  setRcuStallHandler(1, (stall) => stalls.push(stall));
  const srcu = new Srcu();
  t.truthy(srcu);
  const other = RcuDomain.attach(domain.handle()); // A second registration of this thread, as a second reader.
  other.enter();
  let slept = 0;
  const sleep = async (): Promise<void> => {
    slept++;
    await new Promise((resolve) => setTimeout(resolve, 0));
    for (const start = performance.now(); performance.now() - start < 4; );
    if (slept === 1) other.heap.use();
  };
  // The reader leaves at the end of this turn at the latest; synchronize must see it out.
  other.exit();
  await domain.synchronize({ sleep });
  setRcuStallHandler(10_000);
  t.true(slept <= 3);
  other.unregisterThread();
  domain.unregisterThread();
});

test.serial("the global domain is one for the process and the workers it starts", async (t) => {
  const domain = RcuDomain.global();
  t.is(RcuDomain.global(), domain);
  const worker = new Worker(new URL("./domain-worker.ts", import.meta.url), {
    workerData: { job: "global" },
  });
  const gone = once(worker, "exit");
  const [bytes] = await once(worker, "message");
  t.is(bytes, domain.handle().buffer.byteLength);
  await gone;
  domain.unregisterThread();
});

test.serial("an SRCU reader may await; synchronize waits for it, and only for its own Srcu", async (t) => {
  const domain = RcuDomain.create(small);
  const srcu = new Srcu();
  const bystander = new Srcu();
  const worker = new Worker(new URL("./domain-worker.ts", import.meta.url), {
    workerData: { job: "srcu", domain: domain.handle(), srcu: srcu.ref },
  });
  t.deepEqual(await once(worker, "message"), ["reading"]);
  bystander.synchronizeBlocking();
  let done = false;
  const waiting = srcu.synchronize().then(() => {
    done = true;
  });
  await new Promise((resolve) => setTimeout(resolve, 30));
  t.false(done);
  const early = srcu.readLock(); // A reader that comes later is not waited for.
  worker.postMessage("leave");
  await waiting;
  srcu.readUnlock(early);
  const cookie = srcu.getState();
  t.false(srcu.pollState(cookie));
  await Promise.all([srcu.synchronize(), srcu.synchronize(), srcu.synchronize()]);
  t.true(srcu.pollState(cookie));
  await t.throwsAsync(
    srcu.run(async () => {
      throw new Error("inside");
    }),
    { message: "inside" },
  );
  srcu.synchronizeBlocking();
  srcu.destroy();
  domain.unregisterThread();
});

test.serial(
  "a thread is quiescent every 64 scopes of a domain, whatever scopes of others lie between",
  (t) => {
    const plain = RcuDomain.create(small);
    const other = RcuDomain.create({ ...small, announce: true });
    for (let between = 0; between < 4; between++)
      for (let offset = 0; offset < 2; offset++) {
        const cookie = plain.run(() => startPollSynchronizeRcu());
        for (let n = 0; n < offset; n++) other.run(() => 0);
        for (let n = 0; n < 200; n++) {
          plain.run(() => 0);
          for (let m = 0; m < between; m++) other.run(() => 0);
        }
        t.true(
          plain.run(() => pollStateSynchronizeRcu(cookie)),
          `${between} between, from ${offset}`,
        );
      }
    plain.unregisterThread();
    other.unregisterThread();
  },
);
