/** RcuLockFreeMap: what it holds, on one thread and on several, while it grows and shrinks, and when threads die in it. */
import { once } from "node:events";
import { Worker } from "node:worker_threads";
import test, { type ExecutionContext } from "ava";
import fc from "fast-check";
import {
  alloc,
  FULL,
  fixed,
  Heap,
  HeapFullError,
  INSERTED,
  int,
  liveObjects,
  own,
  RcuDomain,
  RcuLockFreeMap,
  type RcuScope,
  type Ref,
  rcuBarrier,
  rcuIdleEnter,
  rcuIdleExit,
  rcuQuiescent,
  rcuReadLock,
  rcuReadUnlock,
  rcuRunCallbacks,
  rcuStats,
  spinlock,
  struct,
  synchronizeRcu,
  text,
  tryAllocArray,
  UPDATED,
  WrongTypeError,
} from "../../rcu/index.ts";
import { declaredStructs, releaseLocks } from "../../rcu/kernel.ts";

const Thing = struct("lock-free test thing", { x: fixed(), y: fixed() });
const Locked = struct("lock-free test locked", { lock: spinlock() });

function inHeap(run: (heap: Heap) => void, bytes = 32 << 20, debug = true): void {
  const heap = Heap.create({ bytes, debug });
  try {
    run(heap);
  } finally {
    heap.use().detach();
  }
}
const pause = (): void => {
  rcuQuiescent();
  rcuRunCallbacks();
};
function inScope<T>(look: (scope: RcuScope) => T): T {
  const value = look(rcuReadLock());
  rcuReadUnlock();
  return value;
}
const nodes = (): number => liveObjects(declaredStructs.get("rcu_lock_free_node")!);

/** Every entry of the map, by key, oldest first. */
const contents = <K extends number | string>(map: RcuLockFreeMap<K, number>): Map<K, number[]> =>
  inScope((scope) => {
    const seen = new Map<K, number[]>();
    for (const [key, value] of map.entries(scope)) seen.set(key, [...(seen.get(key) ?? []), value]);
    return seen;
  });
const sorted = <K>(entries: Map<K, unknown>): [K, unknown][] =>
  [...entries].toSorted(([a], [b]) => (a < b ? -1 : 1));

interface Case<K extends number | string> {
  readonly name: string;
  open(): RcuLockFreeMap<K, number>;
  key(n: number): K;
}
const CASES: readonly Case<never>[] = [
  { name: "integers", open: () => new RcuLockFreeMap({ buckets: 4 }), key: (n: number) => n },
  {
    name: "strings",
    open: () => new RcuLockFreeMap<string, number>({ key: text(), buckets: 4 }),
    key: (n: number) => `key ${n}`,
  },
  {
    name: "integers of three hashes",
    open: () => new RcuLockFreeMap({ buckets: 4, hasher: (key) => key % 3 }),
    key: (n: number) => n,
  },
  {
    name: "strings of three hashes",
    open: () =>
      new RcuLockFreeMap<string, number>({ key: text(), buckets: 4, hasher: (key) => key.length % 3 }),
    key: (n: number) => `key ${n}`,
  },
] as unknown as readonly Case<never>[];

const OPS = [
  "insert",
  "exchange",
  "addUnique",
  "insertNew",
  "duplicate",
  "replace",
  "replaceIf",
  "update",
  "remove",
  "delete",
  "removeIf",
  "removeAll",
] as const;

/** One step on the map and on the model, whose values are lists, oldest first. */
function step<K extends number | string>(
  t: ExecutionContext,
  map: RcuLockFreeMap<K, number>,
  model: Map<K, number[]>,
  op: (typeof OPS)[number],
  key: K,
  value: number,
): void {
  const there = model.get(key) ?? [];
  const odd = (one: number): boolean => one % 2 !== 0;
  const firstOdd = there.findIndex(odd);
  const before = there[0];
  switch (op) {
    case "insert":
      t.is(map.insert(key, value), before === undefined ? INSERTED : UPDATED);
      there[0] = value;
      break;
    case "exchange":
      t.is(map.exchange(key, value), before);
      there[0] = value;
      break;
    case "addUnique":
      t.is(map.addUnique(key, value), before);
      if (before === undefined) there.push(value);
      break;
    case "insertNew":
      t.is(map.tryInsertNew(key, value), before === undefined ? INSERTED : UPDATED);
      if (before === undefined) there.push(value);
      break;
    case "duplicate":
      map.addDuplicate(key, value);
      there.push(value);
      break;
    case "replace":
      t.is(map.replace(key, value), before);
      if (before !== undefined) there[0] = value;
      break;
    case "replaceIf":
      t.is(map.replaceIf(key, odd, value), firstOdd >= 0);
      if (firstOdd >= 0) there[firstOdd] = value;
      break;
    case "update":
      t.is(
        map.update(key, (old) => (old + value) | 0),
        before === undefined ? undefined : (before + value) | 0,
      );
      if (before !== undefined) there[0] = (before + value) | 0;
      break;
    case "remove":
      t.is(map.remove(key), there.shift());
      break;
    case "delete":
      t.is(map.delete(key), there.shift() !== undefined);
      break;
    case "removeIf":
      t.is(map.removeIf(key, odd), firstOdd < 0 ? undefined : there.splice(firstOdd, 1)[0]);
      break;
    case "removeAll":
      t.is(map.removeAll(key), there.length);
      there.length = 0;
  }
  if (there.length === 0) model.delete(key);
  else model.set(key, there);
  inScope((scope) => {
    t.is(map.get(scope, key), there[0]);
    t.is(map.has(scope, key), there.length > 0);
    t.is(map.lookup(scope, key), there[0] ?? 0);
    t.deepEqual([...map.duplicates(scope, key)], there);
  });
}

for (const one of CASES)
  test.serial(`it behaves like a Map of lists, through growth and shrinking: ${one.name}`, (t) => {
    const { open, key } = one as unknown as Case<string>;
    inHeap(() => {
      const command = fc.record({
        op: fc.constantFrom(...OPS),
        key: fc.integer({ min: 0, max: 60 }),
        value: fc.integer({ min: 1, max: 1000 }),
        pause: fc.boolean(),
      });
      fc.assert(
        fc.property(fc.array(command, { maxLength: 250, size: "max" }), fc.nat(300), (commands, more) => {
          const map = open();
          const model = new Map<string, number[]>();
          for (const { op, key: n, value, pause: pauses } of commands) {
            step(t, map, model, op, key(n), value);
            if (pauses) pause();
          }
          for (let n = 0; n < more; n++) step(t, map, model, "duplicate", key(100 + n), n);
          t.deepEqual(sorted(contents(map)), sorted(model));
          t.is(map.size, [...model.values()].flat().length);
          for (let n = 0; n < more; n++) {
            step(t, map, model, "remove", key(100 + n), 0);
            if (n % 4 === 0) pause();
          }
          t.deepEqual(sorted(contents(map)), sorted(model));
          map.clear();
          t.is(map.size, 0);
          t.is(contents(map).size, 0);
          map.destroy();
          rcuBarrier();
          t.is(nodes(), 0);
        }),
        { numRuns: 15 },
      );
    });
  });

test.serial("a table fits its entries; it shrinks while updates come, and resize() completes it", (t) => {
  inHeap(() => {
    const map = new RcuLockFreeMap();
    t.is(map.buckets, 16);
    for (let key = 0; key < 10_000; key++) map.insert(key, key);
    t.is(map.size, 10_000);
    t.true(map.buckets >= 8192 && map.buckets <= 16_384, `${map.buckets}`);
    for (let key = 0; key < 10_000; key++) {
      t.is(map.remove(key), key);
      if (key % 8 === 0) pause();
    }
    t.true(map.buckets <= 64, `${map.buckets} buckets for no entry`);
    while (!map.resize(16)) pause();
    t.is(map.buckets, 16);
    t.true(map.resize(1000), "growing waits for nothing");
    t.is(map.buckets, 1024);
    for (let key = 0; key < 1000; key++) map.insert(key, key);
    for (let key = 0; key < 1000; key++)
      t.is(
        inScope((scope) => map.get(scope, key)),
        key,
      );
    t.true(map.resize(1 << 12));
    for (let key = 0; key < 990; key++) map.delete(key);
    for (let n = 0; n < 10; n++) pause();
    t.is(map.buckets, 1 << 12, "those that were asked for stay");
    while (!map.resize(4)) pause();
    t.is(map.buckets, 16, "those that it was made with stay too");
    t.is(contents(map).size, 10);
    map.destroy();
    rcuBarrier();
    t.is(nodes(), 0);
  });
});

test.serial("readers who began before a table shrank hold it up, and nobody waits for them", (t) => {
  inHeap((heap) => {
    const map = new RcuLockFreeMap({ buckets: 4 });
    for (let key = 0; key < 500; key++) map.insert(key, key);
    map.resize(4096);
    pause();
    const other = Heap.attach(heap.handle());
    const there = new RcuLockFreeMap({ at: map.handle() });
    const scope = rcuReadLock();
    t.is(there.get(scope, 7), 7);
    heap.use();
    for (let n = 0; n < 5; n++) {
      t.false(map.resize(4), "the reader is still there");
      pause();
    }
    t.is(map.buckets, 512, "but those who come now begin at fewer buckets");
    map.insert(1000, 1);
    other.use();
    t.is(there.get(scope, 1000), 1);
    rcuReadUnlock();
    rcuQuiescent();
    heap.use();
    while (!map.resize(4)) {
      pause();
      other.use();
      rcuQuiescent();
      heap.use();
    }
    t.is(contents(map).size, 501);
    other.use().detach();
    heap.use();
  });
});

test.serial("a full heap: the table stays as it is, chains grow longer, removals make room", (t) => {
  inHeap((heap) => {
    const map = new RcuLockFreeMap<number, string>({ value: text(), buckets: 4 });
    const hogs: number[] = [];
    for (let key = 0; key < 200; key++) map.insert(key, `value ${key}`);
    for (let size = 1 << 20; size >= 8; size >>= 1)
      for (let hog = tryAllocArray(size); hog !== 0; hog = tryAllocArray(size)) hogs.push(hog);
    const { buckets } = map;
    let key = 200;
    while (map.tryInsert(key, `value ${key}`) !== FULL) key++;
    t.true(map.buckets === buckets || map.buckets === 2 * buckets);
    const full = { instanceOf: HeapFullError };
    t.throws(() => map.insert(key, "x".repeat(100)), full);
    t.throws(() => map.exchange(1, "x".repeat(100)), full);
    t.throws(() => map.addUnique(key, "x".repeat(100)), full);
    t.throws(() => map.addDuplicate(1, "x".repeat(100)), full);
    t.throws(() => map.replace(1, "x".repeat(100)), full);
    t.throws(() => map.update(1, () => "x".repeat(100)), full);
    t.throws(() => map.replaceIf(1, () => true, "x".repeat(100)), full);
    t.throws(() => map.resize(1 << 16), full);
    t.is(RcuLockFreeMap.tryCreate({ buckets: 1 << 16 }), null);
    t.is(map.addUnique(1, "another"), "value 1", "what is there needs no memory");
    t.is(map.size, key);
    for (let n = 0; n < key; n++)
      t.is(
        inScope((scope) => map.get(scope, n)),
        `value ${n}`,
      );
    for (let n = 0; n < 50; n++) t.is(map.remove(n), `value ${n}`);
    rcuBarrier();
    for (let n = 0; n < 50; n++) t.is(map.insert(n, `value ${n}`), INSERTED);
    t.is(map.size, key);
    t.is(heap.slot, 0);
  }, 4 << 20);
});

test.serial(
  "what it owns is freed once, after a grace period; a copy takes an object's place in one step",
  (t) => {
    inHeap(() => {
      const thing = (x: number): Ref<"lock-free test thing"> => {
        const ref = alloc(Thing);
        Thing.x.init(ref, x);
        return ref;
      };
      const map = new RcuLockFreeMap({ key: text(), value: own(Thing) });
      map.insert("one", thing(1));
      map.insert("two", thing(2));
      map.addDuplicate("two", thing(3));
      const scope = rcuReadLock();
      const old = map.get(scope, "one")!;
      t.true(map.updateCopy("one", (copy) => Thing.x.init(copy, 10)));
      t.is(Thing.x.get(old), 1, "readers of the old one go on");
      t.is(Thing.x.get(map.get(scope, "one")!), 10);
      t.is(Thing.x.get(map.remove("two")!), 2);
      rcuReadUnlock();
      t.false(map.updateCopy("three", () => t.fail()));
      t.throws(
        () =>
          map.updateCopy("one", () => {
            throw new Error("no");
          }),
        { message: "no" },
      );
      t.is(
        inScope((scope) => Thing.x.get(map.get(scope, "one")!)),
        10,
      );
      rcuBarrier();
      t.is(liveObjects(Thing), 2);
      map.destroy();
      rcuBarrier();
      t.is(liveObjects(Thing), 0);
      const ints = new RcuLockFreeMap();
      ints.insert(1, 1);
      t.throws(() => ints.updateCopy(1, () => {}), { instanceOf: WrongTypeError });
      const locks = new RcuLockFreeMap<number, Ref<"lock-free test locked">>({ value: own(Locked) });
      locks.insert(1, alloc(Locked));
      t.throws(() => locks.updateCopy(1, () => {}), { instanceOf: WrongTypeError });
    });
  },
);

test.serial("keys and values of the wrong type change nothing and leak nothing", (t) => {
  inHeap(() => {
    const wrong = { instanceOf: WrongTypeError };
    const map = new RcuLockFreeMap<number, string>({ value: text() });
    for (const use of [
      () => map.insert(1.5, "a"),
      () => map.insert("x" as never, "a"),
      () => map.insert(1, 7 as never),
      () => map.addDuplicate(1, 7 as never),
      () => map.addUnique(1, "\ud800"),
    ])
      t.throws(use, wrong);
    t.is(map.size, 0);
    t.is(nodes(), 0);
    const names = new RcuLockFreeMap<string, number>({ key: text() });
    t.throws(() => names.insert(7 as never, 1), wrong);
    t.throws(() => names.insert("a", 0.5), wrong);
    t.throws(() => new RcuLockFreeMap({ key: text(), value: int(), at: map.ref }), wrong);
    t.throws(() => new RcuLockFreeMap({ at: names.ref }), wrong);
    t.is(names.size + nodes(), 0);
  });
});

test.serial("functions of the caller's run in the update: they may use the map, and throw", (t) => {
  inHeap(() => {
    const map = new RcuLockFreeMap();
    map.insert(1, 1);
    map.insert(2, 2);
    let runs = 0;
    t.is(
      map.update(1, (value) => {
        if (runs++ === 0) map.insert(1, 50); // Somebody else was faster.
        return value + 1;
      }),
      51,
    );
    t.is(runs, 2);
    t.is(
      map.removeIf(2, (value) => {
        map.delete(1);
        return value === 2;
      }),
      2,
    );
    t.is(map.size, 0);
    map.insert(3, 3);
    const boom = (): never => {
      throw new Error("boom");
    };
    t.throws(() => map.update(3, boom), { message: "boom" });
    t.throws(() => map.removeIf(3, boom), { message: "boom" });
    t.throws(() => map.replaceIf(3, boom, 4), { message: "boom" });
    pause(); // Throws if a scope is still open.
    t.is(
      inScope((scope) => map.get(scope, 3)),
      3,
    );
  });
});

test.serial(
  "updates of an idle thread, and of a domain outside of its scopes, are freed like others",
  async (t) => {
    inHeap(() => {
      const map = new RcuLockFreeMap();
      rcuIdleEnter();
      for (let n = 0; n < 3000; n++) {
        map.insert(n % 100, n);
        if (n % 3 === 0) map.delete(n % 100);
      }
      rcuIdleExit();
      rcuBarrier();
      t.is(nodes(), map.size);
      t.is(rcuStats().callbacksPending, 0);
    });
    for (const announce of [false, true]) {
      const domain = RcuDomain.create({ bytes: 8 << 20, announce });
      const map = new RcuLockFreeMap();
      for (let n = 0; n < 300_000; n++) map.insert(n % 1000, n); // Ten times what the heap holds.
      t.is(map.size, 1000);
      map.resize(4096);
      map.clear();
      while (!map.resize(16)) await domain.synchronize();
      domain.barrier();
      t.is(nodes(), 0);
      domain.unregisterThread();
    }
  },
);

test.serial("a thread that dies anywhere in an update leaves a whole table, and others go on", (t) => {
  const real = globalThis.Atomics;
  /** Runs `fn`, which dies before its n-th atomic operation; says whether it did. */
  const diesAt = (n: number, fn: () => void): boolean => {
    let left = n;
    globalThis.Atomics = new Proxy(real, {
      get(target, key) {
        if (left-- <= 0) throw new Error("dead");
        return Reflect.get(target, key) as unknown;
      },
    });
    try {
      fn();
      return false;
    } catch (error) {
      if ((error as Error).message !== "dead") throw error;
      return true;
    } finally {
      globalThis.Atomics = real;
    }
  };
  const lives: Record<string, (map: RcuLockFreeMap) => void> = {
    "insert, replace, remove"(map) {
      map.insert(1000, 1);
      map.insert(3, 30);
      map.remove(4);
    },
    "grow, shrink"(map) {
      map.resize(256);
      for (let n = 0; n < 5; n++) map.resize(4);
    },
    clear: (map) => map.clear(),
  };
  for (const [what, life] of Object.entries(lives)) {
    let n = 0;
    for (let dead = true; dead; n++) {
      const here = Heap.create({ bytes: 4 << 20 });
      const map = new RcuLockFreeMap({ buckets: 4 });
      for (let key = 0; key < 40; key++) map.insert(key, key);
      if (what !== "clear") map.resize(64);
      synchronizeRcu();
      const there = Heap.attach(here.handle());
      const theirs = new RcuLockFreeMap({ at: map.ref });
      there.use();
      here.use();
      rcuIdleEnter(); // Grace periods wait for the other one alone.
      there.use();
      dead = diesAt(n, () => life(theirs));
      releaseLocks(0); // Of the allocator: what becomes of those is tested elsewhere.
      here.use();
      rcuIdleExit();
      here.reap(there.slot);
      const left = contents(map);
      for (let key = 0; key < 40; key++) {
        const values = left.get(key) ?? [];
        const may = what === "clear" || (what !== "grow, shrink" && key === 4) ? [0, 1] : [1];
        if (!may.includes(values.length)) t.fail(`${what}, dead at ${n}: key ${key} has ${values}`);
        if (values.length === 1 && values[0] !== key && !(key === 3 && values[0] === 30)) t.fail(`${values}`);
      }
      // Others do what is left to be done.
      for (let key = 0; key < 200; key++) map.insert(key, -key);
      t.is(contents(map).size, left.has(1000) ? 201 : 200);
      for (const buckets of [512, 4])
        for (let tries = 0; !map.resize(buckets); tries++) {
          if (tries > 20) return t.fail(`${what}, dead at ${n}: it never has ${buckets} buckets`);
          pause();
        }
      map.clear();
      rcuBarrier();
      t.true(nodes() <= 1, `${what}, dead at ${n}: ${nodes()} nodes are lost`);
      here.detach();
    }
    t.true(n > 5, `${what}: ${n} places to die at`);
  }
});

for (const threads of [1, 2, 4])
  test.serial(`${threads} threads at once: nothing is lost, found twice, or freed too early`, async (t) => {
    const heap = Heap.create({ bytes: 64 << 20, debug: threads !== 2 });
    const counters = new RcuLockFreeMap({ buckets: 4 });
    const queue = new RcuLockFreeMap({ buckets: 4 });
    const names = new RcuLockFreeMap<string, string>({ key: text(), value: text(), buckets: 4 });
    for (let key = 0; key < 8; key++) counters.insert(key, 0);
    const rounds = 4000;
    const workers = Array.from(
      { length: threads },
      (_, id) =>
        new Worker(new URL("./lock-free-worker.ts", import.meta.url), {
          workerData: {
            heap: heap.handle(),
            counters: counters.ref,
            queue: queue.ref,
            names: names.ref,
            id,
            threads,
            rounds,
          },
        }),
    );
    rcuIdleEnter();
    const said = await Promise.all(workers.map(async (worker) => (await once(worker, "message"))[0]));
    rcuIdleExit();
    const wrong = said.flatMap((each) => each.wrong as string[]);
    t.deepEqual(wrong, []);
    // Every addition counts.
    for (let key = 0; key < 8; key++)
      t.is(
        inScope((scope) => counters.get(scope, key)),
        (threads * rounds) / 8,
      );
    // What was put in was taken out once, or is there.
    const taken = said.flatMap((each) => each.taken as number[]);
    const left = [...contents(queue).values()].flat();
    const all = [...taken, ...left].toSorted((a, b) => a - b);
    t.is(all.length, threads * rounds);
    t.deepEqual(
      all,
      Array.from({ length: threads * rounds }, (_, n) => n),
    );
    t.is(queue.size, left.length);
    // Of those who add the same key at once one succeeds.
    t.is(
      said.reduce((sum, each) => sum + (each.added as number) - (each.removed as number), 0),
      names.size,
    );
    for (const map of [counters, queue, names]) map.destroy();
    rcuBarrier();
    t.is(nodes(), 0);
    heap.detach();
  });
