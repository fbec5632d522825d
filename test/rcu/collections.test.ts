import test from "ava";
import fc from "fast-check";
import {
  type Arc,
  arcCount,
  arcDowngrade,
  arcDrop,
  arcGet,
  arcNew,
  arrayGet,
  type Cursor,
  EVICTED,
  fixed,
  Heap,
  HeapFullError,
  Idr,
  INSERTED,
  liveObjects,
  NO_ID,
  RcuArc,
  RcuArray,
  RcuAtomic,
  RcuBox,
  RcuCache,
  RcuList,
  RcuOptionArc,
  RcuOptionBox,
  RcuPtr,
  RcuString,
  type Ref,
  rcuBarrier,
  rcuQuiescent,
  rcuReadLock,
  rcuReadUnlock,
  rcuRunCallbacks,
  StaleReferenceError,
  struct,
  synchronizeRcu,
  tryAlloc,
  UPDATED,
  WrongTypeError,
  weakDrop,
  weakUpgrade,
} from "../../rcu/index.ts";

const Thing = struct("collections test thing", { x: fixed() });
type ThingRef = Ref<"collections test thing">;
const thing = (x: number): ThingRef => {
  const ref = tryAlloc(Thing) as ThingRef;
  Thing.x.init(ref, x);
  return ref;
};

function inHeap(run: () => void, bytes = 16 << 20): void {
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

test.serial("RcuPtr: assign, replace, swap, poison", (t) => {
  inHeap(() => {
    const a = new RcuPtr(thing(1));
    const b = new RcuPtr<"collections test thing">({ at: new RcuPtr(thing(2)).ref });
    const scope = rcuReadLock();
    const x = (ptr: typeof a): number => Thing.x.get(ptr.get(scope) as ThingRef);
    a.swap(b);
    t.deepEqual([x(a), x(b)], [2, 1]);
    const old = a.replace(thing(3));
    t.is(Thing.x.get(old as ThingRef), 2);
    t.is(x(a), 3);
    a.assign(0);
    t.is(a.get(scope), 0);
    b.poison();
    t.throws(() => b.get(scope), { instanceOf: StaleReferenceError, message: /poison/ });
    rcuReadUnlock();
  });
});

test.serial("RcuBox and RcuOptionBox free what they held after a grace period, and not before", (t) => {
  inHeap(() => {
    const box = new RcuBox(Thing, thing(1));
    const option = new RcuOptionBox(Thing);
    const scope = rcuReadLock();
    const seen = box.get(scope);
    box.update(thing(2));
    t.is(Thing.x.get(seen), 1);
    t.is(Thing.x.get(box.get(scope)), 2);
    t.is(option.get(scope), 0);
    t.false(option.update(thing(3)));
    t.true(option.update(0));
    t.is(liveObjects(Thing), 3);
    rcuReadUnlock();
    synchronizeRcu();
    rcuRunCallbacks();
    rcuBarrier();
    t.is(liveObjects(Thing), 1);
    box.destroy();
    option.destroy();
    rcuBarrier();
    t.is(liveObjects(Thing), 0);
  });
});

test.serial("RcuString, RcuAtomic and RcuArray show whole values, old or new", (t) => {
  inHeap(() => {
    const text = new RcuString("first");
    const number = new RcuAtomic(Math.PI);
    const array = new RcuArray(2);
    const scope = rcuReadLock();
    text.set("second, and longer");
    t.is(text.get(scope), "second, and longer");
    t.deepEqual(new RcuString({ at: text.ref }).bytes(scope), new TextEncoder().encode("second, and longer"));
    number.set(-1e300);
    t.is(number.get(scope), -1e300);
    t.is(
      number.update((value) => value / 2),
      -5e299,
    );
    t.throws(
      () =>
        number.update(() => {
          throw new Error("inside");
        }),
      { message: "inside" },
    );
    t.true(array.set(1, 7));
    t.false(array.set(2, 7));
    const before = array.view(scope);
    array.resize(5, 9);
    t.is(array.length(scope), 5);
    t.deepEqual(
      [0, 1, 2, 4, 5].map((n) => array.get(scope, n)),
      [0, 7, 9, 9, undefined],
    );
    t.is(arrayGet(before, 1), 7, "a reader of the old array goes on");
    array.resize(1);
    t.is(array.get(scope, 1), undefined);
    t.throws(() => array.resize(100_000_000), { instanceOf: HeapFullError });
    t.is(array.length(scope), 1);
    rcuReadUnlock();
    for (const cell of [text, number, array]) cell.destroy();
    rcuBarrier();
  });
});

test.serial("an Arc cloned in a scope outlives the scope and the update that replaced it", (t) => {
  inHeap(() => {
    const cell = new RcuArc(arcNew(Thing, thing(1)) as Arc<"collections test thing">);
    let scope = rcuReadLock();
    const mine = cell.clone(scope);
    rcuReadUnlock();
    cell.update(arcNew(Thing, thing(2)) as Arc<"collections test thing">);
    for (let n = 0; n < 5; n++) rcuBarrier();
    t.is(Thing.x.get(arcGet(mine)), 1);
    t.is(arcCount(mine), 1);
    const weak = arcDowngrade(mine);
    arcDrop(mine);
    t.is(weakUpgrade(weak), 0);
    weakDrop(weak);
    scope = rcuReadLock();
    t.is(Thing.x.get(cell.get(scope)), 2);
    rcuReadUnlock();
    rcuBarrier();
    t.is(liveObjects(Thing), 1);
    cell.destroy();
    for (let n = 0; n < 3; n++) rcuBarrier();
    t.is(liveObjects(Thing), 0);
  });
});

test.serial(
  "update 'later' lets a reader still take a count; 'now' drops the object, but not its memory",
  (t) => {
    inHeap(() => {
      const cell = new RcuOptionArc(arcNew(Thing, thing(1)) as Arc<"collections test thing">);
      const scope = rcuReadLock();
      const first = cell.clone(scope) as Arc<"collections test thing">;
      const weakFirst = arcDowngrade(first);
      arcDrop(first);
      cell.update(arcNew(Thing, thing(2)) as Arc<"collections test thing">, "later");
      const again = weakUpgrade(weakFirst);
      t.not(again, 0);
      if (again !== 0) arcDrop(again);
      const second = cell.get(scope) as ThingRef;
      const held = cell.clone(scope) as Arc<"collections test thing">;
      const weakSecond = arcDowngrade(held);
      arcDrop(held);
      cell.update(0, "now");
      t.is(weakUpgrade(weakSecond), 0);
      t.is(Thing.x.get(second), 2, "the memory stays while the scope is open");
      rcuReadUnlock();
      weakDrop(weakFirst);
      weakDrop(weakSecond);
      for (let n = 0; n < 3; n++) rcuBarrier();
      t.is(liveObjects(Thing), 0);
      t.is(cell.clone(rcuReadLock()), 0);
      rcuReadUnlock();
    });
  },
);

test.serial("RcuList behaves like an array under pushes, insertions and removals", (t) => {
  inHeap(() => {
    const step = fc.tuple(
      fc.constantFrom("push", "unshift", "insert", "remove", "pause"),
      fc.nat(20),
      fc.integer(),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const list = new RcuList();
        const model: number[] = [];
        for (const [op, at, value] of steps) {
          const scope = rcuReadLock();
          let cursor: Cursor | 0 = list.first(scope);
          const place = model.length === 0 ? 0 : at % model.length;
          for (let n = 0; n < place && cursor !== 0; n++) cursor = list.next(scope, cursor);
          if (op === "push") {
            list.push(value);
            model.push(value);
          } else if (op === "unshift") {
            list.unshift(value);
            model.unshift(value);
          } else if (op === "insert" && cursor !== 0) {
            t.true(list.insertAfter(scope, cursor, value));
            model.splice(place + 1, 0, value);
          } else if (op === "remove" && cursor !== 0) {
            t.true(list.remove(scope, cursor));
            t.false(list.remove(scope, cursor));
            t.false(list.insertAfter(scope, cursor, value));
            model.splice(place, 1);
          }
          const seen: number[] = [];
          list.forEach(scope, (each) => seen.push(each));
          rcuReadUnlock();
          t.deepEqual(seen, model);
          t.is(list.isEmpty(), model.length === 0);
          if (op === "pause") pause();
        }
        list.destroy();
      }),
      { numRuns: 60 },
    );
    rcuBarrier();
  });
});

test.serial("a reader walks on from an entry that was removed under it", (t) => {
  inHeap(() => {
    const list = new RcuList();
    for (let n = 0; n < 6; n++) list.push(n);
    const scope = rcuReadLock();
    const seen: number[] = [];
    list.forEach(scope, (value, cursor) => {
      seen.push(value);
      if (value < 4) list.remove(scope, cursor);
      list.unshift(100 + value);
    });
    t.deepEqual(seen, [0, 1, 2, 3, 4, 5]);
    rcuReadUnlock();
    rcuBarrier();
  });
});

test.serial("RcuCache forgets the oldest key when it is full, and says what an insertion did", (t) => {
  inHeap(() => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 6 }),
        fc.array(fc.tuple(fc.nat(9), fc.integer(), fc.boolean())),
        (size, steps) => {
          const cache = new RcuCache({ capacity: size });
          const model = new Map<number, number>();
          for (const [key, value, gone] of steps) {
            const expected = model.has(key) ? UPDATED : model.size === size ? EVICTED : INSERTED;
            t.is(cache.insert(key, value), expected);
            if (expected === EVICTED) model.delete(model.keys().next().value as number);
            model.set(key, value);
            if (gone) t.is(cache.delete(key - 1), model.delete(key - 1));
            const scope = rcuReadLock();
            for (let n = 0; n < 10; n++) t.is(cache.get(scope, n), model.get(n));
            rcuReadUnlock();
            t.is(cache.size, model.size);
            pause();
          }
          cache.destroy();
        },
      ),
      { numRuns: 60 },
    );
    t.throws(() => new RcuCache({ capacity: 0 }), {
      instanceOf: WrongTypeError,
      code: "ERR_RCU_BAD_ARGUMENT",
    });
    rcuBarrier();
  });
});

test.serial("Idr gives out the lowest free id, or the next in the cycle, like a model of it", (t) => {
  inHeap(() => {
    const step = fc.tuple(
      fc.constantFrom("alloc", "alloc", "cyclic", "remove", "replace"),
      fc.oneof(fc.nat(200), fc.nat(1 << 20)),
      fc.integer({ min: 1, max: 1 << 20 }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 150, size: "max" }), (steps) => {
        const idr = new Idr();
        const model = new Map<number, number>();
        let next = 0;
        for (const [op, n, value] of steps) {
          if (op === "alloc" || op === "cyclic") {
            const start = op === "alloc" && n > 100 ? n : 0;
            let expected = op === "cyclic" ? next : start;
            while (model.has(expected)) expected++;
            t.is(op === "cyclic" ? idr.allocCyclic(value) : idr.alloc(value, start), expected);
            model.set(expected, value);
            if (op === "cyclic") next = expected + 1;
          } else {
            const id = model.size === 0 ? n : [...model.keys()][n % model.size]!;
            if (op === "remove") {
              t.is(idr.remove(id), model.get(id));
              model.delete(id);
            } else {
              t.is(idr.replace(id, value), model.has(id));
              if (model.has(id)) model.set(id, value);
            }
          }
          const scope = rcuReadLock();
          t.is(idr.get(scope, n), model.get(n));
          rcuReadUnlock();
          pause();
        }
        const seen: [number, number][] = [];
        idr.forEach(rcuReadLock(), (id, value) => seen.push([id, value]));
        rcuReadUnlock();
        t.deepEqual(
          seen,
          [...model].toSorted(([a], [b]) => a - b),
        );
        t.is(idr.size, model.size);
        idr.destroy();
      }),
      { numRuns: 60 },
    );
    rcuBarrier();
  });
});

test.serial("Idr respects its range, fills nodes to the brim, and cycles round", (t) => {
  inHeap(() => {
    const idr = new Idr();
    for (let n = 0; n < 5000; n++) t.is(idr.alloc(n + 1), n);
    t.is(idr.alloc(1, 0, 5000), NO_ID);
    t.is(idr.remove(4999), 5000);
    t.is(idr.alloc(1, 0, 5000), 4999);
    for (let n = 0; n < 5000; n++) t.is(idr.remove(n), n === 4999 ? 1 : n + 1);
    t.is(idr.size, 0);
    t.deepEqual(
      [1, 2, 3, 4].map((value) => idr.allocCyclic(value, 10, 13)),
      [10, 11, 12, NO_ID],
    );
    idr.remove(11);
    t.is(idr.allocCyclic(5, 10, 13), 11);
    t.is(idr.get(rcuReadLock(), -1), undefined);
    rcuReadUnlock();
    t.throws(() => idr.alloc(0), { instanceOf: WrongTypeError, code: "ERR_RCU_BAD_ARGUMENT" });
    idr.destroy();
    rcuBarrier();
  });
});
