/** openat(2), openat2(2), close(2), close_range(2), dup(2), dup3(2), memfd_create(2). */
import { closeRange as closeFdRange } from "../../kernel/fs/close-range.ts";
import { unshareFiles } from "../../kernel/fs/fd-copy.ts";
import {
  allocFd,
  closeFd,
  fdInstall,
  fgetRawRef,
  getUnusedFd,
  putUnusedFd,
  replaceFd,
} from "../../kernel/fs/fdtable.ts";
import { fput } from "../../kernel/fs/file.ts";
import { MFD_NAME_MAX, memfdFile } from "../../kernel/fs/memfd.ts";
import { vfsOpen, vfsOpenHow } from "../../kernel/fs/open.ts";
import { copyFromUser, faultIn, getUser64, strncpyFromUser } from "../../kernel/mm/uaccess.ts";
import { E2BIG, EAGAIN, EFAULT, EINVAL, ENAMETOOLONG } from "../../kernel/uapi/errno.ts";
import {
  __O_TMPFILE,
  CLOSE_RANGE_CLOEXEC,
  CLOSE_RANGE_UNSHARE,
  F_SEAL_EXEC,
  F_SEAL_SEAL,
  MFD_ALLOW_SEALING,
  MFD_CLOEXEC,
  MFD_EXEC,
  MFD_NOEXEC_SEAL,
  O_CLOEXEC,
  O_CREAT,
  O_LARGEFILE,
  O_PATH,
  O_PATH_FLAGS,
  O_TRUNC,
  RESOLVE_BENEATH,
  RESOLVE_CACHED,
  RESOLVE_IN_ROOT,
  RESOLVE_NO_MAGICLINKS,
  RESOLVE_NO_SYMLINKS,
  RESOLVE_NO_XDEV,
  VALID_OPEN_FLAGS,
} from "../../kernel/uapi/fcntl.ts";
import { ACCESS } from "../../kernel/usermode.ts";
import type { Ref } from "../../rcu/index.ts";
import { dirfd, fd, mode, path, ptr, size, str, uint } from "../args.ts";
import { syscall } from "../syscall.ts";
import { closeRangeFlags, mfdFlags, oflags } from "./flags.ts";
import { filesOf, getname } from "./user.ts";

/** Reserves a descriptor, opens, publishes: an open that fails or waits gives the number back. */
function openFd(task: Ref<"task">, flags: number, open: () => number): number {
  const files = filesOf(task);
  const descriptor = getUnusedFd(files, flags);
  return descriptor < 0 ? descriptor : publish(files, descriptor, open());
}

/** What an open came to, under the descriptor reserved for it. */
function publish(files: Ref<"files">, descriptor: number, file: number): number {
  if (file < 0) {
    putUnusedFd(files, descriptor);
    return file;
  }
  fdInstall(files, descriptor, file as Ref<"file">);
  return descriptor;
}

/** open(2): 64-bit programs always have O_LARGEFILE. */
export const openat = syscall({
  nr: 56,
  name: "openat",
  args: [dirfd, path, oflags, mode],
  returns: fd,
  handler(task, dir, name, given, bits) {
    const known = given & VALID_OPEN_FLAGS;
    const flags = (known & O_PATH) !== 0 ? known : known | O_LARGEFILE;
    const files = filesOf(task);
    const descriptor = getUnusedFd(files, flags);
    return descriptor < 0 ? descriptor : publish(files, descriptor, vfsOpen(dir, name, flags, bits));
  },
});

const RESOLVE_ALL =
  RESOLVE_NO_XDEV |
  RESOLVE_NO_MAGICLINKS |
  RESOLVE_NO_SYMLINKS |
  RESOLVE_BENEATH |
  RESOLVE_IN_ROOT |
  RESOLVE_CACHED;
/** struct open_how: flags, mode, resolve. */
const OPEN_HOW_BYTES = 24;

export const openat2 = syscall({
  nr: 437,
  name: "openat2",
  args: [dirfd, path, ptr, size],
  returns: fd,
  handler(task, dir, name, how, bytes) {
    if (bytes < OPEN_HOW_BYTES) return -EINVAL;
    if (bytes > 4096) return -E2BIG;
    if (faultIn(how, bytes, ACCESS.READ) < 0) return -EFAULT;
    const rest = copyFromUser(how + OPEN_HOW_BYTES, bytes - OPEN_HOW_BYTES);
    if (rest === null) return -EFAULT;
    if (rest.some((byte) => byte !== 0)) return -E2BIG;
    const [flags, bits, resolve] = [getUser64(how), getUser64(how + 8), getUser64(how + 16)];
    if (!(flags >= 0 && flags < 2 ** 31) || (flags & ~VALID_OPEN_FLAGS) !== 0) return -EINVAL;
    if (!(resolve >= 0 && resolve <= RESOLVE_ALL) || !(bits >= 0 && bits <= 0o7777)) return -EINVAL;
    if ((resolve & RESOLVE_BENEATH) !== 0 && (resolve & RESOLVE_IN_ROOT) !== 0) return -EINVAL;
    if ((flags & O_PATH) !== 0 && (flags & ~O_PATH_FLAGS) !== 0) return -EINVAL;
    if (bits !== 0 && (flags & (O_CREAT | __O_TMPFILE)) === 0) return -EINVAL;
    const changes = (flags & (O_CREAT | O_TRUNC | __O_TMPFILE)) !== 0;
    if (changes && (resolve & RESOLVE_CACHED) !== 0) return -EAGAIN;
    const text = getname(name);
    if (typeof text === "number") return text;
    return openFd(task, flags, () => vfsOpenHow(dir, text, flags, bits, resolve));
  },
});

export const close = syscall({
  nr: 57,
  name: "close",
  args: [fd],
  handler: (task, descriptor) => closeFd(filesOf(task), descriptor),
});

export const closeRange = syscall({
  nr: 436,
  name: "close_range",
  args: [uint, uint, closeRangeFlags],
  handler(task, first, last, flags) {
    if ((flags & ~(CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC)) !== 0 || first > last) return -EINVAL;
    if ((flags & CLOSE_RANGE_UNSHARE) !== 0) {
      const error = unshareFiles(task);
      if (error !== 0) return error;
    }
    return closeFdRange(filesOf(task), first, last, (flags & CLOSE_RANGE_CLOEXEC) !== 0);
  },
});

export const dup = syscall({
  nr: 23,
  name: "dup",
  args: [fd],
  returns: fd,
  handler: (task, descriptor) => duplicate(task, descriptor, 0, 0),
});

/** dup(2) and F_DUPFD: the lowest free descriptor from `from` on. */
export function duplicate(task: Ref<"task">, descriptor: number, flags: number, from: number): number {
  const files = filesOf(task);
  const file = fgetRawRef(files, descriptor);
  if (file < 0) return file;
  const copy = allocFd(files, file as Ref<"file">, flags, from);
  if (copy < 0) fput(file as Ref<"file">);
  return copy;
}

/** dup3(2): newfd names oldfd's open file; what newfd named is closed. */
export const dup3 = syscall({
  nr: 24,
  name: "dup3",
  args: [fd, fd, oflags],
  returns: fd,
  handler(task, oldfd, newfd, flags) {
    if (oldfd === newfd || (flags & ~O_CLOEXEC) !== 0) return -EINVAL;
    const files = filesOf(task);
    const file = fgetRawRef(files, oldfd);
    return file < 0 ? file : replaceFd(files, newfd, file as Ref<"file">, flags);
  },
});

export const memfdCreate = syscall({
  nr: 279,
  name: "memfd_create",
  args: [str, mfdFlags],
  returns: fd,
  handler(task, name, flags) {
    if ((flags & ~(MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL | MFD_EXEC)) !== 0) return -EINVAL;
    const text = strncpyFromUser(name, MFD_NAME_MAX + 1);
    if (typeof text === "number") return text === -ENAMETOOLONG ? -EINVAL : text;
    const bits = (flags & MFD_NOEXEC_SEAL) !== 0 ? 0o666 : 0o777;
    if ((flags & MFD_EXEC) !== 0 && (flags & MFD_NOEXEC_SEAL) !== 0) return -EINVAL;
    let seals = (flags & MFD_ALLOW_SEALING) !== 0 ? 0 : F_SEAL_SEAL;
    if ((flags & MFD_NOEXEC_SEAL) !== 0) seals = F_SEAL_EXEC;
    return openFd(task, (flags & MFD_CLOEXEC) !== 0 ? O_CLOEXEC : 0, () => memfdFile(text, bits, seals));
  },
});
