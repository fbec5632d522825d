/** PercpuRwSemaphore: who is in, who waits, and what becomes of those who die inside. */
import { once } from "node:events";
import { Worker } from "node:worker_threads";
import test from "ava";
import {
  atomicLoad,
  atomicStore,
  Heap,
  PercpuRwSemaphore,
  RcuDomain,
  rcuBarrier,
  rcuIdleEnter,
  rcuIdleExit,
  rcuReadLock,
  rcuReadUnlock,
} from "../../rcu/index.ts";

const rcu = new URL("../../rcu/index.ts", import.meta.url).href;

test.serial("one thread: nesting, both ways in, and wrong use", (t) => {
  const heap = Heap.create({ bytes: 8 << 20, debug: true });
  try {
    const sem = new PercpuRwSemaphore();
    const same = new PercpuRwSemaphore({ at: sem.handle() });
    const pairing = { code: "ERR_RCU_LOCK_PAIRING" };
    t.throws(() => sem.readUnlock(), pairing);
    for (let n = 0; n < 3; n++) sem.readLock();
    t.true(same.tryReadLock());
    rcuIdleEnter();
    same.readUnlock(); // The long way out of what was entered the short way.
    sem.readLock();
    rcuIdleExit();
    t.throws(() => sem.writeLock(), { code: "ERR_RCU_WAITS_FOR_ITSELF" });
    t.throws(() => sem.destroy(), { code: "ERR_RCU_IN_USE" });
    for (let n = 0; n < 4; n++) sem.readUnlock();
    t.throws(() => sem.readUnlock(), pairing);
    t.throws(() => sem.writeUnlock(), pairing);
    rcuReadLock();
    t.throws(() => sem.writeLock(), { code: "ERR_RCU_INSIDE_SCOPE" });
    rcuReadUnlock();
    sem.writeLock();
    t.false(sem.tryReadLock());
    sem.writeUnlock();
    t.true(sem.tryReadLock());
    sem.readUnlock();
    rcuBarrier();
    t.true(sem.tryReadLock());
    sem.readUnlock();
    sem.destroy();
    t.throws(() => sem.readLock(), { code: "ERR_RCU_USE_AFTER_FREE" });
  } finally {
    heap.detach();
  }
});

/** Workers that do `body` with { domain, sem, words, ...rcu }. */
function start(domain: RcuDomain, sem: PercpuRwSemaphore, words: Int32Array, body: string): Worker {
  return new Worker(
    `const { workerData } = require("node:worker_threads");
     import(workerData.rcu).then((rcu) => {
       const domain = rcu.RcuDomain.attach(workerData.domain);
       const sem = new rcu.PercpuRwSemaphore({ at: workerData.sem });
       const { words } = workerData;
       ${body}
     });`,
    { eval: true, workerData: { rcu, domain: domain.handle(), sem: sem.handle(), words } },
  );
}

test.serial("readers and writers of several threads: a writer is alone", async (t) => {
  const domain = RcuDomain.create({ bytes: 8 << 20 });
  const sem = new PercpuRwSemaphore();
  const words = new Int32Array(new SharedArrayBuffer(64));
  // words: 0, 1 what is written (both alike, but while a writer is in), 2 reads, 3 torn ones.
  const readers = [1, 2].map(() =>
    start(
      domain,
      sem,
      words,
      `for (let n = 0; n < 20000; n++) {
         const read = () => {
           sem.readLock();
           if (words[0] !== words[1]) Atomics.add(words, 3, 1);
           sem.readUnlock();
         };
         if (n % 2 === 0) domain.run(() => {}), read();
         else if (n % 64 === 1) domain.blocking(() => {}), read();
         else read();
         Atomics.add(words, 2, 1);
       }
       domain.unregisterThread();`,
    ),
  );
  const ends = readers.map((reader) => once(reader, "exit"));
  for (let n = 1; n <= 30; n++) {
    sem.writeLock();
    words[0] = n;
    for (let spin = 0; spin < 1000; spin++) atomicLoad(words, 4);
    words[1] = n;
    sem.writeUnlock();
    await domain.synchronize();
  }
  t.deepEqual(
    (await Promise.all(ends)).map(([code]) => code),
    [0, 0],
  );
  t.is(atomicLoad(words, 2), 40000);
  t.is(atomicLoad(words, 3), 0);
  rcuBarrier();
  sem.destroy();
  domain.unregisterThread();
});

test.serial("a reader and a writer that die inside hold nobody up", async (t) => {
  const domain = RcuDomain.create({ bytes: 8 << 20 });
  const sem = new PercpuRwSemaphore();
  const words = new Int32Array(new SharedArrayBuffer(64));
  for (const enter of ["readLock", "writeLock"]) {
    atomicStore(words, 0, 0);
    const worker = start(
      domain,
      sem,
      words,
      `sem.${enter}(); Atomics.store(words, 0, 1); Atomics.notify(words, 0); setInterval(() => {}, 1000);`,
    );
    while (atomicLoad(words, 0) === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    t.is(sem.tryReadLock(), enter === "readLock");
    if (enter === "readLock") sem.readUnlock();
    await worker.terminate();
    sem.readLock(); // Of a dead writer: waits until it is seen to be dead.
    sem.readUnlock();
    sem.writeLock();
    sem.writeUnlock();
    t.true(sem.tryReadLock());
    sem.readUnlock();
  }
  domain.unregisterThread();
});
