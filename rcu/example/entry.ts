/** Updates of a map that depend on what is there: the old value, a guard's entries, an object that is changed in a copy. */
import { alloc, fixed, Heap, own, RcuHashMap, RcuReadScope, type Ref, struct, text } from "sternix/rcu";

const heap = Heap.create({ bytes: 16 << 20 });
const hits = new RcuHashMap<string, number>({ key: text() });
console.log(`before: ${hits.exchange("/", 1)}, then ${hits.exchange("/", 2)}`);
console.log(
  `one more: ${hits.update("/", (count) => count + 1)}, of nothing: ${hits.update("/none", (count) => count)}`,
);

const guard = hits.lock(); // Nobody else changes the map until unlock(); readers go on.
for (const path of ["/", "/a", "/a"])
  guard
    .entry(path)
    .andModify((count) => count + 1)
    .orInsert(1);
console.log(`/a is there: ${guard.has("/a")}, ${guard.size} paths`);
const entry = guard.entry("/b");
console.log(
  `/b: ${entry.present}, ${entry.orInsertWith(() => 10)}, removed ${entry.remove()}, ${entry.present}`,
);
guard.unlock();
try {
  entry.orInsert(1);
} catch (error) {
  console.log(`after unlock: ${(error as { code: string }).code}`);
}

const Point = struct("point", { x: fixed(), y: fixed() });
const points = new RcuHashMap<number, Ref<"point">>({ value: own(Point) });
const point = alloc(Point);
Point.x.init(point, 3);
points.insert(1, point);
{
  using scope = new RcuReadScope();
  const before = points.lookup(scope, 1);
  points.updateCopy(1, (copy) => Point.y.init(copy, 4)); // Readers see (3, 0) or (3, 4).
  const after = points.lookup(scope, 1);
  if (before !== 0 && after !== 0)
    console.log(`y was ${Point.y.get(before)}, is ${Point.y.get(after)}; x still ${Point.x.get(after)}`);
}
heap.detach();
