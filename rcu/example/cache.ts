/** RcuCache: bounded, forgets the oldest; insertion says what it did. */
import { EVICTED, Heap, INSERTED, RcuCache, RcuReadScope, UPDATED } from "sternix/rcu";

const heap = Heap.create({ bytes: 16 << 20 });
const dropped: number[] = [];
const cache = new RcuCache({ capacity: 3, drop: (value) => dropped.push(value) });
const NAMES = new Map([
  [INSERTED, "inserted"],
  [UPDATED, "updated"],
  [EVICTED, "evicted the oldest"],
]);
for (const [key, value] of [
  [1, 10],
  [2, 20],
  [3, 30],
  [2, 21],
  [4, 40],
] as const)
  console.log(`${key}: ${NAMES.get(cache.insert(key, value))}`);
{
  using scope = new RcuReadScope();
  console.log(`1 is ${cache.get(scope, 1)}, 2 is ${cache.get(scope, 2)}`);
}
console.log(`dropped ${dropped.join(" ")}, ${cache.size} left`);
const guard = cache.lock();
if (!guard.has(5)) console.log(`5: ${NAMES.get(guard.insert(5, 50))}, under the lock`);
guard.unlock(); // What left the cache is dropped now.
cache.clear();
console.log(`dropped ${dropped.join(" ")}, ${cache.size} left`);
cache.destroy();
heap.detach();
