/** Descriptor tables: read without locks, changed under Files.lock. How one is laid out: fd-leaves.ts; copies: fd-copy.ts. */
import {
  atomic,
  free,
  type Held,
  kfreeArrayRcu,
  kfreeRcu,
  locked,
  owned,
  type Ref,
  rcu,
  rcuReadLock,
  rcuReadUnlock,
  spinlock,
  struct,
  tryAlloc,
} from "../../rcu/index.ts";
import { current } from "../sched/current.ts";
import { Group, Task } from "../task/task.ts";
import { EBADF, EINVAL, EMFILE, ENOMEM } from "../uapi/errno.ts";
import { O_CLOEXEC } from "../uapi/fcntl.ts";
import {
  bitsAt,
  CLOEXEC,
  fileIn,
  findFree,
  freeTable,
  grownTable,
  LEAF,
  LEAF_BITS,
  leafAt,
  leavesOf,
  makeLeaf,
  maxOf,
  newTable,
  setBit,
  setFile,
  TAKEN,
  type Table,
} from "./fd-leaves.ts";
import { File, FMODE_PATH, fput, onTableSize } from "./file.ts";
import { fileOpsOf } from "./ops.ts";

export const Files = struct("files", {
  users: atomic(),
  fdt: rcu("array"),
  lock: spinlock(50),
  /** No descriptor below this one is free. */
  nextFd: locked("lock"),
  /** Of a copy in progress (fd-copy.ts): the leaf to go on with, and whether others may change what is copied meanwhile. */
  copied: owned(),
  contended: owned(),
});
type Fs = Ref<"files">;
type F = Ref<"file">;

/** /proc/sys/fs/nr_open. */
export const NR_OPEN = 1048576;
const RLIMIT_NOFILE = 7;

onTableSize((files) => maxOf(Files.fdt.access(files) as Table));

/** An empty table with one user; 0 when memory is short. */
export function filesCreate(): Fs | 0 {
  const files = tryAlloc(Files);
  if (files === 0) return 0;
  const fdt = newTable(1);
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
  const file = fileIn(Files.fdt.deref(scope, files) as Table, fd);
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

/** Makes room for `fd`: 0, -ENOMEM. */
function expand(held: Held, files: Fs, fd: number): number {
  let table = Files.fdt.peek(held, files) as Table;
  const at = fd >>> LEAF_BITS;
  if (at >= leavesOf(table)) {
    const grown = grownTable(table, at + 1);
    if (grown === 0) return -ENOMEM;
    Files.fdt.assign(held, files, grown);
    kfreeArrayRcu(table);
    table = grown;
  }
  return makeLeaf(table, at) === 0 ? -ENOMEM : 0;
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
  setBit(fdt, TAKEN, fd, true);
  setBit(fdt, CLOEXEC, fd, (flags & O_CLOEXEC) !== 0);
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
  setBit(fdt, TAKEN, fd, false);
  setBit(fdt, CLOEXEC, fd, false);
  if (fd < Files.nextFd.get(held, files)) Files.nextFd.set(held, files, fd);
}

/** Publishes the file under a reserved descriptor; the count moves to the table. */
export function fdInstall(files: Fs, fd: number, file: F): void {
  const held = Files.lock.lock(files);
  setFile(Files.fdt.peek(held, files) as Table, fd, file);
  Files.lock.unlock(files);
}

/** Reserve and install in one: the file's count moves to the table; on error it stays the caller's. `flags`: O_CLOEXEC. */
export function allocFd(files: Fs, file: F, flags: number, from = 0): number {
  const limit = nofileLimit();
  let fd = from > 0 && from >= limit ? -EINVAL : -EMFILE;
  if (from < limit) {
    const held = Files.lock.lock(files);
    fd = reserve(held, files, flags, from, limit);
    if (fd >= 0) setFile(Files.fdt.peek(held, files) as Table, fd, file);
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
  const old = fileIn(fdt, fd);
  setBit(fdt, TAKEN, fd, true);
  setBit(fdt, CLOEXEC, fd, (flags & O_CLOEXEC) !== 0);
  setFile(fdt, fd, file);
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
  const file = fileIn(fdt, fd);
  if (file === 0) {
    Files.lock.unlock(files);
    return -EBADF;
  }
  setFile(fdt, fd, 0);
  release(held, files, fd);
  Files.lock.unlock(files);
  return filpClose(files, file);
}

/** FD_CLOEXEC of a descriptor: 0, 1 or -EBADF. */
export function getCloexec(files: Fs, fd: number): number {
  const held = Files.lock.lock(files);
  const fdt = Files.fdt.peek(held, files) as Table;
  const open = fileIn(fdt, fd) !== 0;
  const result = open ? (bitsAt(fdt, CLOEXEC, fd) >>> (fd & 31)) & 1 : -EBADF;
  Files.lock.unlock(files);
  return result;
}
export function setCloexec(files: Fs, fd: number, on: boolean): number {
  const held = Files.lock.lock(files);
  const fdt = Files.fdt.peek(held, files) as Table;
  const open = fileIn(fdt, fd) !== 0;
  if (open) setBit(fdt, CLOEXEC, fd, on);
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
    if (leafAt(fdt, fd >>> LEAF_BITS) === 0) fd |= LEAF - 1;
    else if (bitsAt(fdt, TAKEN, fd) === 0) fd |= 31;
    else {
      const file = fileIn(fdt, fd);
      if (file !== 0 && visit(fd, file) === false) break;
    }
  }
  rcuReadUnlock();
}

/** clone(CLONE_FILES): one more user. */
export function filesGet(files: Fs): Fs {
  Files.users.add(files, 1);
  return files;
}

/** Nobody uses the table any more, and all its descriptors are closed (close-range.ts). */
export function filesFree(files: Fs): void {
  freeTable(Files.fdt.access(files) as Table);
  kfreeRcu(Files, files);
}

/** Whether the table has other users: execve and unshare(CLONE_FILES) then go on with a copy (filesFork). */
export const filesShared = (files: Fs): boolean => Files.users.load(files) > 1;
