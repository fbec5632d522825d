/**
 * Queues of inotify(7): instances, their events, and the one lock that guards them and all watches (notify.ts).
 *
 * The lock is taken only where somebody watches. It is innermost but for slabs; wake-ups and the inodes' counts come after
 * it. While nobody watches anything an event costs a load and a branch.
 */
import {
  atomic,
  fixed,
  free,
  freeString,
  owned,
  type Ref,
  spinlock,
  stringBytes,
  struct,
  tryAlloc,
  tryAllocString,
} from "../../rcu/index.ts";
import { kernelGlobal } from "../global.ts";
import { heapIsScarce } from "../mm/heap.ts";
import { waitqueue, wakeUp } from "../sched/waitqueue.ts";
import { IN_Q_OVERFLOW } from "../uapi/inotify.ts";
import { POLLIN, POLLRDNORM } from "../uapi/poll.ts";
import { iput } from "./inode.ts";

type I = Ref<"inode">;
type E = Ref<"inotify_event">;
export type N = Ref<"inotify">;
export type M = Ref<"inotify_mark">;

/** /proc/sys/fs/inotify: watches of the machine, events of an instance. */
export const MAX_QUEUED_EVENTS = 16384;
/** So many an instance holds also while the kernel's heap is scarce. */
const FEW_EVENTS = 16;

export const Watching = struct("watching", {
  lock: spinlock(45),
  watches: atomic(),
  /** Last number that joined two IN_MOVED events. */
  cookie: atomic(),
});
export const watching = kernelGlobal<Ref<"watching">>("inotify watches");

// Fields that are `owned` change with Watching.lock held.
export const Inotify = struct("inotify", {
  firstEvent: owned<Ref<"inotify_event"> | 0>(),
  lastEvent: owned<Ref<"inotify_event"> | 0>(),
  queued: owned(),
  /** The event that says that there was no room: made with the instance, in the queue or aside. */
  overflow: fixed<Ref<"inotify_event">>(),
  overflowQueued: owned(),
  /** Charged for it and its watches, or 0. */
  user: fixed<Ref<"user"> | 0>(),
  firstMark: owned<M | 0>(),
  lastWd: owned(),
  wait: waitqueue(),
});

export const InotifyEvent = struct("inotify_event", {
  wd: fixed(),
  mask: fixed(),
  cookie: fixed(),
  name: fixed<Ref<"string"> | 0>(),
  next: owned<Ref<"inotify_event"> | 0>(),
});

/** Once per machine, at boot. False when the heap is full. */
export function notifyInit(): boolean {
  const state = tryAlloc(Watching);
  if (state !== 0) watching.init(state);
  return state !== 0;
}

/** Whether anybody watches anything. */
export const anybody = (): boolean => Watching.watches.peek(watching.get()) !== 0;

/** Runs `work` with all marks and queues locked; then wakes the instances and drops the inodes that it names. */
export function locked<T>(work: (wake: N[], drop: I[]) => T): T {
  const wake: N[] = [];
  const drop: I[] = [];
  const state = watching.get();
  Watching.lock.lock(state);
  const result = work(wake, drop);
  Watching.lock.unlock(state);
  for (const instance of wake) wakeUp(Inotify.wait.at(instance), 0, POLLIN | POLLRDNORM);
  for (const inode of drop) iput(inode);
  return result;
}

/** An instance with an empty queue; 0 when memory is short. */
export function newInotify(): N | 0 {
  const instance = tryAlloc(Inotify);
  const overflow = instance === 0 ? 0 : newEvent(-1, IN_Q_OVERFLOW, 0, null);
  if (instance === 0 || overflow === 0) {
    if (instance !== 0) free(Inotify, instance);
    return 0;
  }
  Inotify.overflow.init(instance, overflow);
  return instance;
}

function newEvent(wd: number, mask: number, cookie: number, name: Uint8Array | null): E | 0 {
  const text = name === null ? 0 : tryAllocString(name);
  if (name !== null && text === 0) return 0;
  const event = tryAlloc(InotifyEvent);
  if (event === 0) {
    if (text !== 0) freeString(text);
    return 0;
  }
  InotifyEvent.wd.init(event, wd);
  InotifyEvent.mask.init(event, mask);
  InotifyEvent.cookie.init(event, cookie);
  InotifyEvent.name.init(event, text);
  return event;
}

/** Frees an event that was taken off the queue; the one for overflows is kept. */
export function freeEvent(instance: N, event: E): void {
  if (event === Inotify.overflow.get(instance)) return;
  const name = InotifyEvent.name.get(event);
  if (name !== 0) freeString(name);
  free(InotifyEvent, event);
}

/** The next event, off the queue; 0 when there is none. Only with the lock held. */
export function takeEvent(instance: N): E | 0 {
  const event = Inotify.firstEvent.get(instance);
  if (event === 0) return 0;
  const next = InotifyEvent.next.get(event);
  Inotify.firstEvent.set(instance, next);
  if (next === 0) Inotify.lastEvent.set(instance, 0);
  Inotify.queued.set(instance, Inotify.queued.get(instance) - 1);
  if (event === Inotify.overflow.get(instance)) Inotify.overflowQueued.set(instance, 0);
  return event;
}

/** Takes the next event if it fits into `room` bytes; 0 when there is none, -1 when it does not fit. */
export function nextEvent(instance: N, room: number, size: (event: E) => number): E | 0 | -1 {
  return locked(() => {
    const first = Inotify.firstEvent.get(instance);
    if (first === 0) return 0;
    return size(first) > room ? -1 : takeEvent(instance);
  });
}

/** Calls `visit` with each event that waits. */
export function eachEvent(instance: N, visit: (event: E) => void): void {
  locked(() => {
    for (let event = Inotify.firstEvent.get(instance); event !== 0; event = InotifyEvent.next.get(event))
      visit(event);
  });
}

/** Queues an event, unless it only repeats the last one. */
export function enqueue(
  instance: N,
  wd: number,
  mask: number,
  cookie: number,
  name: Uint8Array | null,
): void {
  const last = Inotify.lastEvent.get(instance);
  if (last !== 0 && repeats(last, wd, mask, cookie, name)) return;
  const queued = Inotify.queued.get(instance);
  const full = queued >= MAX_QUEUED_EVENTS || (queued >= FEW_EVENTS && heapIsScarce());
  const event = full ? 0 : newEvent(wd, mask, cookie, name);
  if (event !== 0) append(instance, event);
  else if (Inotify.overflowQueued.get(instance) === 0) {
    Inotify.overflowQueued.set(instance, 1);
    append(instance, Inotify.overflow.get(instance));
  }
}

function append(instance: N, event: E): void {
  const last = Inotify.lastEvent.get(instance);
  InotifyEvent.next.set(event, 0);
  if (last === 0) Inotify.firstEvent.set(instance, event);
  else InotifyEvent.next.set(last, event);
  Inotify.lastEvent.set(instance, event);
  Inotify.queued.set(instance, Inotify.queued.get(instance) + 1);
}

function repeats(last: E, wd: number, mask: number, cookie: number, name: Uint8Array | null): boolean {
  const same =
    InotifyEvent.wd.get(last) === wd &&
    InotifyEvent.mask.get(last) === mask &&
    InotifyEvent.cookie.get(last) === cookie;
  const old = InotifyEvent.name.get(last);
  if (!same || (old === 0) !== (name === null)) return false;
  return old === 0 || Buffer.compare(stringBytes(old), name!) === 0;
}
