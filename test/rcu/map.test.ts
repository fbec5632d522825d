import test from "ava";
import fc from "fast-check";
import {
  blob,
  double,
  FULL,
  fixed,
  Heap,
  HeapFullError,
  INSERTED,
  int,
  type KeyKind,
  type Kind,
  RcuHashMap,
  type Ref,
  rcuBarrier,
  rcuQuiescent,
  rcuReadLock,
  rcuReadUnlock,
  rcuRunCallbacks,
  rcuStats,
  StaleReferenceError,
  struct,
  text,
  tryAlloc,
  UPDATED,
  type Value,
  WrongTypeError,
} from "../../rcu/index.ts";

const Other = struct("map test other", { x: fixed() });

function inHeap(run: () => void, bytes = 32 << 20): void {
  const heap = Heap.create({ bytes, debug: true });
  try {
    run();
  } finally {
    heap.detach();
  }
}
const pause = (): void => {
  rcuQuiescent();
  rcuRunCallbacks();
};

test.serial("RcuHashMap behaves like a Map, through growth and shrinking", (t) => {
  inHeap(() => {
    const key = fc.integer({ min: -40, max: 400 });
    const step = fc.oneof(
      { weight: 5, arbitrary: fc.record({ op: fc.constant("insert" as const), key, value: fc.integer() }) },
      { weight: 3, arbitrary: fc.record({ op: fc.constant("remove" as const), key, value: fc.constant(0) }) },
      { weight: 1, arbitrary: fc.record({ op: fc.constant("new" as const), key, value: fc.integer() }) },
      { weight: 1, arbitrary: fc.record({ op: fc.constant("pause" as const), key, value: fc.constant(0) }) },
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 600, size: "max" }), (steps) => {
        const map = new RcuHashMap({ buckets: 4 });
        const model = new Map<number, number>();
        for (const { op, key, value } of steps) {
          if (op === "pause") pause();
          else if (op === "remove") {
            t.is(map.remove(key), model.get(key));
            model.delete(key);
          } else if (op === "new") {
            t.is(map.tryInsertNew(key, value), model.has(key) ? UPDATED : INSERTED);
            if (!model.has(key)) model.set(key, value);
          } else {
            t.is(map.insert(key, value), model.has(key) ? UPDATED : INSERTED);
            model.set(key, value);
          }
          const scope = rcuReadLock();
          t.is(map.get(scope, key), model.get(key));
          rcuReadUnlock();
        }
        const seen = new Map<number, number>();
        map.forEach(rcuReadLock(), (key, value) => seen.set(key, value));
        rcuReadUnlock();
        t.deepEqual(
          [...seen].toSorted(([a], [b]) => a - b),
          [...model].toSorted(([a], [b]) => a - b),
        );
        t.is(map.size, model.size);
        pause();
        map.destroy();
      }),
      { numRuns: 60 },
    );
    rcuBarrier();
  });
});

test.serial("a reader that started on the old table finds every key while the table grows under it", (t) => {
  inHeap(() => {
    const map = new RcuHashMap({ buckets: 4 });
    for (let n = 0; n < 4; n++) map.insert(n, n);
    const scope = rcuReadLock();
    let more = 100;
    const seen = new Set<number>();
    map.forEach(scope, (key) => {
      seen.add(key);
      for (let n = 0; n < 300; n++) map.insert(more++, 0);
      if (key < 4) map.insert(key, key + 1000);
    });
    for (let n = 0; n < 4; n++) t.true(seen.has(n), `key ${n}`);
    for (let n = 0; n < 4; n++) t.is(map.get(scope, n), n + 1000);
    rcuReadUnlock();
    t.true(map.buckets >= map.size);
    pause();
  });
});

test.serial("a lock guard makes several updates under one lock: entry, drain", (t) => {
  inHeap(() => {
    const map = new RcuHashMap();
    const guard = map.lock();
    t.is(guard.insert(1, 10), INSERTED);
    t.is(guard.insert(1, 11), UPDATED);
    t.is(
      guard.entry(2, () => 20),
      20,
    );
    t.is(
      guard.entry(2, () => 21),
      20,
    );
    t.is(guard.remove(1), 11);
    t.is(guard.get(1), undefined);
    guard.insert(3, 30);
    const drained: number[] = [];
    guard.drain((key) => drained.push(key));
    t.deepEqual(drained.toSorted(), [2, 3]);
    t.is(map.size, 0);
    guard.insert(4, 40);
    guard.unlock();
    t.is(map.lookup(rcuReadLock(), 4), 40);
    t.is(map.lookup(rcuReadLock(), 5), 0);
    rcuReadUnlock();
    rcuReadUnlock();
    rcuBarrier();
    t.is(rcuStats().callbacksPending, 0);
  });
});

test.serial("a custom hasher spreads keys that the default would not", (t) => {
  inHeap(() => {
    const map = new RcuHashMap({ hasher: (key) => key >>> 3 });
    for (let n = 0; n < 1000; n++) map.insert(n, n * 2);
    const scope = rcuReadLock();
    for (let n = 0; n < 1000; n++) t.is(map.get(scope, n), n * 2);
    rcuReadUnlock();
  });
});

const KEYS = {
  int: { kind: int(), arbitrary: fc.integer() },
  text: { kind: text(), arbitrary: fc.string({ unit: "grapheme" }) },
  blob: { kind: blob(), arbitrary: fc.uint8Array() },
} as const;
const VALUES = {
  ...KEYS,
  double: { kind: double(), arbitrary: fc.double() },
  blob: { kind: blob(), arbitrary: fc.uint8Array({ maxLength: 300 }) },
} as const;

for (const [keys, { kind: key, arbitrary: someKey }] of Object.entries(KEYS)) {
  for (const [values, { kind: value, arbitrary: someValue }] of Object.entries(VALUES)) {
    test.serial(`RcuHashMap with ${keys} keys and ${values} values behaves like a Map`, (t) => {
      inHeap(() => {
        const steps = fc.array(fc.tuple<Value[]>(someKey, someValue), { maxLength: 60 });
        const removals = fc.array(fc.boolean(), { maxLength: 60 });
        fc.assert(
          fc.property(steps, removals, (entries, removed) => {
            const map = new RcuHashMap<Value, Value>({
              key: key as unknown as KeyKind<Value>,
              value: value as unknown as Kind<Value>,
              buckets: 4,
            });
            const model = new Map<string, Value[]>();
            for (const [n, [k, v]] of entries.entries()) {
              if (k === undefined || v === undefined) continue;
              const name = String(k);
              t.is(map.insert(k, v), model.has(name) ? UPDATED : INSERTED);
              model.set(name, [k, v]);
              t.deepEqual(map.get(rcuReadLock(), k), v);
              rcuReadUnlock();
              if (removed[n] === true) {
                t.deepEqual(map.remove(k), v);
                t.false(map.delete(k));
                model.delete(name);
                t.is(map.get(rcuReadLock(), k), undefined);
                rcuReadUnlock();
              }
              pause();
            }
            let seen = 0;
            map.forEach(rcuReadLock(), (k, v) => {
              seen++;
              t.deepEqual([k, v], model.get(String(k)));
            });
            rcuReadUnlock();
            t.is(seen, model.size);
            map.clear();
            t.is(map.size, 0);
            rcuBarrier();
            map.destroy();
          }),
          { numRuns: 25 },
        );
      });
    });
  }
}

test.serial("an insertion into a full heap fails and changes nothing", (t) => {
  inHeap(() => {
    const map = new RcuHashMap();
    let n = 0;
    while (map.tryInsert(n, n) !== FULL) n++;
    t.throws(() => map.insert(n, n), { instanceOf: HeapFullError, message: /full/ });
    t.is(map.size, n);
    const scope = rcuReadLock();
    for (let key = 0; key < n; key += 97) t.is(map.get(scope, key), key);
    t.is(map.get(scope, n), undefined);
    rcuReadUnlock();
    t.throws(() => new RcuHashMap<string, string>({ key: text(), value: text(), buckets: 1 << 20 }), {
      instanceOf: HeapFullError,
    });
    t.is(RcuHashMap.tryCreate({ buckets: 1 << 20 }), null);
    map.remove(0);
    rcuBarrier();
    t.is(map.tryInsert(n, n), INSERTED);
  }, 5 << 20);
});

test.serial("opening a map at a reference that names none is a typed error", (t) => {
  inHeap(() => {
    const map = new RcuHashMap();
    t.is(new RcuHashMap({ at: map.ref }).ref, map.ref);
    for (const at of [0, -4, 1.5, Number.NaN, 1e12, map.ref + 2])
      t.throws(() => new RcuHashMap({ at }), { instanceOf: StaleReferenceError, message: /rcu_hash_table/ });
    t.throws(() => new RcuHashMap({ at: tryAlloc(Other) as Ref<"map test other"> }), {
      instanceOf: WrongTypeError,
      code: "ERR_RCU_WRONG_STRUCT",
    });
    t.throws(() => new RcuHashMap({ at: map.ref, key: text() }), {
      instanceOf: WrongTypeError,
      message: /RcuHashMap<text, int>: what is at \d+ is RcuHashMap<int, int>/,
    });
    map.destroy();
    t.throws(() => new RcuHashMap({ at: map.ref }), { instanceOf: StaleReferenceError, message: /freed/ });
  });
});
