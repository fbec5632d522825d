/** Hash tables fit their entries, whoever reads them meanwhile and whether or not a grace period can end. */
import { Worker } from "node:worker_threads";
import test, { type ExecutionContext } from "ava";
import {
  EVICTED,
  Heap,
  INSERTED,
  RcuCache,
  RcuDomain,
  RcuHashMap,
  rcuBarrier,
  rcuQuiescent,
  rcuReadLock,
  rcuReadUnlock,
  rcuRunCallbacks,
  text,
} from "../../rcu/index.ts";
import { HEADER } from "../../rcu/layout.ts";

/** Fills and empties a map; it fits all the while. */
function growsAndShrinks(t: ExecutionContext, map: RcuHashMap, between = (): void => {}): void {
  const entries = 5000;
  for (let n = 0; n < entries; n++) {
    map.insert(n, n + 1);
    if (map.buckets < map.size) t.fail(`${map.size} entries in ${map.buckets} buckets`);
    if (n % 64 === 0) between();
  }
  t.true(map.buckets <= 8 * entries);
  const scope = rcuReadLock();
  for (let n = 0; n < entries; n++) if (map.get(scope, n) !== n + 1) t.fail(`key ${n}`);
  let seen = 0;
  map.forEach(scope, (key, value) => {
    if (value === key + 1) seen++;
  });
  rcuReadUnlock();
  t.is(seen, entries);
  for (let n = 0; n < entries; n++) {
    t.is(map.remove(n), n + 1);
    if (map.buckets > 16 && map.size < map.buckets >> 3)
      t.fail(`${map.size} entries left in ${map.buckets} buckets`);
    if (n % 64 === 0) between();
  }
  t.is(map.buckets, 16);
}

for (const debug of [false, true]) {
  const heap = debug ? "debug heap" : "heap";
  test.serial(`a map fits its entries on a thread of a ${heap} that passes no quiescent state`, (t) => {
    const heap = Heap.create({ bytes: 16 << 20, debug });
    growsAndShrinks(t, new RcuHashMap());
    rcuBarrier();
    heap.detach();
  });

  test.serial(`a map fits its entries on a thread of a ${heap} that passes quiescent states`, (t) => {
    const heap = Heap.create({ bytes: 16 << 20, debug });
    growsAndShrinks(t, new RcuHashMap(), () => {
      rcuQuiescent();
      rcuRunCallbacks();
    });
    rcuBarrier();
    heap.detach();
  });
}

for (const announce of [false, true])
  test.serial(`a map fits its entries inside run and after it (announcing: ${announce})`, (t) => {
    const domain = RcuDomain.create({ bytes: 16 << 20, announce });
    domain.run(() => growsAndShrinks(t, new RcuHashMap()));
    const map = new RcuHashMap();
    for (let n = 0; n < 5000; n++) map.insert(n, n);
    t.true(map.buckets >= map.size);
    domain.unregisterThread();
  });

test.serial("nodes that were copied take what they own along", (t) => {
  const heap = Heap.create({ bytes: 16 << 20, debug: true });
  const map = new RcuHashMap<string, string>({ key: text(), value: text() });
  for (let n = 0; n < 1000; n++) map.insert(`key ${n}`, `value ${n}`);
  rcuBarrier();
  const scope = rcuReadLock();
  for (let n = 0; n < 1000; n++) t.is(map.get(scope, `key ${n}`), `value ${n}`);
  rcuReadUnlock();
  for (let n = 0; n < 1000; n++) t.is(map.remove(`key ${n}`), `value ${n}`);
  rcuBarrier();
  map.destroy();
  heap.detach();
});

test.serial("a cache keeps the order of its entries when its table grows", (t) => {
  const heap = Heap.create({ bytes: 64 << 20 });
  const capacity = 140_000; // Its table begins with 2^16 buckets; the second growth copies the nodes.
  const cache = new RcuCache({ capacity });
  for (let key = 0; key < capacity; key++) if (cache.insert(key, key) !== INSERTED) t.fail(`key ${key}`);
  t.true(cache.buckets >= capacity);
  const scope = rcuReadLock();
  for (let n = 0; n < 100; n++) {
    t.is(cache.insert(capacity + n, 0), EVICTED);
    t.is(cache.get(scope, n), undefined, "the oldest goes");
    t.is(cache.get(scope, n + 1), n + 1, "and no other");
  }
  rcuReadUnlock();
  t.is(cache.size, capacity);
  heap.detach();
});

test.serial("without memory a table stays as it is, and fits again when there is some", (t) => {
  const heap = Heap.create({ bytes: 8 << 20 });
  const map = new RcuHashMap();
  let n = 0;
  while (map.tryInsert(n, n) === INSERTED) n++;
  t.true(n > 10_000);
  const scope = rcuReadLock();
  for (let key = 0; key < n; key++) if (map.get(scope, key) !== key) t.fail(`key ${key}`);
  rcuReadUnlock();
  for (let key = 1000; key < n; key++) t.is(map.remove(key), key);
  rcuQuiescent();
  rcuBarrier();
  for (let key = 1000; key < 3000; key++) t.is(map.insert(key, key), INSERTED);
  t.true(map.buckets >= map.size && map.buckets <= 8 * map.size);
  heap.detach();
});

test.serial(
  "who chooses keys cannot choose their buckets: each heap hashes with a number of its own",
  (t) => {
    const seeds = new Set<number>();
    for (let n = 0; n < 4; n++) {
      const heap = Heap.create({ bytes: 8 << 20 });
      seeds.add(heap.i32[HEADER.HASH_SEED]!);
      heap.detach();
    }
    t.true(seeds.size > 1);

    const heaps = [3, 0x1234567].map((hashSeed) => Heap.create({ bytes: 8 << 20, hashSeed }));
    const orders = heaps.map((heap) => {
      heap.use();
      const map = new RcuHashMap<string>({ key: text() });
      for (const key of "abcdefghijklmnop") map.insert(key, 1);
      const order: string[] = [];
      map.forEach(rcuReadLock(), (key) => order.push(key));
      rcuReadUnlock();
      t.is(order.length, 16);
      return order.join("");
    });
    t.not(orders[0], orders[1], "strings too");
    for (const heap of heaps) heap.detach();
    t.throws(() => Heap.create({ hashSeed: 4 }), { code: "ERR_RCU_BAD_ARGUMENT", message: /hashSeed 4/ });
  },
);

test.serial("readers miss no key while tables grow and shrink within a turn", async (t) => {
  const domain = RcuDomain.create({ bytes: 64 << 20 });
  const keys = 8;
  const ints = new RcuHashMap();
  const texts = new RcuHashMap<string, string>({ key: text(), value: text() });
  const stay = (round: number): void => {
    for (let key = 0; key < keys; key++) {
      ints.insert(key, round * keys + key);
      texts.insert(`key ${key}`, `value ${round} of key ${key}`);
    }
  };
  stay(0);
  const stop = new Int32Array(new SharedArrayBuffer(4));
  const worker = new Worker(new URL("./resize-worker.ts", import.meta.url), {
    workerData: { heap: domain.handle(), ints: ints.handle(), texts: texts.handle(), stop, keys },
  });
  await new Promise((resolve) => worker.once("message", resolve));
  const done = new Promise<{ wrong: string[]; looks: number }>((resolve) => worker.once("message", resolve));
  for (let round = 1; round <= 12; round++) {
    for (let key = keys; key < 2000; key++) ints.insert(key, key);
    for (let key = keys; key < 500; key++) texts.insert(`key ${key}`, "of no key");
    stay(round);
    for (let key = keys; key < 2000; key++) ints.remove(key);
    for (let key = keys; key < 500; key++) texts.remove(`key ${key}`);
    if (round % 3 === 0) await domain.synchronize();
  }
  Atomics.store(stop, 0, 1);
  const { wrong, looks } = await done;
  t.deepEqual(wrong, []);
  t.true(looks > 0);
  t.true(ints.buckets < 100);
  await worker.terminate();
  domain.unregisterThread();
});
