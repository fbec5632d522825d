/** open(2), openat2(2): from a path and flags to an open file. */
import type { Ref } from "../../rcu/index.ts";
import { isBlock } from "../sched/block.ts";
import { current } from "../sched/current.ts";
import { defineKept, KEPT_OPEN, keepForRestart, keptForRestart, takeKept } from "../sched/restart.ts";
import {
  EACCES,
  EEXIST,
  EINVAL,
  EISDIR,
  ELOOP,
  ENOMEM,
  ENOTDIR,
  ENXIO,
  EOPNOTSUPP,
  EPERM,
  ESTALE,
} from "../uapi/errno.ts";
import {
  __O_TMPFILE,
  O_ACCMODE,
  O_CREAT,
  O_DIRECTORY,
  O_EXCL,
  O_NOATIME,
  O_NOFOLLOW,
  O_PATH,
  O_PATH_FLAGS,
  O_RDONLY,
  O_TRUNC,
  O_WRONLY,
} from "../uapi/fcntl.ts";
import { IN_MODIFY, IN_OPEN } from "../uapi/inotify.ts";
import { MS_NODEV } from "../uapi/mount.ts";
import { major, minor, S_IFBLK, S_IFCHR, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, S_IFSOCK } from "../uapi/stat.ts";
import { getWriteAccess, truncateInode } from "./attr.ts";
import { dAllocDetached, dentryInode, dgetLive, dput } from "./dcache.ts";
import { applyUmask, madeDentry, makeEntry } from "./dir.ts";
import {
  File,
  FMODE_LSEEK,
  FMODE_PATH,
  FMODE_WRITE,
  FMODE_WRITER,
  fileAbort,
  flagsToMode,
  newFile,
} from "./file.ts";
import { Inode, inodeType, iput } from "./inode.ts";
import { Mount, mntGetLive, mntPut } from "./mount.ts";
import {
  followLast,
  LAST_NORM,
  LAST_ROOT,
  LOOKUP_DIRECTORY,
  LOOKUP_FOLLOW,
  lastName,
  lookupLast,
  lookupParent,
  nd,
  type PathName,
  pathLookup,
  setResolve,
  stepInto,
} from "./namei.ts";
import { notifyFile } from "./notify.ts";
import { charDeviceFops, FOPS, fileOpsOf, inodeOpsOf, registerFileOps } from "./ops.ts";
import { MAY_READ, MAY_WRITE, mayChangeDir, ownerOrCapable, writePermission } from "./permission.ts";

type F = Ref<"file">;
type D = Ref<"dentry">;
type I = Ref<"inode">;

/** How often a place that went away between lookup and open is looked up again. */
const RETRIES = 16;

/** Opens a path: a file with one count, -errno, or a BLOCK value (FIFOs wait for their other end). */
export function vfsOpen(dirfd: number, path: PathName, flags: number, mode = 0): F | number {
  const task = current();
  if (task !== 0 && keptForRestart(task, KEPT_OPEN) !== 0) return continueOpen(takeKept(task) as F);
  let wanted = flags;
  if ((wanted & O_PATH) !== 0) wanted &= O_PATH_FLAGS;
  if ((wanted & __O_TMPFILE) !== 0) {
    if ((wanted & O_DIRECTORY) === 0 || (wanted & O_ACCMODE) === O_RDONLY) return -EINVAL;
    if ((wanted & O_CREAT) !== 0) return -EINVAL;
    return openTmpfile(dirfd, path, wanted, mode);
  }
  if ((wanted & (O_CREAT | O_DIRECTORY)) === (O_CREAT | O_DIRECTORY)) return -EINVAL;
  for (let attempt = 0; attempt < RETRIES; attempt++) {
    const file =
      (wanted & O_CREAT) !== 0 ? openCreate(dirfd, path, wanted, mode) : openExisting(dirfd, path, wanted);
    if (file !== -ESTALE) return file;
  }
  return -ESTALE;
}

/** openat2(2): the same with RESOLVE_ flags. */
export function vfsOpenHow(
  dirfd: number,
  path: Uint8Array,
  flags: number,
  mode: number,
  resolve: number,
): F | number {
  setResolve(resolve);
  try {
    return vfsOpen(dirfd, path, flags, mode);
  } finally {
    setResolve(0);
  }
}

function openExisting(dirfd: number, path: PathName, flags: number): F | number {
  const follow = (flags & O_NOFOLLOW) === 0 ? LOOKUP_FOLLOW : 0;
  const error = pathLookup(dirfd, path, follow | ((flags & O_DIRECTORY) !== 0 ? LOOKUP_DIRECTORY : 0));
  if (error < 0) return error;
  return openPlace(nd.mount, nd.dentry, nd.inode, flags, false);
}

function openCreate(dirfd: number, path: PathName, flags: number, mode: number): F | number {
  let error = lookupParent(dirfd, path);
  for (;;) {
    if (error < 0) return error;
    // A magic link (/dev/stdout) led straight to what is to be opened: there is no last component.
    if (nd.lastType === LAST_ROOT && inodeType(nd.inode) !== S_IFDIR)
      return openPlace(nd.mount, nd.dentry, nd.inode, flags, false);
    if (inodeType(nd.inode) !== S_IFDIR) return -ENOTDIR;
    if (nd.lastType !== LAST_NORM) return (flags & O_EXCL) !== 0 ? -EEXIST : -EISDIR;
    if (nd.trailing) return -EISDIR;
    const found = lookupLast();
    if (found < 0) return found;
    const inode = found === 0 ? 0 : dentryInode(found as D);
    if (inode !== 0) {
      if ((flags & O_EXCL) !== 0) return -EEXIST;
      if (inodeType(inode) === S_IFLNK) {
        if ((flags & O_NOFOLLOW) !== 0) return -ELOOP;
        error = followLast(found as D);
        continue;
      }
      stepInto(found as D);
      if (inodeType(nd.inode) === S_IFDIR) return -EISDIR;
      return openPlace(nd.mount, nd.dentry, nd.inode, flags, false);
    }
    const { mount, dentry, inode: dir } = nd;
    error = mayChangeDir(mount, dir);
    if (error < 0) return error;
    const bits = (applyUmask(mode) & 0o7777) | S_IFREG;
    error = makeEntry(
      dentry,
      dir,
      lastName(),
      (on, name) => inodeOpsOf(Inode.iops.get(on)).create?.(on, name, bits) ?? -EPERM,
    );
    // Another CPU was faster: what it made is opened, unless O_EXCL says otherwise.
    if (error === -EEXIST) return (flags & O_EXCL) !== 0 ? error : -ESTALE;
    if (error < 0) return error;
    const made = madeDentry;
    const file = openPlace(mount, made, dentryInode(made) as I, flags & ~O_TRUNC, true);
    dput(made);
    return file;
  }
}

function openTmpfile(dirfd: number, path: PathName, flags: number, mode: number): F | number {
  let error = pathLookup(dirfd, path, LOOKUP_FOLLOW | LOOKUP_DIRECTORY);
  if (error < 0) return error;
  error = mayChangeDir(nd.mount, nd.inode);
  if (error < 0) return error;
  const tmpfile = inodeOpsOf(Inode.iops.get(nd.inode)).tmpfile;
  if (tmpfile === undefined) return -EOPNOTSUPP;
  const inode = tmpfile(nd.inode, (applyUmask(mode) & 0o7777) | S_IFREG);
  if (inode < 0) return inode;
  Inode.nlink.init(inode as I, 0);
  const mount = nd.mount;
  const name = new TextEncoder().encode(`#${Inode.ino.get(inode as I)}`);
  const dentry = dAllocDetached(Mount.sb.get(mount), inode as I, name);
  if (dentry === 0) {
    iput(inode as I);
    return -ENOMEM;
  }
  const file = openPlace(mount, dentry, inode as I, flags & ~O_TRUNC, true);
  dput(dentry);
  return file;
}

/** Checks that the flags suit the place and the caller: 0 or -errno. */
function mayOpen(mount: Ref<"mount">, inode: I, flags: number): number {
  const type = inodeType(inode);
  const access = flags & O_ACCMODE;
  const writes = access !== O_RDONLY || (flags & O_TRUNC) !== 0;
  if (type === S_IFLNK) return -ELOOP;
  if (type === S_IFDIR && writes) return -EISDIR;
  if (type === S_IFSOCK) return -ENXIO;
  if ((type === S_IFCHR || type === S_IFBLK) && (Mount.flags.peek(mount) & MS_NODEV) !== 0) return -EACCES;
  if ((flags & O_NOATIME) !== 0 && !ownerOrCapable(inode)) return -EPERM;
  let mask = 0;
  if (access !== O_WRONLY) mask |= MAY_READ;
  if (writes) mask |= MAY_WRITE;
  return writePermission(mount, inode, mask);
}

/** Opens what was looked up. `created`: permissions do not matter. -ESTALE: it went away, look again. */
export function openPlace(
  mount: Ref<"mount">,
  dentry: D,
  inode: I,
  flags: number,
  created: boolean,
): F | number {
  const path = (flags & O_PATH) !== 0;
  // A nameless file has O_DIRECTORY because O_TMPFILE contains it.
  const directory = (flags & (O_DIRECTORY | __O_TMPFILE)) === O_DIRECTORY;
  if (directory && inodeType(inode) !== S_IFDIR) return -ENOTDIR;
  if (!path && !created) {
    const denied = mayOpen(mount, inode, flags);
    if (denied < 0) return denied;
  }
  let mode = flagsToMode(flags);
  if (!path && (mode & FMODE_WRITE) !== 0 && inodeType(inode) === S_IFREG) {
    const busy = getWriteAccess(inode);
    if (busy < 0) return busy;
    mode |= FMODE_WRITER;
  }
  const file = takePlace(mount, dentry, inode, path ? FOPS.PATH : Inode.fops.get(inode), mode, flags);
  if (file < 0) {
    if ((mode & FMODE_WRITER) !== 0) Inode.writecount.add(inode, -1);
    return file;
  }
  return (mode & FMODE_PATH) !== 0 ? file : openFile(file as F, flags);
}

/** The file's own part of open(2). Takes over the file's count when it fails. */
function openFile(file: F, flags: number): F | number {
  const inode = File.inode.get(file);
  let error = fileOpsOf(File.fops.get(file)).open?.(inode, file, flags) ?? 0;
  // It waits: the next run of the call goes on with this very file.
  if (isBlock(error)) {
    keepForRestart(KEPT_OPEN, file);
    return error;
  }
  if (error >= 0) {
    if (fileOpsOf(File.fops.get(file)).seekable === true)
      File.mode.set(file, File.mode.get(file) | FMODE_LSEEK);
    const truncates = (flags & O_TRUNC) !== 0 && inodeType(inode) === S_IFREG;
    error = truncates ? truncateInode(inode, 0) : 0;
    if (error >= 0) {
      if (truncates) notifyFile(file, IN_MODIFY);
      notifyFile(file, IN_OPEN);
      return file;
    }
    abandonOpen(file);
    return error;
  }
  fileAbort(file);
  return error;
}

/** Whatever the path leads to by now: the flags that stay with the file are those of the first run. */
const continueOpen = (file: F): F | number => openFile(file, File.flags.load(file));

/** Gives up an open that the file's operation had accepted, or that waited when a signal or the task's end came. */
function abandonOpen(file: F): void {
  fileOpsOf(File.fops.get(file)).release?.(file);
  fileAbort(file);
}
defineKept(KEPT_OPEN, (_task, file) => abandonOpen(file as F));

/** A file that counts its place; -ESTALE when the place is gone, -ENOMEM. */
function takePlace(
  mount: Ref<"mount">,
  dentry: D,
  inode: I,
  fops: number,
  mode: number,
  flags: number,
): F | number {
  if (!dgetLive(dentry)) return -ESTALE;
  if (!mntGetLive(mount)) {
    dput(dentry);
    return -ESTALE;
  }
  const file = newFile(inode, dentry, mount, fops, mode, flags);
  if (file < 0) {
    dput(dentry);
    mntPut(mount);
  }
  return file;
}

/** Device nodes: the driver takes the file over. */
registerFileOps(FOPS.CHRDEV, {
  open(inode, file, flags) {
    const rdev = Inode.rdev.get(inode);
    const fops = (Inode.mode.peek(inode) & S_IFMT) === S_IFCHR ? charDeviceFops(major(rdev), minor(rdev)) : 0;
    if (fops === 0) return -ENXIO;
    File.fops.set(file, fops);
    return fileOpsOf(fops).open?.(inode, file, flags) ?? 0;
  },
});
