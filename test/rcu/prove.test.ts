import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import test from "ava";
import {
  alloc,
  Heap,
  RcuHashMap,
  type Ref,
  rcu,
  rcuReadLock,
  rcuReadUnlock,
  struct,
} from "../../rcu/index.ts";

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

test.serial("the read path does no atomic operation at all", (t) => {
  const heap = Heap.create({ bytes: 8 << 20 });
  const node = alloc(Node) as Ref<"prove test node">;
  const map = new RcuHashMap();
  for (let n = 0; n < 100; n++) map.insert(n, n);
  const real = globalThis.Atomics;
  let operations = 0;
  const counting = new Proxy(real, {
    get(target, key) {
      operations++;
      return Reflect.get(target, key) as unknown;
    },
  });
  globalThis.Atomics = counting;
  try {
    let sum = 0;
    for (let n = 0; n < 100; n++) {
      const scope = rcuReadLock();
      Node.next.deref(scope, node);
      sum += map.get(scope, n) ?? 0;
      map.forEach(scope, (_key, value) => {
        sum += value;
      });
      rcuReadUnlock();
    }
    t.is(sum, 101 * 4950);
    t.is(operations, 0);
    map.insert(1, 2);
    t.true(operations > 0, "the counter counts");
  } finally {
    globalThis.Atomics = real;
  }
  heap.detach();
});

test.serial("the example program runs: readers miss nothing, everything is freed", (t) => {
  const file = fileURLToPath(new URL("../../rcu/example/table.ts", import.meta.url));
  const { stdout, stderr, status } = spawnSync(process.execPath, [file, "60000"], { encoding: "utf8" });
  t.is(status, 0, stderr);
  t.regex(stdout, /60000 updates/);
  t.regex(stdout, /[1-9]\d* freed, 0 waiting/);
  t.is(stdout.match(/worker \d+: \d+ reads/g)?.length, 4);
});
