/** Srcus whose readers count themselves plainly. */
import { once } from "node:events";
import { Worker } from "node:worker_threads";
import test from "ava";
import {
  alloc,
  atomic,
  atomicLoad,
  atomicStore,
  callSrcu,
  defineReclaimer,
  fixed,
  Heap,
  RcuDomain,
  rcuBarrier,
  rcuIdleEnter,
  rcuIdleExit,
  rcuQuiescent,
  rcuRunCallbacks,
  Srcu,
  struct,
} from "../../rcu/index.ts";

const Cell = struct("srcu_fast_cell", { current: atomic() });
const Thing = struct("srcu_fast_thing", { alive: fixed() });
let ran = 0;
const count = defineReclaimer("srcu fast test: count", () => void ran++);

for (const debug of [false, true])
  test.serial(`one thread: open scopes are waited for, of idle times too (debug heap: ${debug})`, (t) => {
    const heap = Heap.create({ bytes: 8 << 20, debug });
    try {
      const srcu = new Srcu({ fast: true, name: "config" });
      const same = new Srcu({ at: srcu.handle() });
      const pass = (cookie: ReturnType<Srcu["startPoll"]>): boolean => {
        for (let n = 0; n < 12; n++) {
          rcuQuiescent();
          rcuRunCallbacks();
          if (same.pollState(cookie)) return true;
        }
        return false;
      };
      for (const [enterIdle, leaveIdle] of [
        [false, false],
        [true, false],
        [false, true],
        [true, true],
      ]) {
        if (enterIdle) rcuIdleEnter();
        const scope = srcu.readLock();
        if (enterIdle) rcuIdleExit();
        t.true(same.readLockHeld());
        const cookie = srcu.startPoll();
        t.false(pass(cookie));
        t.throws(() => srcu.destroy(), { code: "ERR_RCU_IN_USE", message: /config.*1 entered by slot/ });
        if (leaveIdle) rcuIdleEnter();
        same.readUnlock(scope);
        if (leaveIdle) rcuIdleExit();
        t.true(pass(cookie));
        t.false(srcu.readLockHeld());
        t.throws(() => srcu.readUnlock(scope), { code: "ERR_RCU_LOCK_PAIRING" });
      }
      ran = 0;
      const open = srcu.readLock();
      callSrcu(srcu, count, 0);
      const queued = srcu.startPoll();
      t.false(pass(queued));
      t.is(ran, 0);
      srcu.readUnlock(open);
      srcu.barrierBlocking();
      t.is(ran, 1);
      srcu.synchronizeBlocking();
      srcu.destroy();
      rcuBarrier();
      t.throws(() => same.readUnlock(same.readLock()), { code: "ERR_RCU_USE_AFTER_FREE" });
    } finally {
      heap.detach();
    }
  });

test.serial(
  "objects of one Srcu in one thread count together, with lanes and without, and only in their own heap",
  (t) => {
    const [one, other] = [Heap.create({ bytes: 64 << 20 }), Heap.create({ bytes: 8 << 20 })];
    try {
      one.use();
      // More than a thread has lanes for.
      const many = Array.from({ length: 1100 }, () => new Srcu({ fast: true }));
      for (const [n, srcu] of many.entries()) {
        const same = new Srcu({ at: srcu.ref });
        const scopes = [srcu.readLock(), same.readLock(), srcu.readLock()];
        if (n % 3 === 0) rcuQuiescent();
        if (n % 5 === 0) other.use();
        if (n % 5 === 0) t.throws(() => srcu.readUnlock(scopes[0]!), { code: "ERR_RCU_WRONG_HEAP" });
        if (n % 5 === 0) t.throws(() => srcu.readLock(), { code: "ERR_RCU_WRONG_HEAP" });
        one.use();
        same.readUnlock(scopes[0]!);
        t.true(srcu.readLockHeld());
        const cookie = srcu.startPoll();
        for (let pass = 0; pass < 12; pass++) {
          rcuQuiescent();
          rcuRunCallbacks();
          const later = srcu.readLock(); // Of the new bank, once there is one.
          t.false(same.pollState(cookie), `scopes are open (${n}, ${pass})`);
          same.readUnlock(later);
        }
        srcu.readUnlock(scopes[1]!);
        srcu.readUnlock(scopes[2]!);
        t.false(same.readLockHeld());
        t.throws(() => same.readUnlock(scopes[2]!), { code: "ERR_RCU_LOCK_PAIRING" });
        let passes = 0;
        for (; !srcu.pollState(cookie) && passes < 12; passes++) {
          rcuQuiescent();
          rcuRunCallbacks();
        }
        t.true(passes < 12);
        if (n % 50 === 0) srcu.destroy();
      }
    } finally {
      one.detach();
      other.detach();
    }
  },
);

test.serial(
  "a fast scope that was entered between two quiescent states is waited for from the first on",
  (t) => {
    const heap = Heap.create({ bytes: 8 << 20 });
    try {
      const srcu = new Srcu({ fast: true });
      srcu.readUnlock(srcu.readLock()); // From here to the next quiescent state it counts in a lane.
      const cookie = srcu.startPoll();
      const scope = srcu.readLock();
      for (let pass = 0; pass < 12; pass++) {
        rcuQuiescent();
        t.false(srcu.pollState(cookie));
      }
      t.throws(() => heap.detach(), { code: "ERR_RCU_INSIDE_SCOPE" });
      srcu.readUnlock(scope);
      srcu.synchronizeBlocking();
      srcu.destroy();
    } finally {
      heap.detach();
    }
  },
);

const rcu = new URL("../../rcu/index.ts", import.meta.url).href;

test.serial("readers on other threads, which sleep in their scopes and die there", async (t) => {
  const domain = RcuDomain.create({ bytes: 16 << 20 });
  const srcu = new Srcu({ fast: true });
  const cell = alloc(Cell);
  const make = (): number => {
    const thing = alloc(Thing);
    Thing.alive.init(thing, 1);
    return thing;
  };
  Cell.current.store(cell, make());
  const words = new Int32Array(new SharedArrayBuffer(64)); // 0: stop; 1: dead things seen; 2: reads; 3: scopes of the last worker.
  const worker = (body: string): Worker =>
    new Worker(
      `const { workerData } = require("node:worker_threads");
       import(workerData.rcu).then(async ({ RcuDomain, Srcu, struct, atomic, fixed }) => {
         const Cell = struct("srcu_fast_cell", { current: atomic() });
         const Thing = struct("srcu_fast_thing", { alive: fixed() });
         const domain = RcuDomain.attach(workerData.domain);
         const srcu = new Srcu({ at: workerData.srcu });
         const { words, cell } = workerData;
         const look = (thing) => { if (Thing.alive.get(thing) !== 1) Atomics.add(words, 1, 1); };
         ${body}
       });`,
      { eval: true, workerData: { rcu, domain: domain.handle(), srcu: srcu.handle(), cell, words } },
    );
  const readers = [
    // Plain scopes inside runs, one after the other.
    `while (Atomics.load(words, 0) === 0) {
       domain.run(() => {
         for (let n = 0; n < 100; n++) {
           const scope = srcu.readLock();
           look(Cell.current.peek(cell));
           srcu.readUnlock(scope);
         }
       });
       Atomics.add(words, 2, 1);
       if (Atomics.load(words, 2) % 64 === 0) await new Promise(setImmediate);
     }
     domain.unregisterThread();`,
    // Scopes over awaits, entered while idle and while active.
    `for (let n = 0; Atomics.load(words, 0) === 0; n++) {
       const enter = () => [srcu.readLock(), Cell.current.peek(cell)];
       const [scope, thing] = n % 2 === 0 ? enter() : domain.run(enter);
       await new Promise(setImmediate);
       look(thing);
       if (n % 3 === 0) domain.run(() => srcu.readUnlock(scope));
       else srcu.readUnlock(scope);
     }
     domain.unregisterThread();`,
  ].map(worker);
  const ends = readers.map((reader) => once(reader, "exit"));
  for (let n = 0; n < 40 || atomicLoad(words, 2) < 50; n++) {
    const old = Cell.current.exchange(cell, make());
    await srcu.synchronize();
    Thing.alive.init(old as never, 0); // Never freed: a reader that looks too late sees it.
  }
  atomicStore(words, 0, 1);
  t.deepEqual(
    (await Promise.all(ends)).map(([code]) => code),
    [0, 0],
  );
  t.is(atomicLoad(words, 1), 0);
  const doomed = worker("srcu.readLock(); Atomics.store(words, 3, 1); setInterval(() => {}, 1000);");
  while (atomicLoad(words, 3) === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  await doomed.terminate();
  await srcu.synchronize();
  await srcu.barrier();
  srcu.destroy();
  domain.unregisterThread();
});
