/**
 * Path lookup, path_resolution(7): from a path to (mount, dentry), without locks and without counts.
 *
 * The whole handler is one read section (safe points are outside handlers), so what a walk found stays readable until
 * the call ends; whoever keeps it longer takes counts (dgetLive, mntGetLive) and looks again when that fails.
 *
 * The rest of the path is buf[pos..limit), with a slash behind it that ends the last component: following a symbolic
 * link writes its target in front of what is left.
 */

import { type Ptr, type Ref, rcuReadLock, rcuReadUnlock } from "../../rcu/index.ts";
import { kernelGlobal } from "../global.ts";
import { copyStringIn, move } from "../mm/uaccess.ts";
import { current } from "../sched/current.ts";
import { Task } from "../task/task.ts";
import { nowNs } from "../time/clock.ts";
import { EBADF, ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR, EXDEV } from "../uapi/errno.ts";
import {
  AT_FDCWD,
  MAXSYMLINKS,
  NAME_MAX,
  PATH_MAX,
  RESOLVE_BENEATH,
  RESOLVE_IN_ROOT,
  RESOLVE_NO_MAGICLINKS,
  RESOLVE_NO_SYMLINKS,
  RESOLVE_NO_XDEV,
} from "../uapi/fcntl.ts";
import { S_IFDIR, S_IFLNK, S_IFMT } from "../uapi/stat.ts";
import { D_MOUNTED, Dentry, dentryInode, dentryParent, dInvalidate, dLookup } from "./dcache.ts";
import { fgetRaw } from "./fdtable.ts";
import { File } from "./file.ts";
import { FsInfo, type FsPath, Path } from "./fsinfo.ts";
import { Inode, inodeLock, inodeUnlock } from "./inode.ts";
import { lookupSlow } from "./lookup.ts";
import { Mount } from "./mount.ts";
import { lookupMount } from "./mount-tree.ts";
import { inodeOpsOf } from "./ops.ts";
import { maySearch } from "./permission.ts";
import { Qstr, qstrBytes, qstrScan, qstrScanOn, SCAN_AHEAD } from "./qstr.ts";
import { SB_DCACHE, SB_REVALIDATE, Superblock } from "./super.ts";

type D = Ref<"dentry">;
type I = Ref<"inode">;

/** Follow a symbolic link in the last component. */
export const LOOKUP_FOLLOW = 1;
/** The result must be a directory. */
export const LOOKUP_DIRECTORY = 2;
/** An empty path names dirfd itself (AT_EMPTY_PATH). */
export const LOOKUP_EMPTY = 4;

/** Where the last lookup ended. Overwritten by the next one: copy what is needed across it. */
export const nd = {
  mount: 0 as Ref<"mount">,
  /** The result; after lookupParent the directory that holds (or would hold) the last component. */
  dentry: 0 as D,
  /** Inode of `dentry`. For an empty path on a file without a name it is that file's, and dentry is 0. */
  inode: 0 as I,
  /** After lookupParent: what the last component is. */
  lastType: 0,
  /** The last component was followed by a slash. */
  trailing: false,
};
export const LAST_NORM = 0;
/** "." or the root itself: nothing can be made or removed under that name. */
export const LAST_DOT = 1;
export const LAST_DOTDOT = 2;
export const LAST_ROOT = 3;

const SLASH = 47;
const DOT = 46;
/** Where a path is put: link targets come in front. */
const FIRST = (MAXSYMLINKS + 1) * PATH_MAX;
const buf = new Uint8Array(FIRST + PATH_MAX + SCAN_AHEAD);
const bufView = new DataView(buf.buffer);
let pos = FIRST;
let limit = FIRST;
/** The component that the walk is at, and where it stands. */
const last = new Qstr();
let lastStart = 0;
let lastEnd = 0;
let links = 0;
/** When this walk first needed to know the time (monotonic ns); 0 before. */
let walkTime = 0;
let resolve = 0;
let rootMount = 0 as Ref<"mount">;
let rootDentry = 0 as D;
const encoder = new TextEncoder();

/** Used by lookups without a current task (boot, the host thread). */
const bootFs = kernelGlobal<Ref<"fsinfo">>("boot fsinfo");
export function setBootFs(fs: Ref<"fsinfo">): void {
  bootFs.init(fs);
}
/** The fsinfo that paths are resolved in. */
export function currentFs(): Ref<"fsinfo"> {
  const task = current();
  return task === 0 ? bootFs.get() : (Task.fs.access(task) as Ref<"fsinfo">);
}

/** A path: text, bytes, or the address of a NUL-terminated string of the current task, which is read as the walk begins. */
export type PathName = string | Uint8Array | number;

/** Puts the path into the buffer. 0, -ENAMETOOLONG, -EFAULT. */
function setPath(path: PathName): number {
  let { length } = path as Uint8Array;
  if (typeof path === "number") {
    length = copyStringIn(path, buf, FIRST, PATH_MAX);
    if (length < 0) return length;
  } else if (typeof path === "string") {
    let ascii = path.length < PATH_MAX;
    for (let i = 0; ascii && i < path.length; i++) {
      const code = path.charCodeAt(i);
      if (code >= 0x80) ascii = false;
      else buf[FIRST + i] = code;
    }
    if (!ascii) return setPath(encoder.encode(path));
  } else {
    if (path.length >= PATH_MAX) return -ENAMETOOLONG;
    move(path, 0, buf, FIRST, path.length);
  }
  pos = FIRST;
  limit = FIRST + length;
  buf[limit] = SLASH;
  return 0;
}

/** Whether the path that was looked up last is empty (LOOKUP_EMPTY). */
export const pathIsEmpty = (): boolean => limit === FIRST;

/** Sets root and starting point. 0 or -errno. */
function start(dirfd: number, flags: number): number {
  walkTime = 0;
  const scope = rcuReadLock();
  const fs = currentFs();
  const root = FsInfo.root.deref(scope, fs) as FsPath;
  rootMount = Path.mount.get(root);
  rootDentry = Path.dentry.get(root);
  let result = 0;
  const absolute = pos < limit && buf[pos] === SLASH;
  if (absolute && (resolve & (RESOLVE_BENEATH | RESOLVE_IN_ROOT)) === 0) {
    nd.mount = rootMount;
    nd.dentry = rootDentry;
  } else if (dirfd === AT_FDCWD) {
    const cwd = FsInfo.cwd.deref(scope, fs) as FsPath;
    nd.mount = Path.mount.get(cwd);
    nd.dentry = Path.dentry.get(cwd);
  } else {
    const task = current();
    const file = task === 0 ? -EBADF : fgetRaw(Task.files.access(task) as Ref<"files">, dirfd);
    if (file < 0) result = file;
    else {
      const dentry = File.dentry.get(file as Ref<"file">);
      nd.mount = File.mount.get(file as Ref<"file">) as Ref<"mount">;
      nd.dentry = dentry as D;
      nd.inode = File.inode.get(file as Ref<"file">);
      if (dentry === 0 && pos < limit) result = -ENOTDIR;
    }
  }
  rcuReadUnlock();
  if (result < 0) return result;
  if (nd.dentry !== 0) nd.inode = dentryInode(nd.dentry) as I;
  if (pos === limit && (flags & LOOKUP_EMPTY) === 0) return -ENOENT;
  if ((resolve & RESOLVE_BENEATH) !== 0 && absolute) return -EXDEV;
  if ((resolve & (RESOLVE_BENEATH | RESOLVE_IN_ROOT)) !== 0) {
    rootMount = nd.mount;
    rootDentry = nd.dentry;
  }
  return 0;
}

/** Where lookups of this thread were when a caller walks on: resolve flags for openat2. */
export function setResolve(flags: number): void {
  resolve = flags;
}

/** Resolves a whole path into nd.mount, nd.dentry, nd.inode. 0 or -errno. */
export function pathLookup(dirfd: number, path: PathName, flags = LOOKUP_FOLLOW): number {
  let error = setPath(path);
  if (error < 0) return error;
  links = 0;
  error = start(dirfd, flags);
  if (error < 0 || pos === limit) return error < 0 ? error : checkDirectory(flags, false);
  return walk(flags, false);
}

/**
 * Resolves all but the last component: nd.mount, nd.dentry, nd.inode are the directory (searchable, checked), and
 * lookupLast, followLast and lastName speak of the last component.
 */
export function lookupParent(dirfd: number, path: PathName): number {
  let error = setPath(path);
  if (error < 0) return error;
  links = 0;
  error = start(dirfd, 0);
  return error < 0 ? error : walk(0, true);
}

/** A private copy of the last component's bytes. */
export const lastName = (): Uint8Array => buf.slice(lastStart, lastEnd);

/** Looks the last component up in nd.dentry: dentry (perhaps negative), 0 for nothing, or -errno. Crosses no mounts. */
export const lookupLast = (): Ptr<"dentry"> | number => lookupIn(nd.dentry, nd.inode);

/** The last component is this symbolic link, and is to be followed: goes on to the parent of where it leads. */
export function followLast(dentry: D): number {
  if (lastEnd !== pos) pos = lastEnd;
  const error = followLink(dentryInode(dentry) as I);
  return error < 0 ? error : walk(0, true);
}

/** Moves nd onto a child that was looked up, and down into what is mounted there. */
export function stepInto(dentry: D): void {
  let at = dentry;
  while ((Dentry.flags.peek(at) & D_MOUNTED) !== 0) {
    const mount = lookupMount(nd.mount, at);
    if (mount === 0) break;
    nd.mount = mount;
    at = Mount.root.get(mount);
  }
  nd.dentry = at;
  nd.inode = dentryInode(at) as I;
}

function walk(flags: number, parentOnly: boolean): number {
  for (;;) {
    let slash = false;
    while (pos < limit && buf[pos] === SLASH) {
      pos++;
      slash = true;
    }
    if (pos === limit) {
      if (!parentOnly) return checkDirectory(flags, slash);
      nd.lastType = LAST_ROOT;
      nd.trailing = slash;
      lastStart = lastEnd = pos;
      return 0;
    }
    const dir = nd.inode;
    if ((Inode.mode.peek(dir) & S_IFMT) !== S_IFDIR) return -ENOTDIR;
    const denied = maySearch(dir);
    if (denied < 0) return denied;
    const from = pos;
    let end = qstrScan(last, bufView, from);
    if (end < 0) end = qstrScanOn(last, bufView, from);
    if (end - from > NAME_MAX) return -ENAMETOOLONG;
    pos = end;
    const type =
      buf[from] !== DOT
        ? LAST_NORM
        : end - from === 1
          ? LAST_DOT
          : end - from === 2 && buf[from + 1] === DOT
            ? LAST_DOTDOT
            : LAST_NORM;
    let after = end;
    while (after < limit && buf[after] === SLASH) after++;
    const isLast = after === limit;
    if (isLast && parentOnly) {
      nd.lastType = type;
      nd.trailing = after > end;
      lastStart = from;
      lastEnd = end;
      return 0;
    }
    if (type === LAST_DOT) continue;
    if (type === LAST_DOTDOT) {
      const error = followDotDot();
      if (error < 0) return error;
      continue;
    }
    const child = lookupIn(nd.dentry, dir);
    if (child < 0) return child;
    if (child === 0) return -ENOENT;
    const inode = dentryInode(child as D);
    if (inode === 0) return -ENOENT;
    if (
      (Inode.mode.peek(inode) & S_IFMT) === S_IFLNK &&
      (!isLast || after > end || (flags & LOOKUP_FOLLOW) !== 0)
    ) {
      const error = followLink(inode);
      if (error < 0) return error;
      continue;
    }
    const mount = nd.mount;
    stepInto(child as D);
    if ((resolve & RESOLVE_NO_XDEV) !== 0 && nd.mount !== mount) return -EXDEV;
  }
}

function checkDirectory(flags: number, slash: boolean): number {
  if (!slash && (flags & LOOKUP_DIRECTORY) === 0) return 0;
  return (Inode.mode.peek(nd.inode) & S_IFMT) === S_IFDIR ? 0 : -ENOTDIR;
}

function followDotDot(): number {
  let mount = nd.mount;
  let dentry = nd.dentry;
  for (;;) {
    if (mount === rootMount && dentry === rootDentry) {
      if ((resolve & RESOLVE_BENEATH) !== 0) return -EXDEV;
      break;
    }
    if (dentry !== Mount.root.get(mount)) {
      dentry = dentryParent(dentry);
      break;
    }
    const parent = Mount.parent.access(mount);
    if (parent === 0) break;
    if ((resolve & RESOLVE_NO_XDEV) !== 0) return -EXDEV;
    dentry = Mount.mountpoint.access(mount) as D;
    mount = parent;
  }
  nd.mount = mount;
  stepInto(dentry);
  return 0;
}

/** Replaces the component that was just read by the link's target. */
function followLink(inode: I): number {
  if (++links > MAXSYMLINKS || (resolve & RESOLVE_NO_SYMLINKS) !== 0) return -ELOOP;
  const ops = inodeOpsOf(Inode.iops.get(inode));
  if (ops.followLink !== undefined) {
    const mount = nd.mount;
    const error = ops.followLink(inode, nd);
    if (error < 0) return error;
    if (error === 0) {
      if ((resolve & RESOLVE_NO_MAGICLINKS) !== 0) return -ELOOP;
      if ((resolve & (RESOLVE_NO_XDEV | RESOLVE_BENEATH | RESOLVE_IN_ROOT)) !== 0 && nd.mount !== mount)
        return -EXDEV;
      nd.inode = dentryInode(nd.dentry) as I;
      return 0;
    }
  }
  const target = ops.readlink?.(inode) ?? -ENOENT;
  if (typeof target === "number") return target;
  if (target.length === 0) return -ENOENT;
  if (pos - target.length < 0) return -ENAMETOOLONG;
  pos -= target.length;
  buf.set(target, pos);
  if (target[0] !== SLASH) return 0;
  if ((resolve & RESOLVE_BENEATH) !== 0) return -EXDEV;
  nd.mount = rootMount;
  nd.dentry = rootDentry;
  nd.inode = dentryInode(rootDentry) as I;
  return 0;
}

/** The child that `last` names: the dentry (perhaps negative), 0 for nothing, or -errno. */
function lookupIn(parent: D, dir: I): Ptr<"dentry"> | number {
  const child = dLookup(parent, last);
  const sb = Inode.sb.get(dir);
  const flags = Superblock.flags.get(sb);
  if (child !== 0) {
    if ((flags & SB_REVALIDATE) === 0 || stillValid(sb, dir, child)) return child;
    inodeLock(dir);
    dInvalidate(parent, child);
    inodeUnlock(dir);
  }
  if ((flags & SB_DCACHE) !== 0) return 0;
  return lookupSlow(parent, dir, last);
}

function stillValid(sb: Ref<"superblock">, dir: I, child: D): boolean {
  if ((Dentry.flags.peek(child) & D_MOUNTED) !== 0) return true;
  const validity = Superblock.validity.get(sb);
  if (walkTime === 0) walkTime = nowNs();
  const now = walkTime;
  if (now - Dentry.stamp.get(child) < validity * 1000) return true;
  const ops = inodeOpsOf(Inode.iops.get(dir));
  if (ops.revalidate !== undefined && !ops.revalidate(dir, qstrBytes(last), dentryInode(child))) return false;
  Dentry.stamp.set(child, now);
  return true;
}
