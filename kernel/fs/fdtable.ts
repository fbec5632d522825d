/**
 * Descriptor tables: read without locks, changed under Files.lock.
 *
 * A table is one array, replaced whole when it grows:
 *   [0] max; [1 .. max] file references, 0 when free; then max/32 words each of close-on-exec and of taken bits.
 * A taken slot without a file is reserved: open() has the number and will install the file.
 */
import {
  arrayCopy,
  arrayGet,
  arraySet,
  arrayStore,
  atomic,
  free,
  type Held,
  kfreeArrayRcu,
  kfreeRcu,
  locked,
  type Ptr,
  type Ref,
  rcu,
  rcuReadLock,
  rcuReadUnlock,
  spinlock,
  struct,
  tryAlloc,
  tryAllocArray,
} from "../../rcu/index.ts";
import { current } from "../sched/current.ts";
import { Group, Task } from "../task/task.ts";
import { EBADF, EINVAL, EMFILE, ENOMEM } from "../uapi/errno.ts";
import { O_CLOEXEC } from "../uapi/fcntl.ts";
import { File, FMODE_PATH, fileGet, fput, onTableSize } from "./file.ts";
import { fileOpsOf } from "./ops.ts";

export const Files = struct("files", {
  users: atomic(),
  fdt: rcu("array"),
  lock: spinlock(50),
  /** No descriptor below this one is free. */
  nextFd: locked("lock"),
});
type Fs = Ref<"files">;
type F = Ref<"file">;
export type Table = Ref<"array">;

const FIRST_MAX = 64;
/** /proc/sys/fs/nr_open. */
export const NR_OPEN = 1048576;
const RLIMIT_NOFILE = 7;

// The layout of a table, for this file and close-range.ts.
export const maxOf = (fdt: Table): number => arrayGet(fdt, 0);
export const cloexecAt = (fdt: Table): number => 1 + maxOf(fdt);
export const takenAt = (fdt: Table): number => 1 + maxOf(fdt) + (maxOf(fdt) >>> 5);

onTableSize((files) => maxOf(Files.fdt.access(files) as Table));

function newTable(max: number): Table | 0 {
  const fdt = tryAllocArray(1 + max + (max >>> 4));
  if (fdt !== 0) arraySet(fdt, 0, max);
  return fdt;
}

/** An empty table with one user; 0 when memory is short. */
export function filesCreate(): Fs | 0 {
  const files = tryAlloc(Files);
  if (files === 0) return 0;
  const fdt = newTable(FIRST_MAX);
  if (fdt === 0) {
    free(Files, files);
    return 0;
  }
  Files.users.init(files, 1);
  Files.fdt.init(files, fdt);
  return files;
}

/** The soft RLIMIT_NOFILE of the current task; NR_OPEN when the kernel itself asks. */
function nofileLimit(): number {
  const task = current();
  if (task === 0) return NR_OPEN;
  const group = Task.group.get(task);
  if (Group.rlimits.get(group, RLIMIT_NOFILE * 4 + 1) !== 0) return NR_OPEN;
  return Math.min(Group.rlimits.get(group, RLIMIT_NOFILE * 4) >>> 0, NR_OPEN);
}

/** The file of a descriptor, also an O_PATH one, without a count: good for the rest of the handler. -EBADF. */
export function fgetRaw(files: Fs, fd: number): F | number {
  const scope = rcuReadLock();
  const fdt = Files.fdt.deref(scope, files) as Table;
  const file = fd >>> 0 < maxOf(fdt) ? (arrayGet(fdt, 1 + fd) as Ptr<"file">) : 0;
  rcuReadUnlock();
  return file === 0 ? -EBADF : file;
}

/** As fgetRaw, for calls that do something with the file: O_PATH descriptors are -EBADF. */
export function fget(files: Fs, fd: number): F | number {
  const file = fgetRaw(files, fd);
  if (file > 0 && (File.mode.get(file as F) & FMODE_PATH) !== 0) return -EBADF;
  return file;
}

/** A counted file, also an O_PATH one, for what outlives the handler. fput() it. */
export function fgetRawRef(files: Fs, fd: number): F | number {
  for (;;) {
    const file = fgetRaw(files, fd);
    if (file < 0) return file;
    // The cell cannot be reused while this handler runs; a zero count means that the slot is being changed.
    if (!File.refcount.incNotZero(file as F)) {
      if (fgetRaw(files, fd) === file) return -EBADF;
      continue;
    }
    // It may have been closed in between, and have counts elsewhere: who has none may not get one then (ipc/unix-gc.ts).
    if (fgetRaw(files, fd) === file) return file;
    fput(file as F);
  }
}

/** A counted file; O_PATH descriptors are -EBADF. */
export function fgetRef(files: Fs, fd: number): F | number {
  const file = fget(files, fd);
  return file < 0 ? file : fgetRawRef(files, fd);
}

/** Grows the table to hold `fd`. 0, -ENOMEM. */
function expand(held: Held, files: Fs, fd: number): number {
  const old = Files.fdt.peek(held, files) as Table;
  let max = maxOf(old);
  if (fd < max) return 0;
  while (max <= fd) max *= 2;
  const grown = newTable(max);
  if (grown === 0) return -ENOMEM;
  copyTable(old, grown);
  Files.fdt.assign(held, files, grown);
  kfreeArrayRcu(old);
  return 0;
}

function copyTable(from: Table, to: Table): void {
  const max = maxOf(to);
  arrayCopy(from, to, 1 + Math.min(maxOf(from), max));
  arraySet(to, 0, max);
  const words = Math.min(maxOf(from), max) >>> 5;
  arrayCopy(from, to, words, cloexecAt(from), cloexecAt(to));
  arrayCopy(from, to, words, takenAt(from), takenAt(to));
}

export function setBit(fdt: Table, base: number, fd: number, on: boolean): void {
  const word = base + (fd >>> 5);
  const bit = 1 << (fd & 31);
  arraySet(fdt, word, on ? arrayGet(fdt, word) | bit : arrayGet(fdt, word) & ~bit);
}
const getBit = (fdt: Table, base: number, fd: number): boolean =>
  (arrayGet(fdt, base + (fd >>> 5)) & (1 << (fd & 31))) !== 0;

/** First free descriptor from `from` on; may be the table's size. */
function findFree(fdt: Table, from: number): number {
  const max = maxOf(fdt);
  const base = takenAt(fdt);
  for (let fd = from; fd < max; ) {
    const free = ~arrayGet(fdt, base + (fd >>> 5)) & (-1 << (fd & 31));
    if (free !== 0) return (fd & ~31) + (31 - Math.clz32(free & -free));
    fd = (fd & ~31) + 32;
  }
  return Math.max(max, from);
}

/** Reserves the lowest free descriptor >= `from`: number, -EMFILE, -ENOMEM. */
export function getUnusedFd(files: Fs, flags: number, from = 0): number {
  const limit = nofileLimit();
  if (from >= limit) return from === 0 ? -EMFILE : -EINVAL;
  const held = Files.lock.lock(files);
  const result = reserve(held, files, flags, from, limit);
  Files.lock.unlock(files);
  return result;
}
function reserve(held: Held<"lock">, files: Fs, flags: number, from: number, limit: number): number {
  const nextFd = Files.nextFd.get(held, files);
  const fd = findFree(Files.fdt.peek(held, files) as Table, Math.max(from, nextFd));
  if (fd >= limit) return -EMFILE;
  const error = expand(held, files, fd);
  if (error < 0) return error;
  const fdt = Files.fdt.peek(held, files) as Table;
  setBit(fdt, takenAt(fdt), fd, true);
  setBit(fdt, cloexecAt(fdt), fd, (flags & O_CLOEXEC) !== 0);
  if (from <= nextFd) Files.nextFd.set(held, files, fd + 1);
  return fd;
}

/** Gives a reserved descriptor back. */
export function putUnusedFd(files: Fs, fd: number): void {
  const held = Files.lock.lock(files);
  release(held, files, fd);
  Files.lock.unlock(files);
}
function release(held: Held<"lock">, files: Fs, fd: number): void {
  const fdt = Files.fdt.peek(held, files) as Table;
  setBit(fdt, takenAt(fdt), fd, false);
  setBit(fdt, cloexecAt(fdt), fd, false);
  if (fd < Files.nextFd.get(held, files)) Files.nextFd.set(held, files, fd);
}

/** Publishes the file under a reserved descriptor; the count moves to the table. */
export function fdInstall(files: Fs, fd: number, file: F): void {
  const held = Files.lock.lock(files);
  arrayStore(Files.fdt.peek(held, files) as Table, 1 + fd, file);
  Files.lock.unlock(files);
}

/** Reserve and install in one: the file's count moves to the table; on error it stays the caller's. `flags`: O_CLOEXEC. */
export function allocFd(files: Fs, file: F, flags: number, from = 0): number {
  const limit = nofileLimit();
  let fd = from > 0 && from >= limit ? -EINVAL : -EMFILE;
  if (from < limit) {
    const held = Files.lock.lock(files);
    fd = reserve(held, files, flags, from, limit);
    if (fd >= 0) arrayStore(Files.fdt.peek(held, files) as Table, 1 + fd, file);
    Files.lock.unlock(files);
  }
  return fd;
}

/** dup2/dup3: `fd` names the file (whose count the caller hands over, even on error); what it named is closed. */
export function replaceFd(files: Fs, fd: number, file: F, flags: number): number {
  const limit = nofileLimit();
  if (fd < 0 || fd >= limit) {
    fput(file);
    return -EBADF;
  }
  const held = Files.lock.lock(files);
  const error = expand(held, files, fd);
  if (error < 0) {
    Files.lock.unlock(files);
    fput(file);
    return error;
  }
  const fdt = Files.fdt.peek(held, files) as Table;
  const old = arrayGet(fdt, 1 + fd) as Ptr<"file">;
  setBit(fdt, takenAt(fdt), fd, true);
  setBit(fdt, cloexecAt(fdt), fd, (flags & O_CLOEXEC) !== 0);
  arrayStore(fdt, 1 + fd, file);
  Files.lock.unlock(files);
  if (old !== 0) filpClose(files, old);
  return fd;
}

/** What every close of a descriptor does: flush, drop the owner's record locks, drop the count. */
function filpClose(files: Fs, file: F): number {
  const result = fileOpsOf(File.fops.get(file)).flush?.(file, current()) ?? 0;
  if (closeHook !== null) closeHook(files, file);
  fput(file);
  return result;
}
/** locks.ts: POSIX record locks go with any descriptor of the file that their owner closes. */
let closeHook: ((files: Fs, file: F) => void) | null = null;
export function onFdClose(hook: (files: Fs, file: F) => void): void {
  closeHook = hook;
}

/** close(2): 0 or flush's error; the descriptor is free in any case. -EBADF. */
export function closeFd(files: Fs, fd: number): number {
  const held = Files.lock.lock(files);
  const fdt = Files.fdt.peek(held, files) as Table;
  const file = fd >>> 0 < maxOf(fdt) ? (arrayGet(fdt, 1 + fd) as Ptr<"file">) : 0;
  if (file === 0) {
    Files.lock.unlock(files);
    return -EBADF;
  }
  arrayStore(fdt, 1 + fd, 0);
  release(held, files, fd);
  Files.lock.unlock(files);
  return filpClose(files, file);
}

/** FD_CLOEXEC of a descriptor: 0, 1 or -EBADF. */
export function getCloexec(files: Fs, fd: number): number {
  const held = Files.lock.lock(files);
  const fdt = Files.fdt.peek(held, files) as Table;
  const open = fd >>> 0 < maxOf(fdt) && arrayGet(fdt, 1 + fd) !== 0;
  const result = open ? (getBit(fdt, cloexecAt(fdt), fd) ? 1 : 0) : -EBADF;
  Files.lock.unlock(files);
  return result;
}
export function setCloexec(files: Fs, fd: number, on: boolean): number {
  const held = Files.lock.lock(files);
  const fdt = Files.fdt.peek(held, files) as Table;
  const open = fd >>> 0 < maxOf(fdt) && arrayGet(fdt, 1 + fd) !== 0;
  if (open) setBit(fdt, cloexecAt(fdt), fd, on);
  Files.lock.unlock(files);
  return open ? 0 : -EBADF;
}

/** How many descriptors the table has room for (FDSize in /proc/PID/status). */
export function filesMax(files: Fs): number {
  const scope = rcuReadLock();
  const max = maxOf(Files.fdt.deref(scope, files) as Table);
  rcuReadUnlock();
  return max;
}

/** Calls `visit` with each open descriptor, lowest first, from `from` on, until it answers false (procfs, statistics). */
export function forEachFd(files: Fs, visit: (fd: number, file: F) => unknown, from = 0): void {
  const scope = rcuReadLock();
  const fdt = Files.fdt.deref(scope, files) as Table;
  for (let fd = from; fd < maxOf(fdt); fd++) {
    if (arrayGet(fdt, takenAt(fdt) + (fd >>> 5)) === 0) fd |= 31;
    else {
      const file = arrayGet(fdt, 1 + fd) as Ptr<"file">;
      if (file !== 0 && visit(fd, file) === false) break;
    }
  }
  rcuReadUnlock();
}

/** fork(2): a copy with one user, each file counted once more. 0 when memory is short. */
export function filesFork(from: Fs): Fs | 0 {
  const files = tryAlloc(Files);
  if (files === 0) return 0;
  const held = Files.lock.lock(from);
  const old = Files.fdt.peek(held, from) as Table;
  let used = 0;
  for (let fd = maxOf(old) - 1; fd >= 0; fd--)
    if (arrayGet(old, 1 + fd) !== 0) {
      used = fd + 1;
      break;
    }
  let max = FIRST_MAX;
  while (max < used) max *= 2;
  const fdt = newTable(max);
  if (fdt === 0) {
    Files.lock.unlock(from);
    free(Files, files);
    return 0;
  }
  copyTable(old, fdt);
  let next = -1;
  // Taken are those that have a file: what an open in progress in another thread has reserved is not ours.
  for (let first = 0; first < max; first += 32) {
    let taken = 0;
    for (let bit = 0; bit < 32 && first < used; bit++) {
      const file = arrayGet(fdt, 1 + first + bit) as Ptr<"file">;
      if (file === 0) continue;
      fileGet(file);
      taken |= 1 << bit;
    }
    arraySet(fdt, takenAt(fdt) + (first >>> 5), taken);
    if (next < 0 && taken !== -1) next = first + (31 - Math.clz32(~taken & -~taken));
  }
  Files.lock.unlock(from);
  Files.users.init(files, 1);
  Files.fdt.init(files, fdt);
  Files.nextFd.init(files, next < 0 ? max : next);
  return files;
}

/** clone(CLONE_FILES): one more user. */
export function filesGet(files: Fs): Fs {
  Files.users.add(files, 1);
  return files;
}

/** The last user closes everything. */
export function filesPut(files: Fs): void {
  if (!Files.users.decAndTest(files)) return;
  const held = Files.lock.lock(files);
  const fdt = Files.fdt.peek(held, files) as Table;
  Files.lock.unlock(files);
  for (let fd = 0; fd < maxOf(fdt); fd++) {
    const file = arrayGet(fdt, 1 + fd) as Ptr<"file">;
    if (file === 0) continue;
    arrayStore(fdt, 1 + fd, 0);
    filpClose(files, file);
  }
  kfreeArrayRcu(fdt);
  kfreeRcu(Files, files);
}

/** Whether the table has other users: execve and unshare(CLONE_FILES) then go on with a copy (filesFork). */
export const filesShared = (files: Fs): boolean => Files.users.load(files) > 1;

/** The current task goes on with a table of its own (execve, unshare, close_range): 0 or -ENOMEM. */
export function unshareFiles(task: Ref<"task">): number {
  const files = Task.files.access(task) as Fs;
  if (!filesShared(files)) return 0;
  const copy = filesFork(files);
  if (copy === 0) return -ENOMEM;
  Task.files.exchange(task, copy);
  filesPut(files);
  return 0;
}
