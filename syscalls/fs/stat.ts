/** newfstatat(2), fstat(2), statx(2), statfs(2), faccessat(2), readlinkat(2), getcwd(2), getdents64(2). */

import { dentryUnhashed } from "../../kernel/fs/dcache.ts";
import { LONGEST_PATH, pathOf, pathReachable } from "../../kernel/fs/dpath.ts";
import { fget } from "../../kernel/fs/fdtable.ts";
import { File } from "../../kernel/fs/file.ts";
import { FsInfo, type FsPath, Path } from "../../kernel/fs/fsinfo.ts";
import { Inode, inodeType } from "../../kernel/fs/inode.ts";
import { Mount } from "../../kernel/fs/mount.ts";
import { LOOKUP_EMPTY, nd, pathIsEmpty, pathLookup } from "../../kernel/fs/namei.ts";
import { notifyFile } from "../../kernel/fs/notify.ts";
import { inodeOpsOf } from "../../kernel/fs/ops.ts";
import { withRealIds, writePermission } from "../../kernel/fs/permission.ts";
import { readDirectory } from "../../kernel/fs/readdir.ts";
import { statBytes, statfsBytes, statxBytes } from "../../kernel/fs/stat.ts";
import { copyToUser } from "../../kernel/mm/uaccess.ts";
import { EACCES, EFAULT, EINVAL, ENAMETOOLONG, ENOENT, ERANGE } from "../../kernel/uapi/errno.ts";
import {
  AT_EACCESS,
  AT_EMPTY_PATH,
  AT_NO_AUTOMOUNT,
  AT_STATX_SYNC_TYPE,
  AT_SYMLINK_NOFOLLOW,
} from "../../kernel/uapi/fcntl.ts";
import { IN_ACCESS } from "../../kernel/uapi/inotify.ts";
import { MS_NOEXEC } from "../../kernel/uapi/mount.ts";
import { S_IFLNK, S_IFREG, STATX__RESERVED } from "../../kernel/uapi/stat.ts";
import type { Ref } from "../../rcu/index.ts";
import { dirfd, fd, hexArg, int, orElse, outBuffer, path, ptr, size, uint } from "../args.ts";
import { syscall } from "../syscall.ts";
import { accessFlagsArg, accessMode, atFlags } from "./flags.ts";
import { checkFlags, filesOf, fsOf, putBytes, userPathAt, withRawFile } from "./user.ts";

const outPtr = { ...ptr, out: true };
const AT_ALL = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH;

/** As userPathAt; with AT_EMPTY_PATH, NULL is as good as "" (Linux 6.11). */
function placeOf(dir: number, name: number, flags: number): number {
  if (name !== 0 || (flags & AT_EMPTY_PATH) === 0) return userPathAt(dir, name, flags);
  return pathLookup(dir, "", LOOKUP_EMPTY);
}

export const newfstatat = syscall({
  nr: 79,
  name: "newfstatat",
  args: [dirfd, path, outPtr, atFlags],
  handler(_task, dir, name, buffer, flags) {
    if (checkFlags(flags, AT_ALL) < 0) return -EINVAL;
    const error = placeOf(dir, name, flags);
    return error < 0 ? error : putBytes(buffer, statBytes(nd.inode));
  },
});

export const fstat = syscall({
  nr: 80,
  name: "fstat",
  args: [fd, outPtr],
  handler: (task, descriptor, buffer) =>
    withRawFile(task, descriptor, (file) => putBytes(buffer, statBytes(File.inode.get(file)))),
});

export const statx = syscall({
  nr: 291,
  name: "statx",
  args: [dirfd, path, atFlags, { ...uint, format: hexArg.format }, outPtr],
  handler(_task, dir, name, flags, mask, buffer) {
    if (checkFlags(flags, AT_ALL | AT_STATX_SYNC_TYPE) < 0 || (mask & STATX__RESERVED) !== 0) return -EINVAL;
    if ((flags & AT_STATX_SYNC_TYPE) === AT_STATX_SYNC_TYPE) return -EINVAL;
    const error = placeOf(dir, name, flags);
    if (error < 0) return error;
    return putBytes(buffer, statxBytes(nd.inode, nd.dentry === 0 ? 0 : nd.mount));
  },
});

export const statfs = syscall({
  nr: 43,
  name: "statfs",
  args: [path, outPtr],
  handler(_task, name, buffer) {
    const error = userPathAt(-100, name, 0);
    return error < 0 ? error : putBytes(buffer, statfsBytes(nd.inode, nd.mount));
  },
});
export const fstatfs = syscall({
  nr: 44,
  name: "fstatfs",
  args: [fd, outPtr],
  handler: (task, descriptor, buffer) =>
    withRawFile(task, descriptor, (file) =>
      putBytes(buffer, statfsBytes(File.inode.get(file), File.mount.get(file))),
    ),
});

function access(dir: number, name: number, mode: number, flags: number): number {
  if ((mode & ~7) !== 0 || checkFlags(flags, AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) < 0)
    return -EINVAL;
  const check = (): number => {
    const error = userPathAt(dir, name, flags);
    if (error < 0 || mode === 0) return error;
    const exec = (mode & 1) !== 0 && inodeType(nd.inode) === S_IFREG;
    if (exec && nd.dentry !== 0 && (Mount.flags.peek(nd.mount) & MS_NOEXEC) !== 0) return -EACCES;
    return writePermission(nd.mount, nd.inode, mode);
  };
  return (flags & AT_EACCESS) !== 0 ? check() : withRealIds(check);
}

export const faccessat = syscall({
  nr: 48,
  name: "faccessat",
  args: [dirfd, path, accessMode],
  handler: (_task, dir, name, mode) => access(dir, name, mode, 0),
});
export const faccessat2 = syscall({
  nr: 439,
  name: "faccessat2",
  args: [dirfd, path, accessMode, accessFlagsArg],
  handler: (_task, dir, name, mode, flags) => access(dir, name, mode, flags),
});

export const readlinkat = syscall({
  nr: 78,
  name: "readlinkat",
  args: [dirfd, path, outBuffer, int],
  handler(_task, dir, name, buffer, length) {
    if (length <= 0) return -EINVAL;
    const error = userPathAt(dir, name, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH);
    if (error < 0) return error;
    if (inodeType(nd.inode) !== S_IFLNK) return pathIsEmpty() ? -ENOENT : -EINVAL;
    const target = inodeOpsOf(Inode.iops.get(nd.inode)).readlink?.(nd.inode) ?? -EINVAL;
    if (typeof target === "number") return target;
    const shown = Math.min(length, target.length);
    return copyToUser(buffer, target.subarray(0, shown)) < 0 ? -EFAULT : shown;
  },
});

/** getcwd(2): the length with the NUL. */
export const getcwd = syscall({
  nr: 17,
  name: "getcwd",
  args: [outBuffer, size],
  handler(task, buffer, length) {
    const fs = fsOf(task);
    const cwd = FsInfo.cwd.access(fs) as FsPath;
    const [mount, dentry] = [Path.mount.get(cwd), Path.dentry.get(cwd)];
    if (dentryUnhashed(dentry) && dentry !== Mount.root.get(mount)) return -ENOENT;
    const text = pathOf(fs, mount, dentry);
    if (text.length > LONGEST_PATH) return -ENAMETOOLONG;
    const prefix = pathReachable(fs, mount, dentry) ? "" : "(unreachable)";
    const bytes = new Uint8Array(prefix.length + text.length + 1);
    bytes.set(new TextEncoder().encode(prefix));
    bytes.set(text, prefix.length);
    if (bytes.length > length) return -ERANGE;
    return copyToUser(buffer, bytes) < 0 ? -EFAULT : bytes.length;
  },
});

const DIRENTS_MAX = 1 << 18;

export const getdents64 = syscall({
  nr: 61,
  name: "getdents64",
  // A negative number is no room at all.
  args: [fd, outPtr, orElse(int, 0, 2 ** 31 - 1, 0)],
  handler(task, descriptor, buffer, count) {
    const file = fget(filesOf(task), descriptor);
    if (file < 0) return file;
    const bytes = new Uint8Array(Math.min(count, DIRENTS_MAX));
    const filled = readDirectory(file as Ref<"file">, bytes);
    if (filled <= 0) return filled;
    notifyFile(file as Ref<"file">, IN_ACCESS);
    return copyToUser(buffer, bytes.subarray(0, filled)) < 0 ? -EFAULT : filled;
  },
});
