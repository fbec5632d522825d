import test from "ava";
import {
  type Arc,
  arcGet,
  arcNew,
  blob,
  double,
  free,
  Heap,
  HeapFullError,
  Idr,
  int,
  type Kind,
  own,
  RcuArc,
  RcuArray,
  RcuAtomic,
  RcuBox,
  RcuCache,
  RcuDomain,
  RcuHashMap,
  RcuIntrusiveList,
  RcuList,
  RcuLockFreeMap,
  RcuOptionArc,
  RcuOptionBox,
  RcuPtr,
  type RcuScope,
  RcuString,
  rcuBarrier,
  rcuQuiescent,
  rcuReadLock,
  rcuReadUnlock,
  text,
  type Value,
} from "../../rcu/index.ts";
import { Animal, type AnimalRef, animal } from "./zoo.ts";

/** A collection that is filled with values by number. */
interface Store {
  /** Throws HeapFullError. */
  put(n: number): void;
  take(n: number): void;
  /** Everything that is in it, by number. */
  entries(scope: RcuScope): Map<number, Value>;
  make(n: number): Value;
}
interface Values {
  readonly value: Kind<Value>;
  make(n: number): Value;
}
const values = <V extends Value>(value: Kind<V>, make: (n: number) => V): Values =>
  ({ value, make }) as unknown as Values;

const VALUES: Record<string, Values> = {
  int: values(int(), (n) => n + 1),
  double: values(double(), (n) => (n + 1) / 3),
  text: values(text(), (n) => `${n} ${"x".repeat((n * 37) % 700)}`),
  blob: values(blob(), (n) => new Uint8Array((n * 61) % 900).fill(n)),
};

const STORES: Record<string, (of: Values) => Store> = {
  RcuHashMap({ value, make }) {
    const map = new RcuHashMap<string, Value>({ key: text(), value });
    return {
      make,
      put: (n) => map.insert(`key ${n}`, make(n)),
      take: (n) => map.delete(`key ${n}`),
      entries(scope) {
        const seen = new Map<number, Value>();
        map.forEach(scope, (key, each) => seen.set(Number(key.slice(4)), each));
        return seen;
      },
    };
  },
  RcuLockFreeMap({ value, make }) {
    const map = new RcuLockFreeMap<string, Value>({ key: text(), value });
    return {
      make,
      put: (n) => map.insert(`key ${n}`, make(n)),
      take: (n) => map.delete(`key ${n}`),
      entries(scope) {
        const seen = new Map<number, Value>();
        map.forEach(scope, (key, each) => seen.set(Number(key.slice(4)), each));
        return seen;
      },
    };
  },
  RcuCache({ value, make }) {
    const cache = new RcuCache<number, Value>({ capacity: 1 << 20, value });
    return {
      make,
      put: (n) => cache.insert(n, make(n)),
      take: (n) => cache.delete(n),
      entries(scope) {
        const seen = new Map<number, Value>();
        cache.forEach(scope, (key, each) => seen.set(key, each));
        return seen;
      },
    };
  },
  Idr({ value, make }) {
    const idr = new Idr<Value>({ value });
    return {
      make,
      put: (n) => idr.alloc(make(n), n * 5, n * 5 + 1),
      take: (n) => idr.remove(n * 5),
      entries(scope) {
        const seen = new Map<number, Value>();
        idr.forEach(scope, (id, each) => seen.set(id / 5, each));
        return seen;
      },
    };
  },
  RcuList({ value, make }) {
    const list = new RcuList<Value>({ value });
    // The numbers of the entries, in the list's order.
    const numbers: number[] = [];
    return {
      make,
      put(n) {
        list.push(make(n));
        numbers.push(n);
      },
      take(n) {
        const scope = rcuReadLock();
        const place = numbers.indexOf(n);
        let cursor = list.first(scope);
        for (let at = 0; at < place && cursor !== 0; at++) cursor = list.next(scope, cursor);
        if (cursor !== 0 && list.remove(scope, cursor)) numbers.splice(place, 1);
        rcuReadUnlock();
      },
      entries(scope) {
        const seen = new Map<number, Value>();
        let place = 0;
        list.forEach(scope, (each) => seen.set(numbers[place++]!, each));
        return seen;
      },
    };
  },
  RcuArray({ value, make }) {
    const array = new RcuArray<Value>({ length: 400_000, value });
    return {
      make,
      put(n) {
        if (!array.set(n, make(n))) throw new Error(`the heap has room for ${n} values`);
      },
      take: () => {},
      entries(scope) {
        const seen = new Map<number, Value>();
        array.forEach(scope, (each, n) => {
          if (each !== 0) seen.set(n, each);
        });
        return seen;
      },
    };
  },
};

for (const [name, open] of Object.entries(STORES))
  for (const [kind, of] of Object.entries(VALUES)) {
    if (name === "RcuArray" && kind === "int") continue; // Setting an integer takes no memory.
    test.serial(
      `${name} of ${kind}: a full heap refuses what comes, keeps what is there, has room after removals`,
      (t) => {
        const heap = Heap.create({ bytes: 4 << 20, debug: true });
        const store = open(of);
        let count = 0;
        const full = { instanceOf: HeapFullError, code: "ERR_RCU_HEAP_FULL" } as const;
        const error = t.throws(() => {
          for (; ; count++) {
            store.put(count);
            if (count % 64 === 0) rcuQuiescent(); // Or the map would not grow.
          }
        }, full);
        t.regex(error.message, new RegExp(`^${name}<.*full; create it with more bytes, or remove something`));
        for (let n = 0; n < 20; n++) t.throws(() => store.put(count), full);
        const holdsAll = (): void => {
          const entries = store.entries(rcuReadLock());
          rcuReadUnlock();
          t.is(entries.size, count);
          for (const [n, value] of entries)
            if (!same(value, of.make(n))) t.deepEqual(value, of.make(n), `entry ${n}`);
        };
        holdsAll();
        t.true(count > 100);
        const gone = name === "RcuArray" ? [] : Array.from({ length: 60 }, (_, n) => n * 3);
        for (const n of gone) store.take(n);
        rcuBarrier();
        for (const n of gone) store.put(n);
        holdsAll();
        heap.detach();
      },
    );
  }

const same = (a: Value, b: Value): boolean =>
  typeof a === "object" && typeof b === "object" ? Buffer.compare(a, b) === 0 : a === b;

test.serial("cells of a full heap keep their value, and take another when there is room", (t) => {
  const heap = Heap.create({ bytes: 5 << 20, debug: true });
  const string = new RcuString("before");
  const number = new RcuAtomic(0.5);
  const array = new RcuArray(10);
  const first = animal(1);
  const box = new RcuBox(Animal, first);
  const arc = new RcuArc(arcNew(Animal, animal(2)) as Arc<"zoo animal">);
  const owner = new RcuHashMap<number, AnimalRef>({ value: own(Animal) });
  owner.insert(1, animal(3));
  const spare = animal(4);
  // Every size class is used up, the pages first.
  const filling: RcuString[] = [];
  for (let size = 1 << 20; size >= 1; size = size >> 1)
    t.throws(
      () => {
        for (;;) filling.push(new RcuString("x".repeat(size)));
      },
      { instanceOf: HeapFullError },
    );
  t.throws(
    () => {
      for (;;) new RcuAtomic(1);
    },
    { instanceOf: HeapFullError },
  );
  t.throws(() => {
    for (let key = 2; ; key++) owner.insert(key, animal(key));
  });
  const full = { instanceOf: HeapFullError } as const;
  t.throws(() => string.set("x".repeat(5000)), full);
  t.throws(() => array.resize(100_000), full);
  t.throws(() => new RcuArray(100_000), full);
  t.throws(() => {
    for (;;) new RcuPtr();
  }, full);
  t.throws(() => {
    for (;;) number.set(1);
  }, full);
  t.throws(() => new RcuString("new"), full);
  t.throws(() => new RcuBox(Animal, spare), full);
  t.throws(() => new RcuOptionBox(Animal), full);
  t.throws(() => {
    for (;;) new RcuOptionArc<"zoo animal">();
  }, full);
  t.throws(() => {
    for (;;) new RcuIntrusiveList(Animal, Animal.link);
  }, full);
  const scope = rcuReadLock();
  t.is(string.get(scope), "before");
  t.true([0.5, 1].includes(number.get(scope)));
  t.is(array.length(scope), 10);
  t.is(Animal.legs.get(box.get(scope)), 1);
  t.is(Animal.legs.get(arc.get(scope)), 2);
  t.is(Animal.legs.get(owner.get(scope, 1) as AnimalRef), 3);
  t.is(Animal.legs.get(spare), 4, "what a constructor refused is still the caller's");
  rcuReadUnlock();
  free(Animal, spare);
  for (const each of filling) each.destroy();
  rcuBarrier();
  string.set("after");
  number.set(2.5);
  array.resize(20);
  box.update(animal(5));
  const fresh = arcNew(Animal, animal(6)) as Arc<"zoo animal">;
  arc.update(fresh);
  t.is(Animal.legs.get(arcGet(fresh)), 6);
  const again = rcuReadLock();
  t.deepEqual([string.get(again), number.get(again), array.length(again)], ["after", 2.5, 20]);
  rcuReadUnlock();
  heap.detach();
});

/** Puts texts in until the heap is full. */
function fillWith(map: RcuHashMap<number, string>, text: string): number {
  for (let key = 0; ; key++)
    try {
      map.insert(key, text);
    } catch (error) {
      if (error instanceof HeapFullError) return key;
      throw error;
    }
}

test.serial("the memory of what a domain has freed serves objects of another size", (t) => {
  const domain = RcuDomain.create({ bytes: 7 << 20 });
  const small = "x".repeat(40);
  const large = "x".repeat(3000);
  const map = new RcuHashMap<number, string>({ value: text() });
  const fresh = fillWith(map, large);
  map.clear();
  t.true(fillWith(map, small) > 10 * fresh);
  map.clear();
  domain.barrier();
  const again = fillWith(map, large);
  t.true(again > 0.9 * fresh, `${again} of ${fresh} entries found room`);
  map.clear();
  t.notThrows(() => new RcuArray(100_000), "a large run of pages, too");
  domain.unregisterThread();
});
