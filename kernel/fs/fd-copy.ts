/**
 * Copies of descriptor tables: fork(2), unshare(2), execve(2).
 *
 * A large one is copied in parts, which a call keeps in Task.filesCopy from one run to the next. Other tasks may use the table that is
 * copied: they may change it between two parts. What the copy is in the end is the table as it was when the call took it over: then
 * all of it is compared under the lock, which is much less work, and mended.
 */
import {
  arrayGet,
  arrayLength,
  arraySet,
  free,
  type Held,
  kfreeArrayRcu,
  type Ptr,
  type Ref,
  tryAlloc,
} from "../../rcu/index.ts";
import { YIELD } from "../sched/block.ts";
import { onCallEnd } from "../sched/restart.ts";
import { markRestartState } from "../sched/waitqueue.ts";
import { fatalPending, mustYield } from "../sched/yield.ts";
import { Task } from "../task/task.ts";
import { EINTR, ENOMEM } from "../uapi/errno.ts";
import { filesPut } from "./close-range.ts";
import {
  CLOEXEC,
  findFree,
  grownTable,
  LEAF,
  leafAt,
  leavesOf,
  makeLeaf,
  newTable,
  TAKEN,
  type Table,
} from "./fd-leaves.ts";
import { Files, filesShared } from "./fdtable.ts";
import { fileGet, fput } from "./file.ts";

type Fs = Ref<"files">;

/** Leaves that are copied in about a millisecond; a table that has no more is copied in one piece. */
const PART = 64;
/** Files.copied of a copy that is complete. */
const ALL = -1;
/** Nobody else has the copy. */
const OWNER = 1 as Held<"lock">;

/** The leaf behind the last one that names a file. */
function leavesUsed(table: Table): number {
  for (let at = leavesOf(table) - 1; at >= 0; at--) if (leafNames(table, at)) return at + 1;
  return 0;
}
function leafNames(table: Table, at: number): boolean {
  const leaf = leafAt(table, at);
  return leaf !== 0 && (arrayGet(leaf, TAKEN) | arrayGet(leaf, TAKEN + 1)) !== 0;
}

/** An empty copy with one user; 0 when memory is short. Files.lock of `from` is held. */
function begin(held: Held<"lock">, from: Fs): Fs | 0 {
  const files = tryAlloc(Files);
  if (files === 0) return 0;
  const used = leavesUsed(Files.fdt.peek(held, from) as Table);
  let leaves = 1;
  while (leaves < used) leaves *= 2;
  const table = newTable(leaves);
  if (table === 0) {
    free(Files, files);
    return 0;
  }
  Files.users.init(files, 1);
  Files.fdt.init(files, table);
  return files;
}

/** Makes leaf `at` of the copy what it is in the original, whatever it was: false when memory is short. `dropped`: files that left it. */
function copyLeaf(source: Table, target: Table, at: number, dropped: Ref<"file">[]): boolean {
  const from = leafAt(source, at);
  if (from === 0 || (leafAt(target, at) === 0 && !leafNames(source, at))) return true;
  const to = makeLeaf(target, at);
  if (to === 0) return false;
  for (let half = 0; half < LEAF / 32; half++) {
    let taken = 0;
    for (let bit = 0, slot = 32 * half; bit < 32; bit++, slot++) {
      const file = arrayGet(from, slot) as Ptr<"file">;
      const old = arrayGet(to, slot) as Ptr<"file">;
      if (file !== old) {
        if (file !== 0) fileGet(file);
        if (old !== 0) dropped.push(old);
        arraySet(to, slot, file);
      }
      if (file !== 0) taken |= 1 << bit;
    }
    // Taken are those that have a file: what an open in progress in another thread has reserved is not ours.
    arraySet(to, TAKEN + half, taken);
    arraySet(to, CLOEXEC + half, arrayGet(from, CLOEXEC + half) & taken);
  }
  return true;
}

/** Copies leaves [at, end): false when memory is short. `more`: the original has others behind them. */
function copyLeaves(from: Fs, copy: Fs, at: number, end: number): { done: boolean; more: boolean } {
  const dropped: Ref<"file">[] = [];
  const held = Files.lock.lock(from);
  const done = copyLocked(held, from, copy, at, end, dropped);
  const more = end < leavesOf(Files.fdt.peek(held, from) as Table);
  Files.lock.unlock(from);
  for (const file of dropped) fput(file);
  return { done, more };
}

function copyLocked(
  held: Held<"lock">,
  from: Fs,
  copy: Fs,
  at: number,
  end: number,
  dropped: Ref<"file">[],
): boolean {
  const source = Files.fdt.peek(held, from) as Table;
  let target = Files.fdt.peek(OWNER, copy) as Table;
  const last = Math.min(end, Math.max(leavesUsed(source), leavesOf(target)), leavesOf(source));
  if (last > leavesOf(target)) {
    const grown = grownTable(target, last);
    if (grown === 0) return false;
    Files.fdt.assign(OWNER, copy, grown);
    kfreeArrayRcu(target);
    target = grown;
  }
  for (let next = at; next < last; next++) if (!copyLeaf(source, target, next, dropped)) return false;
  return true;
}

const finish = (copy: Fs): void =>
  Files.nextFd.set(OWNER, copy, findFree(Files.fdt.peek(OWNER, copy) as Table, 0));

/** fork(2): a copy with one user, each file counted once more; 0 when memory is short. In one piece: copyFiles comes first for large ones. */
export function filesFork(from: Fs): Fs | 0 {
  const held = Files.lock.lock(from);
  const copy = begin(held, from);
  const done = copy !== 0 && copyLocked(held, from, copy, 0, Number.POSITIVE_INFINITY, []);
  Files.lock.unlock(from);
  if (!done) return discard(copy);
  finish(copy);
  return copy;
}

function discard(copy: Fs | 0): 0 {
  if (copy !== 0) filesPut(copy);
  return 0;
}

/**
 * For a call that is about to take a copy of the task's table (takeCopy): makes it in parts, if it is large. 0 to go on, YIELD, -ENOMEM, -EINTR
 * when the process ends. The copy goes when the call ends without having taken it.
 */
export function copyFiles(task: Ref<"task">): number {
  const from = Task.files.access(task) as Fs;
  let copy = Task.filesCopy.get(task);
  if (copy === 0) {
    if (arrayLength(Files.fdt.access(from) as Table) <= PART) return 0;
    const shared = filesShared(from);
    const held = Files.lock.lock(from);
    copy = begin(held, from);
    Files.lock.unlock(from);
    if (copy === 0) return -ENOMEM;
    Files.contended.set(copy, shared ? 1 : 0);
    markRestartState();
    Task.filesCopy.set(task, copy);
  }
  for (let at = Files.copied.get(copy); at !== ALL; ) {
    const { done, more } = copyLeaves(from, copy, at, at + PART);
    if (!done) return -ENOMEM;
    at = more ? at + PART : ALL;
    Files.copied.set(copy, at);
    if (at !== ALL && mustYield()) return fatalPending(task) ? -EINTR : YIELD;
  }
  return 0;
}

/** A copy of the task's table as it is now, with one user; 0 when memory is short. */
export function takeCopy(task: Ref<"task">): Fs | 0 {
  const from = Task.files.access(task) as Fs;
  const copy = Task.filesCopy.get(task);
  if (copy === 0) return filesFork(from);
  Task.filesCopy.set(task, 0);
  if (Files.contended.get(copy) !== 0 && !copyLeaves(from, copy, 0, Number.POSITIVE_INFINITY).done)
    return discard(copy);
  finish(copy);
  return copy;
}

onCallEnd((task) => {
  const copy = Task.filesCopy.get(task);
  Task.filesCopy.set(task, 0);
  discard(copy);
});

/** The current task goes on with a table of its own (execve, unshare, close_range): 0, -ENOMEM, or YIELD when it is a large one. */
export function unshareFiles(task: Ref<"task">): number {
  const files = Task.files.access(task) as Fs;
  if (!filesShared(files)) return 0;
  const failed = copyFiles(task);
  if (failed !== 0) return failed;
  const copy = takeCopy(task);
  if (copy === 0) return -ENOMEM;
  Task.files.exchange(task, copy);
  filesPut(files);
  return 0;
}
