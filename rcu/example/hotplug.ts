/** Workers leave, crash and join: what they had queued runs elsewhere, and nothing waits for them. */
import { once } from "node:events";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import {
  alloc,
  atomic,
  callRcu,
  defineReclaimer,
  RcuDomain,
  type Ref,
  rcuReadLock,
  rcuStats,
  struct,
} from "sternix/rcu";

const Board = struct("board", { ran: atomic() });
const count = defineReclaimer("example: count", (board) => Board.ran.add(board as Ref<"board">, 1));

if (isMainThread) {
  const domain = RcuDomain.create({ bytes: 16 << 20 });
  const board = alloc(Board);
  for (const how of ["leaves", "crashes", "joins again"]) {
    const worker = new Worker(new URL(import.meta.url), {
      workerData: { domain: domain.handle(), board, how },
    });
    domain.watch(worker); // Reaps what the worker held, however it ends.
    const ended = once(worker, "exit");
    await once(worker, "message");
    if (how === "crashes") await worker.terminate(); // In the middle of a read scope.
    await ended;
    domain.barrier(); // Waits for its callbacks, which somebody else runs.
    console.log(`a worker ${how}: ${Board.ran.load(board)} callbacks ran`);
  }
  await domain.synchronize();
  const { callbacksPending, orphans } = rcuStats();
  console.log(`${callbacksPending} pending, ${orphans} orphans`);
  domain.unregisterThread();
} else {
  const { domain: handle, board, how } = workerData;
  const domain = RcuDomain.attach(handle);
  domain.run(() => {
    for (let n = 0; n < 500; n++) callRcu(count, board);
  });
  if (how === "joins again") {
    domain.unregisterThread();
    domain.registerThread();
    domain.run(() => callRcu(count, board));
  }
  parentPort!.postMessage("ready");
  if (how === "crashes") {
    domain.enter();
    rcuReadLock();
    for (;;);
  }
  domain.unregisterThread();
}
