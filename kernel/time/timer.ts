/**
 * Timers: one queue for the machine, a binary heap by deadline, under one lock. An idle CPU sleeps until the earliest
 * deadline and runs what is due; when no CPU idles, the host's tick makes a busy one do it.
 *
 * A period costs nobody anything but its owner: a periodic timer is armed anew when its expiration was noticed (the signal taken,
 * the descriptor read), and what passed meanwhile is computed.
 *
 * Functions are registered by number, as closures do not cross threads. They run without the lock, on whatever
 * CPU gets there first: a timer may still run once while timerCancel returns, and its memory must be freed
 * through RCU.
 */
import {
  arrayCopy,
  arrayGet,
  arrayLength,
  arraySet,
  fixed,
  freeArray,
  type Held,
  kfreeRcu,
  locked,
  lockedWide,
  type Ref,
  spinlock,
  struct,
  tryAlloc,
  tryAllocArray,
} from "../../rcu/index.ts";
import { contain } from "../../rcu/kernel.ts";
import { kernelGlobal } from "../global.ts";
import { ENOMEM } from "../uapi/errno.ts";

/** Timer functions, by number. */
export const TIMER_WAKE_TASK = 1;
export const TIMER_ITIMER_REAL = 2;
export const TIMER_POSIX = 3;
export const TIMER_TIMERFD = 4;

export const Timer = struct("timer", {
  // Constant.
  fn: fixed(),
  arg: fixed(),
  // The queue's lock ("lock" of TimerQueue).
  /** Place in the heap plus one; 0 when not armed. */
  place: locked("lock"),
  /** Being freed: cannot be armed any more, not even by its own function on another CPU. */
  dead: locked("lock"),
  deadline: lockedWide("lock"),
});

const TimerQueue = struct("timer_queue", {
  lock: spinlock(96),
  heap: locked<"lock", Ref<"array">>("lock"),
  count: locked("lock"),
  /** Deadline of the first timer, Infinity for none; read without the lock by those who sleep or tick. */
  next: lockedWide("lock"),
});
const queue = kernelGlobal<Ref<"timer_queue">>("timer queue");

type TimerFunction = (arg: number) => void;
const functions: TimerFunction[] = [];

export function defineTimer(id: number, fn: TimerFunction): void {
  functions[id] = fn;
}

export function timersInit(): void {
  const ref = tryAlloc(TimerQueue);
  const heap = tryAllocArray(63);
  if (ref === 0 || heap === 0) throw new Error("no memory for the timer queue");
  TimerQueue.heap.init(ref, heap);
  TimerQueue.next.init(ref, Number.POSITIVE_INFINITY);
  queue.init(ref);
}

/** A timer that is not armed; 0 when the heap is full. */
export function newTimer(fn: number, arg: number): Ref<"timer"> | 0 {
  const timer = tryAlloc(Timer);
  if (timer === 0) return 0;
  Timer.fn.init(timer, fn);
  Timer.arg.init(timer, arg);
  return timer;
}

/** Disarms for good, and frees. */
export function freeTimer(timer: Ref<"timer">): void {
  const q = queue.get();
  const held = TimerQueue.lock.lock(q);
  Timer.dead.set(held, timer, 1);
  TimerQueue.lock.unlock(q);
  timerCancel(timer);
  kfreeRcu(Timer, timer);
}

/** Arms, or moves, the timer to an absolute monotonic time in nanoseconds. -ENOMEM when the heap is full. */
export function timerArm(timer: Ref<"timer">, deadline: number): number {
  const q = queue.get();
  const held = TimerQueue.lock.lock(q);
  let result = 0;
  if (Timer.place.get(held, timer) !== 0) remove(held, q, timer);
  if (Timer.dead.get(held, timer) !== 0) {
    // Its owner is gone.
  } else if (grow(held, q)) {
    const count = TimerQueue.count.get(held, q) + 1;
    TimerQueue.count.set(held, q, count);
    Timer.deadline.set(held, timer, deadline);
    siftUp(held, TimerQueue.heap.get(held, q), timer, count);
  } else {
    result = -ENOMEM;
  }
  publishNext(held, q);
  TimerQueue.lock.unlock(q);
  return result;
}

/** Disarms; true when the timer was armed. Its function may be running on another CPU. */
export function timerCancel(timer: Ref<"timer">): boolean {
  if (Timer.place.racy(timer) === 0) return false;
  const q = queue.get();
  const held = TimerQueue.lock.lock(q);
  const armed = Timer.place.get(held, timer) !== 0;
  if (armed) {
    remove(held, q, timer);
    publishNext(held, q);
  }
  TimerQueue.lock.unlock(q);
  return armed;
}

/** Deadline of the earliest timer; Infinity when none is armed. A racy look. */
export function nextTimer(): number {
  return TimerQueue.next.racy(queue.get());
}

/** Timers run in one go: who runs them has other things to do, and comes back at the next tick or when he idles. */
export const TIMERS_AT_ONCE = 256;

/** Runs timers that are due, the earliest first, TIMERS_AT_ONCE at most; returns how many. */
export function runTimers(now: number): number {
  const q = queue.get();
  let ran = 0;
  while (ran < TIMERS_AT_ONCE && TimerQueue.next.racy(q) <= now) {
    const held = TimerQueue.lock.lock(q);
    let timer: Ref<"timer"> | 0 = 0;
    if (TimerQueue.count.get(held, q) > 0) {
      const first = arrayGet(TimerQueue.heap.get(held, q), 1) as Ref<"timer">;
      if (Timer.deadline.get(held, first) <= now) timer = first;
    }
    if (timer !== 0) {
      remove(held, q, timer);
      publishNext(held, q);
    }
    TimerQueue.lock.unlock(q);
    if (timer === 0) break;
    // It is off the queue: one that fails takes neither the others nor this CPU along.
    contain("a timer", functions[Timer.fn.get(timer)]!, Timer.arg.get(timer), undefined);
    ran++;
  }
  return ran;
}

function publishNext(held: Held<"lock">, q: Ref<"timer_queue">): void {
  const heap = TimerQueue.heap.get(held, q);
  const none = TimerQueue.count.get(held, q) === 0;
  TimerQueue.next.set(
    held,
    q,
    none ? Number.POSITIVE_INFINITY : Timer.deadline.get(held, arrayGet(heap, 1) as Ref<"timer">),
  );
}

/** Element 0 of the heap array is unused: children of n are 2n and 2n+1. */
function grow(held: Held<"lock">, q: Ref<"timer_queue">): boolean {
  const heap = TimerQueue.heap.get(held, q);
  const count = TimerQueue.count.get(held, q);
  if (count + 1 < arrayLength(heap)) return true;
  const larger = tryAllocArray(arrayLength(heap) * 2 + 1);
  if (larger === 0) return false;
  arrayCopy(heap, larger, count + 1);
  TimerQueue.heap.set(held, q, larger);
  freeArray(heap);
  return true;
}

function put(held: Held<"lock">, heap: Ref<"array">, timer: Ref<"timer">, place: number): void {
  arraySet(heap, place, timer);
  Timer.place.set(held, timer, place);
}

function siftUp(held: Held<"lock">, heap: Ref<"array">, timer: Ref<"timer">, start: number): void {
  const deadline = Timer.deadline.get(held, timer);
  let place = start;
  while (place > 1) {
    const parent = arrayGet(heap, place >> 1) as Ref<"timer">;
    if (Timer.deadline.get(held, parent) <= deadline) break;
    put(held, heap, parent, place);
    place >>= 1;
  }
  put(held, heap, timer, place);
}

function siftDown(
  held: Held<"lock">,
  heap: Ref<"array">,
  timer: Ref<"timer">,
  start: number,
  count: number,
): void {
  const deadline = Timer.deadline.get(held, timer);
  let place = start;
  for (;;) {
    let child = place * 2;
    if (child > count) break;
    let least = arrayGet(heap, child) as Ref<"timer">;
    if (child < count) {
      const right = arrayGet(heap, child + 1) as Ref<"timer">;
      if (Timer.deadline.get(held, right) < Timer.deadline.get(held, least)) {
        least = right;
        child++;
      }
    }
    if (Timer.deadline.get(held, least) >= deadline) break;
    put(held, heap, least, place);
    place = child;
  }
  put(held, heap, timer, place);
}

function remove(held: Held<"lock">, q: Ref<"timer_queue">, timer: Ref<"timer">): void {
  const heap = TimerQueue.heap.get(held, q);
  const place = Timer.place.get(held, timer);
  const count = TimerQueue.count.get(held, q);
  TimerQueue.count.set(held, q, count - 1);
  Timer.place.set(held, timer, 0);
  if (place === count) return;
  const last = arrayGet(heap, count) as Ref<"timer">;
  const parent = place > 1 ? (arrayGet(heap, place >> 1) as Ref<"timer">) : 0;
  if (parent !== 0 && Timer.deadline.get(held, parent) > Timer.deadline.get(held, last))
    siftUp(held, heap, last, place);
  else siftDown(held, heap, last, place, count - 1);
}
