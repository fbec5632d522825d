/** Attributes: fchmodat, fchownat, utimensat, truncate, fallocate; fsync and its kin. */
import { changeMode, changeOwner, changeTimes, truncateInode, truncatePath } from "../../kernel/fs/attr.ts";
import { fallocateFile } from "../../kernel/fs/fallocate.ts";
import { File, FMODE_WRITE } from "../../kernel/fs/file.ts";
import { inodeType } from "../../kernel/fs/inode.ts";
import { nd } from "../../kernel/fs/namei.ts";
import { notifyFile, notifyPlace } from "../../kernel/fs/notify.ts";
import { fileOpsOf } from "../../kernel/fs/ops.ts";
import { EINVAL, EOPNOTSUPP, ESPIPE } from "../../kernel/uapi/errno.ts";
import { AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW } from "../../kernel/uapi/fcntl.ts";
import { IN_ATTRIB, IN_MODIFY } from "../../kernel/uapi/inotify.ts";
import { S_IFIFO, S_IFLNK, S_IFREG, UTIME_OMIT } from "../../kernel/uapi/stat.ts";
import type { Ref } from "../../rcu/index.ts";
import { dirfd, fd, hexArg, mode, off, path, ptr, size, uid, uint, within } from "../args.ts";
import { syscall } from "../syscall.ts";
import { advice, atFlags, fallocFlags } from "./flags.ts";
import { checkFlags, getTimes, userPathAt, withFile } from "./user.ts";

const mountOf = (file: Ref<"file">): Ref<"mount"> | 0 => File.mount.get(file);

/** Tells who watches what a change was made to, if it was. */
function told(result: number, file: Ref<"file"> | 0, mask: number): number {
  if (result < 0) return result;
  if (file !== 0) notifyFile(file, mask);
  else notifyPlace(nd.dentry, nd.inode, mask);
  return result;
}

/** A size or offset: negative ones fail the call before its descriptor or path is looked at. */
const position = within(off, 0, 2 ** 63);

function chmodPlace(mount: Ref<"mount">, inode: Ref<"inode">, bits: number): number {
  return inodeType(inode) === S_IFLNK ? -EOPNOTSUPP : changeMode(mount, inode, bits);
}

export const fchmod = syscall({
  nr: 52,
  name: "fchmod",
  args: [fd, mode],
  handler: (task, descriptor, bits) =>
    withFile(task, descriptor, (file) =>
      told(changeMode(mountOf(file) as Ref<"mount">, File.inode.get(file), bits), file, IN_ATTRIB),
    ),
});

export const fchmodat = syscall({
  nr: 53,
  name: "fchmodat",
  args: [dirfd, path, mode],
  handler(_task, dir, name, bits) {
    const error = userPathAt(dir, name, 0);
    return error < 0 ? error : told(changeMode(nd.mount, nd.inode, bits), 0, IN_ATTRIB);
  },
});

export const fchmodat2 = syscall({
  nr: 452,
  name: "fchmodat2",
  args: [dirfd, path, mode, atFlags],
  handler(_task, dir, name, bits, flags) {
    if (checkFlags(flags, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) < 0) return -EINVAL;
    const error = userPathAt(dir, name, flags);
    return error < 0 ? error : told(chmodPlace(nd.mount, nd.inode, bits), 0, IN_ATTRIB);
  },
});

export const fchown = syscall({
  nr: 55,
  name: "fchown",
  args: [fd, uid, uid],
  handler: (task, descriptor, user, group) =>
    withFile(task, descriptor, (file) =>
      told(
        changeOwner(mountOf(file) as Ref<"mount">, File.inode.get(file), user | 0, group | 0),
        file,
        IN_ATTRIB,
      ),
    ),
});

export const fchownat = syscall({
  nr: 54,
  name: "fchownat",
  args: [dirfd, path, uid, uid, atFlags],
  handler(_task, dir, name, user, group, flags) {
    if (checkFlags(flags, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) < 0) return -EINVAL;
    const error = userPathAt(dir, name, flags);
    return error < 0 ? error : told(changeOwner(nd.mount, nd.inode, user | 0, group | 0), 0, IN_ATTRIB);
  },
});

/** utimensat(2): a NULL path means the descriptor itself (futimens). */
export const utimensat = syscall({
  nr: 88,
  name: "utimensat",
  args: [dirfd, path, ptr, atFlags],
  handler(task, dir, name, address, flags) {
    if (checkFlags(flags, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) < 0) return -EINVAL;
    const times = getTimes(address);
    if (typeof times === "number") return times;
    // Linux looks nothing up when there is nothing to do.
    if (times?.every((time) => time.nanoseconds === UTIME_OMIT)) return 0;
    const [atime, mtime] = times === null ? [null, null] : [times[0]!, times[1]!];
    if (name === 0 && dir !== AT_FDCWD) {
      if (flags !== 0) return -EINVAL;
      return withFile(task, dir, (file) =>
        told(changeTimes(mountOf(file) as Ref<"mount">, File.inode.get(file), atime, mtime), file, IN_ATTRIB),
      );
    }
    const error = userPathAt(dir, name, flags);
    return error < 0 ? error : told(changeTimes(nd.mount, nd.inode, atime, mtime), 0, IN_ATTRIB);
  },
});

export const truncate = syscall({
  nr: 45,
  name: "truncate",
  args: [path, position],
  handler(_task, name, length) {
    const error = userPathAt(AT_FDCWD, name, 0);
    return error < 0 ? error : told(truncatePath(nd.mount, nd.inode, length), 0, IN_MODIFY);
  },
});

export const ftruncate = syscall({
  nr: 46,
  name: "ftruncate",
  args: [fd, position],
  handler: (task, descriptor, length) =>
    withFile(task, descriptor, (file) => {
      const inode = File.inode.get(file);
      if ((File.mode.get(file) & FMODE_WRITE) === 0 || inodeType(inode) !== S_IFREG) return -EINVAL;
      return told(truncateInode(inode, length), file, IN_MODIFY);
    }),
});

export const fallocate = syscall({
  nr: 47,
  name: "fallocate",
  args: [fd, fallocFlags, off, off],
  handler: (task, descriptor, how, offset, length) =>
    withFile(task, descriptor, (file) => told(fallocateFile(file, how, offset, length), file, IN_MODIFY)),
});

const sync_ = (task: Ref<"task">, descriptor: number, dataOnly: boolean): number =>
  withFile(task, descriptor, (file) => fileOpsOf(File.fops.get(file)).fsync?.(file, dataOnly) ?? -EINVAL);

export const fsync = syscall({
  nr: 82,
  name: "fsync",
  args: [fd],
  handler: (task, descriptor) => sync_(task, descriptor, false),
});
export const fdatasync = syscall({
  nr: 83,
  name: "fdatasync",
  args: [fd],
  handler: (task, descriptor) => sync_(task, descriptor, true),
});
/** sync(2): host files are written as the guest writes, and what shared mappings changed when they are closed. */
export const sync = syscall({ nr: 81, name: "sync", args: [], handler: () => 0 });
export const syncfs = syscall({
  nr: 267,
  name: "syncfs",
  args: [fd],
  handler: (task, descriptor) => withFile(task, descriptor, () => 0),
});
export const syncFileRange = syscall({
  nr: 84,
  name: "sync_file_range",
  args: [fd, off, off, { ...uint, format: hexArg.format }],
  handler(task, descriptor, offset, bytes, flags) {
    return withFile(task, descriptor, (file) => {
      if (offset < 0 || bytes < 0 || (flags & ~7) !== 0) return -EINVAL;
      if (inodeType(File.inode.get(file)) === S_IFIFO) return -ESPIPE;
      return fileOpsOf(File.fops.get(file)).fsync?.(file, true) ?? -EINVAL;
    });
  },
});

/** posix_fadvise(2): advice is taken as read. */
export const fadvise64 = syscall({
  nr: 223,
  name: "fadvise64",
  args: [fd, off, off, advice],
  handler(task, descriptor, _offset, length, how) {
    if (length < 0 || how < 0 || how > 5) return -EINVAL;
    return withFile(task, descriptor, (file) => (inodeType(File.inode.get(file)) === S_IFIFO ? -ESPIPE : 0));
  },
});
export const readahead = syscall({
  nr: 213,
  name: "readahead",
  args: [fd, off, size],
  handler: (task, descriptor, _offset, count) =>
    withFile(task, descriptor, (file) =>
      inodeType(File.inode.get(file)) === S_IFREG && count < 2 ** 63 ? 0 : -EINVAL,
    ),
});
