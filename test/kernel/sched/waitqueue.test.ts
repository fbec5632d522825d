import test from "ava";
import { Cpu, cpuOf } from "../../../kernel/sched/cpus.ts";
import { blockUntil, clearRestart } from "../../../kernel/sched/restart.ts";
import {
  addWakeHook,
  defineWakeHook,
  destroyWaitQueue,
  finishWait,
  hasWaiters,
  leaveToSleep,
  removeWakeHook,
  waitOn,
  waitqueue,
  wakeUp,
} from "../../../kernel/sched/waitqueue.ts";
import { TASK_RUNNABLE, TASK_RUNNING, TASK_SLEEPING, TASK_WAITING, Task } from "../../../kernel/task/task.ts";
import { nowNs } from "../../../kernel/time/clock.ts";
import { liveObjects, type Ref, struct, tryAlloc } from "../../../rcu/index.ts";
import { declaredStructs } from "../../../rcu/kernel.ts";
import { as, bootSolo, makeProcess } from "./solo.ts";

const Thing = struct("test_thing", { before: waitqueue(), queue: waitqueue() });

bootSolo();
const entries = (): number => liveObjects(declaredStructs.get("wait_entry")!);

function newQueue(): number {
  const thing = tryAlloc(Thing);
  if (thing === 0) throw new Error("no memory");
  return Thing.queue.at(thing);
}

/** What the CPU loop does with a call that returned BLOCK. */
const sleep = (task: Ref<"task">): boolean => Task.state.cas(task, TASK_WAITING, TASK_SLEEPING);

function sleeper(queue: number, exclusive = false): Ref<"task"> {
  const task = makeProcess();
  as(task, () => waitOn(queue, exclusive));
  if (!sleep(task)) throw new Error("did not sleep");
  return task;
}

const wake = (task: Ref<"task">): void => {
  as(task, () => finishWait(task));
};

test.serial("a wake-up queues every task that sleeps on the queue, and none that does not", (t) => {
  const queue = newQueue();
  const other = newQueue();
  const [a, b, c] = [sleeper(queue), sleeper(queue), sleeper(other)];
  const queued = Cpu.queued.load(cpuOf(0));
  t.is(wakeUp(queue), 2);
  t.is(Task.state.load(a), TASK_RUNNABLE);
  t.is(Task.state.load(b), TASK_RUNNABLE);
  t.is(Task.state.load(c), TASK_SLEEPING);
  t.is(Cpu.queued.load(cpuOf(0)) - queued, 2);
  t.is(wakeUp(queue), 0, "awake already");
  for (const task of [a, b, c]) wake(task);
  t.is(entries(), 0);
});

test.serial("a wake-up between waitOn and the sleep is not lost", (t) => {
  const queue = newQueue();
  const task = makeProcess();
  as(task, () => waitOn(queue));
  t.is(wakeUp(queue), 1);
  t.is(Task.state.load(task), TASK_RUNNING);
  t.false(sleep(task), "the call runs again at once");
  wake(task);
  t.false(hasWaiters(queue));
});

test.serial(
  "a wake-up while the call goes on preparing is not lost: for another queue, or a time-out",
  (t) => {
    for (const prepareMore of [
      // poll(2): the first descriptor was looked at, and becomes ready before the second is joined.
      () => void waitOn(newQueue()),
      // epoll_wait(2): nothing was ready when it looked for the second time, and something is before it sets its time-out.
      () => blockUntil(Number.POSITIVE_INFINITY),
      () => blockUntil(nowNs() + 1e12),
    ]) {
      const queue = newQueue();
      const task = makeProcess();
      as(task, () => {
        waitOn(queue);
        t.is(wakeUp(queue), 1);
        prepareMore();
      });
      t.false(sleep(task), "the call runs again at once");
      as(task, () => {
        finishWait(task);
        clearRestart(task);
        waitOn(queue);
      });
      t.true(sleep(task), "its next run waits");
      wakeUp(queue);
      wake(task);
    }
    t.is(entries(), 0);
  },
);

test.serial("what one task prepared does not keep the next one on this CPU from waiting", (t) => {
  const queue = newQueue();
  const [first, second] = [makeProcess(), makeProcess()];
  for (const task of [first, second, first]) {
    as(task, () => waitOn(queue));
    as(task, leaveToSleep);
    t.true(sleep(task));
    wakeUp(queue);
    wake(task);
    Task.state.store(task, TASK_RUNNING);
  }
});

test.serial(
  "one exclusive waiter is woken at a time, in the order of arrival, and all others with each",
  (t) => {
    const queue = newQueue();
    const first = sleeper(queue, true);
    const second = sleeper(queue, true);
    const shared = sleeper(queue);
    t.is(wakeUp(queue, 1), 2);
    t.is(Task.state.load(first), TASK_RUNNABLE);
    t.is(Task.state.load(shared), TASK_RUNNABLE);
    t.is(Task.state.load(second), TASK_SLEEPING);
    // The first one has not run yet: the wake-up goes to the next.
    t.is(wakeUp(queue, 1), 1);
    t.is(Task.state.load(second), TASK_RUNNABLE);
    for (const task of [first, second, shared]) wake(task);
  },
);

test.serial("a task that waits on several queues is woken by any, and leaves all", (t) => {
  const [a, b] = [newQueue(), newQueue()];
  const task = makeProcess();
  as(task, () => {
    waitOn(a);
    waitOn(b);
  });
  sleep(task);
  t.is(wakeUp(b), 1);
  wake(task);
  t.false(hasWaiters(a));
  t.false(hasWaiters(b));
  t.is(entries(), 0);
});

test.serial("hooks get the key of every wake-up until they are removed", (t) => {
  const queue = newQueue();
  const calls: number[][] = [];
  defineWakeHook(40, (arg, key) => calls.push([arg, key]));
  const entry = addWakeHook(queue, 40, 7);
  wakeUp(queue, 1, 5);
  wakeUp(queue, 1, 6);
  removeWakeHook(entry);
  wakeUp(queue, 1, 8);
  t.deepEqual(calls, [
    [7, 5],
    [7, 6],
  ]);
});

test.serial("destroying a queue wakes its sleepers, and leaving it afterwards touches nothing", (t) => {
  const queue = newQueue();
  const task = sleeper(queue);
  defineWakeHook(41, () => {});
  const entry = addWakeHook(queue, 41, 0);
  destroyWaitQueue(queue);
  t.is(Task.state.load(task), TASK_RUNNABLE);
  t.false(hasWaiters(queue));
  wake(task);
  removeWakeHook(entry);
  t.false(hasWaiters(queue));
  t.is(entries(), 0);
});
