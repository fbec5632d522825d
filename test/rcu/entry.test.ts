/** Updates that depend on what is there: exchange, update, copies, guards and their entries; whole lists and arrays; RcuWeak. */
import test from "ava";
import {
  type Arc,
  alloc,
  arcDowngrade,
  arcDrop,
  arcNew,
  EVICTED,
  fixed,
  Heap,
  HeapFullError,
  kfreeRcu,
  listNode,
  liveObjects,
  own,
  RcuArray,
  RcuCache,
  RcuHashMap,
  RcuIntrusiveList,
  RcuList,
  RcuWeak,
  type Ref,
  rcuBarrier,
  rcuReadLock,
  rcuReadUnlock,
  ref,
  spinlock,
  struct,
  text,
  tryAlloc,
  tryAllocArray,
  WrongTypeError,
} from "../../rcu/index.ts";

const Point = struct("entry test point", { x: fixed(), y: fixed() });
const Locked = struct("entry test locked", { x: fixed(), lock: spinlock() });
const Job = struct("entry test job", { id: fixed(), link: listNode() });
type PointRef = Ref<"entry test point">;

function inHeap(run: () => void, debug = true): void {
  const heap = Heap.create({ bytes: 4 << 20, debug });
  try {
    run();
  } finally {
    heap.use().detach();
  }
}
const point = (x: number): PointRef => {
  const made = alloc(Point);
  Point.x.init(made, x);
  return made;
};
/** Takes all memory there is. */
function fill(): void {
  while (tryAllocArray(1000) !== 0);
  while (tryAllocArray(1) !== 0);
  while (tryAlloc(Point) !== 0);
}

test.serial("exchange returns what was there, of maps and caches, and owned objects are freed", (t) =>
  inHeap(() => {
    const names = new RcuHashMap<string, string>({ key: text(), value: text() });
    t.is(names.exchange("a", "one"), undefined);
    t.is(names.exchange("a", "two"), "one");
    const points = new RcuHashMap<number, PointRef>({ value: own(Point) });
    const [first, second] = [point(1), point(2)];
    t.is(points.exchange(1, first), undefined);
    t.is(points.exchange(1, second), first);
    const left: number[] = [];
    const cache = new RcuCache({ capacity: 2, drop: (value) => left.push(value) });
    t.is(cache.exchange(1, 10), undefined);
    t.is(cache.exchange(1, 11), 10);
    t.deepEqual(left, [10]);
    rcuBarrier();
    t.is(liveObjects(Point), 1);
    t.throws(() => names.exchange("a", 7 as never), { instanceOf: WrongTypeError });
    t.is(names.exchange("a", "three"), "two");
  }),
);

test.serial("update and updateCopy: what throws has changed nothing, and holds no lock", (t) =>
  inHeap(() => {
    const counts = new RcuHashMap();
    t.is(
      counts.update(1, (n) => n + 1),
      undefined,
    );
    counts.insert(1, 1);
    t.is(
      counts.update(1, (n) => n + 1),
      2,
    );
    const failing = (): never => {
      throw new Error("no");
    };
    t.throws(() => counts.update(1, failing), { message: "no" });
    t.throws(() => counts.updateCopy(1, () => {}), { instanceOf: WrongTypeError });
    const points = new RcuHashMap<number, PointRef>({ value: own(Point) });
    t.false(points.updateCopy(1, () => t.fail()));
    points.insert(1, point(5));
    const scope = rcuReadLock();
    const before = points.lookup(scope, 1) as PointRef;
    t.throws(() => points.updateCopy(1, failing), { message: "no" });
    t.is(points.lookup(scope, 1), before);
    t.true(points.updateCopy(1, (copy) => Point.y.init(copy, 6)));
    const after = points.lookup(scope, 1) as PointRef;
    t.deepEqual(
      [before, after].map((at) => [Point.x.get(at), Point.y.get(at)]),
      [
        [5, 0],
        [5, 6],
      ],
    );
    rcuReadUnlock();
    rcuBarrier();
    t.is(liveObjects(Point), 1);
    // `change` may use the guard: what it removed stays removed.
    const guard = points.lock();
    t.false(guard.updateCopy(1, () => guard.remove(1)));
    t.false(guard.has(1));
    guard.unlock();
    rcuBarrier();
    t.is(liveObjects(Point), 0);
    const locked = new RcuHashMap<number, Ref<"entry test locked">>({ value: own(Locked) });
    locked.insert(1, alloc(Locked));
    t.throws(() => locked.updateCopy(1, () => {}), {
      instanceOf: WrongTypeError,
      message: /locks or list nodes/,
    });
    t.true(counts.delete(1) && locked.delete(1));
  }),
);

test.serial("a full heap: exchange, entries and copies throw, and everything is as before", (t) =>
  inHeap(() => {
    const points = new RcuHashMap<number, PointRef>({ value: own(Point) });
    const names = new RcuHashMap<number, string>({ value: text() });
    points.insert(1, point(5));
    names.insert(1, "one");
    fill();
    const full = { instanceOf: HeapFullError };
    t.throws(() => names.exchange(1, "a longer text than there is room for"), full);
    t.throws(() => points.updateCopy(1, () => t.fail("there is no copy")), full);
    const guard = names.lock();
    t.throws(() => guard.entry(2).orInsert("two"), full);
    t.throws(() => guard.update(1, (value) => `${value} and more`), full);
    t.is(guard.get(1), "one");
    t.is(guard.size, 1);
    guard.unlock();
    const list = { values: [] as string[] };
    t.throws(() => new RcuList(), full);
    t.deepEqual(list.values, []);
  }),
);

test.serial("a guard's entries, until unlock", (t) =>
  inHeap(() => {
    const map = new RcuHashMap<string, number>({ key: text() });
    const guard = map.lock();
    const entry = guard.entry("a");
    t.is(entry.key, "a");
    t.false(entry.present);
    t.is(entry.value, undefined);
    t.is(entry.andModify((n) => n + 1).orInsert(5), 5);
    t.is(entry.andModify((n) => n + 1).orInsert(5), 6);
    t.is(
      entry.orInsertWith(() => t.fail() as never),
      6,
    );
    t.is(entry.set(9), 9);
    t.true(guard.has("a"));
    t.is(entry.remove(), 9);
    t.is(entry.remove(), undefined);
    t.false(guard.delete("a"));
    guard.insert("b", 1);
    t.true(guard.delete("b"));
    guard.unlock();
    for (const late of [
      () => entry.value,
      () => guard.has("a"),
      () => entry.set(1),
      () => guard.exchange("a", 1),
    ])
      t.throws(late, { code: "ERR_RCU_LOCK_PAIRING" });
  }),
);

test.serial("a cache with its lock held, and cleared: every value is dropped once, oldest first", (t) =>
  inHeap(() => {
    const left: number[] = [];
    const cache = new RcuCache({ capacity: 3, drop: (value) => left.push(value) });
    const guard = cache.lock();
    for (let n = 1; n <= 4; n++) t.is(guard.insert(n, n) === EVICTED, n === 4);
    t.deepEqual(left, [], "with the lock held nothing is dropped");
    guard.unlock();
    t.deepEqual(left, [1]);
    cache.clear();
    t.deepEqual(left, [1, 2, 3, 4]);
    t.is(cache.size, 0);
    for (let n = 1; n <= 1000; n++) cache.insert(n, n);
    t.is(cache.size, 3);
    const scope = rcuReadLock();
    t.deepEqual([...cache.keys(scope)].sort(), [1000, 998, 999]);
    rcuReadUnlock();
    const drained: number[] = [];
    const again = cache.lock();
    again.drain((key) => drained.push(key));
    again.unlock();
    t.deepEqual(drained, [998, 999, 1000]);
  }),
);

test.serial("RcuList: append, split and clear, and who stands on an entry meanwhile", (t) =>
  inHeap(() => {
    const make = (...values: string[]): RcuList<string> => {
      const list = new RcuList<string>({ value: text() });
      for (const value of values) list.push(value);
      return list;
    };
    const [one, other] = [make("a", "b"), make("c", "d", "e")];
    const scope = rcuReadLock();
    const all = (list: RcuList<string>): string => [...list.values(scope)].join("");
    const inOther = other.entries(scope);
    const [cursor] = inOther.next().value as [never, string];
    one.append(other);
    t.is(all(one), "abcde");
    t.is(all(other), "");
    t.is([...inOther].map(([, value]) => value).join(""), "de", "a walk finds the rest and the end");
    t.false(other.remove(scope, cursor), "it was moved");
    one.append(other);
    t.is(all(one), "abcde");
    const walk = one.values(scope);
    t.is(walk.next().value, "a");
    const place = one.entries(scope).find(([, value]) => value === "d")!;
    const tail = one.split(scope, place[0])!;
    t.is([all(one), all(tail), [...walk].join("")].join(), "abc,de,bc");
    t.is(one.split(scope, place[0]), null);
    one.push("f");
    tail.unshift("g");
    t.is([all(one), all(tail)].join(), "abcf,gde");
    const last = one.values(scope);
    last.next();
    one.clear();
    t.is([all(one), [...last].join("")].join(), ",bcf");
    one.clear();
    one.push("h");
    t.is(all(one), "h");
    t.throws(() => one.append(one), { instanceOf: WrongTypeError });
    t.throws(() => one.append(new RcuList() as never), { instanceOf: WrongTypeError });
    rcuReadUnlock();
    for (const list of [one, other, tail]) list.destroy();
    rcuBarrier();
  }),
);

test.serial("RcuIntrusiveList.clear gives each object back once, in order", (t) =>
  inHeap(() => {
    const jobs = new RcuIntrusiveList(Job, Job.link);
    const made = [1, 2, 3].map((id) => {
      const job = alloc(Job);
      Job.id.init(job, id);
      jobs.push(job);
      return job;
    });
    const gone: Ref<"entry test job">[] = [];
    jobs.clear((job) => gone.push(job));
    t.deepEqual(gone, made);
    t.true(jobs.isEmpty());
    t.false(jobs.remove(made[1]!));
    jobs.clear(() => t.fail());
    for (const job of gone) kfreeRcu(Job, job);
    rcuBarrier();
    t.is(liveObjects(Job), 0);
  }),
);

test.serial("RcuArray: updateAll is all or nothing, ensureAtLeast never shrinks", (t) =>
  inHeap(() => {
    const array = new RcuArray<string>({ length: 3, value: text() });
    array.set(1, "one");
    const scope = rcuReadLock();
    const seen = (): (string | undefined)[] => [0, 1, 2].map((n) => array.get(scope, n));
    const old = array.values(scope);
    array.updateAll((value, index) => `${value ?? "none"} ${index}`);
    t.deepEqual(seen(), ["none 0", "one 1", "none 2"]);
    t.deepEqual([...old], ["one"], "a loop that had begun sees the old elements");
    t.throws(
      () =>
        array.updateAll((value, index) => {
          if (index === 2) throw new Error("no");
          return `${value}!`;
        }),
      { message: "no" },
    );
    t.deepEqual(seen(), ["none 0", "one 1", "none 2"]);
    t.true(array.ensureAtLeast(5, "new"));
    t.is(array.get(scope, 4), "new");
    t.false(array.ensureAtLeast(4));
    t.false(array.ensureAtLeast(5));
    t.is(array.length(scope), 5);
    t.throws(() => array.ensureAtLeast(6, 7 as never), { instanceOf: WrongTypeError });
    t.throws(() => array.ensureAtLeast(Number.NaN), { instanceOf: WrongTypeError });
    t.is(array.length(scope), 5);
    rcuReadUnlock();
    const things = new RcuArray<PointRef>({ length: 2, value: ref(Point) });
    const one = point(1);
    things.set(0, one);
    things.updateAll((value) => value ?? one);
    const again = rcuReadLock();
    t.deepEqual([...things.values(again)], [one, one]);
    rcuReadUnlock();
    const owned = new RcuArray<PointRef>({ length: 2, value: own(Point) });
    owned.set(0, one);
    owned.set(1, point(2));
    owned.updateAll((value, index) => (index === 0 ? value! : point(3)));
    rcuBarrier();
    t.is(liveObjects(Point), 2, "what stayed is not freed, what was replaced is");
    owned.destroy();
    rcuBarrier();
    t.is(liveObjects(Point), 0);
    array.destroy();
  }),
);

test.serial("RcuWeak finds an object while somebody keeps it, and keeps none", (t) =>
  inHeap(() => {
    const cell = new RcuWeak<"entry test point">();
    const scope = rcuReadLock();
    t.is(cell.get(scope), 0);
    t.is(cell.upgrade(scope), 0);
    const arc = arcNew(Point, point(7)) as Arc<"entry test point">;
    cell.update(arcDowngrade(arc));
    const same = new RcuWeak<"entry test point">({ at: cell.handle() });
    const found = same.get(scope);
    t.is(found === 0 ? 0 : Point.x.get(found), 7);
    const kept = same.upgrade(scope);
    t.is(kept, arc);
    arcDrop(arc);
    t.not(cell.get(scope), 0);
    arcDrop(arc);
    t.is(cell.get(scope), 0);
    t.is(cell.upgrade(scope), 0);
    rcuReadUnlock();
    rcuBarrier();
    t.is(liveObjects(Point), 0, "the cell does not keep it");
    const next = arcNew(Point, point(8)) as Arc<"entry test point">;
    cell.update(arcDowngrade(next));
    t.not(cell.get(rcuReadLock()), 0);
    rcuReadUnlock();
    t.throws(() => new RcuWeak({ at: new RcuHashMap().ref }), { instanceOf: WrongTypeError });
    t.throws(() => new RcuWeak(point(1) as never), { instanceOf: WrongTypeError });
    cell.destroy();
    arcDrop(next);
    t.throws(() => cell.update(0), { code: "ERR_RCU_USE_AFTER_FREE" });
  }),
);
