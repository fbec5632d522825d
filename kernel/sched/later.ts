/**
 * Work that may take long, and that no call can do in parts itself: what goes with the last count of something large. Whoever would have
 * to do it puts it off, with an integer that says what it is for; it is then done in parts of about a millisecond.
 *
 * By whom: laterByTask has the current task do it before it goes back to user mode or exits (task/tidy.ts), so that who made the work pays
 * for it. laterByAnyone is for RCU callbacks, which run on behalf of nobody: CPUs do it a part at each tick, and while they idle.
 */
import {
  fixed,
  free,
  type Held,
  listAddTail,
  listDelInit,
  listFirst,
  listIsEmpty,
  listNode,
  owned,
  type Ref,
  spinlock,
  struct,
  tryAlloc,
} from "../../rcu/index.ts";
import { kernelGlobal } from "../global.ts";
import { TASK_EXITING, Task, WORK_TIDY } from "../task/task.ts";
import { setNeedResched } from "./cpus.ts";
import { current, thisCpu } from "./current.ts";
import { onIdleAndTick } from "./idle.ts";
import { mustYield } from "./yield.ts";

/**
 * Does a part of the work for `arg`. `at` is 0 at first, then what the last part answered (> 0); 0 says that it was the last one.
 * No lock is held.
 */
export type Part = (arg: number, at: number) => number;

const Later = struct("later", {
  kind: fixed(),
  arg: fixed(),
  at: owned(),
  /** Of a task: the next one. */
  next: owned<Ref<"later"> | 0>(),
  /** Of nobody: in LaterList. */
  node: listNode(),
});
const LaterList = struct("later_list", { lock: spinlock(97), head: listNode() });
const list = kernelGlobal<Ref<"later_list">>("work for later");

/** Kinds of work. */
export const LATER_MM = 1;
export const LATER_PAGES = 2;
export const LATER_NAMES = 3;
export const LATER_EPOLL = 4;
export const LATER_TRUNCATE = 5;
export const LATER_FLUSH = 6;
export const LATER_MOUNT = 7;
export const LATER_WATCHES = 8;
export const LATER_DEAD_MOUNT = 9;
export const LATER_FILES = 10;
export const LATER_FLIGHTS = 11;
export const LATER_RELEASE = 12;

const parts: Part[] = [];
/** Says how work of a kind is done. */
export function defineLater(kind: number, part: Part): void {
  if (parts[kind] !== undefined) throw new Error(`kind ${kind} of work for later is defined twice`);
  parts[kind] = part;
}

/** Once per machine, at boot. False when the heap is full. */
export function laterInit(): boolean {
  const ref = tryAlloc(LaterList);
  if (ref === 0) return false;
  LaterList.head.init(ref);
  list.init(ref);
  return true;
}

function newWork(kind: number, arg: number): Ref<"later"> | 0 {
  const work = tryAlloc(Later);
  if (work === 0) return 0;
  Later.kind.init(work, kind);
  Later.arg.init(work, arg);
  Later.node.init(work);
  return work;
}

function doNow(kind: number, arg: number): void {
  for (let at = parts[kind]!(arg, 0); at !== 0; ) at = parts[kind]!(arg, at);
}

/** The current task does it when its call is over; at once where there is no task, or no memory to remember it. Locks may be held only if the work takes none of them. */
export function laterByTask(kind: number, arg: number): void {
  const task = current();
  const waits = task !== 0 && thisCpu() >= 0 && (Task.flags.get(task) & TASK_EXITING) === 0;
  const work = waits ? newWork(kind, arg) : 0;
  if (work === 0) {
    doNow(kind, arg);
    return;
  }
  Later.next.set(work, Task.later.get(task as Ref<"task">));
  Task.later.set(task as Ref<"task">, work);
  Task.work.or(task as Ref<"task">, WORK_TIDY);
  setNeedResched(thisCpu());
}

/** CPUs do it beside what else they do; at once on the host's thread. */
export function laterByAnyone(kind: number, arg: number): void {
  const work = thisCpu() < 0 ? 0 : newWork(kind, arg);
  if (work === 0) doNow(kind, arg);
  else append(work);
}

function append(work: Ref<"later">): void {
  const ref = list.get();
  const held = LaterList.lock.lock(ref);
  listAddTail(held, LaterList.head.at(ref), Later.node.at(work));
  LaterList.lock.unlock(ref);
  setNeedResched(thisCpu()); // A CPU that would sleep looks again.
}

/** A part of one piece of work; false when that is done, and forgotten. */
function doPart(work: Ref<"later">): boolean {
  const at = parts[Later.kind.get(work)]!(Later.arg.get(work), Later.at.get(work));
  Later.at.set(work, at);
  return at !== 0;
}

/** What the task has put off: true when nothing is left, false when `mustStop` said so before. */
export function doLater(task: Ref<"task">, mustStop: () => boolean): boolean {
  for (;;) {
    const work = Task.later.get(task);
    if (work === 0) return true;
    // Off the list first: what comes while it is done goes before it, and is found.
    Task.later.set(task, Later.next.get(work));
    if (doPart(work)) {
      Later.next.set(work, Task.later.get(task));
      Task.later.set(task, work);
    } else free(Later, work);
    if (mustStop()) return Task.later.get(task) === 0;
  }
}

/** A CPU without a task goes on until there is one; a busy one does a part. */
function doForAnyone(): void {
  const ref = list.get();
  while (!listIsEmpty(LaterList.head.at(ref))) {
    const work = take(ref);
    if (work === 0) return;
    if (doPart(work)) append(work);
    else free(Later, work);
    if (current() !== 0 || mustYield()) return;
  }
}
onIdleAndTick(doForAnyone);

function take(ref: Ref<"later_list">): Ref<"later"> | 0 {
  const held: Held = LaterList.lock.lock(ref);
  const node = listFirst(LaterList.head.at(ref));
  if (node !== 0) listDelInit(held, node);
  LaterList.lock.unlock(ref);
  return node === 0 ? 0 : Later.node.owner(node);
}
