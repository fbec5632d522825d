/**
 * File locks: flock(2) on open files, POSIX record locks (fcntl(2)) on descriptor tables, open-file-description locks.
 * All tasks share them; they hang on the inode. A task that must wait queues on the inode's lock context and tries again.
 */
import {
  fixed,
  free,
  type Held,
  kfreeRcu,
  listAddTail,
  listDelInit,
  listFirst,
  listIsEmpty,
  listNext,
  listNode,
  locked,
  owned,
  type Ref,
  spinlock,
  struct,
  tryAlloc,
  wide,
} from "../../rcu/index.ts";
import { BLOCK } from "../sched/block.ts";
import { current } from "../sched/current.ts";
import { waitOn, waitqueue, wakeUp } from "../sched/waitqueue.ts";
import { credOf } from "../task/cred.ts";
import { limit } from "../task/limits.ts";
import { Cred } from "../task/task.ts";
import { userCharge, userUncharge } from "../task/user.ts";
import { EAGAIN, EINVAL, ENOLCK, ENOMEM } from "../uapi/errno.ts";
import { F_RDLCK, F_UNLCK, F_WRLCK, LOCK_EX, LOCK_NB, LOCK_SH, LOCK_UN } from "../uapi/fcntl.ts";
import { onFdClose } from "./fdtable.ts";
import { File, onFileRelease } from "./file.ts";
import { Inode, setLockContextFree } from "./inode.ts";

type F = Ref<"file">;
type Ctx = Ref<"flctx">;

/**
 * Record locks of one file. A look at them costs time for each, and nobody may make a call of others long: ENOLCK, the error of a full lock
 * table, which a user meets as well who has too many in all files. Locks of flock(2) are not in this list: they cover whole files, so that numbers of them say all there is to know.
 */
const RECORDS_MOST = 16384;

const FileLock = struct("file_lock", {
  node: listNode(),
  /** Open file (OFD) or descriptor table (POSIX): a reference used as a number, no count. */
  owner: fixed(),
  /** Process that set it, for F_GETLK; -1 for OFD locks. */
  pid: fixed(),
  /** Who is charged for it. */
  user: fixed<Ref<"user"> | 0>(),
  type: owned(),
  /** Bytes [start, end); end may be Infinity. */
  start: wide(),
  end: wide(),
});
type Lock = Ref<"file_lock">;

const LockContext = struct("flctx", {
  lock: spinlock(50),
  /** Record locks, and how many. */
  locks: listNode(),
  records: locked("lock"),
  /** Open files that have a shared or an exclusive lock of flock(2): File.flock says which of them. */
  shared: locked("lock"),
  exclusive: locked("lock"),
  wait: waitqueue(),
});

setLockContextFree((ctx) => {
  if (!listIsEmpty(LockContext.locks.at(ctx))) throw new Error("an inode went away with locks on it");
  kfreeRcu(LockContext, ctx);
});

/** The inode's lock context, made at first use; 0 when memory is short. */
function contextOf(file: F): Ctx | 0 {
  const inode = File.inode.get(file);
  const known = Inode.flctx.access(inode);
  if (known !== 0) return known;
  const ctx = tryAlloc(LockContext);
  if (ctx === 0) return 0;
  LockContext.locks.init(ctx);
  if (Inode.flctx.cas(inode, 0, ctx)) return ctx;
  free(LockContext, ctx);
  return Inode.flctx.access(inode);
}

function* each(ctx: Ctx): Generator<Lock> {
  const head = LockContext.locks.at(ctx);
  for (let node = listFirst(head); node !== 0; ) {
    const next = listNext(head, node);
    yield FileLock.node.owner(node);
    node = next;
  }
}

interface Request {
  owner: number;
  pid: number;
  type: number;
  start: number;
  end: number;
}

const overlaps = (lock: Lock, want: Request): boolean =>
  FileLock.start.get(lock) < want.end && want.start < FileLock.end.get(lock);

/** The first lock of somebody else that forbids this one, or 0. */
function conflict(ctx: Ctx, want: Request): Lock | 0 {
  for (const lock of each(ctx)) {
    if (FileLock.owner.get(lock) === want.owner) continue;
    if (overlaps(lock, want) && (want.type === F_WRLCK || FileLock.type.get(lock) === F_WRLCK)) return lock;
  }
  return 0;
}

function add(held: Held<"lock">, ctx: Ctx, want: Request, type: number, start: number, end: number): boolean {
  const records = LockContext.records.get(held, ctx);
  if (records >= RECORDS_MOST) return false;
  const user = current() === 0 ? 0 : Cred.user.get(credOf(current()));
  if (!userCharge(user, "recordLocks", 1, limit("recordLocks"))) return false;
  const lock = tryAlloc(FileLock);
  if (lock === 0) {
    userUncharge(user, "recordLocks", 1);
    return false;
  }
  LockContext.records.set(held, ctx, records + 1);
  FileLock.user.init(lock, user);
  FileLock.owner.init(lock, want.owner);
  FileLock.pid.init(lock, want.pid);
  FileLock.type.set(lock, type);
  FileLock.start.set(lock, start);
  FileLock.end.set(lock, end);
  listAddTail(held, LockContext.locks.at(ctx), FileLock.node.at(lock));
  return true;
}

function remove(held: Held<"lock">, ctx: Ctx, lock: Lock): void {
  LockContext.records.set(held, ctx, LockContext.records.get(held, ctx) - 1);
  listDelInit(held, FileLock.node.at(lock));
  userUncharge(FileLock.user.get(lock), "recordLocks", 1);
  free(FileLock, lock);
}

/** Makes [start, end) of this owner be of the wanted type: cuts what it had there, then joins equal neighbours. */
function apply(held: Held<"lock">, ctx: Ctx, want: Request): number {
  let { start, end } = want;
  for (const lock of each(ctx)) {
    if (FileLock.owner.get(lock) !== want.owner) continue;
    const from = FileLock.start.get(lock);
    const to = FileLock.end.get(lock);
    const type = FileLock.type.get(lock);
    if (type === want.type && from <= end && start <= to) {
      start = Math.min(start, from);
      end = Math.max(end, to);
      remove(held, ctx, lock);
    } else if (from < want.end && want.start < to) {
      // Memory for a piece that is cut out of the middle first: the old lock must not be lost.
      if (from < want.start && to > want.end) {
        if (!add(held, ctx, want, type, want.end, to)) return -ENOLCK;
        FileLock.end.set(lock, want.start);
      } else if (from < want.start) FileLock.end.set(lock, want.start);
      else if (to > want.end) FileLock.start.set(lock, want.end);
      else remove(held, ctx, lock);
    }
  }
  if (want.type === F_UNLCK) return 0;
  return add(held, ctx, want, want.type, start, end) ? 0 : -ENOLCK;
}

/** Sets the lock, or says that it cannot be had now (-EAGAIN). */
function tryRecord(ctx: Ctx, want: Request): number {
  const held = LockContext.lock.lock(ctx);
  const blocked = want.type !== F_UNLCK && conflict(ctx, want) !== 0;
  const result = blocked ? -EAGAIN : apply(held, ctx, want);
  LockContext.lock.unlock(ctx);
  // Less than before may be locked now, also after a downgrade.
  if (result === 0) wakeUp(LockContext.wait.at(ctx), 0);
  return result;
}

/** The same for the whole file: the open file's lock becomes one of `type`. */
function tryFlock(ctx: Ctx, file: F, type: number): number {
  const held = LockContext.lock.lock(ctx);
  const { shared, exclusive } = LockContext;
  const own = File.flock.get(file);
  const others = exclusive.get(held, ctx) - (own === HAS_EXCLUSIVE ? 1 : 0);
  const readers = shared.get(held, ctx) - (own === HAS_SHARED ? 1 : 0);
  const blocked = type !== F_UNLCK && (others > 0 || (type === F_WRLCK && readers > 0));
  if (!blocked) {
    shared.set(held, ctx, readers + (type === F_RDLCK ? 1 : 0));
    exclusive.set(held, ctx, others + (type === F_WRLCK ? 1 : 0));
    File.flock.set(file, type === F_RDLCK ? HAS_SHARED : type === F_WRLCK ? HAS_EXCLUSIVE : 0);
  }
  LockContext.lock.unlock(ctx);
  if (!blocked) wakeUp(LockContext.wait.at(ctx), 0);
  return blocked ? -EAGAIN : 0;
}

/** File.flock; 0: none. */
const HAS_SHARED = 1;
const HAS_EXCLUSIVE = 2;

function lockOrWait(ctx: Ctx, attempt: () => number, wait: boolean): number {
  const result = attempt();
  if (result !== -EAGAIN || !wait) return result;
  if (waitOn(LockContext.wait.at(ctx)) < 0) return -ENOMEM;
  const again = attempt();
  return again === -EAGAIN ? BLOCK : again;
}

/** flock(2): 0, -EAGAIN (EWOULDBLOCK) with LOCK_NB, or BLOCK. */
export function flock(file: F, operation: number): number {
  const type = [F_RDLCK, F_WRLCK, F_UNLCK][[LOCK_SH, LOCK_EX, LOCK_UN].indexOf(operation & ~LOCK_NB)];
  if (type === undefined) return -EINVAL;
  if (type === F_UNLCK && Inode.flctx.access(File.inode.get(file)) === 0) return 0;
  const ctx = contextOf(file);
  if (ctx === 0) return -ENOLCK;
  const result = lockOrWait(ctx, () => tryFlock(ctx, file, type), (operation & LOCK_NB) === 0);
  // A conversion is not atomic: the old lock is gone while the new one is waited for (flock(2)).
  if (result === BLOCK) tryFlock(ctx, file, F_UNLCK);
  return result;
}

/** What a record lock belongs to, and how it is shown. */
export interface RecordOwner {
  owner: number;
  pid: number;
}

/** fcntl(2) F_SETLK, F_SETLKW, F_OFD_SETLK...: bytes [start, end), `type` F_RDLCK, F_WRLCK or F_UNLCK. */
export function setRecordLock(
  file: F,
  by: RecordOwner,
  type: number,
  start: number,
  end: number,
  wait: boolean,
): number {
  if (type === F_UNLCK && Inode.flctx.access(File.inode.get(file)) === 0) return 0;
  const ctx = contextOf(file);
  if (ctx === 0) return -ENOLCK;
  const want = { ...by, type, start, end };
  return lockOrWait(ctx, () => tryRecord(ctx, want), wait);
}

/** A lock that stands in the way of another one, as F_GETLK shows it. */
export interface FoundLock {
  type: number;
  start: number;
  end: number;
  pid: number;
}

/** F_GETLK: the first lock in the way, or null. */
export function testRecordLock(
  file: F,
  by: RecordOwner,
  type: number,
  start: number,
  end: number,
): FoundLock | null {
  const ctx = Inode.flctx.access(File.inode.get(file));
  if (ctx === 0) return null;
  LockContext.lock.lock(ctx);
  const lock = conflict(ctx, { ...by, type, start, end });
  const found =
    lock === 0
      ? null
      : {
          type: FileLock.type.get(lock),
          start: FileLock.start.get(lock),
          end: FileLock.end.get(lock),
          pid: FileLock.pid.get(lock),
        };
  LockContext.lock.unlock(ctx);
  return found;
}

/** Drops every record lock of an owner on the file's inode. */
function dropRecords(file: F, owner: number): void {
  const ctx = Inode.flctx.access(File.inode.get(file));
  if (ctx === 0 || LockContext.records.racy(ctx) === 0) return;
  const held = LockContext.lock.lock(ctx);
  let dropped = false;
  for (const lock of each(ctx)) {
    if (FileLock.owner.get(lock) !== owner) continue;
    remove(held, ctx, lock);
    dropped = true;
  }
  LockContext.lock.unlock(ctx);
  if (dropped) wakeUp(LockContext.wait.at(ctx), 0);
}

// Any close of a descriptor drops its table's record locks on the file; the last one drops those of the open file.
onFdClose((files, file) => dropRecords(file, files));
onFileRelease((file) => {
  const ctx = Inode.flctx.access(File.inode.get(file));
  if (ctx === 0) return;
  if (File.flock.get(file) !== 0) tryFlock(ctx, file, F_UNLCK);
  dropRecords(file, file);
});
