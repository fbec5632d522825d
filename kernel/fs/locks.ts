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
  owned,
  type Ref,
  spinlock,
  struct,
  tryAlloc,
  wide,
} from "../../rcu/index.ts";
import { BLOCK } from "../sched/block.ts";
import { waitOn, waitqueue, wakeUp } from "../sched/waitqueue.ts";
import { EAGAIN, EINVAL, ENOLCK, ENOMEM } from "../uapi/errno.ts";
import { F_RDLCK, F_UNLCK, F_WRLCK, LOCK_EX, LOCK_NB, LOCK_SH, LOCK_UN } from "../uapi/fcntl.ts";
import { onFdClose } from "./fdtable.ts";
import { File, onFileRelease } from "./file.ts";
import { Inode, setLockContextFree } from "./inode.ts";

type F = Ref<"file">;
type Ctx = Ref<"flctx">;

/** Kinds of locks: they do not see each other, except record locks of both owners. */
const FLOCK = 0;
const RECORD = 1;

const FileLock = struct("file_lock", {
  node: listNode(),
  kind: fixed(),
  /** Open file (flock, OFD) or descriptor table (POSIX): a reference used as a number, no count. */
  owner: fixed(),
  /** Process that set it, for F_GETLK; -1 for OFD locks. */
  pid: fixed(),
  type: owned(),
  /** Bytes [start, end); end may be Infinity. */
  start: wide(),
  end: wide(),
});
type Lock = Ref<"file_lock">;

const LockContext = struct("flctx", { lock: spinlock(50), locks: listNode(), wait: waitqueue() });

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
  kind: number;
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
    if (FileLock.kind.get(lock) !== want.kind || FileLock.owner.get(lock) === want.owner) continue;
    if (overlaps(lock, want) && (want.type === F_WRLCK || FileLock.type.get(lock) === F_WRLCK)) return lock;
  }
  return 0;
}

function add(held: Held, ctx: Ctx, want: Request, type: number, start: number, end: number): boolean {
  const lock = tryAlloc(FileLock);
  if (lock === 0) return false;
  FileLock.kind.init(lock, want.kind);
  FileLock.owner.init(lock, want.owner);
  FileLock.pid.init(lock, want.pid);
  FileLock.type.set(lock, type);
  FileLock.start.set(lock, start);
  FileLock.end.set(lock, end);
  listAddTail(held, LockContext.locks.at(ctx), FileLock.node.at(lock));
  return true;
}

function remove(held: Held, lock: Lock): void {
  listDelInit(held, FileLock.node.at(lock));
  free(FileLock, lock);
}

/** Makes [start, end) of this owner be of the wanted type: cuts what it had there, then joins equal neighbours. */
function apply(held: Held, ctx: Ctx, want: Request): number {
  let { start, end } = want;
  for (const lock of each(ctx)) {
    if (FileLock.kind.get(lock) !== want.kind || FileLock.owner.get(lock) !== want.owner) continue;
    const from = FileLock.start.get(lock);
    const to = FileLock.end.get(lock);
    const type = FileLock.type.get(lock);
    if (type === want.type && from <= end && start <= to) {
      start = Math.min(start, from);
      end = Math.max(end, to);
      remove(held, lock);
    } else if (from < want.end && want.start < to) {
      // Memory for a piece that is cut out of the middle first: the old lock must not be lost.
      if (from < want.start && to > want.end) {
        if (!add(held, ctx, want, type, want.end, to)) return -ENOLCK;
        FileLock.end.set(lock, want.start);
      } else if (from < want.start) FileLock.end.set(lock, want.start);
      else if (to > want.end) FileLock.start.set(lock, want.end);
      else remove(held, lock);
    }
  }
  if (want.type === F_UNLCK) return 0;
  return add(held, ctx, want, want.type, start, end) ? 0 : -ENOLCK;
}

/** Sets the lock, or says that it cannot be had now (-EAGAIN). */
function tryLock(ctx: Ctx, want: Request): number {
  const held = LockContext.lock.lock(ctx);
  const blocked = want.type !== F_UNLCK && conflict(ctx, want) !== 0;
  const result = blocked ? -EAGAIN : apply(held, ctx, want);
  LockContext.lock.unlock(ctx);
  // Less than before may be locked now, also after a downgrade.
  if (result === 0) wakeUp(LockContext.wait.at(ctx), 0);
  return result;
}

function lockOrWait(ctx: Ctx, want: Request, wait: boolean): number {
  const result = tryLock(ctx, want);
  if (result !== -EAGAIN || !wait) return result;
  if (waitOn(LockContext.wait.at(ctx)) < 0) return -ENOMEM;
  const again = tryLock(ctx, want);
  return again === -EAGAIN ? BLOCK : again;
}

/** flock(2): 0, -EAGAIN (EWOULDBLOCK) with LOCK_NB, or BLOCK. */
export function flock(file: F, operation: number): number {
  const type = [LOCK_SH, LOCK_EX, LOCK_UN].indexOf(operation & ~LOCK_NB);
  if (type < 0) return -EINVAL;
  const unlock = type === 2;
  if (unlock && Inode.flctx.access(File.inode.get(file)) === 0) return 0;
  const ctx = contextOf(file);
  if (ctx === 0) return -ENOLCK;
  const owner = { kind: FLOCK, owner: file, pid: 0, start: 0, end: Number.POSITIVE_INFINITY };
  const want: Request = { ...owner, type: [F_RDLCK, F_WRLCK, F_UNLCK][type]! };
  const result = lockOrWait(ctx, want, (operation & LOCK_NB) === 0);
  // A conversion is not atomic: the old lock is gone while the new one is waited for (flock(2)).
  if (result === BLOCK) tryLock(ctx, { ...owner, type: F_UNLCK });
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
  return lockOrWait(ctx, { kind: RECORD, ...by, type, start, end }, wait);
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
  const lock = conflict(ctx, { kind: RECORD, ...by, type, start, end });
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

/** Drops every lock of an owner on the file's inode. */
function dropLocks(file: F, owner: number): void {
  const ctx = Inode.flctx.access(File.inode.get(file));
  if (ctx === 0) return;
  const held = LockContext.lock.lock(ctx);
  let dropped = false;
  for (const lock of each(ctx)) {
    if (FileLock.owner.get(lock) !== owner) continue;
    remove(held, lock);
    dropped = true;
  }
  LockContext.lock.unlock(ctx);
  if (dropped) wakeUp(LockContext.wait.at(ctx), 0);
}

// Any close of a descriptor drops its table's record locks on the file; the last one drops those of the open file.
onFdClose((files, file) => dropLocks(file, files));
onFileRelease((file) => dropLocks(file, file));
