/** The wrong heap, the wrong type, and what was given back already are errors, and nothing is written then. */
import test, { type ExecutionContext } from "ava";
import {
  arcNew,
  defineReclaimer,
  double,
  fixed,
  free,
  type Held,
  Idr,
  kfreeRcu,
  listAddHead,
  listAddTail,
  listDelInit,
  listDelRcu,
  listFirst,
  listIsEmpty,
  listNode,
  listReplaceRcu,
  listSpliceInitRcu,
  PercpuRef,
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
  RcuLockFreeQueue,
  RcuLockFreeStack,
  RcuOptionArc,
  RcuOptionBox,
  RcuPtr,
  type RcuScope,
  RcuString,
  RcuSync,
  type Ref,
  Srcu,
  type SrcuScope,
  struct,
  tagRef,
  text,
  tryAlloc,
  tryUntagRef,
  WaitFreeQueue,
} from "../../rcu/index.ts";
import { LINE_IDLE, SLOT, SLOT_RCU } from "../../rcu/layout.ts";

const Thing = struct("wrong-use thing", { link: listNode(), x: fixed() });
const Lists = struct("wrong-use lists", { one: listNode(), other: listNode() });
const nothing = defineReclaimer("wrong-use: nothing", () => {});

const thing = (): Ref<"wrong-use thing"> => tryAlloc(Thing) as Ref<"wrong-use thing">;

/** One of each, and what can be called on it: the calls that read and those that write. */
function everything(): {
  object: { destroy(...none: never[]): void };
  calls: Record<string, () => unknown>;
}[] {
  const scope = 1 as RcuScope;
  const map = new RcuHashMap();
  map.insert(1, 10);
  const strings = new RcuHashMap<string, string>({ key: text(), value: text() });
  strings.insert("a", "b");
  const free = new RcuLockFreeMap();
  free.insert(1, 10);
  const queue = new RcuLockFreeQueue();
  queue.enqueue(1);
  const stack = new RcuLockFreeStack();
  stack.push(1);
  const waitFree = new WaitFreeQueue();
  waitFree.enqueue(1);
  const cache = new RcuCache({ capacity: 4 });
  cache.insert(1, 10);
  const list = new RcuList();
  list.push(1);
  const first = list.first(scope) as never;
  const things = new RcuIntrusiveList(Thing, Thing.link);
  const one = thing();
  things.push(one);
  const idr = new Idr();
  idr.alloc(7);
  const array = new RcuArray(3);
  const pointer = new RcuPtr(thing());
  const box = new RcuBox(Thing, thing());
  const option = new RcuOptionBox(Thing, thing());
  const string = new RcuString("text");
  const number = new RcuAtomic(1.5);
  const arc = new RcuArc(arcNew(Thing, thing()) as never);
  const optionArc = new RcuOptionArc(arcNew(Thing, thing()) as never);
  const sync = new RcuSync();
  const srcu = new Srcu();
  const entered = srcu.readLock();
  srcu.readUnlock(srcu.readLock());
  const cookie = srcu.getState();
  return [
    {
      object: map,
      calls: {
        get: () => map.get(scope, 1),
        lookup: () => map.lookup(scope, 1),
        has: () => map.has(scope, 1),
        forEach: () => map.forEach(scope, () => {}),
        size: () => map.size,
        buckets: () => map.buckets,
        insert: () => map.insert(1, 11),
        tryInsertNew: () => map.tryInsertNew(2, 11),
        remove: () => map.remove(1),
        delete: () => map.delete(1),
        clear: () => map.clear(),
        lock: () => map.lock(),
      },
    },
    {
      object: strings,
      calls: {
        get: () => strings.get(scope, "a"),
        has: () => strings.has(scope, "a"),
        insert: () => strings.insert("a", "c"),
        remove: () => strings.remove("a"),
      },
    },
    {
      object: free,
      calls: {
        get: () => free.get(scope, 1),
        lookup: () => free.lookup(scope, 1),
        has: () => free.has(scope, 1),
        duplicates: () => free.duplicates(scope, 1),
        forEach: () => free.forEach(scope, () => {}),
        some: () => free.some(scope, () => true),
        entries: () => free.entries(scope),
        size: () => free.size,
        buckets: () => free.buckets,
        insert: () => free.insert(1, 11),
        exchange: () => free.exchange(1, 11),
        addUnique: () => free.addUnique(2, 11),
        tryInsertNew: () => free.tryInsertNew(2, 11),
        addDuplicate: () => free.addDuplicate(2, 11),
        replace: () => free.replace(1, 11),
        replaceIf: () => free.replaceIf(1, () => true, 11),
        update: () => free.update(1, (value) => value),
        updateCopy: () => free.updateCopy(1, () => {}),
        remove: () => free.remove(1),
        removeIf: () => free.removeIf(1, () => true),
        removeAll: () => free.removeAll(1),
        delete: () => free.delete(1),
        clear: () => free.clear(),
        resize: () => free.resize(64),
      },
    },
    {
      object: queue,
      calls: {
        enqueue: () => queue.enqueue(2),
        tryEnqueue: () => queue.tryEnqueue(2),
        dequeue: () => queue.dequeue(),
        isEmpty: () => queue.isEmpty(),
        values: () => queue.values(scope),
      },
    },
    {
      object: stack,
      calls: {
        push: () => stack.push(2),
        tryPush: () => stack.tryPush(2),
        pop: () => stack.pop(),
        popAll: () => stack.popAll(),
        isEmpty: () => stack.isEmpty(),
        values: () => stack.values(scope),
      },
    },
    {
      object: waitFree,
      calls: {
        enqueue: () => waitFree.enqueue(2),
        tryEnqueue: () => waitFree.tryEnqueue(2),
        dequeue: () => waitFree.dequeue(),
        tryDequeue: () => waitFree.tryDequeue(),
        dequeueAll: () => waitFree.dequeueAll(),
        isEmpty: () => waitFree.isEmpty(),
      },
    },
    {
      object: cache,
      calls: {
        get: () => cache.get(scope, 1),
        insert: () => cache.insert(1, 11),
        remove: () => cache.remove(1),
        capacity: () => cache.capacity,
      },
    },
    {
      object: list,
      calls: {
        push: () => list.push(2),
        unshift: () => list.unshift(2),
        isEmpty: () => list.isEmpty(),
        first: () => list.first(scope),
        next: () => list.next(scope, first),
        value: () => list.value(scope, first),
        insertAfter: () => list.insertAfter(scope, first, 2),
        remove: () => list.remove(scope, first),
        forEach: () => list.forEach(scope, () => {}),
      },
    },
    {
      object: things,
      calls: {
        push: () => things.push(one),
        lock: () => things.lock(),
        unlock: () => things.unlock(),
        isEmpty: () => things.isEmpty(),
        first: () => things.first(scope),
        next: () => things.next(scope, one),
        remove: () => things.remove(one),
        replace: () => things.replace(one, one),
      },
    },
    {
      object: idr,
      calls: {
        get: () => idr.get(scope, 0),
        lookup: () => idr.lookup(scope, 0),
        alloc: () => idr.alloc(8),
        allocCyclic: () => idr.allocCyclic(8),
        replace: () => idr.replace(0, 8),
        remove: () => idr.remove(0),
        forEach: () => idr.forEach(scope, () => {}),
        size: () => idr.size,
      },
    },
    {
      object: array,
      calls: {
        view: () => array.view(scope),
        length: () => array.length(scope),
        get: () => array.get(scope, 0),
        set: () => array.set(0, 1),
        resize: () => array.resize(5),
        forEach: () => array.forEach(scope, () => {}),
      },
    },
    {
      object: pointer,
      calls: {
        get: () => pointer.get(scope),
        assign: () => pointer.assign(0),
        replace: () => pointer.replace(0),
        poison: () => pointer.poison(),
      },
    },
    { object: box, calls: { get: () => box.get(scope), update: () => box.update(one) } },
    { object: option, calls: { get: () => option.get(scope), update: () => option.update(0) } },
    {
      object: string,
      calls: {
        get: () => string.get(scope),
        peek: () => string.peek(scope),
        bytes: () => string.bytes(scope),
        set: () => string.set("other"),
      },
    },
    {
      object: number,
      calls: {
        get: () => number.get(scope),
        set: () => number.set(2),
        update: () => number.update((value) => value + 1),
      },
    },
    { object: arc, calls: { get: () => arc.get(scope), clone: () => arc.clone(scope) } },
    { object: optionArc, calls: { get: () => optionArc.get(scope), update: () => optionArc.update(0) } },
    {
      object: sync,
      calls: { isIdle: () => sync.isIdle(scope), enter: () => sync.enter(), exit: () => sync.exit() },
    },
    {
      object: {
        destroy(): void {
          srcu.readUnlock(entered);
          srcu.destroy();
        },
      },
      calls: {
        readLock: () => srcu.readLock(),
        readUnlock: () => srcu.readUnlock(entered),
        readLockHeld: () => srcu.readLockHeld(),
        getState: () => srcu.getState(),
        startPoll: () => srcu.startPoll(),
        pollState: () => srcu.pollState(cookie),
        getCompleted: () => srcu.getCompleted(),
        synchronizeBlocking: () => srcu.synchronizeBlocking(),
        call: () => srcu.call(nothing, 1),
        barrierBlocking: () => srcu.barrierBlocking(),
        name: () => srcu.name,
      },
    },
  ];
}

const fail = (
  t: ExecutionContext,
  calls: Record<string, () => unknown>,
  what: string,
  code: string,
): void => {
  for (const [name, call] of Object.entries(calls)) t.throws(call, { code }, `${what}.${name}`);
};

test.serial("a collection of another heap is an error for each call, and nothing is written", (t) => {
  const home = RcuDomain.create({ bytes: 16 << 20 });
  const all = everything();
  const counted = new PercpuRef({ reclaimer: nothing, arg: 0 });
  const other = RcuDomain.create({ bytes: 16 << 20 });
  const before = other.heap.i32.slice();
  for (const { object, calls } of all) fail(t, calls, object.constructor.name, "ERR_RCU_WRONG_HEAP");
  for (const { object } of all)
    t.throws(() => object.destroy(), { code: "ERR_RCU_WRONG_HEAP" }, object.constructor.name);
  fail(
    t,
    {
      get: () => counted.get(),
      tryGet: () => counted.tryGet(),
      tryGetLive: () => counted.tryGetLive(),
      put: () => counted.put(),
      kill: () => counted.kill(),
      dying: () => counted.dying,
      isZero: () => counted.isZero,
      reinit: () => counted.reinit(),
      destroy: () => counted.destroy(),
    },
    "PercpuRef",
    "ERR_RCU_WRONG_HEAP",
  );
  const changed = before.findIndex((word, at) => word !== other.heap.i32[at]);
  t.is(changed, -1, "no word of the other heap was written");
  home.heap.use();
  for (const { object } of all) t.notThrows(() => object.destroy(), object.constructor.name);
  home.unregisterThread();
  other.unregisterThread();
});

test.serial("a collection that was destroyed is an error for each call", (t) => {
  const domain = RcuDomain.create({ bytes: 16 << 20 });
  for (const { object, calls } of everything()) {
    object.destroy();
    fail(t, calls, object.constructor.name, "ERR_RCU_USE_AFTER_FREE");
  }
  domain.unregisterThread();
});

test.serial("updates see that another object destroyed the collection", (t) => {
  const domain = RcuDomain.create({ bytes: 16 << 20 });
  const map = new RcuHashMap();
  const same = new RcuHashMap({ at: map.handle() });
  map.destroy();
  t.throws(() => same.insert(1, 1), { code: "ERR_RCU_USE_AFTER_FREE" });
  domain.unregisterThread();
});

test.serial("an opener is told when something else lies there", (t) => {
  const domain = RcuDomain.create({ bytes: 16 << 20 });
  const map = new RcuHashMap();
  t.throws(() => new Srcu({ at: map.ref }), { code: "ERR_RCU_WRONG_STRUCT" });
  t.throws(() => new RcuSync({ at: map.ref }), { code: "ERR_RCU_WRONG_STRUCT" });
  t.throws(() => new PercpuRef({ at: map.ref }), { code: "ERR_RCU_WRONG_STRUCT" });
  t.throws(() => new Srcu({ at: 0 }), { code: "ERR_RCU_STALE_REFERENCE" });
  const srcu = new Srcu({ name: "one" });
  t.is(new Srcu({ at: srcu.handle() }).name, "one");
  const handle = srcu.handle();
  const other = RcuDomain.create({ bytes: 8 << 20 });
  t.throws(() => new Srcu({ at: handle }), { code: "ERR_RCU_WRONG_HEAP" });
  other.unregisterThread();
  domain.unregisterThread();
});

test.serial("scopes of two domains nest, and each one's end brings back the heap from before", (t) => {
  const a = RcuDomain.create({ bytes: 8 << 20 });
  const inA = new RcuHashMap();
  inA.insert(1, 100);
  const b = RcuDomain.create({ bytes: 8 << 20 });
  const inB = new RcuHashMap();
  inB.insert(1, 200);
  const outer = a.enter();
  const inner = b.enter();
  t.is(inB.get(inner, 1), 200);
  a.enter();
  t.is(inA.get(outer, 1), 100);
  t.throws(() => inB.get(inner, 1), { code: "ERR_RCU_WRONG_HEAP" });
  a.exit();
  t.is(inB.get(inner, 1), 200);
  b.exit();
  t.is(inA.get(outer, 1), 100);
  a.exit();
  t.is(
    b.run((scope) => inB.get(scope, 1)),
    200,
  );
  b.unregisterThread();
  t.throws(() => a.run(() => b.enter()), { code: "ERR_RCU_DOMAIN" });
  t.is(
    a.run((scope) => inA.get(scope, 1)),
    100,
    "a scope that was refused changed nothing",
  );
  t.is(
    a.run((scope) => {
      t.throws(() => b.enter());
      return inA.get(scope, 1);
    }),
    100,
  );
  a.unregisterThread();
});

test.serial("an Srcu goes on in its own heap after an await", async (t) => {
  const a = RcuDomain.create({ bytes: 8 << 20 });
  const srcu = new Srcu();
  const b = RcuDomain.create({ bytes: 8 << 20 });
  a.heap.use();
  const scope = srcu.readLock();
  const waited = srcu.synchronize();
  const ran = srcu.run(async () => new Promise((resolve) => setImmediate(resolve)));
  b.heap.use();
  await ran;
  setImmediate(() => {
    a.heap.use();
    srcu.readUnlock(scope);
    b.heap.use();
  });
  await waited;
  a.heap.use();
  t.false(srcu.readLockHeld());
  srcu.destroy();
  a.unregisterThread();
  b.unregisterThread();
});

test.serial("a guard after unlock, and a lock or a scope that is given back twice", (t) => {
  const domain = RcuDomain.create({ bytes: 8 << 20 });
  const map = new RcuHashMap();
  const guard = map.lock();
  guard.insert(1, 1);
  guard.unlock();
  fail(
    t,
    {
      get: () => guard.get(1),
      insert: () => guard.insert(2, 2),
      entry: () => guard.entry(3, () => 3),
      remove: () => guard.remove(1),
      drain: () => guard.drain(),
      unlock: () => guard.unlock(),
    },
    "guard",
    "ERR_RCU_LOCK_PAIRING",
  );
  t.is(map.size, 1);
  t.is(map.remove(1), 1, "the lock is free");

  const list = new RcuIntrusiveList(Thing, Thing.link);
  list.lock();
  list.unlock();
  t.throws(() => list.unlock(), { code: "ERR_RCU_LOCK_PAIRING" });

  const srcu = new Srcu();
  const scope = srcu.readLock();
  srcu.readUnlock(scope);
  t.throws(() => srcu.readUnlock(scope), { code: "ERR_RCU_LOCK_PAIRING" });
  const again: SrcuScope = srcu.readLock();
  const cookie = srcu.startPoll();
  t.false(srcu.pollState(cookie), "the scope that is open counts");
  srcu.readUnlock(again);
  t.true(srcu.pollState(cookie));
  srcu.destroy();
  domain.unregisterThread();
});

test.serial("a list head that was never initialised, or a node taken off twice, writes nothing", (t) => {
  const domain = RcuDomain.create({ bytes: 8 << 20 });
  const held = 1 as Held;
  const lists = tryAlloc(Lists) as Ref<"wrong-use lists">;
  const head = Lists.one.at(lists);
  const good = Lists.other.at(lists);
  Lists.other.init(lists);
  const [a, b] = [thing(), thing()].map((ref) => Thing.link.at(ref)) as [number, number];
  t.is(listFirst(head), 0);
  t.true(listIsEmpty(head));
  const before = domain.heap.i32.slice(0, 64);
  const code = "ERR_RCU_CORRUPTION";
  fail(
    t,
    {
      listAddTail: () => listAddTail(held, head, a),
      listAddHead: () => listAddHead(held, head, a),
      listDelRcu: () => listDelRcu(held, a),
      listDelInit: () => listDelInit(held, a),
      listReplaceRcu: () => listReplaceRcu(held, a, b),
      listSpliceFrom: () => listSpliceInitRcu(held, head, good, () => {}),
    },
    "list",
    code,
  );
  listAddTail(held, good, a);
  t.throws(() => listSpliceInitRcu(held, good, head, () => {}), { code });
  listDelRcu(held, a);
  t.throws(() => listDelRcu(held, a), { code });
  t.true(listIsEmpty(good));
  t.deepEqual(domain.heap.i32.slice(0, 64), before);
  domain.unregisterThread();
});

test.serial("an idle thread holds up grace periods while RcuAtomic.update reads what it replaces", (t) => {
  const domain = RcuDomain.create({ bytes: 8 << 20 });
  const cell = new RcuAtomic(1.5);
  const line = SLOT.BASE + domain.heap.slot * SLOT.WORDS + SLOT_RCU.LINE;
  const kind = double() as { decode: (word: number) => number };
  const plain = kind.decode;
  const lines: number[] = [];
  kind.decode = (word) => {
    lines.push(domain.heap.i32[line]!);
    return plain(word);
  };
  try {
    cell.update((value) => value + 1);
  } finally {
    kind.decode = plain;
  }
  t.is(lines.length, 1);
  t.not(lines[0], LINE_IDLE);
  domain.unregisterThread();
});

test.serial("RcuAtomic.update replaces what set() stored meanwhile", (t) => {
  const domain = RcuDomain.create({ bytes: 8 << 20 });
  const cell = new RcuAtomic(1.5);
  let seen = 0;
  cell.update((value) => {
    seen = value;
    cell.set(7); // What the function was given is a number of its own.
    return value + 1;
  });
  t.is(seen, 1.5);
  t.is(
    domain.run((scope) => cell.get(scope)),
    2.5,
  );
  domain.unregisterThread();
});

test.serial("a tagged reference is known for stale when its slab has become something else", async (t) => {
  const domain = RcuDomain.create({ bytes: 8 << 20 });
  const scope = 1 as RcuScope;
  const all: Ref<"wrong-use thing">[] = [];
  for (let ref = tryAlloc(Thing); ref !== 0; ref = tryAlloc(Thing)) all.push(ref);
  const tags = all.map((ref) => tagRef(Thing, ref));
  for (const ref of all) kfreeRcu(Thing, ref);
  domain.barrier();
  const map = new RcuHashMap<string>({ key: text() });
  for (let n = 0; n < 20_000; n++) map.insert(`a key of some length ${n}`, n);
  t.true(tags.every((tag) => tryUntagRef(scope, Thing, tag) === 0));
  map.clear();
  domain.barrier();
  await domain.synchronize();
  domain.barrier();
  // Cells at the old places, in slabs that begin anew.
  const fresh = new Set<number>();
  for (let ref = tryAlloc(Thing); ref !== 0; ref = tryAlloc(Thing)) fresh.add(ref);
  t.true(all.some((ref) => fresh.has(ref)));
  t.true(tags.every((tag) => tryUntagRef(scope, Thing, tag) === 0));
  for (const ref of fresh) free(Thing, ref as Ref<"wrong-use thing">);
  domain.unregisterThread();
});
