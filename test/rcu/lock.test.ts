import test from "ava";
import { brokenLocks, Heap, rcuIdleEnter, rcuIdleExit, tryAlloc } from "../../rcu/index.ts";
import { locksHeld } from "../../rcu/kernel.ts";
import { Board, type BoardRef, exited, reached, start } from "./shared.ts";

for (const [job, each] of [
  ["add", 1],
  ["addMutex", 1],
] as const) {
  test.serial(`${job}: four threads exclude each other`, async (t) => {
    const heap = Heap.create({ bytes: 8 << 20 });
    const board = tryAlloc(Board) as BoardRef;
    rcuIdleEnter();
    await Promise.all([1, 2, 3, 4].map(() => exited(start(heap, board, job, 20_000))));
    rcuIdleExit();
    t.is(Board.plain.get(board), 4 * 20_000 * each);
    heap.detach();
  });
}

test.serial("a reader-writer lock keeps readers from seeing a writer's half", async (t) => {
  const heap = Heap.create({ bytes: 8 << 20 });
  const board = tryAlloc(Board) as BoardRef;
  rcuIdleEnter();
  await Promise.all([1, 2, 3].map(() => exited(start(heap, board, "addRw", 8000))));
  rcuIdleExit();
  t.is(Board.count.load(board), 0);
  t.is(Board.plain.get(board), 3 * 2000 * 2);
  heap.detach();
});

test.serial("a spinlock and a read lock are free again after their owner died", async (t) => {
  const heap = Heap.create({ bytes: 8 << 20 });
  const board = tryAlloc(Board) as BoardRef;
  const worker = start(heap, board, "lockAndHang");
  await reached(board, 1);
  t.is(Board.lock.tryLock(board), 0);
  await worker.terminate();
  heap.reap(Board.count.load(board));
  const before = brokenLocks;
  Board.lock.lock(board);
  t.is(brokenLocks, before + 1);
  Board.lock.unlock(board);
  Board.rw.writeLock(board);
  Board.rw.writeUnlock(board);
  t.is(locksHeld, 0);
  heap.detach();
});

test.serial("a write lock and a mutex are free again after their owner died", async (t) => {
  const heap = Heap.create({ bytes: 8 << 20 });
  const board = tryAlloc(Board) as BoardRef;
  const worker = start(heap, board, "writeLockAndHang");
  await reached(board, 1);
  await worker.terminate();
  heap.reap(Board.count.load(board));
  Board.rw.readLock(board);
  Board.rw.readUnlock(board);
  Board.mutex.lock(board);
  Board.mutex.unlock(board);
  t.is(locksHeld, 0);
  heap.detach();
});

test.serial("unlocking what one does not hold, and locking twice, throw", (t) => {
  const heap = Heap.create({ bytes: 8 << 20 });
  const board = tryAlloc(Board) as BoardRef;
  t.throws(() => Board.lock.unlock(board), { message: /held by 0/ });
  Board.lock.lock(board);
  t.throws(() => Board.lock.lock(board), { message: /deadlock/ });
  Board.lock.unlock(board);
  t.throws(() => Board.rw.readUnlock(board), { message: /not held/ });
  t.is(locksHeld, 0);
  heap.detach();
});
