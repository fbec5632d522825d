/** read(2), write(2) and their vector and positioned forms; lseek(2); sendfile(2), copy_file_range(2). */
import { MAX_FILE_BYTES } from "../../kernel/fs/attr.ts";
import { fget } from "../../kernel/fs/fdtable.ts";
import { File, FMODE_LSEEK, FMODE_READ, FMODE_WRITE } from "../../kernel/fs/file.ts";
import { Inode, inodeType } from "../../kernel/fs/inode.ts";
import {
  copyBetween,
  filePread,
  filePwrite,
  fileRead,
  fileSeek,
  fileWrite,
  isRange,
} from "../../kernel/fs/read-write.ts";
import { MAX_RW_COUNT } from "../../kernel/mm/iov.ts";
import { putUser64 } from "../../kernel/mm/uaccess.ts";
import { BLOCK } from "../../kernel/sched/block.ts";
import {
  EAGAIN,
  EBADF,
  EFAULT,
  EFBIG,
  EINVAL,
  EISDIR,
  EOPNOTSUPP,
  EOVERFLOW,
  ESPIPE,
} from "../../kernel/uapi/errno.ts";
import {
  O_APPEND,
  RWF_APPEND,
  RWF_DSYNC,
  RWF_HIPRI,
  RWF_NOAPPEND,
  RWF_NOWAIT,
  RWF_SYNC,
} from "../../kernel/uapi/fcntl.ts";
import { S_IFDIR, S_IFREG } from "../../kernel/uapi/stat.ts";
import type { Ref } from "../../rcu/index.ts";
import { fd, inBuffer, int, off, outBuffer, ptr, size, uint, ulong } from "../args.ts";
import { syscall } from "../syscall.ts";
import { rwf, whence } from "./flags.ts";
import { filesOf, getOffset, io } from "./user.ts";

type F = Ref<"file">;

export const read = syscall({
  nr: 63,
  name: "read",
  args: [fd, outBuffer, size],
  handler(task, descriptor, buffer, count) {
    const file = fget(filesOf(task), descriptor);
    if (file < 0) return file;
    return io.setUser(buffer, count) < 0 ? -EFAULT : fileRead(file as F, io);
  },
});

export const write = syscall({
  nr: 64,
  name: "write",
  args: [fd, inBuffer(2), size],
  handler(task, descriptor, buffer, count) {
    const file = fget(filesOf(task), descriptor);
    if (file < 0) return file;
    return io.setUser(buffer, count) < 0 ? -EFAULT : fileWrite(file as F, io);
  },
});

export const pread64 = syscall({
  nr: 67,
  name: "pread64",
  args: [fd, outBuffer, size, off],
  handler(task, descriptor, buffer, count, pos) {
    const file = fget(filesOf(task), descriptor);
    if (file < 0) return file;
    return io.setUser(buffer, count) < 0 ? -EFAULT : filePread(file as F, io, pos);
  },
});

export const pwrite64 = syscall({
  nr: 68,
  name: "pwrite64",
  args: [fd, inBuffer(2), size, off],
  handler(task, descriptor, buffer, count, pos) {
    const file = fget(filesOf(task), descriptor);
    if (file < 0) return file;
    return io.setUser(buffer, count) < 0 ? -EFAULT : filePwrite(file as F, io, pos);
  },
});

/** A length of this many bytes or more would be negative as a ssize_t. */
const SSIZE_LIMIT = 2 ** 63;

type Mover = (file: F, pos: number) => number;

/** A vector call: fetches the vector, then moves. */
function vector(
  task: Ref<"task">,
  descriptor: number,
  iov: number,
  count: number,
  pos: number,
  move: Mover,
): number {
  const file = fget(filesOf(task), descriptor);
  if (file < 0) return file;
  const error = io.setIovec(iov, count);
  return error < 0 ? error : move(file as F, pos);
}

export const readv = syscall({
  nr: 65,
  name: "readv",
  args: [fd, ptr, int],
  handler: (task, descriptor, iov, count) =>
    vector(task, descriptor, iov, count, 0, (file) => fileRead(file, io)),
});
export const writev = syscall({
  nr: 66,
  name: "writev",
  args: [fd, ptr, int],
  handler: (task, descriptor, iov, count) =>
    vector(task, descriptor, iov, count, 0, (file) => fileWrite(file, io)),
});
export const preadv = syscall({
  nr: 69,
  name: "preadv",
  args: [fd, ptr, int, off, ulong],
  handler: (task, descriptor, iov, count, pos) =>
    vector(task, descriptor, iov, count, pos, (file, at) => filePread(file, io, at)),
});
export const pwritev = syscall({
  nr: 70,
  name: "pwritev",
  args: [fd, ptr, int, off, ulong],
  handler: (task, descriptor, iov, count, pos) =>
    vector(task, descriptor, iov, count, pos, (file, at) => filePwrite(file, io, at)),
});

const RWF_ALL = RWF_HIPRI | RWF_DSYNC | RWF_SYNC | RWF_NOWAIT | RWF_APPEND | RWF_NOAPPEND;

/** A vector call with RWF_ flags of its own; a position of -1 is the file's. */
function flaggedVector(
  task: Ref<"task">,
  descriptor: number,
  iov: number,
  count: number,
  pos: number,
  flags: number,
  move: Mover,
): number {
  return vector(task, descriptor, iov, count, pos, (file, at) => {
    if (io.remaining === 0 && at >= -1) return 0; // As on Linux, before the flags are looked at.
    if ((flags & ~RWF_ALL) !== 0) return -EOPNOTSUPP;
    if ((flags & RWF_APPEND) !== 0 && (flags & RWF_NOAPPEND) !== 0) return -EINVAL;
    io.flags = flags;
    return move(file, at);
  });
}

export const preadv2 = syscall({
  nr: 286,
  name: "preadv2",
  args: [fd, ptr, int, off, ulong, rwf],
  handler: (task, descriptor, iov, count, pos, _high, flags) =>
    flaggedVector(task, descriptor, iov, count, pos, flags, (file, at) =>
      at === -1 ? fileRead(file, io) : filePread(file, io, at),
    ),
});
export const pwritev2 = syscall({
  nr: 287,
  name: "pwritev2",
  args: [fd, ptr, int, off, ulong, rwf],
  handler: (task, descriptor, iov, count, pos, _high, flags) =>
    flaggedVector(task, descriptor, iov, count, pos, flags, (file, at) =>
      at === -1 ? fileWrite(file, io) : filePwrite(file, io, at),
    ),
});

export const lseek = syscall({
  nr: 62,
  name: "lseek",
  args: [fd, off, whence],
  handler(task, descriptor, offset, how) {
    const file = fget(filesOf(task), descriptor);
    return file < 0 ? file : fileSeek(file as F, offset, how);
  },
});

/** Both files of a copy, or -errno. */
function pair(task: Ref<"task">, from: number, to: number): [F, F] | number {
  const source = fget(filesOf(task), from);
  if (source < 0) return source;
  const target = fget(filesOf(task), to);
  return target < 0 ? target : [source as F, target as F];
}

const putOffset = (address: number, old: number, moved: number): void => {
  if (address !== 0 && moved > 0) putUser64(address, old + moved);
};

export const sendfile = syscall({
  nr: 71,
  name: "sendfile",
  args: [fd, fd, ptr, size],
  handler(task, out, source, offset, count) {
    const files = pair(task, source, out);
    if (typeof files === "number") return files;
    const [from, to] = files;
    if ((File.flags.peek(to) & O_APPEND) !== 0) return -EINVAL;
    if (inodeType(File.inode.get(from)) === S_IFDIR) return -EINVAL;
    const pos = getOffset(offset);
    if (Number.isNaN(pos)) return -EFAULT;
    if (offset !== 0 && (File.mode.get(from) & FMODE_LSEEK) === 0) return -ESPIPE;
    if ((offset !== 0 && !isRange(pos, Math.min(count, MAX_RW_COUNT))) || count >= SSIZE_LIMIT)
      return -EINVAL;
    const moved = copyBetween(from, pos, to, -1, Math.min(count, MAX_RW_COUNT));
    putOffset(offset, pos, moved);
    return moved;
  },
});

export const copyFileRange = syscall({
  nr: 285,
  name: "copy_file_range",
  args: [fd, ptr, fd, ptr, size, uint],
  handler(task, source, offIn, target, offOut, count, flags) {
    if (flags !== 0) return -EINVAL;
    const files = pair(task, source, target);
    if (typeof files === "number") return files;
    const [from, to] = files;
    for (const file of files) {
      const type = inodeType(File.inode.get(file));
      if (type !== S_IFREG) return type === S_IFDIR ? -EISDIR : -EINVAL;
    }
    if ((File.mode.get(from) & FMODE_READ) === 0 || (File.mode.get(to) & FMODE_WRITE) === 0) return -EBADF;
    if ((File.flags.peek(to) & O_APPEND) !== 0) return -EBADF;
    const [posIn, posOut] = [getOffset(offIn), getOffset(offOut)];
    if (Number.isNaN(posIn) || Number.isNaN(posOut)) return -EFAULT;
    const given = [...(offIn === 0 ? [] : [posIn]), ...(offOut === 0 ? [] : [posOut])];
    // A negative position is a large one here: the end may wrap.
    if (given.some((pos) => pos < 0 && pos + count >= 0)) return -EOVERFLOW;
    if (given.some((pos) => pos < 0)) return -EINVAL;
    if (posOut >= MAX_FILE_BYTES) return -EFBIG;
    if (posIn >= Inode.size.racy(File.inode.get(from))) return 0;
    const length = Math.min(count, MAX_RW_COUNT);
    if (File.inode.get(from) === File.inode.get(to)) {
      const [a, b] = [offIn !== 0 ? posIn : File.pos.racy(from), offOut !== 0 ? posOut : File.pos.racy(to)];
      const available = Math.max(0, Math.min(length, Inode.size.racy(File.inode.get(from)) - a));
      if (a < b + available && b < a + available) return -EINVAL;
    }
    const moved = copyBetween(from, posIn, to, posOut, length);
    putOffset(offIn, posIn, moved);
    putOffset(offOut, posOut, moved);
    return moved === BLOCK ? -EAGAIN : moved;
  },
});
