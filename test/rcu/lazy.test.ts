/** Lazy callbacks: each way in which they are flushed, and that they are never lost. */
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import test from "ava";
import {
  alloc,
  atomicLoad,
  atomicNotify,
  atomicStore,
  CorruptionError,
  callRcuLazy,
  defineReclaimer,
  fixed,
  Heap,
  kfreeRcuLazy,
  liveObjects,
  RcuDomain,
  RcuHashMap,
  rcuBarrier,
  rcuPending,
  rcuQuiescent,
  rcuRunCallbacks,
  rcuStats,
  setRcuLazyDelay,
  struct,
  synchronizeRcu,
  tryAlloc,
} from "../../rcu/index.ts";
import { counted, OFFLOAD } from "./offload-shared.ts";

const Item = struct("lazy_item", { value: fixed() });
const Large = struct(
  "lazy_large",
  Object.fromEntries(Array.from({ length: 500 }, (_, n) => [`f${n}`, fixed()])),
);
let ran = 0;
const count = defineReclaimer("lazy test: count", () => void ran++);
/** A minute: nothing here waits for that. */
const LONG = 60_000;

/** Safe points, as many as grace periods and batches of one thread need. */
function safePoints(): void {
  for (let n = 0; n < 40; n++) {
    rcuQuiescent();
    rcuRunCallbacks();
  }
}

/** Runs `flush` with three lazy callbacks waiting, which start nothing by themselves. */
function flushed(bytes: number, flush: (heap: Heap) => void): number {
  const heap = Heap.create({ bytes, debug: false });
  try {
    setRcuLazyDelay(LONG);
    ran = 0;
    safePoints(); // What this thread knows of another heap's memory pressure is forgotten.
    for (let n = 0; n < 3; n++) callRcuLazy(count, n);
    const { gracePeriods } = rcuStats();
    safePoints();
    if (ran !== 0 || rcuStats().gracePeriods !== gracePeriods || rcuStats().lazy !== 3) return -1;
    flush(heap);
    safePoints();
    return ran;
  } finally {
    setRcuLazyDelay(1000);
    heap.detach();
  }
}

for (const [how, bytes, flush] of [
  ["rcuBarrier", 8 << 20, () => rcuBarrier()],
  ["synchronizeRcu", 8 << 20, () => synchronizeRcu()],
  ["detaching, which is shutdown", 8 << 20, (heap: Heap) => heap.detach()],
  [
    "a full heap",
    4 << 20,
    () => {
      while (tryAlloc(Large) !== 0);
    },
  ],
  [
    "company: 1024 of them",
    8 << 20,
    () => {
      for (let n = 3; n < 1024; n++) kfreeRcuLazy(Item, alloc(Item));
    },
  ],
  [
    "time: at the first safe point after the delay",
    8 << 20,
    () => {
      rcuBarrier();
      ran = 0;
      setRcuLazyDelay(0);
      for (let n = 0; n < 3; n++) callRcuLazy(count, n);
    },
  ],
] as const)
  test.serial(`lazy callbacks start no grace period; they are flushed by ${how}`, (t) => {
    let after = 0;
    const before = flushed(bytes, (heap) => {
      flush(heap as Heap);
      after = ran;
      if (how.startsWith("detaching")) heap.reattach();
    });
    t.not(before, -1, "nothing happened before");
    t.is(before, 3);
    if (how === "rcuBarrier") t.is(after, 3, "the barrier has waited for them");
  });

test.serial("a thread that gathers sees at its safe points that the time has come", (t) => {
  const heap = Heap.create({ bytes: 8 << 20 });
  try {
    setRcuLazyDelay(LONG);
    callRcuLazy(count, 0);
    rcuQuiescent();
    t.false(rcuPending());
    rcuBarrier();
    setRcuLazyDelay(0);
    callRcuLazy(count, 0);
    t.true(rcuPending());
  } finally {
    setRcuLazyDelay(1000);
    rcuBarrier();
    heap.detach();
  }
});

test.serial("an object that is handed over twice is found", (t) => {
  const heap = Heap.create({ bytes: 8 << 20 });
  const item = alloc(Item);
  kfreeRcuLazy(Item, item);
  t.throws(() => kfreeRcuLazy(Item, item), { instanceOf: CorruptionError });
  rcuBarrier();
  t.is(liveObjects(Item), 0);
  heap.detach();
});

test.serial("a thread of a domain that does nothing else runs them when their time has come", async (t) => {
  const domain = RcuDomain.create({ bytes: 8 << 20 });
  setRcuLazyDelay(20);
  ran = 0;
  domain.run(() => callRcuLazy(count, 0));
  callRcuLazy(count, 0);
  while (ran < 2) await sleep(5);
  setRcuLazyDelay(LONG);
  callRcuLazy(count, 0);
  await domain.synchronize();
  t.is(ran, 3, "synchronize takes them along");
  setRcuLazyDelay(1000);
  domain.unregisterThread();
});

test.serial("an update that finds the heap full waits for lazy callbacks too", (t) => {
  const domain = RcuDomain.create({ bytes: 4 << 20 });
  setRcuLazyDelay(LONG);
  const map = new RcuHashMap();
  for (let item = tryAlloc(Large); item !== 0; item = tryAlloc(Large)) kfreeRcuLazy(Large, item);
  for (let key = 0; key < 20_000; key++) map.insert(key, key);
  t.is(rcuStats().lazy, 0);
  setRcuLazyDelay(1000);
  domain.unregisterThread();
});

for (const how of ["is terminated", "ends"] as const)
  test.serial(`a thread that ${how} leaves none of them behind`, async (t) => {
    const domain = RcuDomain.create({ bytes: 8 << 20 });
    const words = new Int32Array(new SharedArrayBuffer(64));
    counted(words);
    const worker = new Worker(new URL("./offload-worker.ts", import.meta.url), {
      workerData: { domain: domain.handle(), words, cell: 0, job: "lazy", updates: 100 },
    });
    const end = once(worker, "exit");
    while (atomicLoad(words, OFFLOAD.READY) === 0) await sleep(2);
    if (how === "is terminated") await worker.terminate();
    else {
      // A barrier of another thread does not wait for the owner, which is asleep.
      domain.barrier();
      t.is(atomicLoad(words, OFFLOAD.RAN), 100);
      atomicStore(words, OFFLOAD.STOP, 1);
      atomicNotify(words, OFFLOAD.STOP);
    }
    await end;
    domain.barrier();
    t.is(atomicLoad(words, OFFLOAD.RAN), 100);
    t.is(rcuStats().callbacksPending, 0);
    domain.unregisterThread();
  });
