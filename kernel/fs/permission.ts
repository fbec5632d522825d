/** Permission checks of path_resolution(7) and inode(7): mode bits, groups, capabilities, sticky directories. */
import type { Ref } from "../../rcu/index.ts";
import { current } from "../sched/current.ts";
import { CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, capable, credOf, inGroup } from "../task/cred.ts";
import { Cred } from "../task/task.ts";
import { EACCES, EPERM, EROFS } from "../uapi/errno.ts";
import { S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG, S_IFSOCK, S_ISVTX } from "../uapi/stat.ts";
import { Inode } from "./inode.ts";
import { mountReadOnly } from "./mount.ts";
import { inodeOpsOf } from "./ops.ts";

export const MAY_EXEC = 1;
export const MAY_WRITE = 2;
export const MAY_READ = 4;

type I = Ref<"inode">;

/** When set, checks go by the real ids instead of the file system ids (access(2)). */
let realIds = false;
/** Runs `check` with the caller's real user and group ids. */
export function withRealIds(check: () => number): number {
  realIds = true;
  try {
    return check();
  } finally {
    realIds = false;
  }
}

/** User id that new files get, and that permissions are checked for. The kernel without a task is root. */
export function fsuid(): number {
  const task = current();
  if (task === 0) return 0;
  return realIds ? Cred.uid.get(credOf(task)) : Cred.fsuid.get(credOf(task));
}
export function fsgid(): number {
  const task = current();
  if (task === 0) return 0;
  return realIds ? Cred.gid.get(credOf(task)) : Cred.fsgid.get(credOf(task));
}
export function inFsGroup(gid: number): boolean {
  const task = current();
  return task === 0 || (realIds && Cred.gid.get(credOf(task)) === gid) || inGroup(task, gid);
}
export function fsCapable(capability: number): boolean {
  const task = current();
  if (task === 0) return true;
  // access(2) asks what the real user could do: only root keeps its capabilities.
  if (realIds) return Cred.uid.get(credOf(task)) === 0;
  return capable(task, capability);
}

/** Whether the caller may do `mask` (MAY_*) to the inode: 0 or -EACCES. Mounts are checked elsewhere. */
export function inodePermission(inode: I, mask: number): number {
  const mode = Inode.mode.peek(inode);
  let bits = mode;
  if (Inode.uid.peek(inode) === fsuid()) bits >>= 6;
  else if (inFsGroup(Inode.gid.peek(inode))) bits >>= 3;
  if ((bits & mask) !== mask && !mayOverride(mode, mask)) return -EACCES;
  const extra = inodeOpsOf(Inode.iops.get(inode)).permission;
  return extra === undefined ? 0 : extra(inode, mask);
}

/** Search permission on a directory of a path: most let everybody through, and are asked nothing else. */
export function maySearch(dir: I): number {
  if ((Inode.mode.peek(dir) & 0o111) === 0o111 && inodeOpsOf(Inode.iops.get(dir)).permission === undefined)
    return 0;
  return inodePermission(dir, MAY_EXEC);
}

/** CAP_DAC_OVERRIDE: everything, but executing a file needs one x bit. */
function mayOverride(mode: number, mask: number): boolean {
  if ((mask & MAY_EXEC) !== 0 && (mode & S_IFMT) !== S_IFDIR && (mode & 0o111) === 0) return false;
  return fsCapable(CAP_DAC_OVERRIDE);
}

/** Writing through this mount: inodePermission, and -EROFS for what would change the file system. */
export function writePermission(mount: Ref<"mount">, inode: I, mask: number): number {
  if ((mask & MAY_WRITE) !== 0 && mountReadOnly(mount)) {
    const type = Inode.mode.peek(inode) & S_IFMT;
    if (type === S_IFREG || type === S_IFDIR || type === S_IFLNK) return -EROFS;
  }
  return inodePermission(inode, mask);
}

/** Making or removing a name in a directory. */
export function mayChangeDir(mount: Ref<"mount">, dir: I): number {
  if (mountReadOnly(mount)) return -EROFS;
  return inodePermission(dir, MAY_WRITE | MAY_EXEC);
}

/** In a sticky directory only the owners of the file or of the directory remove names: 0 or -EPERM. */
export function maySticky(dir: I, inode: I): number {
  if ((Inode.mode.peek(dir) & S_ISVTX) === 0) return 0;
  const uid = fsuid();
  if (Inode.uid.peek(inode) === uid || Inode.uid.peek(dir) === uid || fsCapable(CAP_FOWNER)) return 0;
  return -EPERM;
}

/** Owner, or CAP_FOWNER: chmod, utimes. */
export const ownerOrCapable = (inode: I): boolean =>
  Inode.uid.peek(inode) === fsuid() || fsCapable(CAP_FOWNER);

/** chown(2): 0 or -EPERM. -1 keeps an id. */
export function mayChown(inode: I, uid: number, gid: number): number {
  if (fsCapable(CAP_CHOWN)) return 0;
  if (uid === -1 && gid === -1) return 0;
  const owner = Inode.uid.peek(inode);
  if (owner !== fsuid()) return -EPERM;
  if (uid !== -1 && uid !== owner) return -EPERM;
  if (gid !== -1 && gid !== Inode.gid.peek(inode) && !inFsGroup(gid)) return -EPERM;
  return 0;
}

export const isSpecial = (mode: number): boolean => {
  const type = mode & S_IFMT;
  return type === S_IFCHR || type === S_IFIFO || type === S_IFSOCK;
};
