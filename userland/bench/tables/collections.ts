/** The collections of sternix/rcu by themselves. */
import {
  arcNew,
  arrayGet,
  arraySet,
  fixed,
  Idr,
  RcuArc,
  RcuCache,
  RcuHashMap,
  RcuList,
  RcuLockFreeMap,
  type Ref,
  rcuReadLock,
  rcuReadUnlock,
  struct,
  tryAlloc,
  tryAllocArray,
} from "../../../rcu/index.ts";
import { need } from "../world.ts";
import { cellBytes, type TableBench } from "./table.ts";

/** A cell as small as those of the collections: what their callbacks free. */
const Object_ = struct("bench_object", { value: fixed(), a: fixed(), b: fixed(), c: fixed() });
const SMALL = cellBytes(Object_);

export const hashMap: TableBench = {
  name: "RcuHashMap",
  what: "get; a write removes the key and inserts it again",
  sizes: [64, 4096, 65536, 1 << 20],
  integers: true,
  deferredBytes: SMALL,
  build(entries) {
    const map = new RcuHashMap({ buckets: entries });
    for (let key = 0; key < entries; key++) map.insert(key, key + 1);
    return [map.ref];
  },
  open([at]) {
    const map = new RcuHashMap({ at: at! });
    return {
      read: (key) => {
        const value = map.lookup(rcuReadLock(), key);
        rcuReadUnlock();
        return value;
      },
      write: (key) => {
        const guard = map.lock();
        guard.remove(key);
        guard.insert(key, key + 1);
        guard.unlock();
        return 0;
      },
    };
  },
};

export const lockFreeMap: TableBench = {
  name: "RcuLockFreeMap",
  what: "get; a write removes the key and inserts it again",
  sizes: [64, 4096, 65536, 1 << 20],
  integers: true,
  deferredBytes: SMALL,
  build(entries) {
    const map = new RcuLockFreeMap({ buckets: entries });
    for (let key = 0; key < entries; key++) map.insert(key, key + 1);
    return [map.ref];
  },
  open([at]) {
    const map = new RcuLockFreeMap({ at: at! });
    return {
      read: (key) => {
        const value = map.lookup(rcuReadLock(), key);
        rcuReadUnlock();
        return value;
      },
      write: (key) => {
        map.delete(key);
        map.tryInsert(key, key + 1);
        return 0;
      },
    };
  },
};

export const cache: TableBench = {
  name: "RcuCache",
  what: "get; a write inserts a new key, which evicts the oldest",
  sizes: [64, 4096, 65536, 1 << 20],
  deferredBytes: SMALL,
  build(entries) {
    const made = new RcuCache({ capacity: entries });
    for (let key = 0; key < entries; key++) made.insert(key, key + 1);
    return [made.ref];
  },
  open([at], entries) {
    const opened = new RcuCache({ at: at! });
    let round = 0;
    return {
      read: (key) => {
        const value = opened.get(rcuReadLock(), key);
        rcuReadUnlock();
        return value ?? 0;
      },
      // Every entry number has two keys: one is in the cache, mostly.
      write: (key) => opened.insert(key + (++round & 1) * entries, key + 1),
    };
  },
};

export const list: TableBench = {
  name: "RcuList",
  what: "a walk over the whole list; a write removes the first and adds one at the end",
  sizes: [64, 1024],
  deferredBytes: SMALL,
  build(entries) {
    const made = new RcuList();
    for (let n = 0; n < entries; n++) made.push(n + 1);
    return [made.ref];
  },
  open([at]) {
    const opened = new RcuList({ at: at! });
    return {
      read: () => {
        const scope = rcuReadLock();
        let sum = 0;
        for (let place = opened.first(scope); place !== 0; place = opened.next(scope, place))
          sum += opened.value(scope, place);
        rcuReadUnlock();
        return sum;
      },
      write: (n) => {
        const scope = rcuReadLock();
        const first = opened.first(scope);
        if (first !== 0 && opened.remove(scope, first)) opened.push(n + 1);
        rcuReadUnlock();
        return 0;
      },
    };
  },
};

export const idr: TableBench = {
  name: "Idr",
  what: "get; a write removes the id and allocates it again",
  sizes: [64, 4096, 65536, 1 << 20],
  integers: true,
  deferredBytes: SMALL,
  build(entries) {
    const made = new Idr();
    for (let id = 0; id < entries; id++) made.alloc(id + 1);
    return [made.ref];
  },
  open([at]) {
    const opened = new Idr({ at: at! });
    return {
      read: (id) => {
        const value = opened.lookup(rcuReadLock(), id);
        rcuReadUnlock();
        return value;
      },
      write: (id) => {
        if (opened.remove(id) !== undefined) opened.alloc(id + 1, id, id + 1);
        return 0;
      },
    };
  },
};

export const arc: TableBench = {
  name: "RcuArc",
  what: "the object in a scope, without a count; a write replaces it",
  sizes: [64, 4096, 65536, 1 << 20],
  deferredBytes: SMALL,
  build(entries) {
    const cells = need(tryAllocArray(entries));
    for (let n = 0; n < entries; n++) {
      const object = need(tryAlloc(Object_)) as Ref<"bench_object">;
      arraySet(cells, n, new RcuArc(need(arcNew(Object_, object))).ref);
    }
    return [cells];
  },
  open([cells], entries) {
    const arcs = Array.from(
      { length: entries },
      (_, n) => new RcuArc<"bench_object">({ at: arrayGet(cells as Ref<"array">, n) }),
    );
    return {
      read: (n) => {
        const value = Object_.value.get(arcs[n]!.get(rcuReadLock()));
        rcuReadUnlock();
        return value;
      },
      write: (n) => {
        const object = need(tryAlloc(Object_)) as Ref<"bench_object">;
        Object_.value.init(object, n);
        arcs[n]!.update(need(arcNew(Object_, object)));
        return 0;
      },
    };
  },
};
