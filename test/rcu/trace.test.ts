/** Trace events: what they tell, in which order, and what the ring keeps. */
import test from "ava";
import {
  callRcu,
  defineReclaimer,
  fixed,
  Heap,
  kfreeRcu,
  type Ref,
  rcuBarrier,
  rcuStats,
  readRcuTrace,
  startRcuTrace,
  stopRcuTrace,
  struct,
  synchronizeRcu,
  tryAlloc,
} from "../../rcu/index.ts";

const Thing = struct("trace test thing", { value: fixed() });
const nothing = defineReclaimer("trace test: nothing", () => {});

function inHeap(run: (heap: Heap) => void): void {
  const heap = Heap.create({ bytes: 8 << 20, debug: true });
  try {
    run(heap);
  } finally {
    heap.use().detach();
  }
}

test.serial("off it is empty; on, it tells a grace period, its callback and a barrier in order", (t) =>
  inHeap((heap) => {
    synchronizeRcu();
    t.deepEqual(readRcuTrace(), []);
    startRcuTrace({ entries: 64 });
    const { gracePeriods } = rcuStats();
    callRcu(nothing, 0);
    kfreeRcu(Thing, tryAlloc(Thing) as Ref<"trace test thing">);
    rcuBarrier();
    stopRcuTrace();
    synchronizeRcu();
    const events = readRcuTrace();
    const names = events.map(({ name, detail }) => `${name} ${detail}`.trim());
    const order = [
      "rcu_callback",
      "rcu_grace_period newreq",
      "rcu_grace_period start",
      "rcu_kvfree_callback",
      "rcu_barrier Begin",
      "rcu_grace_period end",
      "rcu_utilization Start RCU core",
      "rcu_batch_start",
      "rcu_invoke_callback",
      "rcu_invoke_kvfree_callback",
      "rcu_batch_end",
      "rcu_barrier Inc2",
    ];
    let at = -1;
    for (const name of order) {
      at = names.indexOf(name, at + 1);
      t.true(at >= 0, `${name} in its place:\n${names.join("\n")}`);
    }
    const start = events.find(({ name, detail }) => name === "rcu_grace_period" && detail === "start")!;
    t.deepEqual(start.fields, { gp_seq: gracePeriods });
    t.is(start.slot, heap.slot);
    t.true(events.every((event, n) => n === 0 || event.time >= events[n - 1]!.time));
    t.is(readRcuTrace().length, events.length, "off again");
    t.throws(() => startRcuTrace({ entries: 1024 }), { code: "ERR_RCU_BAD_ARGUMENT" });
    t.throws(() => startRcuTrace({ entries: 0 }), { code: "ERR_RCU_BAD_ARGUMENT" });
  }),
);

test.serial("the ring keeps the last events of all threads, and who attaches later is traced too", (t) =>
  inHeap((heap) => {
    startRcuTrace({ entries: 16 });
    const other = Heap.attach(heap.handle());
    for (let n = 0; n < 20; n++) callRcu(nothing, n);
    heap.use();
    callRcu(nothing, 0);
    heap.reap(other.slot);
    const events = readRcuTrace();
    t.is(events.length, 16);
    t.true(new Set(events.map(({ slot }) => slot)).size > 1);
    stopRcuTrace();
    rcuBarrier();
  }),
);
