/** A list without a lock: workers add what they have done, the main thread takes all of it at once. */
import { once } from "node:events";
import { isMainThread, Worker, workerData } from "node:worker_threads";
import {
  alloc,
  fixed,
  free,
  Heap,
  llistAdd,
  llistDelAll,
  llistEmpty,
  llistNext,
  llistReverseOrder,
  type Ref,
  rcuIdleEnter,
  rcuIdleExit,
  struct,
  words,
} from "sternix/rcu";

const Done = struct("done", { next: words(1), worker: fixed(), number: fixed() });
const Inbox = struct("inbox", { first: words(1) });
const PER_WORKER = 1000;

if (isMainThread) {
  const heap = Heap.create({ bytes: 16 << 20 });
  const inbox = alloc(Inbox);
  const head = Inbox.first.at(inbox);
  const workers = [1, 2, 3].map(
    (number) => new Worker(new URL(import.meta.url), { workerData: { heap: heap.handle(), inbox, number } }),
  );
  rcuIdleEnter();
  await Promise.all(workers.map((worker) => once(worker, "exit")));
  rcuIdleExit();
  const last = new Map<number, number>();
  let taken = 0;
  for (let node = llistReverseOrder(llistDelAll(head)); node !== 0; taken++) {
    const done = (node - Done.next.offset) as Ref<"done">;
    node = llistNext(node);
    if (Done.number.get(done) !== (last.get(Done.worker.get(done)) ?? 0) + 1) console.log("out of order");
    last.set(Done.worker.get(done), Done.number.get(done));
    free(Done, done);
  }
  console.log(`taken ${taken} of ${last.size} workers, empty: ${llistEmpty(head)}`);
  heap.detach();
} else {
  const heap = Heap.attach(workerData.heap);
  for (let number = 1; number <= PER_WORKER; number++) {
    const done = alloc(Done);
    Done.worker.init(done, workerData.number);
    Done.number.init(done, number);
    llistAdd(Inbox.first.at(workerData.inbox), Done.next.at(done));
  }
  heap.detach();
}
