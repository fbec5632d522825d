/** Names: mkdirat, mknodat, unlinkat, symlinkat, linkat, renameat2; chdir, fchdir, chroot, umask; mount, umount2. */
import {
  makeDirectory,
  makeLink,
  makeNode,
  makeSymlink,
  removeDirectory,
  unlinkPath,
} from "../../kernel/fs/dir.ts";
import { File } from "../../kernel/fs/file.ts";
import { setCwd, setRoot, setUmask } from "../../kernel/fs/fsinfo.ts";
import { inodeType } from "../../kernel/fs/inode.ts";
import { LOOKUP_DIRECTORY, LOOKUP_EMPTY, LOOKUP_FOLLOW, nd, pathLookup } from "../../kernel/fs/namei.ts";
import { fileSystemType } from "../../kernel/fs/ops.ts";
import { inodePermission, MAY_EXEC } from "../../kernel/fs/permission.ts";
import { renamePath } from "../../kernel/fs/rename.ts";
import { mountFs, umountPath } from "../../kernel/fs/vfs.ts";
import { strncpyFromUser } from "../../kernel/mm/uaccess.ts";
import { CAP_SYS_ADMIN, capable } from "../../kernel/task/cred.ts";
import { EINVAL, ENODEV, ENOENT, ENOTDIR, EPERM } from "../../kernel/uapi/errno.ts";
import { AT_EMPTY_PATH, AT_FDCWD, AT_REMOVEDIR, AT_SYMLINK_FOLLOW } from "../../kernel/uapi/fcntl.ts";
import {
  MNT_DETACH,
  MNT_EXPIRE,
  MNT_FORCE,
  MS_BIND,
  MS_MOVE,
  MS_PRIVATE,
  MS_REMOUNT,
  MS_SHARED,
  MS_SLAVE,
  MS_UNBINDABLE,
  UMOUNT_NOFOLLOW,
} from "../../kernel/uapi/mount.ts";
import { decodeDev, S_IFDIR } from "../../kernel/uapi/stat.ts";
import type { Ref } from "../../rcu/index.ts";
import { dirfd, fd, linkTarget, mode, mountSource, path, ptr, str, ulong } from "../args.ts";
import { syscall } from "../syscall.ts";
import { atFlags, mountArg, renameFlags, umountArg, unlinkFlags } from "./flags.ts";
import { checkFlags, fsOf, getname, userPathAt, withRawFile } from "./user.ts";

/** Runs `use` with the path bytes at a user address. */
function named(address: number, use: (bytes: Uint8Array) => number): number {
  const bytes = getname(address);
  return typeof bytes === "number" ? bytes : use(bytes);
}

export const mkdirat = syscall({
  nr: 34,
  name: "mkdirat",
  args: [dirfd, path, mode],
  handler: (_task, dir, name, bits) => named(name, (bytes) => makeDirectory(dir, bytes, bits)),
});

export const mknodat = syscall({
  nr: 33,
  name: "mknodat",
  args: [dirfd, path, mode, ulong],
  handler: (_task, dir, name, bits, dev) =>
    named(name, (bytes) => makeNode(dir, bytes, bits, decodeDev(dev))),
});

export const unlinkat = syscall({
  nr: 35,
  name: "unlinkat",
  args: [dirfd, path, unlinkFlags],
  handler(_task, dir, name, flags) {
    if (checkFlags(flags, AT_REMOVEDIR) < 0) return -EINVAL;
    return named(name, (bytes) =>
      (flags & AT_REMOVEDIR) !== 0 ? removeDirectory(dir, bytes) : unlinkPath(dir, bytes),
    );
  },
});

export const symlinkat = syscall({
  nr: 36,
  name: "symlinkat",
  args: [linkTarget, dirfd, path],
  handler: (_task, target, dir, name) =>
    named(target, (text) => named(name, (bytes) => makeSymlink(text, dir, bytes))),
});

export const linkat = syscall({
  nr: 37,
  name: "linkat",
  args: [dirfd, path, dirfd, path, atFlags],
  handler(_task, oldDir, oldName, newDir, newName, flags) {
    if (checkFlags(flags, AT_SYMLINK_FOLLOW | AT_EMPTY_PATH) < 0) return -EINVAL;
    return named(oldName, (from) =>
      named(newName, (to) => {
        const follow = (flags & AT_SYMLINK_FOLLOW) !== 0 ? LOOKUP_FOLLOW : 0;
        const error = pathLookup(oldDir, from, follow | ((flags & AT_EMPTY_PATH) !== 0 ? LOOKUP_EMPTY : 0));
        if (error < 0) return error;
        return nd.dentry === 0 ? -ENOENT : makeLink(nd.inode, nd.mount, newDir, to);
      }),
    );
  },
});

export const renameat2 = syscall({
  nr: 276,
  name: "renameat2",
  args: [dirfd, path, dirfd, path, renameFlags],
  handler: (_task, oldDir, oldName, newDir, newName, flags) =>
    named(oldName, (from) => named(newName, (to) => renamePath(oldDir, from, newDir, to, flags))),
});

/** Finds a directory that may be searched: 0 with `nd` set, or -errno. */
function lookupSearchable(bytes: Uint8Array): number {
  const error = pathLookup(AT_FDCWD, bytes, LOOKUP_FOLLOW | LOOKUP_DIRECTORY);
  return error < 0 ? error : inodePermission(nd.inode, MAY_EXEC);
}

export const chdir = syscall({
  nr: 49,
  name: "chdir",
  args: [path],
  handler: (task, name) =>
    named(name, (bytes) => {
      const denied = lookupSearchable(bytes);
      return denied < 0 ? denied : setCwd(fsOf(task), nd.mount, nd.dentry);
    }),
});

export const fchdir = syscall({
  nr: 50,
  name: "fchdir",
  args: [fd],
  handler: (task, descriptor) =>
    withRawFile(task, descriptor, (file) => {
      const inode = File.inode.get(file);
      const dentry = File.dentry.get(file);
      if (inodeType(inode) !== S_IFDIR || dentry === 0) return -ENOTDIR;
      const denied = inodePermission(inode, MAY_EXEC);
      return denied < 0 ? denied : setCwd(fsOf(task), File.mount.get(file) as Ref<"mount">, dentry);
    }),
});

const CAP_SYS_CHROOT = 18;

export const chroot = syscall({
  nr: 51,
  name: "chroot",
  args: [path],
  handler: (task, name) =>
    named(name, (bytes) => {
      const denied = lookupSearchable(bytes);
      if (denied < 0) return denied;
      return capable(task, CAP_SYS_CHROOT) ? setRoot(fsOf(task), nd.mount, nd.dentry) : -EPERM;
    }),
});

export const umask = syscall({
  nr: 166,
  name: "umask",
  args: [mode],
  returns: mode,
  handler: (task, mask) => setUmask(fsOf(task), mask),
});

const decoder = new TextDecoder();
/** A string of mount(2): "" for NULL; -EFAULT. */
function optional(address: number): string | number {
  if (address === 0) return "";
  const bytes = strncpyFromUser(address, 4096);
  return typeof bytes === "number" ? bytes : decoder.decode(bytes);
}

export const mount = syscall({
  nr: 40,
  name: "mount",
  args: [mountSource(3, MS_BIND | MS_MOVE), path, str, mountArg, ptr],
  partial: "mount propagation is accepted and does nothing; mounts cannot be moved",
  handler(task, source, target, type, flags, data) {
    const [from, kind, options] = [optional(source), optional(type), optional(data)];
    if (typeof kind === "number") return kind;
    if (typeof from === "number") return from;
    if (typeof options === "number") return options;
    const at = getname(target);
    if (typeof at === "number") return at;
    if (!capable(task, CAP_SYS_ADMIN)) return -EPERM;
    if ((flags & (MS_SHARED | MS_PRIVATE | MS_SLAVE | MS_UNBINDABLE)) !== 0)
      return userPathAt(AT_FDCWD, target, 0);
    if ((flags & (MS_BIND | MS_REMOUNT | MS_MOVE)) === 0) {
      const known = fileSystemType(kind);
      if (known === undefined) return -ENODEV;
      // A guest names no place of the host.
      if (known.hostOnly === true) return -EPERM;
    }
    return mountFs(kind, from, at, flags, options);
  },
});

export const umount2 = syscall({
  nr: 39,
  name: "umount2",
  args: [path, umountArg],
  handler(task, target, flags) {
    if (checkFlags(flags, MNT_FORCE | MNT_DETACH | MNT_EXPIRE | UMOUNT_NOFOLLOW) < 0) return -EINVAL;
    return named(target, (bytes) => (capable(task, CAP_SYS_ADMIN) ? umountPath(bytes, flags) : -EPERM));
  },
});
