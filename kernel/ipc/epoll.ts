/** epoll_create1(2), epoll_ctl(2), epoll_wait(2). The objects and the locking: eventpoll.ts. */
import type { Held, Ref } from "../../rcu/index.ts";
import { fget } from "../fs/fdtable.ts";
import { anonInodeFile, File } from "../fs/file.ts";
import { FOPS, fileOpsOf, registerFileOps } from "../fs/ops.ts";
import { faultIn, getUser32, putUser32 } from "../mm/uaccess.ts";
import { BLOCK_EINTR } from "../sched/block.ts";
import { nowNs } from "../sched/current.ts";
import { blockUntil, restartDeadline } from "../sched/restart.ts";
import { waitOn, wakeUp } from "../sched/waitqueue.ts";
import { yieldAlways } from "../sched/yield.ts";
import { Task } from "../task/task.ts";
import {
  EP_MAX_EVENTS,
  EP_MAX_NESTS,
  EPOLL_CLOEXEC,
  EPOLL_CTL_ADD,
  EPOLL_CTL_DEL,
  EPOLL_CTL_MOD,
  EPOLL_EVENT_BYTES,
  EPOLLERR,
  EPOLLET,
  EPOLLEXCLUSIVE,
  EPOLLEXCLUSIVE_OK,
  EPOLLHUP,
  EPOLLONESHOT,
} from "../uapi/epoll.ts";
import { EBADF, EEXIST, EFAULT, EINVAL, ELOOP, ENOENT, ENOMEM, EPERM } from "../uapi/errno.ts";
import { O_RDWR } from "../uapi/fcntl.ts";
import { POLLIN, POLLRDNORM } from "../uapi/poll.ts";
import { ACCESS } from "../usermode.ts";
import {
  EP_PRIVATE_BITS,
  Epitem,
  Eventpoll,
  eachItemFrom,
  eventpollCreate,
  eventpollDestroy,
  findItem,
  forEachItem,
  insertItem,
  lockEpmutex,
  markReady,
  putReady,
  removeItem,
  takeReady,
  unlockEpmutex,
} from "./eventpoll.ts";
import { filePoll } from "./poll.ts";

const isEpoll = (file: Ref<"file">): boolean => File.fops.get(file) === FOPS.EPOLL;
const eventpollOf = (file: Ref<"file">): Ref<"eventpoll"> => File.priv.peek(file) as Ref<"eventpoll">;

/** The file of a new instance, or -errno. */
export function epollFile(flags: number): Ref<"file"> | number {
  if ((flags & ~EPOLL_CLOEXEC) !== 0) return -EINVAL;
  const ep = eventpollCreate();
  if (ep === 0) return -ENOMEM;
  const file = anonInodeFile(FOPS.EPOLL, ep, O_RDWR, "[eventpoll]");
  if (file < 0) eventpollDestroy(ep);
  else Eventpoll.file.init(ep, file as Ref<"file">);
  return file;
}

/** epoll_ctl(2). `event` is the user address of a struct epoll_event. */
export function epollCtl(task: Ref<"task">, epfd: number, op: number, fd: number, event: number): number {
  let events = 0;
  let dataLow = 0;
  let dataHigh = 0;
  if (op !== EPOLL_CTL_DEL) {
    if (faultIn(event, EPOLL_EVENT_BYTES, ACCESS.READ) < 0) return -EFAULT;
    events = getUser32(event);
    dataLow = getUser32(event + 8);
    dataHigh = getUser32(event + 12);
  }
  const files = Task.files.access(task) as Ref<"files">;
  const epfile = fget(files, epfd);
  if (epfile < 0) return epfile;
  const file = fget(files, fd);
  if (file < 0) return file;
  if (fileOpsOf(File.fops.get(file as Ref<"file">)).poll === undefined) return -EPERM;
  if (epfile === file || !isEpoll(epfile as Ref<"file">)) return -EINVAL;
  return control(epfile as Ref<"file">, op, file as Ref<"file">, fd, events, dataLow, dataHigh);
}

function control(
  epfile: Ref<"file">,
  op: number,
  file: Ref<"file">,
  fd: number,
  events: number,
  dataLow: number,
  dataHigh: number,
): number {
  if ((events & EPOLLEXCLUSIVE) !== 0) {
    if (op === EPOLL_CTL_MOD) return -EINVAL;
    if (op === EPOLL_CTL_ADD && (isEpoll(file) || (events & ~EPOLLEXCLUSIVE_OK) !== 0)) return -EINVAL;
  }
  const ep = eventpollOf(epfile);
  lockEpmutex();
  const held = Eventpoll.mtx.lock(ep);
  const result = controlLocked(held, ep, op, file, fd, events | EPOLLERR | EPOLLHUP, dataLow, dataHigh);
  Eventpoll.mtx.unlock(ep);
  unlockEpmutex();
  return result;
}

function controlLocked(
  held: Held<"mtx">,
  ep: Ref<"eventpoll">,
  op: number,
  file: Ref<"file">,
  fd: number,
  events: number,
  dataLow: number,
  dataHigh: number,
): number {
  const item = findItem(held, ep, file, fd);
  if (op === EPOLL_CTL_ADD) {
    if (item !== 0) return -EEXIST;
    // A file that another thread closed meanwhile has left, or is about to leave, all instances.
    if (File.refcount.load(file) === 0) return -EBADF;
    if (isEpoll(file) && nestsBadly(Eventpoll.file.get(ep), file)) return -ELOOP;
    const added = insertItem(held, ep, file, fd, events, dataLow, dataHigh);
    if (added < 0) return added;
    if ((filePoll(file) & events) !== 0) markReady(added as Ref<"epitem">);
    return 0;
  }
  if (item === 0) return op === EPOLL_CTL_MOD || op === EPOLL_CTL_DEL ? -ENOENT : -EINVAL;
  if (op === EPOLL_CTL_DEL) {
    removeItem(held, ep, item);
    return 0;
  }
  if (op !== EPOLL_CTL_MOD || (Epitem.events.load(item) & EPOLLEXCLUSIVE) !== 0) return -EINVAL;
  Epitem.events.store(item, events);
  Epitem.dataLow.set(item, dataLow);
  Epitem.dataHigh.set(item, dataHigh);
  if ((filePoll(file) & events) !== 0) markReady(item);
  return 0;
}

// Who watches whom changes under epmutex only, so these walks need no instance's mtx.

/** Whether `from` watches `target`, directly or through others. `seen`: who was looked at. */
function reaches(from: Ref<"eventpoll">, target: Ref<"eventpoll">, seen: Set<number>): boolean {
  if (from === target) return true;
  if (seen.has(from)) return false;
  seen.add(from);
  let found = false;
  forEachItem(1 as Held<"mtx">, from, (item) => {
    const file = Epitem.file.get(item);
    if (!found && isEpoll(file)) found = reaches(eventpollOf(file), target, seen);
  });
  return found;
}

// Polling an instance polls those below it, and a wake-up goes through those above it: neither chain may be longer than the stack
// allows, so its whole length counts, wherever it grows. No walk is deeper than EP_MAX_NESTS, since no chain is.

/** Instances in the longest chain below `ep`. `known`: of those that were looked at. */
function below(ep: Ref<"eventpoll">, known: Map<number, number>): number {
  let most = known.get(ep) ?? -1;
  if (most >= 0) return most;
  most = 0;
  forEachItem(1 as Held<"mtx">, ep, (item) => {
    const file = Epitem.file.get(item);
    if (isEpoll(file)) most = Math.max(most, 1 + below(eventpollOf(file), known));
  });
  known.set(ep, most);
  return most;
}

/** Instances in the longest chain above that of `file`. */
function above(file: Ref<"file">, known: Map<number, number>): number {
  let most = known.get(file) ?? -1;
  if (most >= 0) return most;
  most = 0;
  for (let item = File.epoll.load(file) as Ref<"epitem"> | 0; item !== 0; item = Epitem.fileNext.get(item))
    most = Math.max(most, 1 + above(Eventpoll.file.get(Epitem.ep.get(item)), known));
  known.set(file, most);
  return most;
}

/** Whether `watched` may not come below the instance of `epfile`: a cycle, or a chain that is too long. */
function nestsBadly(epfile: Ref<"file">, watched: Ref<"file">): boolean {
  if (reaches(eventpollOf(watched), eventpollOf(epfile), new Set())) return true;
  return above(epfile, new Map()) + 1 + below(eventpollOf(watched), new Map()) > EP_MAX_NESTS;
}

/** Events to hand out: mask, data low, data high each. Filled by collect, grown as needed. */
let out = new Int32Array(3 * 64);
/** Level-triggered items that go back to the ready list after the scan. */
const again: Ref<"epitem">[] = [];

/** Items that one look at the ready list takes. */
const PART_ITEMS = 2048;

/**
 * Collects up to `max` events into `out`; their number, fewer when many items are on the list. Items whose file is not ready any more leave
 * it.
 */
function collect(ep: Ref<"eventpoll">, max: number): number {
  Eventpoll.mtx.lock(ep);
  let count = 0;
  // Items that hooks add during the scan go to the tail, behind the ones that are looked at now.
  const most = Math.min(Eventpoll.readyCount.racy(ep), PART_ITEMS);
  for (let left = most; left > 0 && count < max; left--) {
    const item = takeReady(ep);
    if (item === 0) break;
    const events = Epitem.events.load(item);
    const mask = filePoll(Epitem.file.get(item)) & events & ~EP_PRIVATE_BITS;
    if (mask === 0) continue;
    out[3 * count] = mask;
    out[3 * count + 1] = Epitem.dataLow.get(item);
    out[3 * count + 2] = Epitem.dataHigh.get(item);
    count++;
    if ((events & EPOLLONESHOT) !== 0) Epitem.events.store(item, events & EP_PRIVATE_BITS);
    else if ((events & EPOLLET) === 0) again.push(item);
  }
  for (const item of again) putReady(ep, item);
  again.length = 0;
  Eventpoll.mtx.unlock(ep);
  // What is left is for the next thread that sleeps in epoll_wait.
  if (count !== 0 && Eventpoll.readyCount.racy(ep) !== 0)
    wakeUp(Eventpoll.wait.at(ep), 1, POLLIN | POLLRDNORM);
  return count;
}

function deliver(ep: Ref<"eventpoll">, address: number, maxEvents: number): number {
  const ready = Eventpoll.readyCount.racy(ep);
  if (ready === 0) return 0;
  const max = Math.min(ready, maxEvents, PART_ITEMS);
  if (faultIn(address, max * EPOLL_EVENT_BYTES, ACCESS.WRITE) < 0) return -EFAULT;
  if (out.length < 3 * max) out = new Int32Array(3 * max * 2);
  const count = collect(ep, max);
  for (let i = 0; i < count; i++) {
    const at = address + i * EPOLL_EVENT_BYTES;
    putUser32(at, out[3 * i]!);
    putUser32(at + 8, out[3 * i + 1]!);
    putUser32(at + 12, out[3 * i + 2]!);
  }
  return count;
}

/** epoll_wait(2) with a time-out in nanoseconds, negative for none. */
export function epollWait(
  task: Ref<"task">,
  epfd: number,
  address: number,
  maxEvents: number,
  timeoutNs: number,
): number {
  const epfile = fget(Task.files.access(task) as Ref<"files">, epfd);
  if (epfile < 0) return epfile;
  if (maxEvents <= 0 || maxEvents > EP_MAX_EVENTS) return -EINVAL;
  if (!isEpoll(epfile as Ref<"file">)) return -EINVAL;
  const ep = eventpollOf(epfile as Ref<"file">);
  let count = deliver(ep, address, maxEvents);
  if (count !== 0) return count;
  // Many had been ready, and the first of them are not any more: the others, after others had the CPU.
  if (Eventpoll.readyCount.racy(ep) !== 0) return yieldAlways(0);
  if (timeoutNs === 0) return 0;
  const deadline = restartDeadline(timeoutNs);
  if (nowNs() >= deadline) return 0;
  const error = waitOn(Eventpoll.wait.at(ep), true);
  if (error < 0) return error;
  count = deliver(ep, address, maxEvents);
  if (count !== 0) return count;
  blockUntil(deadline);
  return BLOCK_EINTR;
}

registerFileOps(FOPS.EPOLL, {
  /** Readable when an item of the ready list still is ready; the others leave the list. */
  poll(file) {
    const ep = eventpollOf(file);
    let mask = 0;
    Eventpoll.mtx.lockNested(ep); // That of an instance which watches this one may be held.
    for (let left = Eventpoll.readyCount.racy(ep); left > 0 && mask === 0; left--) {
      const item = takeReady(ep);
      if (item === 0) break;
      if ((filePoll(Epitem.file.get(item)) & Epitem.events.load(item) & ~EP_PRIVATE_BITS) === 0) continue;
      putReady(ep, item);
      mask = POLLIN | POLLRDNORM;
    }
    Eventpoll.mtx.unlock(ep);
    return mask;
  },
  waitQueues: (file, visit) => visit(Eventpoll.pollWait.at(eventpollOf(file))),
  release: (file) => eventpollDestroy(eventpollOf(file)),
  fdinfo(file, from) {
    const ep = eventpollOf(file);
    const hex = (value: number) => (value >>> 0).toString(16);
    let text = "";
    const held = Eventpoll.mtx.lock(ep);
    const next = eachItemFrom(held, ep, from, (item) => {
      const data = (BigInt(Epitem.dataHigh.get(item) >>> 0) << 32n) | BigInt(Epitem.dataLow.get(item) >>> 0);
      const events = hex(Epitem.events.load(item)).padStart(8);
      text += `tfd: ${String(Epitem.fd.get(item)).padStart(8)} events: ${events} data: ${data.toString(16).padStart(16)}\n`;
    });
    Eventpoll.mtx.unlock(ep);
    return { text, next };
  },
});
