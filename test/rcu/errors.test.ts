import { once } from "node:events";
import { Worker } from "node:worker_threads";
import test from "ava";
import {
  cellGeneration,
  DeclarationError,
  double,
  fixed,
  free,
  Heap,
  HeapError,
  HeapFullError,
  Idr,
  kfreeRcu,
  own,
  RcuArray,
  RcuAtomic,
  RcuBox,
  RcuCache,
  RcuDomain,
  RcuDomainError,
  RcuError,
  RcuHashMap,
  RcuList,
  RcuPtr,
  RcuString,
  RcuUsageError,
  type Ref,
  rcu,
  rcuBarrier,
  rcuReadLock,
  rcuReadUnlock,
  ref,
  StaleReferenceError,
  spinlock,
  struct,
  synchronizeRcu,
  tagRef,
  text,
  tryAlloc,
  tryUntagRef,
  untagRef,
  WrongHeapError,
  WrongTypeError,
} from "../../rcu/index.ts";

const Route = struct("layout test route", { metric: fixed(), hops: fixed() });
const Road = struct("errors test road", { lock: spinlock(), best: rcu("layout test route") });
type RouteRef = Ref<"layout test route">;
const route = (metric = 0): RouteRef => {
  const made = tryAlloc(Route) as RouteRef;
  Route.metric.init(made, metric);
  return made;
};

function inHeap(run: (heap: Heap) => void, debug = true): void {
  const heap = Heap.create({ bytes: 8 << 20, debug });
  try {
    run(heap);
  } finally {
    heap.detach();
  }
}

test.serial("debug heap: a stale reference is found where it is followed, and its struct named", (t) => {
  inHeap(() => {
    const road = tryAlloc(Road) as Ref<"errors test road">;
    const stale = route(7);
    Road.best.init(road, stale);
    const scope = rcuReadLock();
    t.is(Route.metric.get(Road.best.deref(scope, road) as RouteRef), 7);
    rcuReadUnlock();
    kfreeRcu(Route, stale); // A bug: it is still reachable.
    rcuBarrier();
    const later = rcuReadLock();
    const found = Road.best.deref(later, road) as RouteRef;
    const expected = {
      instanceOf: StaleReferenceError,
      code: "ERR_RCU_USE_AFTER_FREE",
      message: /^struct layout test route: the object at \d+ was freed .* hold a read scope or a count/,
    } as const;
    t.throws(() => Route.metric.get(found), expected);
    rcuReadUnlock();
    free(Road, road);
    t.throws(() => Road.best.deref(later, road), { ...expected, message: /^struct errors test road/ });
    t.throws(() => Road.lock.lock(road), { ...expected, message: /^struct errors test road/ });
    t.throws(() => Route.metric.get(0 as RouteRef), { instanceOf: StaleReferenceError, message: /NULL/ });
  });
});

test.serial("a tagged reference knows its object from the next one in the same cell, in any heap", (t) => {
  for (const debug of [false, true])
    inHeap(() => {
      const first = route(1);
      const tag = tagRef(Route, first);
      const scope = rcuReadLock();
      t.is(untagRef(scope, Route, tag), first);
      rcuReadUnlock();
      for (let n = 1; n <= 300; n++) {
        free(Route, first);
        t.is(tryUntagRef(scope, Route, tag), 0, "freed");
        t.throws(() => untagRef(scope, Route, tag), {
          instanceOf: StaleReferenceError,
          code: "ERR_RCU_USE_AFTER_FREE",
          message: /^struct layout test route: .* its memory is free/,
        });
        t.is(route(2), first, "the cell is used again");
        t.is(cellGeneration(first), n);
        t.throws(() => untagRef(scope, Route, tag), { message: /its memory holds another one/ });
      }
      t.is(untagRef(scope, Route, tagRef(Route, first)), first);
      t.throws(() => tagRef(Route, tryAlloc(Road) as never), { instanceOf: WrongTypeError });
    }, debug);
});

test.serial("threads that load different versions of a struct are told, with both layouts", async (t) => {
  const heap = Heap.create({ bytes: 8 << 20 });
  route();
  const worker = new Worker(new URL("./layout-worker.ts", import.meta.url), {
    workerData: { buffer: heap.buffer },
  });
  const [said] = (await once(worker, "message")) as [Record<string, string>];
  t.is(said.name, "DeclarationError");
  t.is(said.code, "ERR_RCU_LAYOUT");
  t.regex(
    said.message!,
    /^struct layout test route is declared in two ways: every thread must load the same version/,
  );
  t.regex(said.message!, /Here: layout test route \{ hops: atomic at 0, metric: fixed at 1 \}/);
  t.regex(said.message!, /In the heap: layout test route \{ metric: fixed at 0, hops: fixed at 1 \}/);
  await once(worker, "exit");
  t.throws(() => struct("layout test route", {}), {
    instanceOf: DeclarationError,
    code: "ERR_RCU_DECLARED_TWICE",
  });
  heap.detach();
});

test.serial("a handle of another heap, or of another kind, is refused", (t) => {
  const home = Heap.create({ bytes: 8 << 20 });
  const map = new RcuHashMap<string, number>({ key: text(), value: double() });
  map.insert("pi", 3.14);
  const same = new RcuHashMap({ key: text(), value: double(), at: map.handle() });
  t.is(same.get(rcuReadLock(), "pi"), 3.14);
  rcuReadUnlock();
  const kinds = {
    instanceOf: WrongTypeError,
    code: "ERR_RCU_WRONG_KIND",
    message: /is RcuHashMap<text, double>: open it with the kinds it was made with/,
  } as const;
  t.throws(() => new RcuHashMap({ at: map.handle() }), kinds);
  t.throws(() => new RcuHashMap<string, string>({ key: text(), value: text(), at: map.ref }), kinds);
  t.throws(() => new RcuCache<string, number>({ key: text(), value: double(), at: map.ref }), kinds);
  t.throws(() => new RcuAtomic({ at: new RcuString("x").ref }), { message: /is RcuString/ });
  t.throws(() => new RcuBox(Road, { at: new RcuBox(Route, route()).handle() }), {
    code: "ERR_RCU_WRONG_KIND",
  });
  for (const open of [
    (at: number) => new RcuList({ at }),
    (at: number) => new Idr({ at }),
    (at: number) => new RcuArray({ at }),
    (at: number) => new RcuPtr({ at }),
  ]) {
    t.throws(() => open(map.ref), { instanceOf: WrongTypeError, code: "ERR_RCU_WRONG_STRUCT" });
    t.throws(() => open(1e9), { instanceOf: StaleReferenceError, message: /pass the ref or handle\(\)/ });
  }
  const abroad = Heap.create({ bytes: 8 << 20 });
  t.throws(() => new RcuHashMap({ key: text(), value: double(), at: map.handle() }), {
    instanceOf: WrongHeapError,
    code: "ERR_RCU_WRONG_HEAP",
  });
  t.throws(() => map.insert("e", 2.7), { instanceOf: WrongHeapError });
  abroad.detach();
  home.use();
  home.detach();
});

test.serial("keys and values of the wrong kind are refused, and change nothing", (t) => {
  inHeap(() => {
    const wrong = { instanceOf: WrongTypeError, code: "ERR_RCU_WRONG_KIND" } as const;
    const ints = new RcuHashMap();
    for (const bad of [1.5, 2 ** 31, Number.NaN, Infinity, "1", null, undefined, {}])
      for (const call of [
        () => ints.insert(bad as number, 1),
        () => ints.insert(1, bad as number),
        () => ints.lock().insert(1, bad as number),
        () => new RcuList().push(bad as number),
        () => new RcuCache({ capacity: 1 }).insert(1, bad as number),
        () => new RcuArray(1).set(0, bad as number),
        () => new Idr().alloc(bad as number),
      ]) {
        t.throws(call, wrong, String(bad));
        if (call.toString().includes("lock()")) ints.unlockTable();
      }
    t.is(ints.size, 0);
    const texts = new RcuHashMap<string, string>({ key: text(), value: text() });
    t.throws(() => texts.insert(1 as never, "a"), wrong);
    t.throws(() => texts.insert("a", new Uint8Array(1) as never), wrong);
    t.throws(() => texts.insert("\ud800", "a"), { ...wrong, message: /lone surrogate/ });
    t.throws(() => texts.get(rcuReadLock(), 1 as never), wrong);
    rcuReadUnlock();
    t.throws(() => new RcuAtomic("1" as never), wrong);
    const routes = new RcuHashMap<number, RouteRef>({ value: ref(Route) });
    t.throws(() => routes.insert(1, tryAlloc(Road) as never), {
      instanceOf: WrongTypeError,
      code: "ERR_RCU_WRONG_STRUCT",
      message: /not an object of struct layout test route/,
    });
    const gone = route();
    free(Route, gone);
    t.throws(() => routes.insert(1, gone), {
      instanceOf: StaleReferenceError,
      code: "ERR_RCU_USE_AFTER_FREE",
    });
    t.throws(() => new RcuBox(Route, gone), { code: "ERR_RCU_USE_AFTER_FREE" });
    t.throws(() => routes.insert(1, (route() + 1) as RouteRef), {
      instanceOf: StaleReferenceError,
      message: /points into/,
    });
    t.is(routes.size, 0);
  });
});

test.serial(
  "an owning map frees what it replaces or removes, and leaves an object alone that is put in again",
  (t) => {
    inHeap(() => {
      const routes = new RcuHashMap<string, RouteRef>({ key: text(), value: own(Route) });
      const first = route(1);
      routes.insert("a", first);
      routes.insert("a", first);
      rcuBarrier();
      t.is(Route.metric.get(first), 1);
      routes.insert("a", route(2));
      rcuBarrier();
      t.throws(() => Route.metric.get(first), { code: "ERR_RCU_USE_AFTER_FREE" });
    });
  },
);

test.serial("every error is an RcuError with a code", (t) => {
  inHeap((heap) => {
    const codes: [() => unknown, string, typeof RcuError | typeof RcuDomainError | typeof HeapFullError][] = [
      [() => Heap.create({ bytes: 1 }), "ERR_RCU_HEAP_SIZE", HeapError],
      [() => Heap.attach({} as never), "ERR_RCU_BAD_HANDLE", HeapError],
      [() => heap.reap(heap.slot), "ERR_RCU_NOT_ATTACHED", RcuUsageError],
      [() => new RcuArray(1 << 28), "ERR_RCU_HEAP_FULL", HeapFullError],
      [() => new RcuArray(-1), "ERR_RCU_BAD_ARGUMENT", WrongTypeError],
      [() => new RcuCache({ capacity: 0 }), "ERR_RCU_BAD_ARGUMENT", WrongTypeError],
      [() => new Idr().alloc(1, -5), "ERR_RCU_BAD_ARGUMENT", WrongTypeError],
      [() => Road.lock.unlock(tryAlloc(Road) as never), "ERR_RCU_LOCK_PAIRING", RcuUsageError],
    ];
    for (const [call, code, type] of codes) {
      const error = t.throws(call, { instanceOf: type as typeof RcuError, code });
      t.true(error instanceof RcuError && error.message.length > 20, code);
      t.is(error?.name, type.name);
    }
    rcuReadLock();
    t.throws(synchronizeRcu, { instanceOf: RcuUsageError, code: "ERR_RCU_INSIDE_SCOPE" });
    rcuReadUnlock();
    const others = Array.from({ length: 249 }, () => Heap.attach(heap.handle()));
    t.throws(() => Heap.attach(heap.handle()), { instanceOf: HeapError, code: "ERR_RCU_TOO_MANY_THREADS" });
    for (const other of others) other.detach();
    heap.use();
  });
  const domain = RcuDomain.create({ bytes: 8 << 20 });
  t.throws(() => domain.exit(), { instanceOf: RcuDomainError, code: "ERR_RCU_DOMAIN" });
  domain.unregisterThread();
});
