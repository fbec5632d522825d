/**
 * Changing directories: create, mkdir, mknod, symlink, link, unlink, rmdir. Each holds the directory's inode lock while
 * the file system and the dentry cache change together; readers see the name before or after.
 */
import type { Held, Ptr, Ref } from "../../rcu/index.ts";
import {
  EBUSY,
  EEXIST,
  EINVAL,
  EISDIR,
  EMLINK,
  ENOENT,
  ENOMEM,
  ENOTDIR,
  ENOTEMPTY,
  EPERM,
  EROFS,
  EXDEV,
} from "../uapi/errno.ts";
import { IN_ATTRIB, IN_CREATE, IN_DELETE } from "../uapi/inotify.ts";
import { S_IFBLK, S_IFCHR, S_IFDIR, S_IFMT, S_IFREG } from "../uapi/stat.ts";
import { D_MOUNTED, Dentry, dAdd, dDrop, dentryEmpty, dentryInode, dInstantiate, dput } from "./dcache.ts";
import { FsInfo } from "./fsinfo.ts";
import {
  CTIME,
  I_DEAD,
  Inode,
  igrab,
  igrabLive,
  inodeLock,
  inodeLockNested,
  inodeTouch,
  inodeType,
  inodeUnlock,
  iput,
  MTIME,
} from "./inode.ts";
import { lookupLocked } from "./lookup.ts";
import {
  currentFs,
  LAST_DOT,
  LAST_DOTDOT,
  LAST_NORM,
  LAST_ROOT,
  lastName,
  lookupParent,
  nd,
} from "./namei.ts";
import { notifyEntry, notifyPlace, notifyUnlinked } from "./notify.ts";
import { inodeOpsOf } from "./ops.ts";
import { fsCapable, isSpecial, mayChangeDir, maySticky } from "./permission.ts";
import { Qstr, qstrSet } from "./qstr.ts";
import { SB_DCACHE, Superblock } from "./super.ts";

type I = Ref<"inode">;
type D = Ref<"dentry">;

const CAP_MKNOD = 27;
const LINK_MAX = 65000;

/** Result of makeEntry: the new dentry, with a count for the caller. */
export let madeDentry = 0 as D;

/** Makes an inode with the directory's lock held; returns it with a count, or -errno. */
type Maker = (dir: I, name: Uint8Array) => I | number;

/**
 * Makes a name in directory (parent, dir): 0 with `madeDentry` set, -EEXIST when it is there already. The caller has
 * checked permissions.
 */
export function makeEntry(parent: D, dir: I, name: Uint8Array, maker: Maker): number {
  const held = inodeLock(dir);
  const result = makeLocked(held, parent, dir, name, maker);
  inodeUnlock(dir);
  if (result === 0) notifyEntry(dir, name, inodeType(dentryInode(madeDentry) as I), IN_CREATE);
  return result;
}

/** The name that is being made or removed. */
const entry = new Qstr();

function makeLocked(held: Held, parent: D, dir: I, name: Uint8Array, maker: Maker): number {
  const text = qstrSet(entry, name);
  const old = lookupLocked(held, parent, dir, text);
  if (old < 0) return old;
  if (old !== 0 && dentryInode(old as D) !== 0) {
    dput(old as D);
    return -EEXIST;
  }
  const inode = maker(dir, name);
  if (inode < 0) {
    if (old !== 0) dput(old as D);
    return inode;
  }
  if (old !== 0) {
    dInstantiate(held, old as D, inode as I);
    madeDentry = old as D;
  } else {
    const dentry = dAdd(held, parent, inode as I, text);
    if (dentry === 0) {
      undoMake(dir, name, inode as I);
      return -ENOMEM;
    }
    madeDentry = dentry;
  }
  inodeTouch(dir, (1 << MTIME) | (1 << CTIME));
  return 0;
}

/** The file system made it, but there is no memory for its dentry. */
function undoMake(dir: I, name: Uint8Array, inode: I): void {
  const ops = inodeOpsOf(Inode.iops.get(dir));
  if (inodeType(inode) === S_IFDIR) ops.rmdir?.(dir, name, inode);
  else ops.unlink?.(dir, name, inode);
  dropLink(inode, inodeType(inode) === S_IFDIR ? 2 : 1);
  iput(inode);
}

/** Looks the parent up and makes the last component, if it can be made and may be: 0 or -errno. */
function make(dirfd: number, path: string | Uint8Array, directory: boolean, maker: Maker): number {
  let error = lookupParent(dirfd, path);
  if (error < 0) return error;
  if (nd.lastType !== LAST_NORM) return -EEXIST;
  if (inodeType(nd.inode) !== S_IFDIR) return -ENOTDIR;
  const { dentry, inode: dir, mount } = nd;
  const name = lastName();
  // "name/" cannot be made as anything but a directory.
  error = nd.trailing && !directory ? -ENOENT : mayChangeDir(mount, dir);
  if (error < 0) {
    // What exists is EEXIST, whatever else is wrong (mkdir -p on read-only file systems).
    const held = inodeLock(dir);
    const old = lookupLocked(held, dentry, dir, qstrSet(entry, name));
    inodeUnlock(dir);
    if (old > 0) {
      const exists = dentryInode(old as D) !== 0;
      dput(old as D);
      if (exists) return -EEXIST;
    }
    return error;
  }
  error = makeEntry(dentry, dir, name, maker);
  if (error === 0) dput(madeDentry);
  return error;
}

/** Mode of a new file: what umask leaves. */
export const applyUmask = (mode: number): number => mode & ~FsInfo.umask.load(currentFs());

/** mkdirat(2). */
export function makeDirectory(dirfd: number, path: string | Uint8Array, mode: number): number {
  const bits = (applyUmask(mode) & 0o1777) | S_IFDIR;
  return make(dirfd, path, true, (dir, name) => {
    if (Inode.nlink.load(dir) >= LINK_MAX) return -EMLINK;
    const inode = inodeOpsOf(Inode.iops.get(dir)).mkdir?.(dir, name, bits) ?? -EPERM;
    if (inode > 0) Inode.nlink.add(dir, 1);
    return inode;
  });
}

/** mknodat(2): regular files, FIFOs, sockets, and device nodes for who may. `rdev` is major << 20 | minor. */
export function makeNode(dirfd: number, path: string | Uint8Array, mode: number, rdev: number): number {
  const type = mode & S_IFMT;
  if (type === S_IFDIR) return -EPERM;
  if (type !== 0 && type !== S_IFREG && type !== S_IFBLK && !isSpecial(type)) return -EINVAL;
  const bits = (applyUmask(mode) & 0o7777) | (type === 0 ? S_IFREG : type);
  if ((type === S_IFCHR || type === S_IFBLK) && !fsCapable(CAP_MKNOD)) return -EPERM;
  return make(dirfd, path, false, (dir, name) => {
    const ops = inodeOpsOf(Inode.iops.get(dir));
    if ((bits & S_IFMT) === S_IFREG) return ops.create?.(dir, name, bits) ?? -EPERM;
    return ops.mknod?.(dir, name, bits, rdev) ?? -EPERM;
  });
}

/** symlinkat(2). */
export function makeSymlink(target: Uint8Array, dirfd: number, path: string | Uint8Array): number {
  if (target.length === 0) return -ENOENT;
  return make(
    dirfd,
    path,
    false,
    (dir, name) => inodeOpsOf(Inode.iops.get(dir)).symlink?.(dir, name, target) ?? -EPERM,
  );
}

/** linkat(2): another name for `inode`, which the caller looked up in `mount`. */
export function makeLink(inode: I, mount: Ref<"mount">, dirfd: number, path: string | Uint8Array): number {
  return make(dirfd, path, false, (dir, name) => {
    if (nd.mount !== mount) return -EXDEV;
    if (inodeType(inode) === S_IFDIR) return -EPERM;
    const nlink = Inode.nlink.load(inode);
    if (nlink >= LINK_MAX) return -EMLINK;
    if (!igrabLive(inode)) return -ENOENT;
    const failed = inodeOpsOf(Inode.iops.get(dir)).link?.(dir, name, inode) ?? -EPERM;
    if (failed < 0) {
      iput(inode);
      return failed;
    }
    Inode.nlink.add(inode, 1);
    inodeTouch(inode, 1 << CTIME);
    notifyPlace(0, inode, IN_ATTRIB);
    return inode;
  });
}

/** A name of the inode is gone. */
export function dropLink(inode: I, count = 1): void {
  Inode.nlink.add(inode, -count);
  inodeTouch(inode, 1 << CTIME);
}

/** Whether a directory is empty, as far as the dentries know; other file systems answer ENOTEMPTY themselves. */
export const mayBeEmpty = (dentry: D, inode: I): boolean =>
  (Superblock.flags.get(Inode.sb.get(inode)) & SB_DCACHE) === 0 || dentryEmpty(dentry);

/** unlinkat(2) without AT_REMOVEDIR. */
export function unlinkPath(dirfd: number, path: string | Uint8Array): number {
  const error = lookupParent(dirfd, path);
  if (error < 0) return error;
  if (nd.lastType !== LAST_NORM) return -EISDIR;
  return remove((dentry, inode, dir, name) => {
    if (inodeType(inode) === S_IFDIR) return -EISDIR;
    if (nd.trailing) return -ENOTDIR;
    if ((Dentry.flags.peek(dentry) & D_MOUNTED) !== 0) return -EBUSY;
    const result = inodeOpsOf(Inode.iops.get(dir)).unlink?.(dir, name, inode) ?? -EPERM;
    if (result >= 0) dropLink(inode);
    return result;
  });
}

/** unlinkat(2) with AT_REMOVEDIR: rmdir. */
export function removeDirectory(dirfd: number, path: string | Uint8Array): number {
  const error = lookupParent(dirfd, path);
  if (error < 0) return error;
  if (nd.lastType === LAST_DOT) return -EINVAL;
  if (nd.lastType === LAST_DOTDOT) return -ENOTEMPTY;
  if (nd.lastType === LAST_ROOT) return -EBUSY;
  return remove((dentry, inode, dir, name) => {
    if (inodeType(inode) !== S_IFDIR) return -ENOTDIR;
    if ((Dentry.flags.peek(dentry) & D_MOUNTED) !== 0) return -EBUSY;
    const result = removeEmpty(dentry, inode, dir, name);
    if (result >= 0) Inode.nlink.add(dir, -1);
    return result;
  });
}

/** Marks an empty directory dead, so that nothing is made in it any more. The parent's lock is held. */
function removeEmpty(dentry: D, inode: I, dir: I, name: Uint8Array): number {
  inodeLockNested(inode);
  let result = -ENOTEMPTY;
  if (mayBeEmpty(dentry, inode)) {
    result = inodeOpsOf(Inode.iops.get(dir)).rmdir?.(dir, name, inode) ?? -EPERM;
    if (result >= 0) {
      Inode.state.or(inode, I_DEAD);
      dropLink(inode, Math.min(2, Inode.nlink.load(inode)));
    }
  }
  inodeUnlock(inode);
  return result;
}

type Remover = (dentry: D, inode: I, dir: I, name: Uint8Array) => number;

/** Looks the last component up under the directory's lock and removes it. */
function remove(remover: Remover): number {
  const { dentry: parent, inode: dir, mount } = nd;
  if (inodeType(dir) !== S_IFDIR) return -ENOTDIR;
  const name = lastName();
  // A name that is not there is ENOENT even where nothing may be removed (rm -f), but not on what is mounted read-only.
  const denied = mayChangeDir(mount, dir);
  if (denied === -EROFS) return denied;
  const held = inodeLock(dir);
  const found = lookupLocked(held, parent, dir, qstrSet(entry, name));
  let result = found;
  let gone: Ptr<"inode"> = 0;
  if (found > 0) {
    const dentry = found as D;
    const inode = dentryInode(dentry);
    if (inode === 0) result = -ENOENT;
    else if (denied < 0) result = denied;
    else {
      result = maySticky(dir, inode);
      if (result === 0) result = remover(dentry, inode, dir, name);
      if (result >= 0) {
        dDrop(held, dentry);
        inodeTouch(dir, (1 << MTIME) | (1 << CTIME));
        gone = inode;
      }
    }
    if (gone !== 0) igrab(gone);
    inodeUnlock(dir);
    dput(dentry);
    if (gone !== 0) {
      notifyUnlinked(gone);
      const type = inodeType(gone);
      // The inode is evicted without the directory's lock: its pages may be many.
      iput(gone);
      notifyEntry(dir, name, type, IN_DELETE);
    }
    return Math.min(result, 0);
  }
  inodeUnlock(dir);
  return found < 0 ? found : -ENOENT;
}
