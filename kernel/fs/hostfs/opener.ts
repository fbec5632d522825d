/**
 * The host descriptors of a machine: how many there may be, and who closes them.
 *
 * Inodes keep a descriptor (one to read, one to write; a directory one that stands for its path) until the machine has many. Then those
 * that nobody used lately are closed, and opened again by name when they are needed, with their identity checked (inode.ts). At the hard
 * limit, and when the host has no more to give, a descriptor is *passing*: it serves the one operation that asked for it. So a descriptor is good
 * until this thread has asked for PASSING others; whoever needs it longer holds it (holdPassing).
 *
 * A descriptor that an inode kept is closed a grace period after nobody finds it any more: another CPU's handler may be about to use it.
 *
 * Node closes, when a Worker ends, every descriptor that the Worker opened and did not close itself, by its number, whatever that means by
 * then (trackUnmanagedFds). The CPUs' pool switches that off, but Workers inside a Worker that tracks cannot. There (HostFds.tracked) a
 * descriptor is given back to its opener, which closes it at the next occasion; elsewhere any thread closes it. What a CPU leaves behind when
 * it is lost, and what is left when the machine stops, is closed by the host's thread, or by Node where it tracks.
 *
 * Lock: HostFds.lock, innermost. It also guards the lists and HostFd.inode; an inode's words that point here change by compare-and-swap.
 */
import fs from "node:fs";
import { isMainThread } from "node:worker_threads";
import {
  atomic,
  callRcu,
  defineReclaimer,
  fixed,
  free,
  type Held,
  listAddTail,
  listDelInit,
  listFirst,
  listNext,
  listNode,
  locked,
  type Ptr,
  type Ref,
  spinlock,
  struct,
  tryAlloc,
} from "../../../rcu/index.ts";
import { kernelGlobal } from "../../global.ts";
import { kickCpu } from "../../sched/cpus.ts";
import { thisCpu } from "../../sched/current.ts";
import { onIdleAndTick } from "../../sched/idle.ts";
import { O_PATH } from "../../uapi/fcntl.ts";
import { Inode } from "../inode.ts";
import { BY_DESCRIPTOR, closeHost, hostCall, setRelief } from "./host.ts";

type I = Ref<"inode">;

const HostFd = struct("host_fd", {
  // Constant.
  fd: fixed(),
  /** Which word of the inode's points here (FD_READ, FD_WRITE). */
  which: fixed(),
  // Any CPU, any time.
  /** The CPU that opened it; -1 the host's thread. */
  opener: atomic(),
  /** Used since somebody last looked for what to close. Only a hint. */
  used: atomic(),
  /** IN_USE, LEAVING ... */
  state: atomic(),
  // HostFds.lock.
  node: listNode(),
  /** Whose it is, no count: the inode takes itself out before it is freed. 0: it is passing, or on its way out. */
  inode: locked<"lock", Ptr<"inode">>("lock"),
});
type Fd = Ref<"host_fd">;

const HostFds = struct("host_fds", {
  /** The host's thread is a Worker: descriptors are closed by their openers only. */
  tracked: fixed(),
  lock: spinlock(98),
  /** Of inodes, those that were used longest ago first. Of nobody: passing, spare, being closed. */
  kept: listNode(),
  rest: listNode(),
  nrKept: locked("lock"),
  nrRest: locked("lock"),
  /** Most descriptors at once; less when the host turned out to have fewer. */
  limit: locked("lock"),
  /** How many wait for their openers to close them. */
  given: atomic(),
});
const hostFds = kernelGlobal<Ref<"host_fds">>("host descriptors");

/** HostFd.state: kept, passing or spare; */
const IN_USE = 0;
/** no longer kept, a grace period must pass; */
const LEAVING = 1;
/** its opener may close it; */
const GIVEN_BACK = 2;
/** closed when the machine stopped. */
const CLOSED = 3;
/** HostFd.opener: its thread is gone, and Node closed it. */
const LOST = -2;

/** Descriptors of one machine, and the least that it works with. */
const MOST = 256;
const LEAST = 32;
/** The share of the limit that inodes may keep; the rest is for what is being closed. */
const KEPT_SHARE = 0.75;
/** So many are closed at once, and so many looked at to find them. */
const BATCH = 8;
const LOOKS = 64;
/** How many of this thread's passing descriptors stay open. */
const PASSING = 8;
/** Descriptors that each thread has in reserve for when the host has none left. */
const SPARES = 3;

/** A quarter of what the process may open, which other machines and the embedder need too. */
function sensibleLimit(): number {
  try {
    const limits = fs.readFileSync("/proc/self/limits", "latin1");
    const soft = Number(/^Max open files +(\d+)/m.exec(limits)?.[1] ?? Number.POSITIVE_INFINITY);
    return Math.max(LEAST, Math.min(MOST, Math.floor(soft / 4)));
  } catch {
    return MOST; // Not Linux: Node raises its limit to what the system allows.
  }
}

/** Once per machine, at boot; false without memory. */
export function hostfsInit(): boolean {
  const ref = tryAlloc(HostFds);
  if (ref === 0) return false;
  HostFds.tracked.init(ref, isMainThread ? 0 : 1);
  HostFds.kept.init(ref);
  HostFds.rest.init(ref);
  HostFds.limit.init(ref, sensibleLimit());
  hostFds.init(ref);
  return true;
}

/** What the host's thread opened for the machine that it works on besides: the console's output. */
let others = new Set<number>();

/** A thread that hosts several machines says which one it works on, by a set of its own for each. */
export function bindDescriptors(set: Set<number>): void {
  others = set;
}

/** This thread opened `fd`, and the machine keeps it to its end. */
export const keepOpen = (fd: number): void => void others.add(fd);

/** This thread's passing descriptors, the oldest first, and its spare ones. */
const passing: Fd[] = [];
const spares: Fd[] = [];

/** The descriptor that an inode keeps, -1 when there is none. Good for this handler. */
export function keptDescriptor(inode: I, which: number): number {
  const ref = Inode.priv.get(inode, which) as Fd | 0;
  if (ref === 0) return -1;
  if (HostFd.used.peek(ref) === 0) HostFd.used.store(ref, 1);
  return HostFd.fd.get(ref);
}

/**
 * Takes over a descriptor that this thread just opened for the inode: kept, if there is room and none is kept by now, else passing. The one
 * to use, or -1 without memory: it is closed then. `pinned`: kept in any case, up to twice the limit, else -1.
 */
export function keepDescriptor(inode: I, which: number, fd: number, pinned = false): number {
  closeGivenBack();
  const ref = newHostFd(fd, which);
  if (ref === 0) return -1;
  const list = hostFds.get();
  if (HostFds.nrKept.racy(list) >= HostFds.limit.racy(list) * KEPT_SHARE) evict(BATCH);
  const held = HostFds.lock.lock(list);
  const open = HostFds.nrKept.get(held, list) + HostFds.nrRest.get(held, list);
  const room = open < HostFds.limit.get(held, list) * (pinned ? 2 : 1);
  const kept = room && Inode.priv.cas(inode, which, 0, ref);
  if (kept) {
    HostFd.inode.set(held, ref, inode);
    put(held, list, ref, true);
  } else put(held, list, ref, false);
  HostFds.lock.unlock(list);
  if (kept) return fd;
  if (pinned && !room) {
    closeNow(ref);
    return -1;
  }
  passing.push(ref);
  if (passing.length > PASSING) closeNow(passing.shift()!);
  return fd;
}

/** The descriptor that this thread asked for last stays open until releasePassing. */
export const holdPassing = (): number => passing.pop() ?? 0;
export function releasePassing(ref: number): void {
  if (ref !== 0) closeNow(ref as Fd);
}

function newHostFd(fd: number, which: number): Fd | 0 {
  const ref = tryAlloc(HostFd);
  if (ref === 0) {
    closeHost(fd);
    return 0;
  }
  HostFd.fd.init(ref, fd);
  HostFd.which.init(ref, which);
  HostFd.opener.init(ref, thisCpu());
  HostFd.state.init(ref, IN_USE);
  return ref;
}

function put(held: Held<"lock">, list: Ref<"host_fds">, ref: Fd, kept: boolean): void {
  listAddTail(held, (kept ? HostFds.kept : HostFds.rest).at(list), HostFd.node.at(ref));
  const count = kept ? HostFds.nrKept : HostFds.nrRest;
  count.set(held, list, count.get(held, list) + 1);
}

/** From the kept ones to the others; its inode forgets it. The caller hands it to dropDescriptor after the unlock. */
function forget(held: Held<"lock">, list: Ref<"host_fds">, ref: Fd): void {
  const inode = HostFd.inode.get(held, ref) as I;
  Inode.priv.cas(inode, HostFd.which.get(ref), ref, 0);
  HostFd.inode.set(held, ref, 0);
  listDelInit(held, HostFd.node.at(ref));
  HostFds.nrKept.set(held, list, HostFds.nrKept.get(held, list) - 1);
  put(held, list, ref, false);
  HostFd.state.store(ref, LEAVING);
}

/** Whether a descriptor must stay, since no name leads to its file (setNeeded). */
let needed: (inode: I) => boolean = () => false;
export function setNeeded(test: (inode: I) => boolean): void {
  needed = test;
}

/** Has up to `count` descriptors closed that were not used lately. */
function evict(count: number): void {
  const list = hostFds.get();
  const out: Fd[] = [];
  const held = HostFds.lock.lock(list);
  const head = HostFds.kept.at(list);
  for (let looks = 0; looks < LOOKS && out.length < count; looks++) {
    const node = listFirst(head);
    if (node === 0) break;
    const ref = HostFd.node.owner(node);
    if (HostFd.used.peek(ref) !== 0 || needed(HostFd.inode.get(held, ref) as I)) {
      HostFd.used.store(ref, 0);
      listDelInit(held, node);
      listAddTail(held, head, node);
    } else {
      forget(held, list, ref);
      out.push(ref);
    }
  }
  HostFds.lock.unlock(list);
  for (const ref of out) callRcu(dropDescriptor, ref);
}

/** The inode goes away, or the descriptor is no longer the right one. */
export function dropKept(inode: I, which: number): void {
  const list = hostFds.get();
  const held = HostFds.lock.lock(list);
  // Under the lock: whoever evicts it takes it out of the inode first.
  const ref = Inode.priv.load(inode, which) as Fd | 0;
  if (ref !== 0) forget(held, list, ref);
  HostFds.lock.unlock(list);
  if (ref !== 0) callRcu(dropDescriptor, ref);
}

/** Runs a grace period after nobody finds the descriptor any more. */
const dropDescriptor = defineReclaimer("host descriptor", (arg: number) => {
  const ref = arg as Fd;
  const list = hostFds.get();
  const opener = HostFd.opener.load(ref);
  if (HostFd.state.load(ref) === CLOSED) return;
  if (opener === LOST) takeOut(ref);
  else if (HostFds.tracked.get(list) === 0 || opener === thisCpu()) closeNow(ref);
  else {
    HostFd.state.store(ref, GIVEN_BACK);
    // An opener that sleeps is told when there is something to gain.
    if (HostFds.given.add(list, 1) >= BATCH && opener >= 0) kickCpu(opener);
  }
});

function closeNow(ref: Fd): void {
  const fd = HostFd.fd.get(ref);
  takeOut(ref);
  closeHost(fd);
}

function takeOut(ref: Fd): void {
  const list = hostFds.get();
  const held = HostFds.lock.lock(list);
  listDelInit(held, HostFd.node.at(ref));
  HostFds.nrRest.set(held, list, HostFds.nrRest.get(held, list) - 1);
  HostFds.lock.unlock(list);
  free(HostFd, ref);
}

/** The descriptors of nobody that `test` chooses. */
function chosen(test: (ref: Fd) => boolean): Fd[] {
  const list = hostFds.get();
  const found: Fd[] = [];
  HostFds.lock.lock(list);
  const head = HostFds.rest.at(list);
  for (let node = listFirst(head); node !== 0; node = listNext(head, node))
    if (test(HostFd.node.owner(node))) found.push(HostFd.node.owner(node));
  HostFds.lock.unlock(list);
  return found;
}

/** Closes what other threads gave back to this one: a CPU before it sleeps and at its tick, and whoever opens. */
export function closeGivenBack(): void {
  const list = hostFds.get();
  if (HostFds.given.load(list) === 0) return;
  const self = thisCpu();
  const mine = chosen((ref) => HostFd.state.load(ref) === GIVEN_BACK && HostFd.opener.load(ref) === self);
  HostFds.given.add(list, -mine.length);
  for (const ref of mine) closeNow(ref);
}

/** The host has no descriptor left: true when one of ours was given up, and it is worth another try. */
function relieve(): boolean {
  const list = hostFds.get();
  const held = HostFds.lock.lock(list);
  const open = HostFds.nrKept.get(held, list) + HostFds.nrRest.get(held, list);
  HostFds.limit.set(held, list, Math.max(LEAST, Math.min(HostFds.limit.get(held, list), open >> 1)));
  HostFds.lock.unlock(list);
  evict(LOOKS);
  closeGivenBack();
  // Not the two last ones: the call that failed may be about to use them.
  const old = passing.length > 2 ? passing.shift() : spares.pop();
  if (old !== undefined) closeNow(old);
  return old !== undefined;
}
setRelief(relieve);

/** Refills the reserve. */
function spare(): void {
  if (thisCpu() < 0 || spares.length >= SPARES || HostFds.nrKept.racy(hostFds.get()) === 0) return;
  try {
    while (spares.length < SPARES) {
      const ref = newHostFd(fs.openSync("/", BY_DESCRIPTOR ? O_PATH : fs.constants.O_RDONLY), 0);
      if (ref === 0) return;
      const list = hostFds.get();
      const held = HostFds.lock.lock(list);
      put(held, list, ref, false);
      HostFds.lock.unlock(list);
      spares.push(ref);
    }
  } catch {
    // There are none to be had: later.
  }
}

onIdleAndTick(() => {
  closeGivenBack();
  spare();
});

/** On the host's thread: a CPU was lost with what it had open. */
export function buryDescriptors(cpu: number): void {
  const list = hostFds.get();
  const out: Fd[] = [];
  const held = HostFds.lock.lock(list);
  const kept = HostFds.kept.at(list);
  let next = 0;
  for (let node = listFirst(kept); node !== 0; node = next) {
    next = listNext(kept, node);
    const ref = HostFd.node.owner(node);
    if (HostFd.opener.load(ref) !== cpu) continue;
    forget(held, list, ref);
    out.push(ref);
  }
  HostFds.lock.unlock(list);
  const rest = chosen((ref) => HostFd.opener.load(ref) === cpu);
  // Where Node tracks, it closed them when the Worker ended.
  const closed = HostFds.tracked.get(list) !== 0;
  for (const ref of rest) HostFd.opener.store(ref, closed ? LOST : -1);
  for (const ref of out) callRcu(dropDescriptor, ref);
  for (const ref of rest) {
    const state = HostFd.state.load(ref);
    // What leaves comes to dropDescriptor by itself. Passing and spare ones were the thread's alone.
    if (state === LEAVING) continue;
    if (state === GIVEN_BACK) HostFds.given.add(list, -1);
    if (closed) takeOut(ref);
    else closeNow(ref);
  }
}

/**
 * On the host's thread, when the machine has stopped: closes what is left of it. It takes no lock and believes no list for ever, since
 * after a panic locks may be held and lists half-changed.
 */
export function closeDescriptors(): void {
  const list = hostFds.get();
  const tracked = HostFds.tracked.get(list) !== 0;
  let left = 4 * MOST + HostFds.nrRest.racy(list);
  for (const kept of [true, false]) {
    const head = (kept ? HostFds.kept : HostFds.rest).at(list);
    for (let node = listFirst(head); node !== 0 && left-- > 0; node = listNext(head, node)) {
      const ref = HostFd.node.owner(node);
      // In a Worker, Node has closed what the CPUs left open.
      if (HostFd.state.load(ref) !== CLOSED && (!tracked || HostFd.opener.load(ref) === -1))
        hostCall(() => fs.closeSync(HostFd.fd.get(ref)));
      HostFd.state.store(ref, CLOSED);
    }
  }
  for (const fd of others) closeHost(fd);
  others.clear();
}
