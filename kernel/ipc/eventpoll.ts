/**
 * epoll(7): the objects, and who may touch them.
 *
 * An *eventpoll* has a hash of *epitems*, one per (file, descriptor) watched. Each item hooks itself into the wait queues
 * of its file; a wake-up there puts it on the ready list, so epoll_wait costs O(ready).
 *
 * Lock order: epmutex (global; the graph of who watches whom, and each file's list of items) -> Eventpoll.mtx (hash, scans)
 * -> what a file's poll() takes. A hook runs below the lock of the file's wait queue and takes Eventpoll.lock (ready list),
 * then the lock of Eventpoll.wait. No hook is ever run for an item whose hooks were removed.
 */

import {
  arrayGet,
  arrayLength,
  arraySet,
  atomic,
  fixed,
  free,
  freeArray,
  type Held,
  kfreeRcu,
  listAddTail,
  listDelInit,
  listFirst,
  listNode,
  listUnlinked,
  locked,
  owned,
  type Ref,
  spinlock,
  struct,
  tryAlloc,
  tryAllocArray,
  words,
} from "../../rcu/index.ts";
import { File } from "../fs/file.ts";
import { kernelGlobal } from "../global.ts";
import { current } from "../sched/current.ts";
import {
  addWakeHook,
  defineWakeHook,
  destroyWaitQueue,
  removeWakeHook,
  waitqueue,
  wakeUp,
} from "../sched/waitqueue.ts";
import { userOfTask } from "../task/cred.ts";
import { limit } from "../task/limits.ts";
import { userCharge, userGet, userPut, userUncharge } from "../task/user.ts";
import { EPOLLET, EPOLLEXCLUSIVE, EPOLLONESHOT, EPOLLWAKEUP } from "../uapi/epoll.ts";
import { ENOMEM, ENOSPC } from "../uapi/errno.ts";
import { POLLIN, POLLRDNORM } from "../uapi/poll.ts";
import { visitWaitQueues } from "./poll.ts";

/** Flags in an item's event mask that are not events. */
export const EP_PRIVATE_BITS = EPOLLWAKEUP | EPOLLONESHOT | EPOLLET | EPOLLEXCLUSIVE;

/** Number of the wake hook: kernel/ipc/eventpoll.ts is the only user. */
const HOOK_EPOLL = 1;
/** Most wait queues that one file may have. */
const MAX_QUEUES = 4;
const FIRST_BUCKETS = 8;

export const Eventpoll = struct("eventpoll", {
  /** The instance as an open file, which lives longer. */
  file: fixed<Ref<"file">>(),
  /** Guards the hash and the items' masks; held while files are polled. */
  mtx: spinlock(15),
  /** Hash of items by (file, fd), chained through Epitem.hashNext. */
  buckets: locked<"mtx", Ref<"array">>("mtx"),
  items: locked("mtx"),
  /** Guards the ready list; taken by hooks. */
  lock: spinlock(92),
  ready: listNode(),
  readyCount: locked("lock"),
  /** epoll_wait sleeps here. */
  wait: waitqueue(),
  /** Whoever polls the epoll file itself. */
  pollWait: waitqueue(),
  /** Who made it, counted, or 0: its items are charged to that user. */
  user: fixed<Ref<"user"> | 0>(),
});

export const Epitem = struct("epitem", {
  ep: fixed<Ref<"eventpoll">>(),
  file: fixed<Ref<"file">>(),
  fd: fixed(),
  /** Events asked for and flags; 0 events while a one-shot item is disarmed. Written under mtx, read by hooks. */
  events: atomic(),
  /** epoll_data, under mtx. */
  dataLow: owned(),
  dataHigh: owned(),
  /** Next in the hash chain, under mtx. */
  hashNext: owned<Ref<"epitem"> | 0>(),
  /** In Eventpoll.ready, under lock. */
  readyNode: listNode(),
  /** The items that watch the same file, in both directions: under epmutex. */
  fileNext: owned<Ref<"epitem"> | 0>(),
  filePrev: owned<Ref<"epitem"> | 0>(),
  /** Wake hook entries, 0 for none. */
  hooks: words(MAX_QUEUES),
});

const EpollState = struct("epoll_state", { epmutex: spinlock(10) });
const state = kernelGlobal<Ref<"epoll_state">>("epoll state");

/** Makes the global lock: once per machine, at boot. */
export function epollInit(): void {
  const ref = tryAlloc(EpollState);
  if (ref === 0) throw new Error("no memory for epoll");
  state.init(ref);
}
export const lockEpmutex = (): void => void EpollState.epmutex.lock(state.get());
export const unlockEpmutex = (): void => EpollState.epmutex.unlock(state.get());

export function eventpollCreate(): Ref<"eventpoll"> | 0 {
  const buckets = tryAllocArray(FIRST_BUCKETS);
  if (buckets === 0) return 0;
  const ep = tryAlloc(Eventpoll);
  if (ep === 0) {
    freeArray(buckets);
    return 0;
  }
  Eventpoll.buckets.init(ep, buckets);
  const task = current();
  if (task !== 0) Eventpoll.user.init(ep, userGet(userOfTask(task)));
  Eventpoll.ready.init(ep);
  return ep;
}

const hash = (file: number, fd: number, buckets: number): number =>
  ((Math.imul(file, 0x9e3779b1) + Math.imul(fd, 0x85ebca6b)) >>> 8) & (buckets - 1);

export function findItem(
  held: Held<"mtx">,
  ep: Ref<"eventpoll">,
  file: Ref<"file">,
  fd: number,
): Ref<"epitem"> | 0 {
  const buckets = Eventpoll.buckets.get(held, ep);
  let item = arrayGet(buckets, hash(file, fd, arrayLength(buckets))) as Ref<"epitem"> | 0;
  while (item !== 0 && (Epitem.file.get(item) !== file || Epitem.fd.get(item) !== fd))
    item = Epitem.hashNext.get(item);
  return item;
}

function addToHash(held: Held<"mtx">, ep: Ref<"eventpoll">, item: Ref<"epitem">): void {
  const count = Eventpoll.items.get(held, ep) + 1;
  let buckets = Eventpoll.buckets.get(held, ep);
  Eventpoll.items.set(held, ep, count);
  // A failed growth only makes the chains longer.
  const grown = count > arrayLength(buckets) ? tryAllocArray(arrayLength(buckets) * 2) : 0;
  if (grown !== 0) {
    forEachItem(held, ep, (old) => chain(grown, old));
    Eventpoll.buckets.set(held, ep, grown);
    freeArray(buckets);
    buckets = grown;
  }
  chain(buckets, item);
}

function chain(buckets: Ref<"array">, item: Ref<"epitem">): void {
  const index = hash(Epitem.file.get(item), Epitem.fd.get(item), arrayLength(buckets));
  Epitem.hashNext.set(item, arrayGet(buckets, index) as Ref<"epitem"> | 0);
  arraySet(buckets, index, item);
}

/** Visits every item; the visitor may take the item out or free it. */
export function forEachItem(
  held: Held<"mtx">,
  ep: Ref<"eventpoll">,
  visit: (item: Ref<"epitem">) => void,
): void {
  const buckets = Eventpoll.buckets.get(held, ep);
  for (let index = 0; index < arrayLength(buckets); index++) {
    for (let item = arrayGet(buckets, index) as Ref<"epitem"> | 0; item !== 0; ) {
      const next = Epitem.hashNext.get(item);
      visit(item);
      item = next;
    }
  }
}

function removeFromHash(held: Held<"mtx">, ep: Ref<"eventpoll">, item: Ref<"epitem">): void {
  const buckets = Eventpoll.buckets.get(held, ep);
  const index = hash(Epitem.file.get(item), Epitem.fd.get(item), arrayLength(buckets));
  const next = Epitem.hashNext.get(item);
  let at = arrayGet(buckets, index) as Ref<"epitem">;
  if (at === item) arraySet(buckets, index, next);
  else {
    while (Epitem.hashNext.get(at) !== item) at = Epitem.hashNext.get(at) as Ref<"epitem">;
    Epitem.hashNext.set(at, next);
  }
  Eventpoll.items.set(held, ep, Eventpoll.items.get(held, ep) - 1);
}

/** An event came: puts the item on the ready list and wakes who waits. */
export function markReady(item: Ref<"epitem">): void {
  const ep = Epitem.ep.get(item);
  putReady(ep, item);
  wakeUp(Eventpoll.wait.at(ep), 1, POLLIN | POLLRDNORM);
  wakeUp(Eventpoll.pollWait.at(ep), 1, POLLIN | POLLRDNORM);
}

/** Puts the item at the end of the ready list, unless it is there. */
export function putReady(ep: Ref<"eventpoll">, item: Ref<"epitem">): void {
  const held = Eventpoll.lock.lock(ep);
  const node = Epitem.readyNode.at(item);
  if (listUnlinked(node)) {
    listAddTail(held, Eventpoll.ready.at(ep), node);
    Eventpoll.readyCount.set(held, ep, Eventpoll.readyCount.get(held, ep) + 1);
  }
  Eventpoll.lock.unlock(ep);
}

/** Takes the oldest ready item off the list; 0 when there is none. */
export function takeReady(ep: Ref<"eventpoll">): Ref<"epitem"> | 0 {
  const held = Eventpoll.lock.lock(ep);
  const node = listFirst(Eventpoll.ready.at(ep));
  if (node !== 0) {
    listDelInit(held, node);
    Eventpoll.readyCount.set(held, ep, Eventpoll.readyCount.get(held, ep) - 1);
  }
  Eventpoll.lock.unlock(ep);
  return node === 0 ? 0 : Epitem.readyNode.owner(node);
}

function unready(ep: Ref<"eventpoll">, item: Ref<"epitem">): void {
  const held = Eventpoll.lock.lock(ep);
  const node = Epitem.readyNode.at(item);
  if (!listUnlinked(node)) {
    listDelInit(held, node);
    Eventpoll.readyCount.set(held, ep, Eventpoll.readyCount.get(held, ep) - 1);
  }
  Eventpoll.lock.unlock(ep);
}

/** A wait queue of the item's file was woken, with the events that became true (0: anything). */
function pollCallback(arg: number, key: number): void {
  const item = arg as Ref<"epitem">;
  const events = Epitem.events.load(item) & ~EP_PRIVATE_BITS;
  if (events === 0 || (key !== 0 && (key & events) === 0)) return;
  markReady(item);
}
defineWakeHook(HOOK_EPOLL, pollCallback);

/**
 * Makes an item, hooks it into its file's wait queues and links it everywhere; 0, -ENOMEM, or -ENOSPC when the user of the instance
 * has all it may have. Needs epmutex and mtx.
 * `result` of success is the item, to be polled by the caller.
 */
export function insertItem(
  held: Held<"mtx">,
  ep: Ref<"eventpoll">,
  file: Ref<"file">,
  fd: number,
  events: number,
  dataLow: number,
  dataHigh: number,
): Ref<"epitem"> | number {
  const user = Eventpoll.user.get(ep);
  if (!userCharge(user, "epollWatches", 1, limit("epollWatches"))) return -ENOSPC;
  const item = tryAlloc(Epitem);
  if (item === 0) {
    userUncharge(user, "epollWatches", 1);
    return -ENOMEM;
  }
  Epitem.ep.init(item, ep);
  Epitem.file.init(item, file);
  Epitem.fd.init(item, fd);
  Epitem.events.init(item, events);
  Epitem.dataLow.set(item, dataLow);
  Epitem.dataHigh.set(item, dataHigh);
  Epitem.readyNode.init(item);
  let count = 0;
  let failed = false;
  visitWaitQueues(file, (queue) => {
    if (count === MAX_QUEUES) throw new Error(`a file has more than ${MAX_QUEUES} wait queues`);
    const entry = failed ? -ENOMEM : addWakeHook(queue, HOOK_EPOLL, item);
    if (entry < 0) failed = true;
    else Epitem.hooks.set(item, count++, entry);
  });
  if (failed) {
    unhook(item);
    unready(ep, item);
    userUncharge(user, "epollWatches", 1);
    free(Epitem, item);
    return -ENOMEM;
  }
  addToHash(held, ep, item);
  const first = File.epoll.load(file) as Ref<"epitem"> | 0;
  Epitem.fileNext.set(item, first);
  if (first !== 0) Epitem.filePrev.set(first, item);
  File.epoll.store(file, item);
  return item;
}

function unhook(item: Ref<"epitem">): void {
  for (let i = 0; i < MAX_QUEUES; i++) {
    const entry = Epitem.hooks.get(item, i);
    if (entry !== 0) removeWakeHook(entry);
    Epitem.hooks.set(item, i, 0);
  }
}

/** Takes an item out of everything and frees it. Needs epmutex and mtx. */
export function removeItem(held: Held<"mtx">, ep: Ref<"eventpoll">, item: Ref<"epitem">): void {
  unhook(item);
  unready(ep, item);
  removeFromHash(held, ep, item);
  const file = Epitem.file.get(item);
  const next = Epitem.fileNext.get(item);
  const before = Epitem.filePrev.get(item);
  if (before === 0) File.epoll.store(file, next);
  else Epitem.fileNext.set(before, next);
  if (next !== 0) Epitem.filePrev.set(next, before);
  userUncharge(Eventpoll.user.get(ep), "epollWatches", 1);
  free(Epitem, item);
}

/** The last count of a watched file is gone: it leaves every epoll instance (epoll(7), Q6). Called before its release. */
export function eventpollReleaseFile(file: Ref<"file">): void {
  lockEpmutex();
  for (;;) {
    const item = File.epoll.load(file) as Ref<"epitem"> | 0;
    if (item === 0) break;
    const ep = Epitem.ep.get(item);
    const held = Eventpoll.mtx.lock(ep);
    removeItem(held, ep, item);
    Eventpoll.mtx.unlock(ep);
  }
  unlockEpmutex();
}

/** The epoll file itself is closed for good. */
export function eventpollDestroy(ep: Ref<"eventpoll">): void {
  lockEpmutex();
  const held = Eventpoll.mtx.lock(ep);
  forEachItem(held, ep, (item) => removeItem(held, ep, item));
  freeArray(Eventpoll.buckets.get(held, ep));
  Eventpoll.mtx.unlock(ep);
  unlockEpmutex();
  destroyWaitQueue(Eventpoll.wait.at(ep));
  destroyWaitQueue(Eventpoll.pollWait.at(ep));
  userPut(Eventpoll.user.get(ep));
  kfreeRcu(Eventpoll, ep);
}
