import { once } from "node:events";
import { Worker } from "node:worker_threads";
import test from "ava";
import {
  Heap,
  RcuDomain,
  RcuHashMap,
  type Ref,
  rcu,
  rcuReadLock,
  rcuReadUnlock,
  rcuTasksQuiescent,
  rcuTasksRegister,
  rcuTasksUnregister,
  Srcu,
  startRcuTrace,
  struct,
  tryAlloc,
} from "../../rcu/index.ts";
import { keepsOrder } from "../../rcu/platform.ts";

const Node = struct("prove test node", { next: rcu("prove test node") });

test.serial("PROVE_RCU names each broken rule", async (t) => {
  const worker = new Worker(new URL("./prove-worker.ts", import.meta.url), {
    env: { ...process.env, STERNIX_PROVE_RCU: "1" },
  });
  const [said] = await once(worker, "message");
  t.like(said, { "within the rules": "nothing" });
  t.regex(said["dereference outside of a scope"], /outside of a read scope/);
  t.regex(said["lookup outside of a scope"], /outside of a read scope/);
  t.regex(said["unlock without lock"], /without rcuReadLock/);
  t.regex(said["scope while idle"], /while idle/);
  t.regex(said["synchronize in a scope"], /inside a read scope/);
  t.regex(said["idle in a scope"], /inside a read scope/);
  t.regex(said["scope open at a context switch"], /still open/);
  t.regex(said["double kfreeRcu"], /twice/);
});

/** Runs `fn` and counts the atomic operations that it does on this thread. */
function countAtomics(fn: () => void): number {
  const real = globalThis.Atomics;
  let operations = 0;
  globalThis.Atomics = new Proxy(real, {
    get(target, key) {
      operations++;
      return Reflect.get(target, key) as unknown;
    },
  });
  try {
    fn();
  } finally {
    globalThis.Atomics = real;
  }
  return operations;
}

test.serial("the read path does no atomic operation at all", (t) => {
  const heap = Heap.create({ bytes: 8 << 20 });
  const node = tryAlloc(Node) as Ref<"prove test node">;
  const map = new RcuHashMap();
  for (let n = 0; n < 100; n++) map.insert(n, n);
  let sum = 0;
  const operations = countAtomics(() => {
    for (let n = 0; n < 100; n++) {
      const scope = rcuReadLock();
      Node.next.deref(scope, node);
      sum += map.get(scope, n) ?? 0;
      map.forEach(scope, (_key, value) => {
        sum += value;
      });
      rcuReadUnlock();
    }
  });
  t.is(sum, 101 * 4950);
  t.is(operations, 0);
  t.true(countAtomics(() => map.insert(1, 2)) > 0, "the counter counts");
  heap.detach();
});

test.serial("with the trace on, the read path does none either", (t) => {
  const heap = Heap.create({ bytes: 8 << 20 });
  startRcuTrace({ entries: 16 });
  const operations = countAtomics(() => {
    for (let n = 0; n < 100; n++) {
      rcuReadLock();
      rcuReadUnlock();
    }
  });
  t.is(operations, 0);
  heap.detach();
});

test.serial(
  "scopes of a domain do none between its quiescent states, one in 64 scopes; a nested one never",
  (t) => {
    const domain = RcuDomain.create({ bytes: 8 << 20 });
    domain.run(() => 0); // The first of the turn: the thread becomes active.
    let nested = 0;
    t.is(
      countAtomics(() => {
        for (let n = 0; n < 60; n++) domain.run(() => domain.run(() => domain.run(() => nested++)));
      }),
      0,
    );
    t.is(nested, 60);
    const many = countAtomics(() => {
      for (let n = 0; n < 6400; n++) domain.run(() => 0);
    });
    t.is(many, 100, "a quiescent state is one atomic load when no grace period is in progress");
    domain.unregisterThread();
  },
);

test.serial(
  "an SRCU scope costs two atomic additions, and two loads where the machine needs them; a reader of Tasks RCU one load when it switches",
  (t) => {
    const heap = Heap.create({ bytes: 8 << 20 });
    const srcu = new Srcu();
    const scopes = countAtomics(() => {
      for (let n = 0; n < 100; n++) srcu.readUnlock(srcu.readLock());
    });
    t.is(scopes, keepsOrder ? 200 : 400);
    const task = rcuTasksRegister();
    t.is(
      countAtomics(() => {
        for (let n = 0; n < 100; n++) rcuTasksQuiescent(task);
      }),
      100,
    );
    rcuTasksUnregister(task);
    srcu.destroy();
    heap.detach();
  },
);
