/** One of several threads that update the same maps: test/rcu/lock-free-map.test.ts. */
import { parentPort, workerData } from "node:worker_threads";
import {
  Heap,
  type HeapHandle,
  RcuLockFreeMap,
  rcuQuiescent,
  rcuReadLock,
  rcuReadUnlock,
  rcuRunCallbacks,
  text,
} from "../../rcu/index.ts";

const data = workerData as {
  heap: HeapHandle;
  counters: number;
  queue: number;
  names: number;
  id: number;
  threads: number;
  rounds: number;
};
const heap = Heap.attach(data.heap);
const counters = new RcuLockFreeMap({ at: data.counters });
const queue = new RcuLockFreeMap({ at: data.queue });
const names = new RcuLockFreeMap<string, string>({ key: text(), value: text(), at: data.names });
const wrong: string[] = [];
const taken: number[] = [];
let added = 0;
let removed = 0;

for (let round = 0; round < data.rounds; round++) {
  counters.update(round % 8, (value) => value + 1);
  // A value that nobody else puts in, under a key that others use too: it makes the table grow, then shrink.
  const token = data.id * data.rounds + round;
  queue.addDuplicate(round % 700, token);
  if (round % 3 !== 0 || round > data.rounds / 2) {
    const value = queue.remove((round * 7) % 700);
    if (value !== undefined) taken.push(value);
  }
  const name = `name ${round % 50}`;
  if (round % 2 === 0) {
    if (names.addUnique(name, `value of ${name}`) === undefined) added++;
  } else if (names.remove(`name ${(round * 3) % 50}`) !== undefined) removed++;
  const scope = rcuReadLock();
  if (counters.get(scope, round % 8) === undefined) wrong.push(`counter ${round % 8} was missed`);
  const value = names.get(scope, name);
  if (value !== undefined && value !== `value of ${name}`) wrong.push(`${name}: ${value}`);
  if (round % 97 === 0) {
    const seen = new Set<number>();
    for (const each of queue.values(scope)) {
      if (seen.has(each)) wrong.push(`${each} twice in a walk`);
      seen.add(each);
    }
    let kept = 0;
    counters.forEach(scope, () => kept++);
    if (kept !== 8) wrong.push(`${kept} counters in a walk`);
  }
  rcuReadUnlock();
  if (round % 16 === 0) {
    rcuQuiescent();
    rcuRunCallbacks();
  }
}
heap.detach();
parentPort!.postMessage({ wrong, taken, added, removed });
