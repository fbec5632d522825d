/** SRCU and Tasks RCU beside their grace periods: callbacks, who is reported, who may not leave. */
import { threadId } from "node:worker_threads";
import test from "ava";
import {
  callRcuTasks,
  callSrcu,
  checkStall,
  defineReclaimer,
  fixed,
  free,
  Heap,
  liveObjects,
  openSrcuScopes,
  type RcuStall,
  type Ref,
  rcuBarrierTasks,
  rcuIdleEnter,
  rcuIdleExit,
  rcuQuiescent,
  rcuRunCallbacks,
  rcuStallText,
  rcuStats,
  rcuTasksQuiescent,
  rcuTasksRegister,
  rcuTasksSleep,
  rcuTasksUnregister,
  rcuTasksWake,
  Srcu,
  setRcuStallHandler,
  setRcuTaskNamer,
  srcuBarrier,
  struct,
  tryAlloc,
} from "../../rcu/index.ts";
import { abandonSrcuScopes } from "../../rcu/kernel.ts";

const Thing = struct("flavours test thing", { value: fixed() });
let ran: number[] = [];
const note = defineReclaimer("flavours test: note", (arg) => {
  ran.push(arg);
});
const reclaim = defineReclaimer(
  "flavours test: thing",
  (thing: Ref<"flavours test thing">) => free(Thing, thing),
  Thing,
);

function inHeap(run: (heap: Heap) => void): void {
  const heap = Heap.create({ bytes: 8 << 20, debug: true });
  ran = [];
  try {
    run(heap);
  } finally {
    heap.use().detach();
  }
}
/** Safe points enough for two grace periods. */
function passSafePoints(): void {
  for (let n = 0; n < 4; n++) {
    rcuQuiescent();
    rcuRunCallbacks();
  }
}

test.serial(
  "callRcuTasks runs in order, each when the tasks of its time have switched, and none before",
  (t) =>
    inHeap(() => {
      const task = rcuTasksRegister();
      callRcuTasks(note, 1);
      passSafePoints();
      callRcuTasks(note, 2);
      passSafePoints();
      t.deepEqual(ran, []);
      t.is(rcuStats().callbacksBehind, 2);
      rcuTasksQuiescent(task); // Of the first: the second came when it was stamped already.
      passSafePoints();
      t.deepEqual(ran, [1]);
      const late = rcuTasksRegister(); // Began after the second grace period did.
      rcuTasksQuiescent(task);
      passSafePoints();
      t.deepEqual(ran, [1, 2]);
      t.is(rcuStats().callbacksBehind, 0);
      rcuTasksSleep(task);
      callRcuTasks(note, 3);
      passSafePoints();
      t.deepEqual(ran, [1, 2], "the late one runs");
      rcuTasksUnregister(late);
      passSafePoints();
      t.deepEqual(ran, [1, 2, 3]);
      rcuTasksUnregister(task);
    }),
);

test.serial("rcuBarrierTasks runs what waits, and what a callback queues is of the next barrier", (t) =>
  inHeap(() => {
    const task = rcuTasksRegister();
    rcuTasksSleep(task);
    for (let n = 0; n < 500; n++) callRcuTasks(note, n);
    rcuBarrierTasks();
    t.is(ran.length, 500);
    rcuIdleEnter();
    rcuBarrierTasks(); // Nothing to do, and an idle thread may ask.
    rcuIdleExit();
    rcuTasksWake(task);
    rcuTasksUnregister(task);
  }),
);

test.serial("a callback of Tasks RCU runs although the last task sleeps on a thread that goes idle", (t) =>
  inHeap((heap) => {
    const task = rcuTasksRegister();
    callRcuTasks(note, 7);
    passSafePoints();
    rcuIdleEnter();
    rcuTasksSleep(task); // The thread is idle already: nobody else is there to run it.
    t.deepEqual(ran, [7]);
    rcuIdleExit();
    rcuTasksUnregister(task);
    t.is(heap.slot, 0);
  }),
);

test.serial("who reaps a thread lets the callbacks go that waited for its task", (t) =>
  inHeap((heap) => {
    const other = Heap.attach(heap.handle());
    rcuTasksRegister();
    heap.use();
    callRcuTasks(note, 1);
    for (let n = 0; n < 4; n++) {
      other.use();
      rcuQuiescent();
      heap.use();
      passSafePoints();
    }
    t.deepEqual(ran, []);
    heap.reap(other.slot);
    passSafePoints();
    t.deepEqual(ran, [1]);
  }),
);

test.serial("a thread does not detach while a task runs on it", (t) =>
  inHeap((heap) => {
    const task = rcuTasksRegister();
    t.throws(() => heap.detach(), {
      code: "ERR_RCU_IN_USE",
      message: /1 task\(s\) of Tasks RCU run on this thread/,
    });
    rcuTasksSleep(task);
    heap.detach();
    heap.reattach();
    rcuTasksUnregister(task);
  }),
);

test.serial(
  "an object handed to callSrcu or callRcuTasks twice, or of another type, is caught, and nothing is queued",
  (t) =>
    inHeap(() => {
      const srcu = new Srcu();
      const [one, other] = [tryAlloc(Thing), tryAlloc(Thing)] as Ref<"flavours test thing">[];
      callSrcu(srcu, reclaim, one!);
      callRcuTasks(reclaim, other!);
      const before = liveObjects(Thing);
      for (const again of [one!, other!]) {
        t.throws(() => callSrcu(srcu, reclaim, again), {
          code: "ERR_RCU_DOUBLE_FREE",
          message: /^Srcu\.call: .*twice/,
        });
        t.throws(() => callRcuTasks(reclaim, again), {
          code: "ERR_RCU_DOUBLE_FREE",
          message: /^callRcuTasks: .*twice/,
        });
      }
      t.throws(() => callRcuTasks(reclaim, srcu.ref as never), { code: "ERR_RCU_WRONG_STRUCT" });
      t.is(liveObjects(Thing), before);
      srcuBarrier(srcu);
      rcuBarrierTasks();
      t.is(liveObjects(Thing), 0);
      srcu.destroy();
    }),
);

test.serial(
  "open scopes of an Srcu are named, with who entered them: for all, in destroy, and in detach",
  (t) =>
    inHeap((heap) => {
      const sessions = new Srcu({ name: "sessions" });
      const nameless = new Srcu();
      t.false(sessions.readLockHeld());
      t.deepEqual(openSrcuScopes(), []);
      const scopes = [sessions.readLock(), sessions.readLock()];
      t.true(sessions.readLockHeld());
      t.false(nameless.readLockHeld());
      t.is(new Srcu({ at: sessions.ref }).name, "sessions");
      t.deepEqual(openSrcuScopes(), [
        {
          ref: sessions.ref,
          name: "sessions",
          readers: [{ slot: heap.slot, thread: threadId, task: "", scopes: 2 }],
        },
      ]);
      t.throws(() => sessions.destroy(), {
        code: "ERR_RCU_IN_USE",
        message: new RegExp(
          `of sessions: scopes of it are open: 2 entered by slot 0 \\(thread ${threadId}\\)`,
        ),
      });
      t.throws(() => heap.detach(), {
        code: "ERR_RCU_INSIDE_SCOPE",
        message: /inside SRCU scopes .*: 2 of sessions: /,
      });
      sessions.readUnlock(scopes[0]!);
      const other = nameless.readLock();
      t.deepEqual(
        openSrcuScopes()
          .map(({ name }) => name)
          .sort(),
        [`Srcu ${nameless.ref}`, "sessions"],
      );
      nameless.readUnlock(other);
      sessions.readUnlock(scopes[1]!);
      t.deepEqual(openSrcuScopes(), []);
      sessions.destroy();
      nameless.destroy();
    }),
);

test.serial(
  "a thread that abandons its scopes may detach; they hold nobody up, and giving one back changes nothing",
  (t) =>
    inHeap((heap) => {
      const srcu = new Srcu({ name: "sessions" });
      const other = Heap.attach(heap.handle());
      const scopes = [srcu.readLock(), srcu.readLock()];
      t.throws(() => other.detach(), { code: "ERR_RCU_INSIDE_SCOPE" });
      heap.use();
      const cookie = srcu.startPoll();
      t.false(srcu.pollState(cookie));
      other.use();
      t.deepEqual(abandonSrcuScopes(), [{ name: "sessions", scopes: 2 }]);
      t.deepEqual(abandonSrcuScopes(), []);
      other.detach();
      heap.use();
      t.true(srcu.pollState(cookie));
      for (const scope of scopes) srcu.readUnlock(scope);
      t.deepEqual(openSrcuScopes(), []);
      for (let n = 0; n < 4; n++) {
        const mine = srcu.readLock(); // In one bank, then in the other.
        t.false(srcu.pollState(srcu.startPoll()));
        srcu.readUnlock(mine);
        srcu.synchronizeBlocking();
      }
      srcu.destroy();
    }),
);

test.serial(
  "a stall of an Srcu or of Tasks RCU is reported once, with who holds it up, and again when its age has doubled",
  (t) =>
    inHeap((heap) => {
      const now = Date.now;
      let ms = 1_000_000;
      Date.now = () => ms;
      const stalls: RcuStall[] = [];
      try {
        setRcuStallHandler(1000, (stall) => stalls.push(stall));
        setRcuTaskNamer((slot, record) => (record === 0 ? `slot ${slot}'s work` : `task ${record}`));
        const srcu = new Srcu({ name: "sessions" });
        const scope = srcu.readLock();
        const task = rcuTasksRegister();
        callSrcu(srcu, note, 1);
        callRcuTasks(note, 2);
        passSafePoints();
        t.is(checkStall(), null);
        ms += 1000;
        t.is(checkStall()?.flavour, "srcu");
        t.deepEqual(
          stalls.map((stall) => rcuStallText(stall)),
          [
            `SRCU grace period 0 of sessions waits since 1000 ms for 1 scope(s) that slot 0 entered (thread ${threadId} running slot 0's work)`,
            `Tasks RCU grace period 0 waits since 1000 ms for a task that has not switched (task ${task}) on slot 0 (thread ${threadId})`,
          ],
        );
        t.like(stalls[0], { flavour: "srcu", name: "sessions", laggards: [], blocked: [], tasks: [] });
        t.like(stalls[1]!.tasks[0], { slot: heap.slot, thread: threadId, member: task });
        ms += 999;
        t.is(checkStall(), null);
        ms += 1;
        checkStall();
        t.deepEqual(
          stalls.map((stall) => stall.ms),
          [1000, 1000, 2000, 2000],
        );
        srcu.readUnlock(scope);
        rcuTasksUnregister(task);
        srcuBarrier(srcu);
        rcuBarrierTasks();
        ms += 5000;
        checkStall();
        t.deepEqual(
          stalls.slice(4).filter(({ flavour }) => flavour !== "rcu"),
          [],
          "both are over",
        );
        t.deepEqual(ran.sort(), [1, 2]);
        srcu.destroy();
      } finally {
        Date.now = now;
        setRcuTaskNamer(null);
        setRcuStallHandler(10_000);
      }
    }),
);
