import test from "ava";
import {
  callRcu,
  checkStall,
  defineReclaimer,
  drainCallRcu,
  fixed,
  Heap,
  pollStateSynchronizeRcu,
  type RcuStall,
  type Ref,
  rcuIdleEnter,
  rcuIdleExit,
  rcuQuiescent,
  rcuReadLock,
  rcuReadLockHeld,
  rcuReadUnlock,
  rcuTasksQuiescent,
  rcuTasksRegister,
  rcuTasksSleep,
  rcuTasksUnregister,
  rcuTasksWake,
  setRcuStallHandler,
  spinlock,
  startPollSynchronizeRcu,
  struct,
  synchronizeRcu,
  synchronizeRcuTasks,
  tryAlloc,
  words,
} from "../../rcu/index.ts";
import { PREEMPT_WORDS, rcuSwitchIn, rcuSwitchOut, rcuTaskGone } from "../../rcu/kernel.ts";
import { RCU } from "../../rcu/layout.ts";
import { Random } from "../../rcu/torture/random.ts";
import { Board, type BoardRef, exited, reached, start } from "./shared.ts";

const Task = struct("preempt test task", { record: words(PREEMPT_WORDS), lock: spinlock(), x: fixed() });
const newTask = (): Ref<"preempt test task"> => tryAlloc(Task) as Ref<"preempt test task">;

function inHeap(run: (heap: Heap) => void): void {
  const heap = Heap.create({ bytes: 8 << 20, debug: true });
  try {
    run(heap);
  } finally {
    heap.detach();
  }
}

test.serial(
  "the list of blocked tasks holds those that are on it, in whatever order they come and go",
  (t) => {
    inHeap(({ i32 }) => {
      const records = Array.from({ length: 4 }, () => Task.record.at(newTask()));
      const on: number[] = []; // The last one to come is the first on the list.
      const list = (): number[] => {
        const found: number[] = [];
        let before = 0;
        for (let at = i32[RCU.PREEMPT_HEAD]!; at !== 0; at = i32[at]!) {
          t.is(i32[at + 1], before, "the link back");
          found.push((before = at));
        }
        t.is(i32[RCU.PREEMPT_COUNT], found.length);
        return found;
      };
      const header = i32.slice(0, 4);
      const random = new Random(11);
      for (let n = 0; n < 400; n++) {
        const record = records[random.below(records.length)]!;
        const at = on.indexOf(record);
        if (at < 0) {
          rcuTaskGone(record); // On no list: nothing happens.
          t.deepEqual(list(), on);
          rcuReadLock();
          t.true(rcuSwitchOut(record));
          on.unshift(record);
        } else {
          if (random.below(3) === 0) rcuTaskGone(record);
          else {
            rcuSwitchIn(record);
            t.deepEqual(list(), on, "it stays until it has left its scope");
            if (random.below(2) === 0) {
              t.true(rcuSwitchOut(record), "out again, in the same scope");
              t.deepEqual(list(), on);
              rcuSwitchIn(record);
            }
            rcuReadUnlock();
            rcuQuiescent();
          }
          on.splice(at, 1);
        }
        t.deepEqual(list(), on);
      }
      t.deepEqual(i32.slice(0, 4), header, "nobody wrote through reference 0");
    });
  },
);

test.serial(
  "a task switched out in a scope blocks grace periods until its outermost unlock; its CPU does not",
  (t) => {
    inHeap(() => {
      const record = Task.record.at(newTask());
      rcuReadLock();
      rcuReadLock();
      t.true(rcuSwitchOut(record));
      t.false(rcuReadLockHeld());
      const cookie = startPollSynchronizeRcu();
      for (let n = 0; n < 10; n++) rcuQuiescent();
      rcuIdleEnter();
      rcuIdleExit();
      t.false(pollStateSynchronizeRcu(cookie));
      rcuSwitchIn(record);
      t.true(rcuReadLockHeld());
      rcuReadUnlock();
      t.throws(() => rcuSwitchIn(record), { message: /another task/ });
      rcuReadUnlock();
      t.false(pollStateSynchronizeRcu(cookie));
      rcuQuiescent();
      t.true(pollStateSynchronizeRcu(cookie));
      synchronizeRcu();
      t.throws(() => rcuSwitchIn(record), { message: /did not put/ });
    });
  },
);

test.serial(
  "a grace period ends at once when the last task it waits for is switched out behind its scope",
  (t) => {
    inHeap(() => {
      const record = Task.record.at(newTask());
      const other = Task.record.at(newTask());
      for (const leave of [() => t.false(rcuSwitchOut(record)), () => rcuSwitchIn(other)]) {
        rcuReadLock();
        t.true(rcuSwitchOut(record));
        const cookie = startPollSynchronizeRcu();
        rcuQuiescent(); // This CPU, the only one, has reported: no other report will find the grace period over.
        rcuReadLock();
        t.true(rcuSwitchOut(other)); // Too late to block it.
        t.false(pollStateSynchronizeRcu(cookie));
        rcuSwitchIn(record);
        rcuReadUnlock();
        leave();
        t.true(pollStateSynchronizeRcu(cookie));
        if (!rcuReadLockHeld()) rcuSwitchIn(other);
        rcuReadUnlock();
        t.false(rcuSwitchOut(other));
      }
    });
  },
);

test.serial("a stall names the task that was switched out in its scope, when no CPU lags behind", (t) => {
  inHeap(() => {
    const record = Task.record.at(newTask());
    const stalls: RcuStall[] = [];
    setRcuStallHandler(0, (stall) => stalls.push(stall));
    rcuReadLock();
    t.true(rcuSwitchOut(record));
    startPollSynchronizeRcu();
    rcuQuiescent();
    checkStall();
    setRcuStallHandler(10_000);
    t.deepEqual(
      stalls.map(({ laggards, blocked }) => ({ laggards, blocked })),
      [{ laggards: [], blocked: [{ record, task: "" }] }],
    );
    rcuSwitchIn(record);
    rcuReadUnlock();
    rcuQuiescent();
  });
});

test.serial("it blocks the grace period in progress only if its CPU had not reported for it yet", (t) => {
  inHeap(() => {
    const held = newTask();
    const late = newTask();
    rcuReadLock();
    t.true(rcuSwitchOut(Task.record.at(held))); // Keeps the grace period open, so that the CPU can report first.
    const first = startPollSynchronizeRcu();
    rcuQuiescent(); // Reported.
    rcuReadLock();
    t.true(rcuSwitchOut(Task.record.at(late)));
    rcuSwitchIn(Task.record.at(held));
    rcuReadUnlock();
    rcuQuiescent();
    t.true(pollStateSynchronizeRcu(first), "the late task began after the CPU had reported");
    const second = startPollSynchronizeRcu();
    for (let n = 0; n < 5; n++) rcuQuiescent();
    t.false(pollStateSynchronizeRcu(second));
    rcuSwitchIn(Task.record.at(late));
    rcuReadUnlock();
    for (let n = 0; n < 3; n++) rcuQuiescent();
    t.true(pollStateSynchronizeRcu(second));
  });
});

test.serial("a task outside of scopes is not put on the list; one may switch out again and again", (t) => {
  inHeap(() => {
    const record = Task.record.at(newTask());
    t.false(rcuSwitchOut(record));
    rcuReadLock();
    for (let n = 0; n < 4; n++) {
      t.true(rcuSwitchOut(record));
      rcuQuiescent();
      rcuSwitchIn(record);
    }
    rcuReadUnlock();
    t.false(rcuSwitchOut(record));
    synchronizeRcu();
  });
});

test.serial("drainCallRcu runs callbacks that need the caller's lock", (t) => {
  inHeap(() => {
    const task = newTask();
    for (let n = 0; n < 3; n++) callRcu(bump, task);
    Task.lock.lock(task);
    drainCallRcu({ unlock: () => Task.lock.unlock(task), lock: () => Task.lock.lock(task) });
    t.is(Task.x.get(task), 3);
    Task.lock.unlock(task);
  });
});
const bump = defineReclaimer("preempt test: bump", (arg) => {
  const task = arg as Ref<"preempt test task">;
  Task.lock.lock(task);
  Task.x.init(task, Task.x.get(task) + 1);
  Task.lock.unlock(task);
});

test.serial("Tasks RCU waits for running tasks to switch, not for sleeping or ended ones", async (t) => {
  const heap = Heap.create({ bytes: 8 << 20, debug: true });
  const board = tryAlloc(Board) as BoardRef;
  const asleep = rcuTasksRegister();
  const ended = rcuTasksRegister();
  rcuTasksSleep(asleep);
  rcuTasksUnregister(ended);
  synchronizeRcuTasks();
  rcuTasksWake(asleep);
  const worker = start(heap, board, "synchronizeTasks"); // Reaches stage 1 before, 2 after it waited.
  rcuIdleEnter();
  await reached(board, 1);
  await new Promise((resolve) => setTimeout(resolve, 80));
  t.is(Board.stage.load(board), 1, "a running task is waited for");
  rcuIdleExit();
  rcuTasksQuiescent(asleep);
  rcuIdleEnter();
  await reached(board, 2);
  await exited(worker);
  rcuIdleExit();
  rcuTasksUnregister(asleep);
  heap.detach();
});
