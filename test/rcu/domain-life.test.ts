/**
 * Domains in the hands of ordinary programs: callbacks that throw, threads that only write, threads that end in every way, and threads
 * that block. What must hold is that nobody else notices.
 */
import { once } from "node:events";
import { Worker } from "node:worker_threads";
import test, { type ExecutionContext } from "ava";
import {
  callRcu,
  callRcuHere,
  defineReclaimer,
  Heap,
  RcuDomain,
  RcuDomainError,
  RcuHashMap,
  type Ref,
  rcuNesting,
  rcuReadLock,
  rcuReadUnlock,
  rcuStats,
  setRcuStallHandler,
  spinlock,
  struct,
  text,
  tryAlloc,
} from "../../rcu/index.ts";

const Locked = struct("domain life locked", { lock: spinlock() });
const throwing = defineReclaimer("domain life: throws", () => {
  throw new Error("a reclaimer threw");
});
const ran: number[] = [];
const note = defineReclaimer("domain life: note", (arg) => ran.push(arg));
const turn = (ms = 5) => new Promise((resolve) => setTimeout(resolve, ms));
// Stalls that these tests make on purpose are nobody's news.
setRcuStallHandler(100, () => {});

const start = async (job: string, data: object, ready = true): Promise<Worker> => {
  const worker = new Worker(new URL("./domain-life-worker.ts", import.meta.url), {
    workerData: { job, ...data },
  });
  worker.on("error", () => {});
  if (ready) await once(worker, "message");
  return worker;
};

/** A domain whose errors are collected. */
function watched(bytes = 8 << 20, announce = false) {
  const errors: string[] = [];
  const domain = RcuDomain.create({
    bytes,
    announce,
    onError: (error, where) => errors.push(`${where}: ${(error as Error).message}`),
  });
  return { domain, errors };
}

test.serial(
  "what a callback throws goes to onError, and neither the batch nor the domain is left half-way",
  async (t) => {
    const { domain, errors } = watched();
    ran.length = 0;
    domain.run(() => {
      callRcu(note, 1);
      callRcu(throwing, 0);
      callRcuHere(() => {
        throw new Error("a closure threw");
      });
      callRcu(note, 2);
    });
    await turn();
    await domain.synchronize();
    t.deepEqual(ran, [1, 2]);
    t.deepEqual(errors.sort(), [
      "closure after a grace period: a closure threw",
      "reclaimer domain life: throws: a reclaimer threw",
    ]);
    t.is(
      domain.run(() => 42),
      42,
    );
    domain.synchronizeBlocking();
    t.is(rcuStats().callbacksPending, 0);
    domain.unregisterThread();
  },
);

test.serial(
  "without onError the error is an uncaught exception of its own, once, and nobody's result",
  async (t) => {
    const domain = RcuDomain.create({ bytes: 8 << 20 });
    const others = process.listeners("uncaughtException");
    process.removeAllListeners("uncaughtException");
    const uncaught: string[] = [];
    process.on("uncaughtException", (error) => uncaught.push(error.message));
    domain.run(() => callRcu(throwing, 0));
    let sum = 0;
    for (let n = 0; n < 200; n++) sum += domain.run(() => 1);
    await turn(20);
    t.is(sum, 200);
    t.deepEqual(uncaught, ["a reclaimer threw"]);
    process.removeAllListeners("uncaughtException");
    for (const listener of others) process.on("uncaughtException", listener);
    domain.unregisterThread();
  },
);

test.serial("an onError that throws harms nobody either", async (t) => {
  const others = process.listeners("uncaughtException");
  process.removeAllListeners("uncaughtException");
  const uncaught: string[] = [];
  process.on("uncaughtException", (error) => uncaught.push(error.message));
  const domain = RcuDomain.create({
    bytes: 8 << 20,
    onError: () => {
      throw new Error("onError threw");
    },
  });
  ran.length = 0;
  domain.run(() => {
    callRcu(throwing, 0);
    callRcu(note, 3);
  });
  await turn(20);
  t.deepEqual(ran, [3]);
  t.deepEqual(uncaught, ["onError threw"]);
  process.removeAllListeners("uncaughtException");
  for (const listener of others) process.on("uncaughtException", listener);
  domain.unregisterThread();
});

test.serial(
  "no callback runs while this thread holds a lock, and a guard that outlives its turn is named",
  async (t) => {
    const { domain, errors } = watched();
    const map = new RcuHashMap();
    const inserts = defineReclaimer("domain life: inserts", (arg) => void map.insert(arg, arg));
    map.insert(1, 1);
    domain.run(() => callRcu(inserts, 5));
    const guard = map.lock();
    for (let n = 0; n < 200; n++) domain.run(() => guard.get(1));
    t.is(guard.get(5), undefined);
    await turn();
    t.deepEqual(errors, [
      "the end of a turn: 1 lock(s) are still held at the end of the turn: a guard is unlocked in the turn that took it",
    ]);
    guard.unlock();
    await turn(20);
    t.is(
      domain.run((scope) => map.get(scope, 5)),
      5,
      "the callback has run since",
    );
    await domain.synchronize();
    domain.unregisterThread();
  },
);

test.serial(
  "plain scopes and those of a domain nest; one opened while idle is refused, and survives",
  (t) => {
    const { domain } = watched();
    const map = new RcuHashMap();
    map.insert(1, 2);
    domain.run(() => 0); // Active until the end of the turn.
    rcuReadLock();
    for (let n = 0; n < 200; n++)
      t.is(
        domain.run((scope) => map.get(scope, 1)),
        2,
      );
    t.is(rcuNesting(), 1);
    rcuReadUnlock();
    domain.quiesce();
    const idle = rcuNesting();
    rcuReadLock();
    t.throws(() => domain.run(() => 0), {
      instanceOf: RcuDomainError,
      message: /while this thread was idle/,
    });
    t.is(rcuNesting(), idle + 1);
    rcuReadUnlock();
    t.is(
      domain.run((scope) => map.get(scope, 1)),
      2,
    );
    domain.unregisterThread();
  },
);

test.serial("a scope that outlives its turn is named, and holds nobody up afterwards", async (t) => {
  const { domain, errors } = watched();
  domain.enter();
  await turn(20);
  t.deepEqual(errors.length, 1);
  t.regex(errors[0]!, /a read scope is still open/);
  t.false(domain.reading);
  await domain.synchronize();
  t.is(
    domain.run(() => 1),
    1,
  );
  domain.unregisterThread();
});

test.serial(
  "a thread that only writes has its callbacks run, in one turn or in many, and fills nothing",
  async (t) => {
    const { domain } = watched(16 << 20);
    const map = new RcuHashMap({ key: text(), value: text() });
    let most = 0;
    // 400 000 values that come and go: 16 MiB take a tenth of them.
    for (let n = 0; n < 400_000; n++) {
      map.insert(`k${n % 50}`, `value ${n}`);
      if (n % 1000 === 0) most = Math.max(most, rcuStats().callbacksPending);
    }
    t.true(most < 100_000, `${most} pending`);
    for (let round = 0; round < 20; round++) {
      for (let n = 0; n < 500; n++) map.insert(`k${n % 50}`, `value ${round}`);
      await turn(0);
    }
    await domain.synchronize();
    await turn(20);
    t.is(rcuStats().callbacksPending, 0);
    ran.length = 0;
    callRcu(note, 7);
    callRcuHere(() => ran.push(8));
    await turn(50);
    t.deepEqual(ran.sort(), [7, 8], "nobody has opened a scope");
    domain.unregisterThread();
  },
);

test.serial(
  "beside readers that are never out of scopes for long an updater's garbage stays bounded",
  async (t) => {
    const { domain } = watched(16 << 20);
    const map = new RcuHashMap({ key: text() });
    for (let n = 0; n < 100; n++) map.insert(`k${n}`, n);
    const gate = new Int32Array(new SharedArrayBuffer(4));
    const other = new RcuHashMap();
    for (let n = 0; n < 100; n++) other.insert(n, n);
    const worker = await start("walks", { domain: domain.handle(), map: other.ref, gate });
    for (let round = 0; round < 100; round++) {
      for (let n = 0; n < 2000; n++) {
        map.remove(`k${n % 100}`);
        map.insert(`k${n % 100}`, n);
      }
      await domain.synchronize();
    }
    t.true(rcuStats().callbacksPending < 20_000, `${rcuStats().callbacksPending} pending`);
    Atomics.store(gate, 0, 1);
    await once(worker, "exit");
    domain.unregisterThread();
  },
);

test.serial(
  "a heap that is full of what waits for a grace period makes room before an insertion fails",
  (t) => {
    const { domain } = watched(4 << 20);
    const map = new RcuHashMap({ value: text() });
    const long = "x".repeat(2000);
    // Within one scope nothing can be freed; the first insertion after it waits for all of it.
    t.throws(
      () =>
        domain.run(() => {
          for (let n = 0; n < 10_000; n++) map.insert(n % 10, long);
        }),
      { code: "ERR_RCU_HEAP_FULL" },
    );
    t.notThrows(() => {
      for (let n = 0; n < 10_000; n++) map.insert(n % 10, long);
    });
    domain.unregisterThread();
  },
);

/** Slots that are attached now. */
const attached = async (domain: RcuDomain): Promise<number> => {
  const until = performance.now() + 5000;
  const count = () => rcuStats().slots.filter(({ idle }) => !idle).length;
  while (count() > 1 && performance.now() < until) {
    await turn(10);
    domain.heap.reapGone();
  }
  return rcuStats().slots.length;
};

const WAYS = [
  ["returns", false],
  ["throws", false],
  ["exits", false],
  ["exits in a scope", false],
  ["exits with a lock", false],
  ["hangs in a scope", true],
  ["hangs with a lock", true],
] as const;
for (const [way, terminate] of WAYS)
  test.serial(
    `a worker that ${way} gives its slot and its locks back by itself`,
    async (t: ExecutionContext) => {
      const { domain } = watched();
      const map = new RcuHashMap();
      map.insert(1, 1);
      for (let n = 0; n < 3; n++) {
        const worker = await start(way, { domain: domain.handle(), map: map.ref }, terminate);
        if (terminate) await worker.terminate();
        else await new Promise((resolve) => worker.once("exit", resolve)); // Not once(), which an error on its way rejects.
        domain.synchronizeBlocking();
        map.insert(2, n);
        await domain.synchronize();
      }
      t.true((await attached(domain)) <= 2, "one slot is enough for all of them");
      t.is(
        domain.run((scope) => map.get(scope, 2)),
        2,
      );
      domain.unregisterThread();
    },
  );

test.serial(
  "a worker that nobody watches is noticed by those who wait for it, where the system tells",
  async (t) => {
    if (process.platform !== "linux") return t.pass();
    const { domain } = watched();
    const map = new RcuHashMap();
    for (const way of ["hangs in a scope", "hangs with a lock"]) {
      const watchers = process.listeners("worker");
      process.removeAllListeners("worker");
      const worker = await start(way, { domain: domain.handle(), map: map.ref });
      for (const watcher of watchers) process.on("worker", watcher);
      await worker.terminate();
      domain.synchronizeBlocking();
      map.insert(1, 1);
    }
    t.is(map.size, 1);
    domain.unregisterThread();
  },
);

test.serial("reaping a thread by its number never touches the slot's next owner", (t) => {
  const heap = Heap.create({ bytes: 8 << 20 });
  const next = Heap.attach(heap.handle());
  const lock = tryAlloc(Locked) as Ref<"domain life locked">;
  Locked.lock.lock(lock);
  heap.use();
  heap.reapThread(4711); // A thread that is gone, whose slot is the next one's since.
  t.is(Locked.lock.tryLock(lock), 0, "its owner lives");
  next.use();
  Locked.lock.unlock(lock);
  next.detach();
  heap.use();
  heap.detach();
});

for (const [job, announce] of [
  ["busy", true],
  ["blocking", false],
  ["pending promise", false],
] as const)
  test.serial(
    `${announce ? "in an announcing domain" : "in an ordinary domain"} ${job}: nobody waits for a thread outside of a scope`,
    async (t) => {
      const { domain } = watched(8 << 20, announce);
      const gate = new Int32Array(new SharedArrayBuffer(4));
      const worker = await start(job, { domain: domain.handle(), gate });
      // The worker does not move until the gate opens: these end without it, or never.
      domain.synchronizeBlocking();
      await domain.synchronize();
      t.pass();
      Atomics.store(gate, 0, 1);
      Atomics.notify(gate, 0);
      await once(worker, "exit");
      domain.unregisterThread();
    },
  );

test.serial(
  "an announcing domain's readers are waited for while they read, and its garbage goes away",
  async (t) => {
    const { domain } = watched(16 << 20, true);
    const gate = new Int32Array(new SharedArrayBuffer(4));
    const map = new RcuHashMap({ value: text() });
    for (let n = 0; n < 100; n++) map.insert(n, "first");
    const other = new RcuHashMap();
    for (let n = 0; n < 100; n++) other.insert(n, n);
    const worker = await start("walks", { domain: domain.handle(), map: other.ref, gate });
    for (let n = 0; n < 50_000; n++) domain.run(() => map.insert(n % 100, `value ${n}`));
    await domain.synchronize();
    await turn(20);
    t.true(rcuStats().callbacksPending < 20_000, `${rcuStats().callbacksPending} pending`);
    const reader = await start("hangs in a scope", { domain: domain.handle() });
    let over = false;
    const waiting = domain.synchronize().then(() => (over = true));
    await turn(50);
    t.false(over);
    await reader.terminate();
    await waiting;
    Atomics.store(gate, 0, 1);
    await once(worker, "exit");
    domain.unregisterThread();
  },
);

test.serial("synchronize ends with the grace period even when the given sleep never does", async (t) => {
  const { domain } = watched();
  const reader = await start("hangs in a scope", { domain: domain.handle() });
  let sleeps = 0;
  const never = () => {
    sleeps++;
    return new Promise<never>(() => {});
  };
  const waiting = domain.synchronize({ sleep: never });
  await turn();
  await reader.terminate();
  await waiting;
  t.is(sleeps, 1);
  const other = await start("hangs in a scope", { domain: domain.handle() });
  await t.throwsAsync(domain.synchronize({ sleep: () => Promise.reject(new Error("no sleep")) }), {
    message: "no sleep",
  });
  await t.throwsAsync(domain.synchronize({ sleep: (() => 1) as never }), {
    message: /must return a promise/,
  });
  await other.terminate();
  await domain.synchronize();
  domain.unregisterThread();
});

test.serial(
  "100 000 closures run once each, in their order, and those of one heap never wait for another's",
  async (t) => {
    const a = watched();
    const b = watched();
    let next = 0;
    let wrong = 0;
    a.domain.run(() => callRcuHere(() => next++)); // Queued first.
    a.domain.run(() => {
      for (let n = 1; n < 100_000; n++)
        callRcuHere(() => {
          if (next++ !== n) wrong++;
        });
    });
    let others = 0;
    b.domain.run(() => callRcuHere(() => others++));
    await a.domain.synchronize();
    await b.domain.synchronize();
    await turn(50);
    t.deepEqual([next, wrong, others], [100_000, 0, 1]);
    a.domain.unregisterThread();
    b.domain.unregisterThread();
  },
);
