/** What file calls fetch from and store to user memory. */
import { fget, fgetRaw } from "../../kernel/fs/fdtable.ts";
import { LOOKUP_EMPTY, LOOKUP_FOLLOW, pathLookup } from "../../kernel/fs/namei.ts";
import { UserIo } from "../../kernel/mm/iov.ts";
import { copyToUser, faultIn, getUser64, strncpyFromUser } from "../../kernel/mm/uaccess.ts";
import { Task } from "../../kernel/task/task.ts";
import { EFAULT, EINVAL } from "../../kernel/uapi/errno.ts";
import { AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW, PATH_MAX } from "../../kernel/uapi/fcntl.ts";
import { ACCESS } from "../../kernel/usermode.ts";
import type { Ref } from "../../rcu/index.ts";

export const filesOf = (task: Ref<"task">): Ref<"files"> => Task.files.access(task) as Ref<"files">;
export const fsOf = (task: Ref<"task">): Ref<"fsinfo"> => Task.fs.access(task) as Ref<"fsinfo">;

/** Path bytes at a user address, without the NUL; -EFAULT, -ENAMETOOLONG. */
export const getname = (address: number): Uint8Array | number => strncpyFromUser(address, PATH_MAX);

/** Looks up a path of the *at calls: AT_SYMLINK_NOFOLLOW and AT_EMPTY_PATH in `flags` count. Result in `nd`. */
export function userPathAt(dirfd: number, address: number, flags: number): number {
  const follow = (flags & AT_SYMLINK_NOFOLLOW) === 0 ? LOOKUP_FOLLOW : 0;
  return pathLookup(dirfd, address, follow | ((flags & AT_EMPTY_PATH) !== 0 ? LOOKUP_EMPTY : 0));
}

/** Calls `use` with the open file of a descriptor: -EBADF. */
export function withFile(task: Ref<"task">, fd: number, use: (file: Ref<"file">) => number): number {
  const file = fget(filesOf(task), fd);
  return file < 0 ? file : use(file as Ref<"file">);
}
/** The same, O_PATH descriptors included. */
export function withRawFile(task: Ref<"task">, fd: number, use: (file: Ref<"file">) => number): number {
  const file = fgetRaw(filesOf(task), fd);
  return file < 0 ? file : use(file as Ref<"file">);
}

/** The transfer of the call in progress: a CPU handles one at a time. */
export const io = new UserIo();

/** Stores kernel bytes; an error number instead of bytes is passed on. */
export function putBytes(address: number, bytes: Uint8Array | number): number {
  if (typeof bytes === "number") return bytes;
  return copyToUser(address, bytes) < 0 ? -EFAULT : 0;
}

/** off_t behind a pointer: -EFAULT comes back as NaN, NULL as -1 ("use the file's own position"). */
export function getOffset(address: number): number {
  if (address === 0) return -1;
  if (faultIn(address, 8, ACCESS.WRITE) < 0) return Number.NaN;
  return getUser64(address);
}

/** Two struct timespec, null for NULL: utimensat. */
export function getTimes(address: number): { seconds: number; nanoseconds: number }[] | null | number {
  if (address === 0) return null;
  if (faultIn(address, 32, ACCESS.READ) < 0) return -EFAULT;
  return [0, 16].map((offset) => ({
    seconds: getUser64(address + offset),
    nanoseconds: getUser64(address + offset + 8),
  }));
}

/** Flags outside `allowed` are an error. */
export const checkFlags = (flags: number, allowed: number): number =>
  (flags & ~allowed) !== 0 ? -EINVAL : 0;
