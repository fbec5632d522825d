/** One of several threads that put into the same queue and take out of it: test/rcu/queues.test.ts. */
import { parentPort, workerData } from "node:worker_threads";
import {
  Heap,
  type HeapHandle,
  RcuLockFreeQueue,
  RcuLockFreeStack,
  rcuQuiescent,
  rcuRunCallbacks,
  WaitFreeQueue,
  WOULD_BLOCK,
} from "../../rcu/index.ts";

const data = workerData as {
  heap: HeapHandle;
  kind: "queue" | "stack" | "wait-free";
  at: number;
  other: number;
  id: number;
  rounds: number;
};
const heap = Heap.attach(data.heap);
const taken: number[] = [];
const wrong: string[] = [];
/** Of a queue: the newest value seen of each thread. Values of one thread come in its order. */
const newest = new Map<number, number>();

function note(value: number | undefined): void {
  if (value === undefined) return;
  taken.push(value);
  if (data.kind !== "queue") return;
  const of = Math.floor(value / data.rounds);
  if (value < (newest.get(of) ?? -1)) wrong.push(`${value} after ${newest.get(of)}`);
  newest.set(of, value);
}

let put: (value: number) => void;
let take: (round: number) => void;
if (data.kind === "queue") {
  const queue = new RcuLockFreeQueue({ at: data.at });
  put = (value) => queue.enqueue(value);
  take = () => note(queue.dequeue());
} else if (data.kind === "stack") {
  const stack = new RcuLockFreeStack({ at: data.at });
  put = (value) => stack.push(value);
  take = (round) => {
    if (round % 50 === 0) for (const value of stack.popAll()) note(value);
    else note(stack.pop());
  };
} else {
  const queue = new WaitFreeQueue({ at: data.at });
  const other = new WaitFreeQueue({ at: data.other });
  put = (value) => void queue.enqueue(value);
  take = (round) => {
    if (round % 50 === 0) other.splice(queue);
    else if (round % 50 === 1) for (const value of other.dequeueAll()) note(value);
    else if (round % 2 === 0) note(queue.dequeue());
    else {
      const value = queue.tryDequeue();
      if (value !== WOULD_BLOCK) note(value);
    }
  };
}

for (let round = 0; round < data.rounds; round++) {
  put(data.id * data.rounds + round);
  if (round % 3 !== 0) take(round);
  if (round % 16 === 0) {
    rcuQuiescent();
    rcuRunCallbacks();
  }
}
heap.detach();
parentPort!.postMessage({ taken, wrong });
