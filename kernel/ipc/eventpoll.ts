/**
 * epoll(7): the objects, and who may touch them.
 *
 * An *eventpoll* has a table of *epitems* by descriptor, one per (file, descriptor) watched. Each item hooks itself into the wait queues
 * of its file; a wake-up there puts it on the ready list, so epoll_wait costs O(ready).
 *
 * Lock order: epmutex (global; the graph of who watches whom, and each file's list of items) -> Eventpoll.mtx (table, scans)
 * -> what a file's poll() takes. A hook runs below the lock of the file's wait queue and takes Eventpoll.lock (ready list),
 * then the lock of Eventpoll.wait. No hook is ever run for an item whose hooks were removed.
 */

import {
  arrayCopy,
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
import { defineLater, LATER_EPOLL, laterByTask } from "../sched/later.ts";
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
/** Descriptors in one leaf of the table of items: 2 ** LEAF_BITS. */
const LEAF_BITS = 6;
const LEAF = 1 << LEAF_BITS;

export const Eventpoll = struct("eventpoll", {
  /** The instance as an open file, which lives longer. */
  file: fixed<Ref<"file">>(),
  /** Guards the table and the items' masks; held while files are polled. */
  mtx: spinlock(15),
  /**
   * Items by descriptor: leaves of LEAF slots, made as they are needed, so that no growth moves an item. Those of one descriptor (another
   * file may have it by now) are chained through Epitem.fdNext.
   */
  leaves: locked<"mtx", Ref<"array">>("mtx"),
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
  /** Next of the same descriptor, under mtx. */
  fdNext: owned<Ref<"epitem"> | 0>(),
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
  const leaves = tryAllocArray(1);
  if (leaves === 0) return 0;
  const ep = tryAlloc(Eventpoll);
  if (ep === 0) {
    freeArray(leaves);
    return 0;
  }
  Eventpoll.leaves.init(ep, leaves);
  const task = current();
  if (task !== 0) Eventpoll.user.init(ep, userGet(userOfTask(task)));
  Eventpoll.ready.init(ep);
  return ep;
}

/** The leaf of a descriptor; 0 when it has none. */
function leafOf(held: Held<"mtx">, ep: Ref<"eventpoll">, fd: number): Ref<"array"> | 0 {
  const leaves = Eventpoll.leaves.get(held, ep);
  const at = fd >>> LEAF_BITS;
  return at < arrayLength(leaves) ? (arrayGet(leaves, at) as Ref<"array"> | 0) : 0;
}

/** The same, made if it is missing; 0 when memory is short. */
function makeLeaf(held: Held<"mtx">, ep: Ref<"eventpoll">, fd: number): Ref<"array"> | 0 {
  const known = leafOf(held, ep, fd);
  if (known !== 0) return known;
  let leaves = Eventpoll.leaves.get(held, ep);
  const at = fd >>> LEAF_BITS;
  let length = arrayLength(leaves);
  if (at >= length) {
    while (at >= length) length *= 2;
    const grown = tryAllocArray(length);
    if (grown === 0) return 0;
    arrayCopy(leaves, grown, arrayLength(leaves));
    Eventpoll.leaves.set(held, ep, grown);
    freeArray(leaves);
    leaves = grown;
  }
  const leaf = tryAllocArray(LEAF);
  if (leaf !== 0) arraySet(leaves, at, leaf);
  return leaf;
}

export function findItem(
  held: Held<"mtx">,
  ep: Ref<"eventpoll">,
  file: Ref<"file">,
  fd: number,
): Ref<"epitem"> | 0 {
  const leaf = leafOf(held, ep, fd);
  let item = leaf === 0 ? 0 : (arrayGet(leaf, fd & (LEAF - 1)) as Ref<"epitem"> | 0);
  while (item !== 0 && Epitem.file.get(item) !== file) item = Epitem.fdNext.get(item);
  return item;
}

/** Leaves that are looked at, and items that are visited, in one part. */
const PART_LEAVES = 2048;
const PART_ITEMS = 512;

/**
 * Visits the items of a part of the table, from leaf `from` on, where the visitor may take the item out or free it. The leaf where the
 * next part begins, -1 when that was all.
 */
export function eachItemFrom(
  held: Held<"mtx">,
  ep: Ref<"eventpoll">,
  from: number,
  visit: (item: Ref<"epitem">) => void,
  most = PART_ITEMS,
): number {
  const leaves = Eventpoll.leaves.get(held, ep);
  const end = Math.min(arrayLength(leaves), from + PART_LEAVES);
  let at = from;
  for (let visited = 0; at < end && visited < most; at++) {
    const leaf = arrayGet(leaves, at) as Ref<"array"> | 0;
    if (leaf === 0) continue;
    for (let slot = 0; slot < LEAF; slot++)
      for (let item = arrayGet(leaf, slot) as Ref<"epitem"> | 0; item !== 0; visited++) {
        const next = Epitem.fdNext.get(item);
        visit(item);
        item = next;
      }
  }
  return at < arrayLength(leaves) ? at : -1;
}

/** Visits every item; the visitor may take the item out or free it. */
export function forEachItem(
  held: Held<"mtx">,
  ep: Ref<"eventpoll">,
  visit: (item: Ref<"epitem">) => void,
): void {
  for (let at = 0; at >= 0; ) at = eachItemFrom(held, ep, at, visit, Infinity);
}

function removeFromTable(held: Held<"mtx">, ep: Ref<"eventpoll">, item: Ref<"epitem">): void {
  const fd = Epitem.fd.get(item);
  const leaf = leafOf(held, ep, fd) as Ref<"array">;
  const next = Epitem.fdNext.get(item);
  let at = arrayGet(leaf, fd & (LEAF - 1)) as Ref<"epitem">;
  if (at === item) arraySet(leaf, fd & (LEAF - 1), next);
  else {
    while (Epitem.fdNext.get(at) !== item) at = Epitem.fdNext.get(at) as Ref<"epitem">;
    Epitem.fdNext.set(at, next);
  }
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
  // Last, so that a failure leaves nothing behind.
  const leaf = failed ? 0 : makeLeaf(held, ep, fd);
  if (leaf === 0) {
    unhook(item);
    unready(ep, item);
    userUncharge(user, "epollWatches", 1);
    free(Epitem, item);
    return -ENOMEM;
  }
  const slot = fd & (LEAF - 1);
  Epitem.fdNext.set(item, arrayGet(leaf, slot) as Ref<"epitem"> | 0);
  arraySet(leaf, slot, item);
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
  removeFromTable(held, ep, item);
  const file = Epitem.file.get(item);
  const next = Epitem.fileNext.get(item);
  const before = Epitem.filePrev.get(item);
  if (before === 0) File.epoll.store(file, next);
  else Epitem.fileNext.set(before, next);
  if (next !== 0) Epitem.filePrev.set(next, before);
  userUncharge(Eventpoll.user.get(ep), "epollWatches", 1);
  free(Epitem, item);
}

/**
 * The last count of a watched file is gone: it leaves every epoll instance (epoll(7), Q6). Called before its release, again and again while the
 * answer is false: it leaves some of them each time.
 */
export function eventpollLeave(file: Ref<"file">): boolean {
  lockEpmutex();
  for (let left = PART_ITEMS; left > 0; left--) {
    const item = File.epoll.load(file) as Ref<"epitem"> | 0;
    if (item === 0) break;
    const ep = Epitem.ep.get(item);
    const held = Eventpoll.mtx.lock(ep);
    removeItem(held, ep, item);
    Eventpoll.mtx.unlock(ep);
  }
  const gone = File.epoll.load(file) === 0;
  unlockEpmutex();
  return gone;
}

/** The epoll file itself is closed for good; of many items the rest goes when the call is over. */
export function eventpollDestroy(ep: Ref<"eventpoll">): void {
  const next = destroyPart(ep, 0);
  if (next !== 0) laterByTask(LATER_EPOLL, ep);
}

/** A part of it: the leaf to go on with, 0 when the instance is gone. */
function destroyPart(ep: Ref<"eventpoll">, from: number): number {
  lockEpmutex();
  const held = Eventpoll.mtx.lock(ep);
  const next = eachItemFrom(held, ep, from, (item) => removeItem(held, ep, item));
  if (next < 0) {
    const leaves = Eventpoll.leaves.get(held, ep);
    for (let at = 0; at < arrayLength(leaves); at++) {
      const leaf = arrayGet(leaves, at) as Ref<"array"> | 0;
      if (leaf !== 0) freeArray(leaf);
    }
    freeArray(leaves);
  }
  Eventpoll.mtx.unlock(ep);
  unlockEpmutex();
  if (next >= 0) return next;
  destroyWaitQueue(Eventpoll.wait.at(ep));
  destroyWaitQueue(Eventpoll.pollWait.at(ep));
  userPut(Eventpoll.user.get(ep));
  kfreeRcu(Eventpoll, ep);
  return 0;
}
defineLater(LATER_EPOLL, (ep, at) => destroyPart(ep as Ref<"eventpoll">, at));
