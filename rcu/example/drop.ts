/** rcuDrop: anything with destroy() or Symbol.dispose, after a grace period, on this thread. */
import {
  callRcuHere,
  Heap,
  RcuHashMap,
  rcuDrop,
  rcuQuiescent,
  rcuReadLock,
  rcuReadUnlock,
  rcuRunCallbacks,
} from "sternix/rcu";

const heap = Heap.create({ bytes: 16 << 20 });
const table = new RcuHashMap();
for (let key = 0; key < 100; key++) table.insert(key, key);

const scope = rcuReadLock();
rcuDrop(table); // Nobody finds it from here on; this reader may use it until its scope closes.
rcuDrop({ [Symbol.dispose]: () => console.log("disposed of") });
callRcuHere(() => console.log("a closure ran"));
console.log(`the reader still finds ${table.get(scope, 42)}`);
rcuReadUnlock();

console.log(`before the grace period: ${rcuRunCallbacks()} ran`);
for (let n = 0; n < 2; n++) rcuQuiescent(); // The only thread: its quiescent states end the grace periods.
console.log(`after it: ${rcuRunCallbacks()} ran`);
heap.detach();
