import test from "ava";
import {
  callRcu,
  condSynchronizeRcu,
  defineReclaimer,
  defineReleaser,
  drainReleases,
  finalizeReleases,
  getStateSynchronizeRcu,
  Heap,
  kfreeArrayRcu,
  kfreeRcu,
  kfreeStringRcu,
  liveObjects,
  pollStateSynchronizeRcu,
  queueRelease,
  type RcuStall,
  type Ref,
  rcuBarrier,
  rcuIdleEnter,
  rcuIdleExit,
  rcuQuiescent,
  rcuReadLock,
  rcuReadUnlock,
  rcuRunCallbacks,
  rcuStats,
  setForceNotifier,
  setRcuStallHandler,
  setReleaseBackend,
  startPollSynchronizeRcu,
  synchronizeRcu,
  tryAlloc,
  tryAllocArray,
  tryAllocString,
} from "../../rcu/index.ts";
import { Board, type BoardRef, countRun, exited, Item, reached, start } from "./shared.ts";

type ItemRef = Ref<"rcu test item">;
const newBoard = (): BoardRef => tryAlloc(Board) as BoardRef;
const log: number[] = [];
const note = defineReclaimer("rcu test: note", (arg) => log.push(arg));

async function inHeap(run: (heap: Heap) => void | Promise<void>, bytes = 16 << 20): Promise<void> {
  const heap = Heap.create({ bytes, debug: true });
  try {
    await run(heap);
  } finally {
    heap.detach();
  }
}

test.serial(
  "synchronize, barrier, idle and quiescent states inside a read scope throw, and so does a lock held",
  (t) =>
    inHeap(() => {
      const board = newBoard();
      rcuReadLock();
      t.throws(synchronizeRcu, { message: /inside a read scope/ });
      t.throws(rcuBarrier, { message: /inside a read scope/ });
      t.throws(rcuIdleEnter, { message: /inside a read scope/ });
      t.throws(rcuQuiescent, { message: /still open/ });
      rcuQuiescent(); // The scope was closed by force when the mistake was reported.
      Board.lock.lock(board);
      t.throws(synchronizeRcu, { message: /lock\(s\) held/ });
      t.throws(rcuIdleEnter, { message: /lock\(s\) held/ });
      Board.lock.unlock(board);
      rcuReadUnlock();
      t.throws(rcuQuiescent, { message: /without rcuReadLock/ });
      synchronizeRcu();
    }),
);

test.serial("a callback runs after a quiescent state of its thread, not before, and in order", (t) =>
  inHeap(() => {
    log.length = 0;
    for (let n = 0; n < 5; n++) callRcu(note, n);
    t.is(rcuRunCallbacks(), 0);
    for (let n = 0; n < 3; n++) {
      rcuQuiescent();
      rcuRunCallbacks();
    }
    t.deepEqual(log, [0, 1, 2, 3, 4]);
    t.is(rcuStats().callbacksPending, 0);
  }),
);

test.serial("kfreeRcu keeps the object until then, for structs, arrays of every size, and strings", (t) =>
  inHeap(() => {
    const pages = rcuStats();
    t.is(pages.callbacksPending, 0);
    const item = tryAlloc(Item) as ItemRef;
    kfreeRcu(Item, item);
    t.is(liveObjects(Item), 1);
    kfreeArrayRcu(tryAllocArray(10) as Ref<"array">);
    kfreeArrayRcu(tryAllocArray(100_000) as Ref<"array">);
    kfreeStringRcu(tryAllocString("gone soon") as Ref<"string">);
    rcuBarrier();
    t.is(liveObjects(Item), 0);
    t.is(rcuStats().callbacksRun, 4);
  }),
);

test.serial("handing an object to RCU twice, or a wrong type, throws", (t) =>
  inHeap(() => {
    const item = tryAlloc(Item) as ItemRef;
    kfreeRcu(Item, item);
    t.throws(() => kfreeRcu(Item, item), { message: /handed to RCU twice/ });
    rcuBarrier();
    t.throws(() => kfreeRcu(Item, item), { message: /freed already/ });
    t.throws(() => kfreeRcu(Item, newBoard() as never), { code: "ERR_RCU_WRONG_STRUCT" });
  }),
);

test.serial("a callback may queue callbacks; one that throws loses nothing but itself", (t) =>
  inHeap(() => {
    log.length = 0;
    callRcu(again, 3);
    callRcu(broken, 0);
    callRcu(note, 9);
    t.throws(rcuBarrier, { message: "broken reclaimer" });
    rcuBarrier();
    rcuBarrier();
    rcuBarrier();
    t.deepEqual(log, [103, 9, 102, 101, 100]);
  }),
);
const again = defineReclaimer("rcu test: again", (n) => {
  log.push(100 + n);
  if (n > 0) callRcu(again, n - 1);
});
const broken = defineReclaimer("rcu test: broken", () => {
  throw new Error("broken reclaimer");
});

test.serial("a thread that goes idle alone runs what it has queued first", (t) =>
  inHeap(() => {
    log.length = 0;
    callRcu(note, 1);
    callRcu(again, 2);
    rcuIdleEnter();
    t.deepEqual(log, [1, 102, 101, 100]);
    t.is(rcuStats().callbacksPending, 0);
    rcuIdleEnter(); // Nests.
    rcuIdleExit();
    t.true(rcuStats().slots[0]!.idle);
    rcuIdleExit();
    t.throws(rcuIdleExit, { message: /without rcuIdleEnter/ });
  }),
);

test.serial("callbacks queued while idle run when somebody is active", (t) =>
  inHeap(() => {
    log.length = 0;
    rcuIdleEnter();
    callRcu(note, 4);
    rcuIdleExit();
    rcuQuiescent();
    rcuRunCallbacks();
    t.deepEqual(log, [4]);
  }),
);

test.serial("callRcu and queueRelease lose nothing when the heap is full", (t) =>
  inHeap(() => {
    log.length = 0;
    while (tryAllocArray(3000) !== 0);
    while (tryAllocArray(1) !== 0);
    for (let n = 0; n < 3000; n++) callRcu(note, n);
    queueRelease(flush, 5000);
    rcuBarrier();
    t.is(drainReleases(1), 1);
    t.deepEqual(
      log.toSorted((a, b) => a - b),
      [...Array(3000).keys(), 5001],
    );
  }, 4 << 20),
);
const flush = defineReleaser("rcu test: flush", (arg, context) => {
  log.push(arg + context);
});

test.serial("a flood is counted, and drained at one safe point after its grace period", (t) =>
  inHeap(() => {
    for (let n = 0; n < 25_000; n++) kfreeRcu(Item, tryAlloc(Item) as ItemRef);
    t.is(rcuStats().floods, 2);
    rcuQuiescent();
    let most = rcuRunCallbacks();
    for (let n = 0; n < 5; n++) {
      rcuQuiescent();
      most = Math.max(most, rcuRunCallbacks());
    }
    t.is(liveObjects(Item), 0);
    t.true(most > 10_000);
  }),
);

test.serial("polled grace periods: done only after a full one", (t) =>
  inHeap(() => {
    const state = getStateSynchronizeRcu();
    rcuQuiescent();
    t.false(pollStateSynchronizeRcu(state), "nobody started a grace period");
    const cookie = startPollSynchronizeRcu();
    t.false(pollStateSynchronizeRcu(cookie));
    rcuQuiescent();
    t.true(pollStateSynchronizeRcu(cookie));
    condSynchronizeRcu(cookie);
    const later = startPollSynchronizeRcu();
    condSynchronizeRcu(later);
    t.true(pollStateSynchronizeRcu(later));
  }),
);

for (const backend of ["list", "rcu"] as const)
  test.serial(
    `delayed releases (${backend}) drain until empty, warn at 100 passes, give up above 10 000`,
    async (t) =>
      inHeap(async () => {
        setReleaseBackend(backend);
        log.length = 0;
        queueRelease(flush, 1);
        queueRelease(flush, 2);
        t.is(drainReleases(10), 2);
        t.deepEqual(log, [11, 12]);
        t.is(drainReleases(10), 0);
        const warned = new Promise((resolve) => process.once("warning", resolve));
        queueRelease(chain, 200);
        t.is(drainReleases(0), 201);
        t.regex(String(await warned), /100 passes/);
        queueRelease(chain, 20_000);
        const warnedAgain = new Promise((resolve) => process.once("warning", resolve));
        t.throws(() => drainReleases(0), { message: /10000 passes/ });
        await warnedAgain;
        log.length = 0;
        finalizeReleases(1); // Runs what is left of the chain, and all that comes behind it.
        queueRelease(flush, 7);
        t.is(finalizeReleases(1), 1);
        t.deepEqual(log, [8]);
        t.is(finalizeReleases(1), 0);
        setReleaseBackend("list");
      }),
  );
const chain = defineReleaser("rcu test: chain", (n) => {
  if (n > 0) queueRelease(chain, n - 1);
});

test.serial("synchronize waits for a reader of another thread, and for no longer", async (t) =>
  inHeap(async (heap) => {
    const board = newBoard();
    const worker = start(heap, board, "readUntilTold");
    await reached(board, 1);
    const cookie = startPollSynchronizeRcu();
    for (let n = 0; n < 50; n++) rcuQuiescent();
    t.false(pollStateSynchronizeRcu(cookie));
    rcuIdleEnter();
    Board.stage.store(board, 2);
    Board.stage.notify(board);
    await reached(board, 3);
    rcuIdleExit();
    condSynchronizeRcu(cookie);
    while (!rcuStats().slots[Board.count.load(board)]!.idle) rcuQuiescent();
    const { wakeups } = rcuStats();
    for (let n = 0; n < 10; n++) synchronizeRcu();
    t.is(rcuStats().wakeups, wakeups, "every reader is quiesced: nobody slept, nobody was woken");
    Board.stage.store(board, 1000);
    Board.stage.notify(board);
    rcuIdleEnter();
    await exited(worker);
    rcuIdleExit();
  }),
);

test.serial(
  "a stall names the slot that holds the grace period up, and the force notifier is asked",
  async (t) =>
    inHeap(async (heap) => {
      const board = newBoard();
      const worker = start(heap, board, "readUntilTold");
      await reached(board, 1);
      const stalls: RcuStall[] = [];
      setRcuStallHandler(20, (stall) => {
        stalls.push(stall);
        Board.stage.store(board, 2);
        Board.stage.notify(board);
      });
      synchronizeRcu();
      setRcuStallHandler(10_000);
      t.is(stalls.length, 1);
      t.deepEqual(
        stalls[0]!.laggards.map(({ slot, thread }) => ({ slot, thread })),
        [{ slot: Board.count.load(board), thread: worker.threadId }],
      );
      t.deepEqual(stalls[0]!.blocked, []);
      t.true(stalls[0]!.ms >= 20);
      Board.stage.store(board, 1000);
      Board.stage.notify(board);
      rcuIdleEnter();
      await exited(worker);
      rcuIdleExit();
      const asked: number[] = [];
      setForceNotifier((slot) => asked.push(slot));
      for (let n = 0; n < 10_001; n++) kfreeRcu(Item, tryAlloc(Item) as ItemRef);
      setForceNotifier(null);
      t.deepEqual(asked, [], "nobody else is attached");
    }),
);

for (const [job, how] of [
  ["queueAndLeave", "leaves"],
  ["queueAndSleep", "sleeps"],
  ["queueAndDie", "dies"],
] as const) {
  test.serial(`the callbacks of a thread that ${how} run elsewhere, all of them`, async (t) =>
    inHeap(async (heap) => {
      const board = newBoard();
      const worker = start(heap, board, job, 500);
      if (job === "queueAndLeave") await exited(worker);
      else await reached(board, 1);
      if (job === "queueAndDie") {
        await worker.terminate();
        heap.reap(Board.count.load(board));
      }
      rcuBarrier();
      t.is(Board.ran.load(board), 500);
      t.is(liveObjects(Item), 0);
      if (job === "queueAndSleep") {
        Board.stage.store(board, 1000);
        Board.stage.notify(board);
        rcuIdleEnter();
        await exited(worker);
        rcuIdleExit();
      }
    }),
  );
}

test.serial("many callers of synchronize share grace periods", async (t) =>
  inHeap(async (heap) => {
    const board = newBoard();
    rcuIdleEnter();
    const workers = [1, 2, 3, 4].map(() => start(heap, board, "synchronize", 200));
    const leaving = Promise.all(workers.map(exited));
    Board.stage.store(board, 1);
    Board.stage.notify(board);
    await leaving;
    rcuIdleExit();
    t.is(Board.ran.load(board), 4);
    t.true(rcuStats().gracePeriods < 4 * 200 + 10);
  }),
);

test.serial("threads beyond the number of cores do not stop grace periods", async (t) =>
  inHeap(async (heap) => {
    const board = newBoard();
    const workers = [1, 2, 3, 4, 5].map(() => start(heap, board, "busy"));
    rcuIdleEnter();
    await reached(board, 5);
    rcuIdleExit();
    for (let n = 0; n < 5; n++) synchronizeRcu();
    callRcu(countRun, board);
    rcuBarrier();
    t.is(Board.ran.load(board), 1);
    Board.stage.store(board, 1000);
    rcuIdleEnter();
    await Promise.all(workers.map(exited));
    rcuIdleExit();
  }),
);
