/** What the surface promises beyond the grace period itself: cookies, guards, stalls, wrapping counters. */
import { once } from "node:events";
import { threadId, Worker } from "node:worker_threads";
import test from "ava";
import {
  callRcu,
  checkStall,
  condSynchronizeRcu,
  condSynchronizeRcuExpedited,
  defineReclaimer,
  fixed,
  free,
  getCompletedSynchronizeRcu,
  getStateSynchronizeRcu,
  Heap,
  kfreeRcu,
  liveObjects,
  pollStateSynchronizeRcu,
  RcuBox,
  RcuDomain,
  RcuPtr,
  RcuReadScope,
  type RcuStall,
  type Ref,
  rcu,
  rcuBarrier,
  rcuExpediteGp,
  rcuIdleEnter,
  rcuIdleExit,
  rcuIsWatching,
  rcuNesting,
  rcuQuiescent,
  rcuRead,
  rcuReadLock,
  rcuReadUnlock,
  rcuRunCallbacks,
  rcuStallText,
  rcuStats,
  rcuTasksQuiescent,
  rcuTasksRegister,
  rcuTasksSleep,
  rcuTasksUnregister,
  rcuUnexpediteGp,
  Srcu,
  StaleReferenceError,
  sameStateSynchronizeRcu,
  setForceNotifier,
  setRcuStallHandler,
  setRcuTaskNamer,
  spinlock,
  startPollSynchronizeRcu,
  startPollSynchronizeRcuExpedited,
  struct,
  synchronizeRcu,
  synchronizeRcuExpedited,
  synchronizeRcuTasks,
  tryAlloc,
  words,
} from "../../rcu/index.ts";
import { PREEMPT_WORDS, rcuSwitchIn, rcuSwitchOut } from "../../rcu/kernel.ts";

const Thing = struct("surface test thing", { value: fixed() });
const Owner = struct("surface test owner", {
  lock: spinlock(),
  thing: rcu("surface test thing"),
  record: words(PREEMPT_WORDS),
});
type ThingRef = Ref<"surface test thing">;
type OwnerRef = Ref<"surface test owner">;
const newThing = (value = 0): ThingRef => {
  const thing = tryAlloc(Thing) as ThingRef;
  Thing.value.init(thing, value);
  return thing;
};
let ran = 0;
const count = defineReclaimer("surface test: count", () => {
  ran++;
});
const reclaimThing = defineReclaimer(
  "surface test: thing",
  (thing: ThingRef) => {
    ran += Thing.value.get(thing);
    free(Thing, thing);
  },
  Thing,
);

async function inHeap(run: (heap: Heap) => void | Promise<void>): Promise<void> {
  const heap = Heap.create({ bytes: 8 << 20, debug: true });
  ran = 0;
  try {
    await run(heap);
  } finally {
    heap.use().detach();
  }
}

test.serial("sequences begin near their wrap: all flavours are right across it", (t) =>
  inHeap(() => {
    const srcu = new Srcu();
    const task = rcuTasksRegister();
    rcuTasksSleep(task);
    const scopeOf = (): void => {
      rcuReadLock();
      rcuReadUnlock();
    };
    for (let n = 0; n < 700; n++) {
      const cookie = startPollSynchronizeRcu();
      t.false(pollStateSynchronizeRcu(cookie));
      callRcu(count, 0);
      t.is(rcuRunCallbacks(), 0);
      scopeOf();
      rcuQuiescent();
      t.true(pollStateSynchronizeRcu(cookie));
      rcuQuiescent();
      t.is(rcuRunCallbacks(), 1);
      t.is(ran, n + 1);
      const reading = srcu.readLock();
      const open = srcu.startPoll();
      t.false(srcu.pollState(open));
      srcu.readUnlock(reading);
      t.true(srcu.pollState(open));
      synchronizeRcuTasks();
    }
    const stats = rcuStats();
    t.true(stats.gracePeriods >= 2 * 700, "more than the 300 that are left before the wrap");
    t.is(stats.callbacksRun, 700);
    t.is(stats.callbacksPending, 0);
    rcuTasksQuiescent(task);
    rcuTasksUnregister(task);
    srcu.destroy();
  }),
);

test.serial("a thousand callers of synchronize share grace periods", async (t) => {
  const domain = RcuDomain.create({ bytes: 8 << 20 });
  const other = RcuDomain.attach(domain.handle()); // Keeps the grace period open until the turn ends.
  domain.heap.use();
  const before = rcuStats().gracePeriods;
  other.enter();
  const callers = Array.from({ length: 1000 }, () => domain.synchronize());
  other.heap.use();
  other.exit();
  await Promise.all(callers);
  domain.heap.use();
  t.true(rcuStats().gracePeriods - before <= 2);
  other.unregisterThread();
  domain.unregisterThread();
});

test.serial(
  "a scope and a guard close with their block, even by an exception, and a guard is dead then",
  (t) =>
    inHeap(() => {
      const box = new RcuBox(Thing, newThing(7));
      const seen = { value: 0 };
      let kept: ReturnType<typeof rcuRead<ThingRef>> | undefined;
      t.throws(
        () => {
          using outer = new RcuReadScope();
          using guard = rcuRead(box);
          seen.value = Thing.value.get(guard.value) + Thing.value.get(box.get(outer));
          t.is(rcuNesting(), 2);
          kept = guard;
          throw new Error("inside");
        },
        { message: "inside" },
      );
      t.is(rcuNesting(), 0);
      t.is(seen.value, 14);
      t.throws(() => kept!.value, { code: "ERR_RCU_OUTSIDE_SCOPE" });
      const poisoned = new RcuPtr<"surface test thing">();
      poisoned.poison();
      t.throws(() => rcuRead(poisoned), { instanceOf: StaleReferenceError });
      t.is(rcuNesting(), 0, "a read that throws leaves no scope open");
    }),
);

test.serial("guards of a domain make its thread active, as run does", (t) => {
  const domain = RcuDomain.create({ bytes: 8 << 20 });
  const box = new RcuBox(Thing, newThing(3));
  {
    using guard = rcuRead(box, domain);
    t.is(Thing.value.get(guard.value), 3);
    t.true(domain.reading);
  }
  t.false(domain.reading);
  domain.unregisterThread();
});

test.serial("every way to dereference finds what was published", (t) =>
  inHeap(() => {
    const owner = tryAlloc(Owner) as OwnerRef;
    const thing = newThing();
    const held = Owner.lock.lock(owner);
    Owner.thing.assign(held, owner, thing);
    t.is(Owner.thing.peek(held, owner), thing);
    t.is(Owner.thing.check(held, owner), thing);
    Owner.lock.unlock(owner);
    const scope = rcuReadLock();
    t.is(Owner.thing.deref(scope, owner), thing);
    t.is(Owner.thing.check(scope, owner), thing);
    rcuReadUnlock();
    t.is(Owner.thing.raw(owner), thing);
    t.is(Owner.thing.access(owner), thing);
  }),
);

test.serial(
  "an object handed to callRcu twice, or to callRcu and kfreeRcu, is caught at the second call",
  (t) =>
    inHeap(() => {
      const thing = newThing(5);
      callRcu(reclaimThing, thing);
      t.throws(() => callRcu(reclaimThing, thing), { code: "ERR_RCU_DOUBLE_FREE", message: /twice/ });
      t.throws(() => kfreeRcu(Thing, thing), { code: "ERR_RCU_DOUBLE_FREE" });
      t.throws(() => callRcu(reclaimThing, tryAlloc(Owner) as never), { code: "ERR_RCU_WRONG_STRUCT" });
      rcuBarrier();
      t.is(ran, 5);
      t.is(liveObjects(Thing), 0);
    }),
);

test.serial("cookies: completed, same state, expedited", (t) =>
  inHeap((heap) => {
    t.true(pollStateSynchronizeRcu(getCompletedSynchronizeRcu()));
    const one = getStateSynchronizeRcu();
    t.true(sameStateSynchronizeRcu(one, getStateSynchronizeRcu()));
    const other = Heap.attach(heap.handle());
    heap.use();
    const asked: number[] = [];
    setForceNotifier((slot) => asked.push(slot));
    const cookie = startPollSynchronizeRcuExpedited();
    t.deepEqual(asked, [other.slot]);
    t.false(sameStateSynchronizeRcu(one, getStateSynchronizeRcu()));
    heap.reap(other.slot);
    condSynchronizeRcuExpedited(cookie);
    condSynchronizeRcu(cookie);
    setForceNotifier(null);
    t.true(pollStateSynchronizeRcu(cookie));
    synchronizeRcuExpedited();
  }),
);

test.serial(
  "rcuExpediteGp makes synchronizeRcu of every thread ask lagging threads at once, while it lasts",
  (t) =>
    inHeap((heap) => {
      const other = Heap.attach(heap.handle());
      heap.use();
      let asked = 0;
      setForceNotifier(() => {
        asked++;
        heap.reap(other.slot); // It is asked, and goes.
      });
      rcuExpediteGp();
      rcuExpediteGp();
      rcuUnexpediteGp();
      synchronizeRcu();
      t.is(asked, 1, "as soon as it waits: later it would be asked again and again");
      rcuUnexpediteGp();
      t.throws(rcuUnexpediteGp, { code: "ERR_RCU_LOCK_PAIRING" });
      setForceNotifier(null);
      synchronizeRcu();
    }),
);

test.serial(
  "a thread is watched while it is attached and active; cookies of an Srcu compare as RCU's do",
  (t) => {
    t.false(rcuIsWatching());
    return inHeap(() => {
      t.true(rcuIsWatching());
      rcuIdleEnter();
      t.false(rcuIsWatching());
      rcuIdleExit();
      t.true(rcuIsWatching());
      const srcu = new Srcu();
      const scope = srcu.readLock();
      const one = srcu.startPoll();
      t.true(srcu.pollState(srcu.getCompleted()), "while a grace period is in progress too");
      t.false(srcu.pollState(one));
      srcu.readUnlock(scope);
      t.true(srcu.pollState(one));
      t.false(srcu.sameState(one, srcu.getState()));
      t.true(srcu.sameState(srcu.getState(), srcu.getState()));
      srcu.destroy();
    });
  },
);

test.serial(
  "who waits for long asks the force notifier; the reader that is told leaves its scope",
  async (t) => {
    const domain = RcuDomain.create({ bytes: 8 << 20 });
    const words = new Int32Array(new SharedArrayBuffer(4));
    const code = `
    const { workerData } = require("node:worker_threads");
    import(workerData.rcu).then(({ RcuDomain }) => {
      const domain = RcuDomain.attach(workerData.domain);
      domain.run(() => {
        require("node:worker_threads").parentPort.postMessage("reading");
        while (Atomics.load(workerData.words, 0) === 0);
      });
    });`;
    const worker = new Worker(code, {
      eval: true,
      workerData: {
        rcu: new URL("../../rcu/index.ts", import.meta.url).href,
        domain: domain.handle(),
        words,
      },
    });
    domain.watch(worker);
    await once(worker, "message");
    const asked = new Set<number>();
    setForceNotifier((slot) => {
      asked.add(slot);
      Atomics.store(words, 0, 1);
    });
    const gone = once(worker, "exit");
    await domain.synchronize();
    setForceNotifier(null);
    t.deepEqual([...asked], [1]);
    await gone;
    domain.unregisterThread();
  },
);

test.serial("a stall names CPU, thread and task, and a task that was switched out in its scope", (t) =>
  inHeap((heap) => {
    const owner = tryAlloc(Owner) as OwnerRef;
    const record = Owner.record.at(owner);
    const other = Heap.attach(heap.handle());
    heap.use();
    const stalls: RcuStall[] = [];
    setRcuTaskNamer((slot, task) => (task === record ? "task 42 (preempted)" : `task ${slot} (spins)`));
    setRcuStallHandler(20, (stall) => {
      stalls.push(stall);
      if (stalls.length === 1)
        heap.reap(other.slot); // Then the switched-out task is all that is left.
      else {
        rcuSwitchIn(record);
        rcuReadUnlock();
        rcuQuiescent();
      }
    });
    rcuReadLock();
    rcuSwitchOut(record);
    rcuQuiescent();
    const cookie = startPollSynchronizeRcu();
    while (!pollStateSynchronizeRcu(cookie)) {
      rcuQuiescent();
      checkStall();
    }
    setRcuStallHandler(10_000);
    setRcuTaskNamer(null);
    const [first, second] = stalls;
    t.like(first!.laggards[0], { slot: other.slot, thread: threadId, task: `task ${other.slot} (spins)` });
    t.deepEqual(first!.blocked, [{ record, task: "task 42 (preempted)" }]);
    t.regex(rcuStallText(first!), /slot 1 \(thread \d+ running task 1 \(spins\).*task 42 \(preempted\)/);
    t.deepEqual(second!.laggards, []);
    t.is(second!.blocked.length, 1);
  }),
);
