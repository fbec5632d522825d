/** Iterators: what they see, that a loop may stop at any time, and that none is used beyond its scope. */
import test from "ava";
import {
  alloc,
  EVICTED,
  fixed,
  Heap,
  Idr,
  int,
  listNode,
  RcuArray,
  RcuCache,
  RcuDomain,
  RcuHashMap,
  RcuIntrusiveList,
  RcuList,
  RcuLockFreeMap,
  RcuLockFreeQueue,
  RcuLockFreeStack,
  RcuReadScope,
  type RcuScope,
  type RcuWalk,
  type Ref,
  rcuIdleEnter,
  rcuIdleExit,
  rcuQuiescent,
  rcuReadLock,
  rcuReadUnlock,
  struct,
  synchronizeRcu,
  text,
} from "../../rcu/index.ts";

const Job = struct("walk test job", { id: fixed(), link: listNode() });

function inHeap(run: (heap: Heap) => void): void {
  const heap = Heap.create({ bytes: 8 << 20, debug: true });
  try {
    run(heap);
  } finally {
    heap.use().detach();
  }
}
const BEYOND = { code: "ERR_RCU_OUTSIDE_SCOPE" };

/** Each collection with 1, 2, 3 in it, as an iterator over those. */
const MAKERS: Record<string, () => (scope: RcuScope) => RcuWalk<unknown>> = {
  "RcuHashMap.keys"() {
    const map = new RcuHashMap();
    for (const key of [1, 2, 3]) map.insert(key, key * 10);
    return (scope) => map.keys(scope);
  },
  "RcuHashMap.values"() {
    const map = new RcuHashMap<string, number>({ key: text() });
    for (const value of [1, 2, 3]) map.insert(`key ${value}`, value);
    return (scope) => map.values(scope);
  },
  "RcuLockFreeMap.keys"() {
    const map = new RcuLockFreeMap();
    for (const key of [1, 2, 3]) map.insert(key, key * 10);
    return (scope) => map.keys(scope);
  },
  "RcuLockFreeMap.duplicates"() {
    const map = new RcuLockFreeMap<string, number>({ key: text() });
    for (const value of [1, 2, 3]) map.addDuplicate("key", value);
    return (scope) => map.duplicates(scope, "key");
  },
  "RcuLockFreeQueue.values"() {
    const queue = new RcuLockFreeQueue();
    for (const value of [1, 2, 3]) queue.enqueue(value);
    return (scope) => queue.values(scope);
  },
  "RcuLockFreeStack.values"() {
    const stack = new RcuLockFreeStack();
    for (const value of [3, 2, 1]) stack.push(value);
    return (scope) => stack.values(scope);
  },
  "RcuCache.values"() {
    const cache = new RcuCache({ capacity: 3 });
    for (const value of [0, 1, 2, 3]) cache.insert(value, value);
    return (scope) => cache.values(scope);
  },
  "RcuList.values"() {
    const list = new RcuList();
    for (const value of [1, 2, 3]) list.push(value);
    return (scope) => list.values(scope);
  },
  "RcuIntrusiveList.values"() {
    const jobs = new RcuIntrusiveList(Job, Job.link);
    for (const id of [1, 2, 3]) {
      const job = alloc(Job);
      Job.id.init(job, id);
      jobs.push(job);
    }
    return (scope) => jobs.values(scope);
  },
  "RcuArray.values"() {
    const array = new RcuArray<string>({ length: 5, value: text() });
    for (const [n, value] of ["1", "2", "3"].entries()) array.set(n + 1, value);
    return (scope) => array.values(scope);
  },
  "Idr.entries"() {
    const idr = new Idr();
    for (const id of [1, 70, 9000]) idr.alloc(id, id);
    return (scope) => idr.entries(scope);
  },
};
const plain = (value: unknown): number =>
  Array.isArray(value)
    ? [1, 70, 9000].indexOf(value[1]) + 1
    : Number(value) < 4
      ? Number(value)
      : Job.id.get(value as Ref<"walk test job">);

for (const [name, make] of Object.entries(MAKERS)) {
  test.serial(`${name}: all, some of it, and what a loop that throws leaves behind`, (t) =>
    inHeap(() => {
      const values = make();
      const scope = rcuReadLock();
      t.deepEqual([...values(scope)].map(plain).sort(), [1, 2, 3]);
      t.is(values(scope).map(plain).take(2).toArray().length, 2);
      const broken = values(scope);
      for (const _ of broken) break;
      t.true(broken.next().done, "a loop that was left has ended it");
      t.throws(
        () => {
          for (const _ of values(scope)) throw new Error("in the loop");
        },
        { message: "in the loop" },
      );
      t.deepEqual([...values(scope)].map(plain).sort(), [1, 2, 3]);
      rcuReadUnlock();
      rcuQuiescent(); // Throws if a scope was left open.
      t.pass();
    }),
  );

  test.serial(`${name}: beyond its scope it throws, however that ended`, (t) =>
    inHeap((heap) => {
      const values = make();
      const endings: Record<string, (walk: RcuWalk<unknown>) => void> = {
        "no scope is open": () => {},
        "a grace period later": () => {
          synchronizeRcu();
          rcuReadLock();
        },
        "the thread was idle": () => {
          rcuIdleEnter();
          rcuIdleExit();
          rcuReadLock();
        },
        "in another heap": () => {
          Heap.create({ bytes: 8 << 20 });
          rcuReadLock();
        },
      };
      for (const [how, end] of Object.entries(endings)) {
        const walk = values(rcuReadLock());
        walk.next();
        rcuReadUnlock();
        end(walk);
        t.throws(() => walk.next(), BEYOND, how);
        t.true(walk.next().done, "and is over then");
        if (how !== "no scope is open") rcuReadUnlock();
        heap.use();
      }
      let kept: RcuWalk<unknown>;
      const around = rcuReadLock();
      {
        using scope = new RcuReadScope();
        kept = values(scope);
        kept.next();
      }
      t.throws(() => kept.next(), BEYOND, "its RcuReadScope is closed, another scope is open");
      t.false(values(around).next().done);
      rcuReadUnlock();
    }),
  );
}

for (const announce of [false, true])
  test.serial(`an iterator of one run is of no use in the next one (announcing: ${announce})`, (t) => {
    const domain = RcuDomain.create({ bytes: 8 << 20, announce });
    try {
      const map = new RcuHashMap();
      for (let key = 0; key < 10; key++) map.insert(key, key);
      let kept = domain.run((scope) => map.entries(scope));
      domain.run(() => t.throws(() => kept.next(), BEYOND));
      domain.run((scope) => {
        kept = map.entries(scope);
        domain.run(() => t.false(kept.next().done, "a scope within"));
        t.false(kept.next().done);
      });
      t.throws(() => kept.next(), BEYOND);
    } finally {
      domain.unregisterThread();
    }
  });

test.serial(
  "an iterator goes on while its collection changes: what stays is seen once, and nothing twice",
  (t) =>
    inHeap(() => {
      const map = new RcuHashMap();
      for (let key = 0; key < 100; key++) map.insert(key, key);
      const scope = rcuReadLock();
      const seen: number[] = [];
      for (const [key, value] of map.entries(scope)) {
        t.is(value % 1000, key % 1000);
        seen.push(key);
        map.remove(key);
        for (let n = 0; n < 20; n++) map.insert(1000 + key * 20 + n, 1000 + key * 20 + n); // It grows meanwhile.
      }
      t.is(new Set(seen).size, seen.length);
      t.deepEqual(
        seen.filter((key) => key < 100).sort((a, b) => a - b),
        Array.from({ length: 100 }, (_, n) => n),
      );
      const list = new RcuList();
      for (const n of [1, 2, 3, 4]) list.push(n);
      const walked: number[] = [];
      for (const [cursor, n] of list.entries(scope)) {
        walked.push(n);
        list.remove(scope, cursor);
        if (n === 2) list.push(5);
      }
      t.deepEqual(walked, [1, 2, 3, 4, 5]);
      t.true(list.isEmpty());
      rcuReadUnlock();
    }),
);

test.serial("some() stops where its test says so", (t) =>
  inHeap(() => {
    const scope = rcuReadLock();
    const list = new RcuList();
    const array = new RcuArray<number>({ length: 3, value: int() });
    const idr = new Idr();
    const map = new RcuHashMap();
    const cache = new RcuCache({ capacity: 2 });
    for (const n of [1, 2, 3]) {
      list.push(n);
      array.set(n - 1, n);
      idr.alloc(n);
      map.insert(n, n);
      t.is(cache.insert(n, n) === EVICTED, n === 3);
    }
    let looks = 0;
    const two = (value: number): boolean => ++looks > 0 && value === 2;
    t.true(list.some(scope, two));
    t.is(looks, 2);
    t.true(array.some(scope, two));
    t.true(idr.some(scope, (_id, value) => two(value)));
    t.is(looks, 6);
    t.true(map.some(scope, (_key, value) => two(value)));
    t.true(cache.some(scope, (_key, value) => two(value)));
    for (const none of [list, array]) t.false(none.some(scope, (value: number) => value === 9));
    for (const none of [idr, map, cache])
      t.false(none.some(scope, (_key: number, value: number) => value === 9));
    rcuReadUnlock();
  }),
);
