/** callRcuLazy: callbacks for which only memory waits start no grace period by themselves. */
import {
  callRcu,
  callRcuLazy,
  defineReclaimer,
  Heap,
  rcuBarrier,
  rcuQuiescent,
  rcuRunCallbacks,
  rcuStats,
} from "sternix/rcu";

const heap = Heap.create({ bytes: 16 << 20 });
let ran = 0;
const count = defineReclaimer("example: lazy", () => void ran++);
const safePoints = (): void => {
  for (let n = 0; n < 8; n++) {
    rcuQuiescent();
    rcuRunCallbacks();
  }
};

for (let n = 0; n < 100; n++) callRcuLazy(count, n);
safePoints();
console.log(`lazy: ${ran} ran, ${rcuStats().lazy} wait, ${rcuStats().gracePeriods} grace periods`);
callRcu(count, 100); // In a hurry: a grace period begins.
safePoints();
console.log(`callRcu: ${ran} ran, ${rcuStats().lazy} wait`);
rcuBarrier();
console.log(`rcuBarrier: ${ran} ran, ${rcuStats().lazy} wait`);
heap.detach();
