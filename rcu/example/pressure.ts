/** A full heap: the insertion throws and changes nothing; what waits for a grace period is freed at once, then it works. */
import {
  Heap,
  HeapFullError,
  kfreeRcuBarrier,
  RcuHashMap,
  rcuQuiescent,
  rcuReadLock,
  rcuReadUnlock,
} from "sternix/rcu";

const heap = Heap.create({ bytes: 4 << 20 });
const map = new RcuHashMap();
let key = 0;
try {
  for (; ; key++) {
    map.insert(key, key);
    rcuQuiescent();
  }
} catch (error) {
  if (!(error instanceof HeapFullError)) throw error;
  console.log(`${error.name}: ${error.message}`);
}
console.log(`${map.size === key} that it holds what was inserted`);
const scope = rcuReadLock();
console.log(`nothing was corrupted: ${map.get(scope, 0)} ${map.get(scope, key)}`);
rcuReadUnlock();

for (let n = 0; n < 1000; n++) map.remove(n); // 1000 nodes wait for a grace period, as one batch.
kfreeRcuBarrier();
for (let n = 0; n < 1000; n++) map.insert(n, -n);
console.log(`1000 keys more fit: ${map.size === key}`);
heap.detach();
