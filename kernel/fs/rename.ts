/**
 * renameat2(2). Both directories are locked, ancestors first (README.md); readers see the old name or the new one, and a
 * name that is replaced is never missing.
 */
import { type Held, type Ref, spinlock, struct, tryAlloc } from "../../rcu/index.ts";
import { kernelGlobal } from "../global.ts";
import {
  EBUSY,
  EEXIST,
  EINVAL,
  EISDIR,
  ENOENT,
  ENOMEM,
  ENOTDIR,
  ENOTEMPTY,
  EPERM,
  EROFS,
  EXDEV,
} from "../uapi/errno.ts";
import { RENAME_EXCHANGE, RENAME_NOREPLACE } from "../uapi/fcntl.ts";
import { S_IFDIR } from "../uapi/stat.ts";
import { D_MOUNTED, Dentry, dentryInode, dentryParent, dInvalidate, dput } from "./dcache.ts";
import { dropLink, mayBeEmpty } from "./dir.ts";
import { dMoveNew, dMoveOver } from "./dmove.ts";
import {
  CTIME,
  I_DEAD,
  Inode,
  igrab,
  inodeLock,
  inodeLockNested,
  inodeTouch,
  inodeType,
  inodeUnlock,
  iput,
  MTIME,
} from "./inode.ts";
import { lookupLocked } from "./lookup.ts";
import { mountReadOnly } from "./mount.ts";
import { LAST_NORM, lastName, lookupParent, nd } from "./namei.ts";
import { notifyMove, notifyUnlinked } from "./notify.ts";
import { inodeOpsOf } from "./ops.ts";
import { inodePermission, MAY_EXEC, MAY_WRITE, maySticky } from "./permission.ts";
import { type Qstr, qstrOf } from "./qstr.ts";

type I = Ref<"inode">;
type D = Ref<"dentry">;

/** One rename between directories at a time: ancestry must not change while it is looked at. */
const RenameLock = struct("rename_lock", { lock: spinlock(25) });
const renameLock = kernelGlobal<Ref<"rename_lock">>("rename lock");

/** Once per machine, at boot. False when the heap is full. */
export function renameInit(): boolean {
  const lock = tryAlloc(RenameLock);
  if (lock !== 0) renameLock.init(lock);
  return lock !== 0;
}

/** Whether `ancestor` is `dentry` or above it in the same file system. */
export function isAncestor(ancestor: D, dentry: D): boolean {
  for (let at = dentry; ; ) {
    if (at === ancestor) return true;
    const parent = dentryParent(at);
    if (parent === at) return false;
    at = parent;
  }
}

interface Side {
  dentry: D;
  dir: I;
  name: Uint8Array;
  text: Qstr;
  trailing: boolean;
}

export function renamePath(
  oldDirfd: number,
  oldPath: string | Uint8Array,
  newDirfd: number,
  newPath: string | Uint8Array,
  flags: number,
): number {
  if ((flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE)) !== 0) return -EINVAL;
  if (flags === (RENAME_NOREPLACE | RENAME_EXCHANGE)) return -EINVAL;
  let error = lookupParent(oldDirfd, oldPath);
  if (error < 0) return error;
  if (nd.lastType !== LAST_NORM) return -EBUSY;
  const oldMount = nd.mount;
  const from = side();
  error = lookupParent(newDirfd, newPath);
  if (error < 0) return error;
  if (nd.mount !== oldMount) return -EXDEV;
  if (nd.lastType !== LAST_NORM) return (flags & RENAME_NOREPLACE) !== 0 ? -EEXIST : -EBUSY;
  const to = side();
  if (inodeType(from.dir) !== S_IFDIR || inodeType(to.dir) !== S_IFDIR) return -ENOTDIR;
  if (mountReadOnly(oldMount)) return -EROFS;
  if (from.dir === to.dir) {
    const held = inodeLock(from.dir);
    const result = renameLocked(held, from, to, flags);
    inodeUnlock(from.dir);
    return finish(result);
  }
  RenameLock.lock.lock(renameLock.get());
  const [first, second] = isAncestor(from.dentry, to.dentry)
    ? [from.dir, to.dir]
    : isAncestor(to.dentry, from.dentry) || to.dir < from.dir
      ? [to.dir, from.dir]
      : [from.dir, to.dir];
  const held = inodeLock(first);
  inodeLockNested(second);
  const result = renameLocked(held, from, to, flags);
  inodeUnlock(second);
  inodeUnlock(first);
  RenameLock.lock.unlock(renameLock.get());
  return finish(result);
}

const side = (): Side => {
  const name = lastName();
  return {
    dentry: nd.dentry,
    dir: nd.inode,
    name,
    text: qstrOf(name),
    trailing: nd.trailing,
  };
};

/** The inode that lost its name: put without locks. */
let replaced = 0 as I;
function finish(result: number): number {
  const inode = replaced;
  replaced = 0 as I;
  if (inode !== 0) {
    notifyUnlinked(inode);
    iput(inode);
  }
  return result;
}

function renameLocked(held: Held, from: Side, to: Side, flags: number): number {
  const old = lookupLocked(held, from.dentry, from.dir, from.text);
  if (old <= 0) return old === 0 ? -ENOENT : old;
  const target = lookupLocked(held, to.dentry, to.dir, to.text);
  const result = target < 0 ? target : renameFound(held, from, to, old as D, target as D, flags);
  if (target > 0) dput(target as D);
  dput(old as D);
  return result;
}

function renameFound(held: Held, from: Side, to: Side, old: D, target: D | 0, flags: number): number {
  const inode = dentryInode(old);
  if (inode === 0) return -ENOENT;
  const victim = target === 0 ? 0 : dentryInode(target);
  const exchange = (flags & RENAME_EXCHANGE) !== 0;
  const isDir = inodeType(inode) === S_IFDIR;
  if (exchange && victim === 0) return -ENOENT;
  if ((flags & RENAME_NOREPLACE) !== 0 && victim !== 0) return -EEXIST;
  if (!isDir && (from.trailing || (to.trailing && !exchange))) return -ENOTDIR;
  const victimIsDir = victim !== 0 && inodeType(victim) === S_IFDIR;
  if (exchange && to.trailing && !victimIsDir) return -ENOTDIR;
  // A directory must not become its own descendant, nor a file replace what it lies in.
  if (isDir && isAncestor(old, to.dentry)) return -EINVAL;
  if (victim !== 0 && isAncestor(target as D, from.dentry)) return exchange ? -EINVAL : -ENOTEMPTY;
  if (inode === victim) return 0;
  let error = mayReplace(from.dir, inode);
  if (error === 0) error = mayReplace(to.dir, victim);
  if (error < 0) return error;
  if (victim !== 0 && !exchange) {
    if (isDir && !victimIsDir) return -ENOTDIR;
    if (!isDir && victimIsDir) return -EISDIR;
  }
  if ((Dentry.flags.peek(old) & D_MOUNTED) !== 0) return -EBUSY;
  if (target !== 0 && (Dentry.flags.peek(target) & D_MOUNTED) !== 0) return -EBUSY;
  // ".." of a directory changes: that is a write to it.
  if (isDir && from.dir !== to.dir) {
    error = inodePermission(inode, MAY_WRITE);
    if (error < 0) return error;
  }
  if (victimIsDir && exchange && from.dir !== to.dir) {
    error = inodePermission(victim, MAY_WRITE);
    if (error < 0) return error;
  }
  const lockVictim = victimIsDir && !exchange;
  if (lockVictim) inodeLockNested(victim);
  error = lockVictim && !mayBeEmpty(target as D, victim) ? -ENOTEMPTY : 0;
  if (error === 0) error = commit(held, from, to, old, inode, target, victim, exchange);
  if (lockVictim) inodeUnlock(victim);
  return error;
}

/** Whether the caller may take `inode` (0: none) out of the directory and put something there: 0, -EACCES, -EPERM. */
function mayReplace(dir: I, inode: I | 0): number {
  const denied = inodePermission(dir, MAY_WRITE | MAY_EXEC);
  return denied < 0 || inode === 0 ? denied : maySticky(dir, inode);
}

function commit(
  held: Held,
  from: Side,
  to: Side,
  old: D,
  inode: I,
  target: D | 0,
  victim: I | 0,
  exchange: boolean,
): number {
  const ops = inodeOpsOf(Inode.iops.get(from.dir));
  if (ops.rename === undefined) return -EPERM;
  const flags = exchange ? RENAME_EXCHANGE : 0;
  const result = ops.rename(from.dir, from.name, to.dir, to.name, inode, victim, flags);
  if (result < 0) return result;
  const moved =
    target !== 0 ? dMoveOver(held, old, target, exchange) : dMoveNew(held, old, to.dentry, to.text);
  if (moved < 0) {
    // The file system did it, the cache could not follow: forget the names, they are looked up again.
    if (ops.lookup === undefined) return -ENOMEM;
    dInvalidate(from.dentry, old);
    if (target !== 0) dInvalidate(to.dentry, target);
  }
  const isDir = inodeType(inode) === S_IFDIR;
  const victimIsDir = victim !== 0 && inodeType(victim) === S_IFDIR;
  if (exchange) {
    Inode.nlink.add(from.dir, (victimIsDir ? 1 : 0) - (isDir ? 1 : 0));
    Inode.nlink.add(to.dir, (isDir ? 1 : 0) - (victimIsDir ? 1 : 0));
    inodeTouch(victim as I, 1 << CTIME);
  } else {
    if (isDir) {
      Inode.nlink.add(from.dir, -1);
      if (!victimIsDir) Inode.nlink.add(to.dir, 1);
    }
    if (victim !== 0) {
      igrab(victim);
      replaced = victim;
      if (victimIsDir) Inode.state.or(victim, I_DEAD);
      dropLink(victim, victimIsDir ? Math.min(2, Inode.nlink.load(victim)) : 1);
    }
  }
  inodeTouch(from.dir, (1 << MTIME) | (1 << CTIME));
  inodeTouch(to.dir, (1 << MTIME) | (1 << CTIME));
  inodeTouch(inode, 1 << CTIME);
  notifyMove(from.dir, from.name, to.dir, to.name, inode);
  if (victim !== 0 && exchange) notifyMove(to.dir, to.name, from.dir, from.name, victim);
  return 0;
}
