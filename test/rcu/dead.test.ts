/** Threads that die, or leave with something open: nothing that others wait for hangs on them. */
import test from "ava";
import {
  callRcu,
  callRcuHere,
  defineReclaimer,
  fixed,
  Heap,
  HeapFullError,
  kfreeRcu,
  kfreeRcuBarrier,
  liveObjects,
  pollStateSynchronizeRcu,
  RcuDomain,
  RcuHashMap,
  type Ref,
  rcuBarrier,
  rcuDrop,
  rcuIdleEnter,
  rcuIdleExit,
  rcuQuiescent,
  rcuReadLock,
  rcuReadUnlock,
  rcuRunCallbacks,
  rcuStats,
  rcuTasksRegister,
  rcuTasksWake,
  Srcu,
  srcuBarrier,
  startPollSynchronizeRcu,
  struct,
  synchronizeRcu,
  synchronizeRcuTasks,
  tryAlloc,
  tryAllocArray,
  words,
} from "../../rcu/index.ts";
import { PREEMPT_WORDS, rcuBlockedTasks, rcuSwitchIn, rcuSwitchOut, rcuTaskGone } from "../../rcu/kernel.ts";

const Task = struct("dead test task", { record: words(PREEMPT_WORDS) });
const Thing = struct("dead test thing", { value: fixed() });
const log: number[] = [];
const note = defineReclaimer("dead test: note", (arg) => {
  log.push(arg);
});

/** Two registrations of this thread, as two threads. */
async function inHeap(
  run: (here: Heap, there: Heap) => void | Promise<void>,
  bytes = 8 << 20,
): Promise<void> {
  log.length = 0;
  const here = Heap.create({ bytes, debug: true });
  const there = Heap.attach(here.handle());
  here.use();
  try {
    await run(here, there);
  } finally {
    here.use().detach();
  }
}

test.serial("an SRCU scope ends with the thread that entered it", (t) =>
  inHeap((here, there) => {
    const srcu = new Srcu();
    there.use();
    srcu.readLock();
    here.use();
    const cookie = srcu.startPoll();
    t.false(srcu.pollState(cookie));
    here.reap(there.slot);
    t.true(srcu.pollState(cookie));
    srcu.synchronizeBlocking();
    srcu.destroy();
  }),
);

test.serial("a scope that was handed to another thread is left there once, even if its thread died", (t) =>
  inHeap((here, there) => {
    const srcu = new Srcu();
    there.use();
    const handed = srcu.readLock();
    const orphan = srcu.readLock();
    here.use();
    const cookie = srcu.startPoll();
    srcu.readUnlock(handed);
    t.false(srcu.pollState(cookie));
    here.reap(there.slot);
    srcu.readUnlock(orphan); // It was ended already: counted once more, it would hide a reader.
    const mine = srcu.readLock();
    const later = srcu.startPoll();
    t.false(srcu.pollState(later), "a reader is not masked by one that left twice");
    srcu.readUnlock(mine);
    t.true(srcu.pollState(later));
    srcu.destroy();
  }),
);

test.serial("detach inside an SRCU scope throws, and leaves the thread attached", (t) =>
  inHeap((here) => {
    const srcu = new Srcu();
    const scope = srcu.readLock();
    t.throws(() => here.detach(), { code: "ERR_RCU_INSIDE_SCOPE", message: /SRCU/ });
    srcu.readUnlock(scope);
    srcu.destroy();
  }),
);

test.serial("call_srcu: a callback runs when the readers of its Srcu have left, and none before", (t) =>
  inHeap((here, there) => {
    there.use().detach();
    here.use();
    const srcu = new Srcu();
    const first = srcu.readLock();
    srcu.call(note, 1);
    const second = srcu.readLock();
    srcu.call(note, 2);
    srcu.readUnlock(first);
    rcuBarrier();
    t.deepEqual(log, [1], "the second reader came after the first callback, which does not wait for it");
    t.throws(() => srcu.destroy(), { code: "ERR_RCU_IN_USE" });
    srcu.readUnlock(second);
    srcu.call(note, 3);
    srcuBarrier(srcu);
    t.deepEqual(log, [1, 2, 3]);
    for (let n = 0; n < 1000; n++) {
      const scope = srcu.readLock();
      srcu.call(note, n);
      srcu.readUnlock(scope);
    }
    srcuBarrier(srcu);
    t.is(log.length, 1003);
    srcu.destroy();
    t.is(rcuStats().callbacksPending, 0);
  }),
);

test.serial(
  "callbacks of an Srcu run even if the only thread left is idle when its reader leaves",
  async (t) => {
    const domain = RcuDomain.create({ bytes: 8 << 20 });
    log.length = 0;
    const srcu = new Srcu();
    const { promise: read, resolve: leave } = Promise.withResolvers<void>();
    const reading = srcu.run(() => read);
    srcu.call(note, 7);
    await new Promise((resolve) => setTimeout(resolve, 0));
    t.deepEqual(log, []);
    leave();
    await reading;
    t.deepEqual(log, [7]);
    await srcu.barrier();
    srcu.destroy();
    domain.unregisterThread();
  },
);

test.serial("Tasks RCU does not wait for a task whose thread died while it ran", (t) =>
  inHeap((here, there) => {
    there.use();
    rcuTasksWake(rcuTasksRegister()); // Runs there, and never switches.
    here.use();
    here.reap(there.slot);
    synchronizeRcuTasks();
    t.pass();
  }),
);

test.serial("a task that ran in its scope on a CPU that died blocks no grace period", (t) =>
  inHeap((here, there) => {
    const record = Task.record.at(tryAlloc(Task) as Ref<"dead test task">);
    there.use();
    rcuReadLock();
    t.true(rcuSwitchOut(record));
    rcuSwitchIn(record);
    here.use();
    const cookie = startPollSynchronizeRcu();
    rcuQuiescent();
    t.deepEqual(rcuBlockedTasks(), [record]);
    here.reap(there.slot);
    t.true(pollStateSynchronizeRcu(cookie));
    // Who gets the slot next has nothing to do with that task, and takes nothing off the list.
    const other = Task.record.at(tryAlloc(Task) as Ref<"dead test task">);
    rcuReadLock();
    t.true(rcuSwitchOut(other));
    const next = Heap.attach(here.handle());
    t.is(next.slot, there.slot);
    next.detach();
    here.use();
    const later = startPollSynchronizeRcu();
    rcuQuiescent();
    t.deepEqual(rcuBlockedTasks(), [other]);
    t.false(pollStateSynchronizeRcu(later));
    rcuTaskGone(other);
    t.true(pollStateSynchronizeRcu(later));
  }),
);

test.serial("reaping a CPU that ran no task writes nothing through reference 0", (t) =>
  inHeap((here, there) => {
    const header = here.i32.slice(0, 4);
    here.reap(there.slot);
    t.deepEqual(here.i32.slice(0, 4), header);
  }),
);

test.serial("a task that is killed while it is switched out in its scope blocks no grace period", (t) =>
  inHeap((here, there) => {
    there.use().detach();
    here.use();
    const record = Task.record.at(tryAlloc(Task) as Ref<"dead test task">);
    rcuReadLock();
    rcuSwitchOut(record);
    const cookie = startPollSynchronizeRcu();
    rcuQuiescent();
    t.false(pollStateSynchronizeRcu(cookie));
    rcuTaskGone(record);
    rcuTaskGone(record);
    rcuQuiescent();
    synchronizeRcu();
    t.true(pollStateSynchronizeRcu(cookie));
  }),
);

test.serial("closures run on their own thread after a grace period, and before it detaches", (t) =>
  inHeap((here, there) => {
    const map = new RcuHashMap();
    map.insert(1, 1);
    there.use();
    rcuDrop({ destroy: () => log.push(there.slot) });
    here.use();
    rcuDrop(map);
    rcuDrop({ [Symbol.dispose]: () => log.push(here.slot) });
    rcuReadLock();
    rcuRunCallbacks();
    rcuReadUnlock();
    t.deepEqual(log, []);
    rcuQuiescent();
    rcuRunCallbacks();
    t.deepEqual(log, [], "the other thread has passed no quiescent state yet");
    rcuIdleEnter();
    there.use();
    const slot = there.slot;
    there.detach();
    t.deepEqual(log, [slot], "its closure only");
    here.use();
    rcuIdleExit();
    for (let n = 0; n < 3; n++) rcuQuiescent();
    rcuRunCallbacks();
    t.deepEqual(log, [slot, here.slot]);
  }),
);

test.serial("a barrier of an idle thread runs what nobody else is there to run, and leaves it idle", (t) =>
  inHeap((here, there) => {
    there.use();
    rcuIdleEnter();
    here.use();
    rcuIdleEnter();
    rcuIdleEnter();
    callRcu(note, 1);
    rcuBarrier();
    t.deepEqual(log, [1]);
    t.true(rcuStats().slots.every((slot) => slot.idle));
    rcuIdleExit();
    t.true(rcuStats().slots[0]!.idle, "as deeply as before");
    rcuIdleExit();
    t.false(rcuStats().slots[0]!.idle);
  }),
);

test.serial("an idle domain thread comes back for its closures by itself", async (t) => {
  const domain = RcuDomain.create({ bytes: 8 << 20 });
  const done = Promise.withResolvers<void>();
  domain.run(() => callRcuHere(done.resolve));
  const timer = setTimeout(done.reject, 30_000, new Error("nobody ran it"));
  await done.promise;
  clearTimeout(timer);
  domain.unregisterThread();
  t.pass();
});

test.serial(
  "callbacks that found no memory run before their thread leaves, so that no barrier waits for them",
  (t) =>
    inHeap((here, there) => {
      rcuIdleEnter();
      there.use();
      while (tryAllocArray(3000) !== 0);
      while (tryAllocArray(1) !== 0);
      for (let n = 0; n < 3000; n++) callRcu(note, n);
      there.detach();
      here.use();
      rcuIdleExit();
      rcuBarrier();
      t.is(log.length, 3000);
      t.is(rcuStats().callbacksPending, 0);
    }, 4 << 20),
);

test.serial(
  "a full heap: what waits for a grace period is freed at the next safe point after it, all of it",
  (t) =>
    inHeap((here, there) => {
      there.use().detach();
      here.use();
      const things: Ref<"dead test thing">[] = [];
      for (let thing = tryAlloc(Thing); thing !== 0; thing = tryAlloc(Thing)) things.push(thing);
      const batch = 5000; // Less than a flood, more than one safe point frees when memory is plenty.
      for (const thing of things.splice(0, batch)) kfreeRcu(Thing, thing);
      t.is(tryAlloc(Thing), 0);
      const freed = [];
      for (let n = 0; n < 3; n++) {
        rcuQuiescent();
        freed.push(rcuRunCallbacks());
      }
      t.deepEqual(
        freed,
        [1, batch - 1, 0],
        "the first one's grace period had begun, the others share the next",
      );
      t.not(tryAlloc(Thing), 0);
      const left = liveObjects(Thing);
      for (const thing of things.splice(0, batch)) kfreeRcu(Thing, thing);
      kfreeRcuBarrier();
      t.is(liveObjects(Thing), left - batch);
    }, 4 << 20),
);

test.serial("HeapFullError, then kfreeRcuBarrier, then the insertion succeeds", (t) =>
  inHeap((here, there) => {
    there.use().detach();
    here.use();
    const map = new RcuHashMap();
    let key = 0;
    const full = t.throws(() => {
      for (; ; rcuQuiescent()) map.insert(key++, 1);
    });
    t.true(full instanceof HeapFullError);
    for (let n = 0; n < 1000; n++) map.remove(n);
    t.throws(() => map.insert(key, 1), { code: "ERR_RCU_HEAP_FULL" });
    kfreeRcuBarrier();
    t.notThrows(() => map.insert(key, 1));
  }, 4 << 20),
);
