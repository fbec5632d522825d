/**
 * Wait queues: where the current task queues itself before its call returns BLOCK, and where wakers find it.
 *
 * A queue is four words inside the object that is waited on (`waitqueue()` declares the field, `S.field.at(ref)` is its
 * address), valid when all zero. Its lock orders queueing against waking. Lock order: the owner's own lock may be held
 * around wakeUp; the queue's lock is taken inside it, the run queue's lock inside that. Hooks run with the
 * queue's lock held.
 *
 * Why no wake-up is lost. The sleeper: [1] waitOn adds the entry, stores TASK_WAITING and counts itself in `waiters`,
 * all sequentially consistent; [2] tests its condition again; [3] the CPU loop changes WAITING to SLEEPING with a
 * compare-and-swap. The waker: [a] makes the condition true; [b] wakeUp reads `waiters` with an atomic
 * read-modify-write; [c] changes WAITING to RUNNING or SLEEPING to RUNNABLE with a compare-and-swap. If [b] comes
 * before [1] in the order of atomic operations, then [a] does too, and [2] sees the condition. Otherwise the waker finds the
 * entry; whichever of [c] and [3] comes first, the other one sees it: either [3] fails and the call runs again at
 * once, or [c] finds SLEEPING and queues the task.
 *
 * A call may prepare several times in one run: poll(2) joins a queue for each descriptor and looks at it, epoll_wait(2) looks and then
 * sets its time-out. Only the first time stores TASK_WAITING: a wake-up that came since has made it RUNNING, for what a
 * look before missed, and must stay seen.
 *
 * A queue whose object dies with sleepers on it is emptied first (destroyWaitQueue); the object's memory must be freed
 * through RCU, since a sleeper that just woke may be about to take the queue's lock.
 */
import {
  atomic,
  fixed,
  free,
  type Held,
  listAddHead,
  listAddTail,
  listDelRcu,
  listFirst,
  listNext,
  listNode,
  owned,
  type Ref,
  spinlock,
  struct,
  tryAlloc,
  words,
} from "../../rcu/index.ts";
import { TASK_RUNNING, TASK_WAITING, Task } from "../task/task.ts";
import { ENOMEM } from "../uapi/errno.ts";
import { current } from "./current.ts";
import { wakeTask } from "./wake.ts";

/** The field spec of a wait queue inside a struct. */
export const waitqueue = () => words(WAITQUEUE_WORDS);
export const WAITQUEUE_WORDS = 4;

/** View of the four words; never allocated by itself. */
const WaitQueue = struct("waitqueue", { lock: spinlock(90), head: listNode(), waiters: atomic() });

const WaitEntry = struct("wait_entry", {
  // The queue's lock. `queue` becomes 0 when the queue is destroyed.
  node: listNode(),
  queue: atomic<Ref<"waitqueue"> | 0>(),
  // Constant.
  task: fixed<Ref<"task"> | 0>(),
  exclusive: fixed(),
  hook: fixed(),
  arg: fixed(),
  // The waiting task: next entry of the same call.
  next: owned<Ref<"wait_entry"> | 0>(),
});

/** Called with the queue's lock held. `key` is the waker's poll mask, or 0. */
export type WakeHook = (arg: number, key: number) => void;
const hooks: WakeHook[] = [];

/** Registers a hook function under a number that all CPUs agree on. */
export function defineWakeHook(id: number, hook: WakeHook): void {
  if (hooks[id] !== undefined && hooks[id] !== hook) throw new Error(`wake hook ${id} is defined twice`);
  hooks[id] = hook;
}

/** Set when the call in progress prepared to wait: the CPU loop must clean up even if it did not block. */
export let waitPrepared = false;

/** Whose call has prepared to wait in this run; 0: nobody's. */
let preparing = 0 as Ref<"task"> | 0;

/** The call in progress keeps something for its next run: the CPU loop clears it when the call ends. */
export function markRestartState(): void {
  waitPrepared = true;
}

/**
 * Current is about to wait for something that ends in wakeTask(current). Test the condition again afterwards. A wake-up since the
 * first time in this run of the call stands: the call then runs again at once.
 */
export function prepareToWait(): void {
  const task = current();
  waitPrepared = true;
  if (preparing === task) return;
  preparing = task;
  Task.state.store(task, TASK_WAITING);
}

/** This run of the current task's call is over, and it is about to sleep: on its queues it stays. */
export function leaveToSleep(): void {
  waitPrepared = false;
  preparing = 0;
}

/**
 * Current joins the queue, for the call in progress. An exclusive waiter is woken alone (accept, futex-like
 * hand-over); the others are all woken. A call may join several queues. -ENOMEM when the heap is full.
 */
export function waitOn(address: number, exclusive = false): number {
  const task = current();
  const entry = newEntry(address, task, exclusive, 0, 0);
  if (entry === 0) return -ENOMEM;
  WaitEntry.next.set(entry, Task.waits.get(task) as Ref<"wait_entry"> | 0);
  Task.waits.set(task, entry);
  prepareToWait();
  insert(entry);
  return 0;
}

/** The queue that a sleeping task joined last; 0 for one that waits on none. A racy look: a wake-up may free the entry meanwhile. */
export function queueOf(task: Ref<"task">): number {
  const entry = Task.waits.get(task) as Ref<"wait_entry"> | 0;
  try {
    return entry === 0 ? 0 : WaitEntry.queue.load(entry);
  } catch {
    return 0; // A debug heap saw that it is free.
  }
}

/** The call ended or runs again: leaves all queues. The CPU loop does it; handlers need not. */
export function finishWait(task: Ref<"task">): void {
  leaveToSleep();
  if (Task.state.peek(task) === TASK_WAITING) Task.state.store(task, TASK_RUNNING);
  let entry = Task.waits.get(task) as Ref<"wait_entry"> | 0;
  if (entry === 0) return;
  Task.waits.set(task, 0);
  while (entry !== 0) {
    const next = WaitEntry.next.get(entry);
    removeEntry(entry);
    entry = next;
  }
}

/** Adds a hook to the queue: called at every wake-up until removed. Returns the entry, or -ENOMEM. */
export function addWakeHook(address: number, hook: number, arg: number): number {
  const entry = newEntry(address, 0, false, hook, arg);
  if (entry === 0) return -ENOMEM;
  insert(entry);
  return entry;
}

export function removeWakeHook(entry: number): void {
  removeEntry(entry as Ref<"wait_entry">);
}

/**
 * Wakes everybody who waits non-exclusively and up to `exclusive` exclusive waiters (0: all of them), and calls the
 * hooks with `key`. Make the condition true first. Returns the number of tasks woken.
 */
export function wakeUp(address: number, exclusive = 1, key = 0): number {
  const queue = address as Ref<"waitqueue">;
  // A read-modify-write, not a load: it orders the waker's plain stores before the look at the waiters.
  if (WaitQueue.waiters.add(queue, 0) === 0) return 0;
  WaitQueue.lock.lockNested(queue); // A hook of another queue wakes who watches it.
  const head = WaitQueue.head.at(queue);
  let woken = 0;
  let left = exclusive;
  for (let node = listFirst(head); node !== 0; node = listNext(head, node)) {
    const entry = WaitEntry.node.owner(node);
    const hook = WaitEntry.hook.get(entry);
    if (hook !== 0) {
      hooks[hook]!(WaitEntry.arg.get(entry), key);
      continue;
    }
    const isExclusive = WaitEntry.exclusive.get(entry) !== 0;
    if (!wakeTask(WaitEntry.task.get(entry) as Ref<"task">)) continue;
    woken++;
    if (isExclusive && --left === 0) break;
  }
  WaitQueue.lock.unlock(queue);
  return woken;
}

/** Whether anybody waits, hooks included. A racy look. */
export function hasWaiters(address: number): boolean {
  return WaitQueue.waiters.load(address as Ref<"waitqueue">) !== 0;
}

/** The queue's object goes away: wakes all, calls the hooks a last time and detaches every entry. */
export function destroyWaitQueue(address: number, key = 0): void {
  const queue = address as Ref<"waitqueue">;
  if (WaitQueue.waiters.add(queue, 0) === 0) return;
  const held = WaitQueue.lock.lock(queue);
  const head = WaitQueue.head.at(queue);
  for (let node = listFirst(head); node !== 0; node = listFirst(head)) {
    const entry = WaitEntry.node.owner(node);
    unlink(held, queue, entry);
    // The entry stays its owner's to free; from here on it is on no queue.
    WaitEntry.queue.store(entry, 0);
    const hook = WaitEntry.hook.get(entry);
    if (hook !== 0) hooks[hook]!(WaitEntry.arg.get(entry), key);
    else wakeTask(WaitEntry.task.get(entry) as Ref<"task">);
  }
  WaitQueue.lock.unlock(queue);
}

function newEntry(
  address: number,
  task: Ref<"task"> | 0,
  exclusive: boolean,
  hook: number,
  arg: number,
): Ref<"wait_entry"> | 0 {
  const entry = tryAlloc(WaitEntry);
  if (entry === 0) return 0;
  WaitEntry.queue.init(entry, address as Ref<"waitqueue">);
  WaitEntry.task.init(entry, task);
  WaitEntry.exclusive.init(entry, exclusive ? 1 : 0);
  WaitEntry.hook.init(entry, hook);
  WaitEntry.arg.init(entry, arg);
  return entry;
}

function insert(entry: Ref<"wait_entry">): void {
  const queue = WaitEntry.queue.peek(entry) as Ref<"waitqueue">;
  const held = WaitQueue.lock.lock(queue);
  const head = WaitQueue.head.at(queue);
  if (WaitQueue.waiters.peek(queue) === 0) WaitQueue.head.init(queue);
  const node = WaitEntry.node.at(entry);
  if (WaitEntry.exclusive.get(entry) !== 0) listAddTail(held, head, node);
  else listAddHead(held, head, node);
  WaitQueue.waiters.add(queue, 1);
  WaitQueue.lock.unlock(queue);
}

function unlink(held: Held, queue: Ref<"waitqueue">, entry: Ref<"wait_entry">): void {
  listDelRcu(held, WaitEntry.node.at(entry));
  WaitQueue.waiters.add(queue, -1);
}

function removeEntry(entry: Ref<"wait_entry">): void {
  const queue = WaitEntry.queue.load(entry);
  if (queue !== 0) {
    const held = WaitQueue.lock.lock(queue);
    // destroyWaitQueue may have come first; the queue's words are still there until a grace period ends.
    if (WaitEntry.queue.peek(entry) === queue) unlink(held, queue, entry);
    WaitQueue.lock.unlock(queue);
  }
  free(WaitEntry, entry);
}
