/** Jobs that tests of this folder run in a worker. */
import { workerData } from "node:worker_threads";
import {
  callRcu,
  Heap,
  kfreeRcu,
  type Ref,
  rcuIdleEnter,
  rcuIdleExit,
  rcuQuiescent,
  rcuReadLock,
  rcuReadUnlock,
  rcuRunCallbacks,
  synchronizeRcu,
  synchronizeRcuTasks,
  tryAlloc,
} from "../../rcu/index.ts";
import { Board, type BoardRef, countRun, Item, type Job } from "./shared.ts";

const { buffer, board: at, job, arg } = workerData as Job;
const heap = Heap.attach({ buffer });
const board = at as BoardRef;

function stage(n: number): void {
  Board.stage.store(board, n);
  Board.stage.notify(board);
}
function until(n: number): void {
  for (let seen = Board.stage.load(board); seen < n; seen = Board.stage.load(board))
    Board.stage.wait(board, seen);
}
const hang = (): void => {
  rcuIdleEnter();
  until(1000);
};

const JOBS: Record<string, () => void> = {
  /** Adds to a plain word under the spinlock. */
  add() {
    for (let n = 0; n < arg; n++) {
      Board.lock.lock(board);
      Board.plain.init(board, Board.plain.get(board) + 1);
      Board.lock.unlock(board);
      rcuQuiescent();
    }
  },
  addMutex() {
    for (let n = 0; n < arg; n++) {
      Board.mutex.lock(board);
      Board.plain.init(board, Board.plain.get(board) + 1);
      Board.mutex.unlock(board);
      rcuQuiescent();
    }
  },
  /** Readers check that writers, who make `plain` odd for a moment, exclude them. */
  addRw() {
    for (let n = 0; n < arg; n++) {
      if (n % 4 === 0) {
        Board.rw.writeLock(board);
        Board.plain.init(board, Board.plain.get(board) + 1);
        Board.plain.init(board, Board.plain.get(board) + 1);
        Board.rw.writeUnlock(board);
      } else {
        Board.rw.readLock(board);
        if ((Board.plain.get(board) & 1) !== 0) Board.count.add(board, 1);
        Board.rw.readUnlock(board);
      }
      rcuQuiescent();
    }
  },
  lockAndHang() {
    Board.lock.lock(board);
    Board.rw.readLock(board);
    Board.count.store(board, heap.slot);
    stage(1);
    until(1000);
  },
  writeLockAndHang() {
    Board.mutex.lock(board);
    Board.rw.writeLock(board);
    Board.count.store(board, heap.slot);
    stage(1);
    until(1000);
  },
  /** Queues callbacks and leaves at once. */
  queueAndLeave() {
    for (let n = 0; n < arg; n++) callRcu(countRun, board);
    heap.detach();
  },
  /** Queues callbacks and goes to sleep with them. */
  queueAndSleep() {
    for (let n = 0; n < arg; n++) callRcu(countRun, board);
    stage(1);
    hang();
  },
  /** Queues callbacks and dies without a word. */
  queueAndDie() {
    for (let n = 0; n < arg; n++) callRcu(countRun, board);
    for (let n = 0; n < arg; n++) kfreeRcu(Item, tryAlloc(Item) as Ref<"rcu test item">);
    Board.count.store(board, heap.slot);
    stage(1);
    until(1000);
  },
  /** Reads from stage 1 until the host says 2, then leaves the scope and says 3. */
  readUntilTold() {
    rcuReadLock();
    Board.count.store(board, heap.slot);
    stage(1);
    until(2);
    rcuReadUnlock();
    stage(3);
    rcuQuiescent();
    hang();
  },
  /** Works without pause, passing quiescent states. */
  busy() {
    Board.stage.add(board, 1);
    while (Board.stage.load(board) < 1000) {
      rcuReadLock();
      rcuReadUnlock();
      rcuQuiescent();
      rcuRunCallbacks();
    }
  },
  synchronizeTasks() {
    stage(1);
    synchronizeRcuTasks();
    stage(2);
  },
  /** Calls synchronize many times. */
  synchronize() {
    rcuIdleEnter();
    until(1);
    rcuIdleExit();
    for (let n = 0; n < arg; n++) synchronizeRcu();
    Board.ran.add(board, 1);
  },
};

JOBS[job]!();
heap.detach();
