/** Changing attributes: chmod, chown, utimensat, truncate. Callers have looked the inode up; locks are taken here. */
import type { Ref } from "../../rcu/index.ts";
import { mappingGrow, mappingTruncate } from "../mm/pagecache.ts";
import { current } from "../sched/current.ts";
import { sendSignal } from "../signal/send.ts";
import { CAP_FSETID } from "../task/cred.ts";
import { Group, Task } from "../task/task.ts";
import { realtime, realtimeNanoseconds, realtimeSeconds } from "../time/clock.ts";
import { EACCES, EFBIG, EINVAL, EISDIR, ENOENT, EPERM, EROFS, ETXTBSY } from "../uapi/errno.ts";
import { F_SEAL_EXEC, F_SEAL_GROW, F_SEAL_SHRINK } from "../uapi/fcntl.ts";
import { SIGXFSZ } from "../uapi/signal.ts";
import { S_IFDIR, S_IFREG, S_ISGID, S_ISUID, S_IXGRP, UTIME_NOW, UTIME_OMIT } from "../uapi/stat.ts";
import {
  ATIME,
  CTIME,
  Inode,
  igrabLive,
  inodeLock,
  inodeSetTime,
  inodeTouch,
  inodeType,
  inodeUnlock,
  iput,
  MTIME,
} from "./inode.ts";
import { mountReadOnly } from "./mount.ts";
import { type Attr, inodeOpsOf } from "./ops.ts";
import {
  fsCapable,
  fsuid,
  inFsGroup,
  inodePermission,
  MAY_WRITE,
  mayChown,
  ownerOrCapable,
} from "./permission.ts";

type I = Ref<"inode">;
type M = Ref<"mount">;

/** Largest file: offsets stay exact in a double, and page numbers below 2^31. */
export const MAX_FILE_BYTES = 2 ** 43 - 4096;
const RLIMIT_FSIZE = 1;

/**
 * How far a write at `pos` may go: RLIMIT_FSIZE and the largest file. -EFBIG (and SIGXFSZ) when not a byte fits; 0 instead when
 * the call `started` to write before it came here: then it ends short.
 */
export function writeLimit(pos: number, length: number, started = false): number {
  let limit = MAX_FILE_BYTES;
  const task = current();
  if (task !== 0) {
    const group = Task.group.get(task);
    const high = Group.rlimits.get(group, RLIMIT_FSIZE * 4 + 1) >>> 0;
    const soft = high * 4294967296 + (Group.rlimits.get(group, RLIMIT_FSIZE * 4) >>> 0);
    if (pos >= soft && length > 0) {
      if (started) return 0;
      sendSignal(task, SIGXFSZ);
      return -EFBIG;
    }
    limit = Math.min(limit, soft);
  }
  if (pos >= limit && length > 0) return -EFBIG;
  return Math.min(length, limit - pos);
}

/** Tells the file system, and on its yes changes the inode. The inode's lock is not held. */
function setattr(inode: I, attr: Attr, apply: () => void): number {
  // A reader's inode may have been evicted meanwhile: nothing must be hung on it then.
  if (!igrabLive(inode)) return -ENOENT;
  inodeLock(inode);
  const result = inodeOpsOf(Inode.iops.get(inode)).setattr?.(inode, attr) ?? 0;
  if (result >= 0) {
    apply();
    inodeTouch(inode, 1 << CTIME);
  }
  inodeUnlock(inode);
  iput(inode);
  return Math.min(result, 0);
}

/** chmod(2). */
export function changeMode(mount: M, inode: I, mode: number): number {
  if (mountReadOnly(mount)) return -EROFS;
  if (!ownerOrCapable(inode)) return -EPERM;
  let bits = mode & 0o7777;
  if (!inFsGroup(Inode.gid.peek(inode)) && !fsCapable(CAP_FSETID)) bits &= ~S_ISGID;
  const old = Inode.mode.peek(inode);
  const next = (old & ~0o7777) | bits;
  if (((old ^ next) & 0o111) !== 0 && (Inode.seals.peek(inode) & F_SEAL_EXEC) !== 0) return -EPERM;
  return setattr(inode, { mode: next }, () => Inode.mode.store(inode, next));
}

/** chown(2): -1 keeps an id. Set-id bits of programs are dropped in any case. */
export function changeOwner(mount: M, inode: I, uid: number, gid: number): number {
  if (mountReadOnly(mount)) return -EROFS;
  const denied = mayChown(inode, uid, gid);
  if (denied < 0) return denied;
  const mode = Inode.mode.peek(inode);
  const next = inodeType(inode) === S_IFDIR ? mode : withoutSetId(mode);
  const attr: Attr = { mode: next };
  if (uid !== -1) attr.uid = uid;
  if (gid !== -1) attr.gid = gid;
  return setattr(inode, attr, () => {
    if (uid !== -1) Inode.uid.store(inode, uid);
    if (gid !== -1) Inode.gid.store(inode, gid);
    Inode.mode.store(inode, next);
  });
}

const withoutSetId = (mode: number): number => mode & ~S_ISUID & ~((mode & S_IXGRP) !== 0 ? S_ISGID : 0);

/** A write by somebody without CAP_FSETID drops the set-id bits. The inode's lock is held. */
export function dropSetId(inode: I): void {
  const mode = Inode.mode.peek(inode);
  if ((mode & (S_ISUID | S_ISGID)) === 0 || inodeType(inode) !== S_IFREG || fsCapable(CAP_FSETID)) return;
  Inode.mode.store(inode, withoutSetId(mode));
}

/** Seconds and nanoseconds as utimensat(2) gives them, UTIME_NOW and UTIME_OMIT included. */
export interface TimeChange {
  seconds: number;
  nanoseconds: number;
}

/** utimensat(2): `atime` and `mtime` null mean now for both. */
export function changeTimes(mount: M, inode: I, atime: TimeChange | null, mtime: TimeChange | null): number {
  for (const time of [atime, mtime]) {
    if (time === null || time.nanoseconds === UTIME_NOW || time.nanoseconds === UTIME_OMIT) continue;
    if (!(time.nanoseconds >= 0 && time.nanoseconds < 1e9)) return -EINVAL;
  }
  const omit = (time: TimeChange | null): boolean => time !== null && time.nanoseconds === UTIME_OMIT;
  const now = (time: TimeChange | null): boolean => time === null || time.nanoseconds === UTIME_NOW;
  if (omit(atime) && omit(mtime)) return 0;
  if (mountReadOnly(mount)) return -EROFS;
  if (!ownerOrCapable(inode)) {
    if (!now(atime) || !now(mtime)) return -EPERM;
    if (Inode.uid.peek(inode) !== fsuid() && inodePermission(inode, MAY_WRITE) < 0) return -EACCES;
  }
  realtime();
  const attr: Attr = {};
  const pick = (time: TimeChange | null) =>
    now(time)
      ? { seconds: realtimeSeconds, nanoseconds: realtimeNanoseconds }
      : { seconds: time!.seconds, nanoseconds: time!.nanoseconds };
  if (!omit(atime)) attr.atime = pick(atime);
  if (!omit(mtime)) attr.mtime = pick(mtime);
  return setattr(inode, attr, () => {
    if (attr.atime !== undefined) inodeSetTime(inode, ATIME, attr.atime.seconds, attr.atime.nanoseconds);
    if (attr.mtime !== undefined) inodeSetTime(inode, MTIME, attr.mtime.seconds, attr.mtime.nanoseconds);
  });
}

/** Changes the size of a regular file: the common part of truncate, ftruncate and O_TRUNC. */
export function truncateInode(inode: I, size: number): number {
  if (inodeType(inode) === S_IFDIR) return -EISDIR;
  if (inodeType(inode) !== S_IFREG) return -EINVAL;
  if (size < 0) return -EINVAL;
  if (size > Inode.size.racy(inode)) {
    const limit = writeLimit(size - 1, 1);
    if (limit < 0) return limit;
  }
  if (!igrabLive(inode)) return -ENOENT;
  const held = inodeLock(inode);
  const old = Inode.size.get(held, inode);
  const seals = Inode.seals.load(inode);
  let result = 0;
  if ((size < old && (seals & F_SEAL_SHRINK) !== 0) || (size > old && (seals & F_SEAL_GROW) !== 0))
    result = -EPERM;
  else result = inodeOpsOf(Inode.iops.get(inode)).setattr?.(inode, { size }) ?? 0;
  if (result >= 0) {
    Inode.size.set(held, inode, size);
    const mapping = Inode.mapping.get(inode);
    if (mapping !== 0 && size < old) mappingTruncate(mapping, size);
    else if (mapping !== 0 && size > old) mappingGrow(mapping, old);
    dropSetId(inode);
    inodeTouch(inode, (1 << MTIME) | (1 << CTIME));
  }
  inodeUnlock(inode);
  iput(inode);
  return Math.min(result, 0);
}

/** truncate(2) on a looked-up place. */
export function truncatePath(mount: M, inode: I, size: number): number {
  if (inodeType(inode) === S_IFDIR) return -EISDIR;
  if (inodeType(inode) !== S_IFREG) return -EINVAL;
  if (mountReadOnly(mount)) return -EROFS;
  const denied = inodePermission(inode, MAY_WRITE);
  if (denied < 0) return denied;
  if (Inode.writecount.load(inode) < 0) return -ETXTBSY;
  return truncateInode(inode, size);
}

/** Counts a writer of a regular file: -ETXTBSY while it is being executed. */
export function getWriteAccess(inode: I): number {
  for (;;) {
    const count = Inode.writecount.load(inode);
    if (count < 0) return -ETXTBSY;
    if (Inode.writecount.cas(inode, count, count + 1)) return 0;
  }
}
/** execve: nobody may open the file for writing until allowWriteAccess. -ETXTBSY while somebody has. */
export function denyWriteAccess(inode: I): number {
  for (;;) {
    const count = Inode.writecount.load(inode);
    if (count > 0) return -ETXTBSY;
    if (Inode.writecount.cas(inode, count, count - 1)) return 0;
  }
}
export function allowWriteAccess(inode: I): void {
  Inode.writecount.add(inode, 1);
}
