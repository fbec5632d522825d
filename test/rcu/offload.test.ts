/** Callbacks of threads that never come by, run by helpers. */
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import test, { type ExecutionContext } from "ava";
import {
  alloc,
  atomicLoad,
  atomicNotify,
  atomicStore,
  callRcu,
  callRcuHere,
  free,
  kfreeRcu,
  liveObjects,
  offloadsRcu,
  RcuDomain,
  type Ref,
  rcuDrop,
  rcuStats,
} from "../../rcu/index.ts";
import { Cell, counted, OFFLOAD, Thing } from "./offload-shared.ts";

test.beforeEach((t) => t.timeout(120_000));

interface Stage {
  readonly domain: RcuDomain;
  readonly words: Int32Array<SharedArrayBuffer>;
  start(job: "help" | "busy" | "lazy", updates?: number): Worker;
  /** The word has reached the value. */
  reached(word: number, value: number): Promise<void>;
  stop(): void;
}

function stage(announce = false): Stage {
  const domain = RcuDomain.create({ bytes: 64 << 20, announce });
  const words = new Int32Array(new SharedArrayBuffer(64));
  const cell = alloc(Cell);
  const first = alloc(Thing);
  Thing.alive.init(first, 1);
  Cell.current.store(cell, first);
  counted(words);
  return {
    domain,
    words,
    start: (job, updates = 0) =>
      new Worker(new URL("./offload-worker.ts", import.meta.url), {
        workerData: { domain: domain.handle(), words, cell, job, updates },
      }),
    async reached(word, value) {
      while (atomicLoad(words, word) < value) await sleep(2);
    },
    stop() {
      atomicStore(words, OFFLOAD.STOP, 1);
      atomicNotify(words, OFFLOAD.STOP);
    },
  };
}

/** Until it holds: looked at between turns. */
async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await sleep(2);
}

/** Everything that busy threads queued has run, once; nobody read what was freed. */
async function finish(
  t: ExecutionContext,
  { domain, words, stop }: Stage,
  ends: Promise<unknown>[],
  queued: number,
) {
  stop();
  await Promise.all(ends);
  domain.barrier();
  t.is(atomicLoad(words, OFFLOAD.RAN), queued);
  t.is(atomicLoad(words, OFFLOAD.DEAD_SEEN), 0);
  t.is(liveObjects(Thing), 1, "all but the last have been freed");
  t.like(rcuStats(), { callbacksPending: 0, offloaded: 0, lazy: 0, helpers: 0 });
  domain.unregisterThread();
}

const UPDATES = 1000;
for (const threads of [1, 2, 4, 8])
  test.serial(`garbage of ${threads} threads that never come by is reclaimed by a helper`, async (t) => {
    const it = stage(threads % 4 === 0);
    const { domain, words } = it;
    const helper = it.start("help");
    await until(() => rcuStats().helpers === 1);
    const busy = Array.from({ length: threads }, () => it.start("busy", UPDATES));
    const ends = [helper, ...busy].map((worker) => once(worker, "exit"));
    await it.reached(OFFLOAD.READY, threads + 1);
    await it.reached(OFFLOAD.RAN, threads * UPDATES);
    await until(() => liveObjects(Thing) === 1);
    t.is(atomicLoad(words, OFFLOAD.ENDED), 0, "they are all still at it");
    it.stop();
    await it.reached(OFFLOAD.ENDED, 1);
    await Promise.all(ends.slice(1));
    domain.endHelp();
    await finish(t, it, ends, threads * UPDATES);
    t.true(atomicLoad(words, OFFLOAD.HELPED) >= threads * UPDATES, "the helper ran them");
  });

test.serial(
  "a helper that is terminated loses nothing: its work goes back, and to the next one",
  async (t) => {
    const it = stage();
    const { words, domain } = it;
    const first = it.start("help");
    await until(() => rcuStats().helpers === 1);
    const busy = [it.start("busy", 4 * UPDATES), it.start("busy", 4 * UPDATES)];
    const ends = busy.map((worker) => once(worker, "exit"));
    await it.reached(OFFLOAD.RAN, UPDATES);
    // In a callback, with others queued behind it.
    atomicStore(words, OFFLOAD.HOLD, 1);
    await it.reached(OFFLOAD.HELD, 1);
    await first.terminate();
    atomicStore(words, OFFLOAD.HOLD, 0);
    atomicNotify(words, OFFLOAD.HOLD);
    await until(() => rcuStats().helpers === 0);
    const second = it.start("help");
    ends.push(once(second, "exit"));
    await it.reached(OFFLOAD.READY, 4);
    await it.reached(OFFLOAD.RAN, 8 * UPDATES);
    it.stop();
    await Promise.all(ends.slice(0, 2));
    domain.endHelp();
    await finish(t, it, ends, 8 * UPDATES);
  },
);

test.serial("two helpers share the work; one that ends leaves the rest to the other", async (t) => {
  const it = stage();
  const helpers = [it.start("help"), it.start("help")];
  await until(() => rcuStats().helpers === 2);
  const busy = [it.start("busy", UPDATES), it.start("busy", UPDATES)];
  const ends = [...helpers, ...busy].map((worker) => once(worker, "exit"));
  await it.reached(OFFLOAD.RAN, UPDATES / 2);
  await helpers[0]!.terminate();
  await it.reached(OFFLOAD.RAN, 2 * UPDATES - 1); // It may have been in one.
  await it.reached(OFFLOAD.READY, 4);
  it.stop();
  await Promise.all(ends.slice(2));
  it.domain.endHelp();
  await Promise.all(ends);
  it.domain.barrier();
  t.true(atomicLoad(it.words, OFFLOAD.RAN) >= 2 * UPDATES - 1);
  t.is(atomicLoad(it.words, OFFLOAD.DEAD_SEEN), 0);
  t.like(rcuStats(), { callbacksPending: 0, helpers: 0 });
  it.domain.unregisterThread();
});

test.serial("shutdown: help() ends, and what it has not run goes back to those who are active", async (t) => {
  const it = stage();
  const helper = it.start("help");
  const end = once(helper, "exit");
  await until(() => rcuStats().helpers === 1);
  it.domain.offload();
  atomicStore(it.words, OFFLOAD.HOLD, 1);
  for (let n = 0; n < 100; n++) callRcu(counted(it.words), 1);
  await it.reached(OFFLOAD.HELD, 1);
  it.domain.endHelp();
  for (let n = 0; n < 100; n++) callRcu(counted(it.words), 1);
  atomicStore(it.words, OFFLOAD.HOLD, 0);
  atomicNotify(it.words, OFFLOAD.HOLD);
  await end;
  for (let n = 0; n < 100; n++) callRcu(counted(it.words), 1); // There is no helper: they stay here.
  await until(() => atomicLoad(it.words, OFFLOAD.RAN) === 300);
  await finish(t, it, [], 300);
});

test.serial(
  "a helper that falls behind gets no more: the thread keeps its callbacks, and is held back by them",
  async (t) => {
    const it = stage();
    const end = once(it.start("help"), "exit");
    await until(() => rcuStats().helpers === 1);
    it.domain.offload();
    atomicStore(it.words, OFFLOAD.HOLD, 1);
    callRcu(counted(it.words), 1);
    await it.reached(OFFLOAD.HELD, 1);
    const things = 70_000;
    let most = 0;
    for (let n = 0; n < things; n++) {
      kfreeRcu(Thing, alloc(Thing));
      if (n % 1000 === 0) most = Math.max(most, rcuStats().offloaded);
    }
    t.true(most > 60_000 && most <= 1 << 16, String(most));
    const { slots, offloaded } = rcuStats();
    t.true(offloaded <= 1 << 16);
    t.true(slots[it.domain.heap.slot]!.pending >= things - (1 << 16), "the rest is the thread's own");
    atomicStore(it.words, OFFLOAD.HOLD, 0);
    atomicNotify(it.words, OFFLOAD.HOLD);
    await until(() => liveObjects(Thing) === 1);
    it.domain.endHelp();
    await finish(t, it, [end], 1);
  },
);

test.serial("closures stay on their thread, and whoever offloads is told", (t) => {
  const { domain } = stage();
  const refused = { code: "ERR_RCU_NOT_OFFLOADED" };
  let ran = 0;
  domain.offload();
  t.true(offloadsRcu());
  t.throws(() => callRcuHere(() => ran++), refused);
  t.throws(() => rcuDrop({ destroy: () => ran++ }), refused);
  domain.offload({ closures: "keep" });
  callRcuHere(() => ran++);
  domain.synchronizeBlocking();
  t.is(ran, 1);
  const thing: Ref<"offload_thing"> = alloc(Thing);
  free(Thing, thing);
  domain.unregisterThread();
  t.throws(() => domain.offload(), { code: "ERR_RCU_DOMAIN" });
  domain.registerThread();
  t.false(offloadsRcu(), "a thread that comes back begins anew");
  t.throws(() => domain.run(() => domain.help()), { code: "ERR_RCU_DOMAIN" });
  domain.unregisterThread();
});
