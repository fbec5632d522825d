/** Reading directories, getdents64(2), and the directories whose entries are their dentries (tmpfs). */
import type { Ref } from "../../rcu/index.ts";
import { DIRENT, DT_DIR, modeToType } from "../uapi/dirent.ts";
import { EINVAL, ENOENT, ENOTDIR } from "../uapi/errno.ts";
import { SEEK_CUR, SEEK_SET } from "../uapi/fcntl.ts";
import { S_IFDIR } from "../uapi/stat.ts";
import { Dentry, dentryChildFrom, dentryInode, dentryName, dentryNextChild, dentryParent } from "./dcache.ts";
import { File } from "./file.ts";
import { I_DEAD, Inode, inodeLock, inodeType, inodeUnlock } from "./inode.ts";
import { type DirEmit, type FileOps, FOPS, fileOpsOf, registerFileOps } from "./ops.ts";
import { touchAtime } from "./regular.ts";

type F = Ref<"file">;
type D = Ref<"dentry">;

/** Emits "." and ".." when `pos` is 0 or 1; false when the buffer is full. Entries proper start at position 2. */
export function emitDots(file: F, pos: number, emit: DirEmit): boolean {
  const dentry = File.dentry.get(file) as D;
  if (pos === 0 && !emit(".", Inode.ino.get(File.inode.get(file)), DT_DIR, 1)) return false;
  if (pos > 1) return true;
  const parent = dentryInode(dentryParent(dentry)) as Ref<"inode">;
  return emit("..", Inode.ino.get(parent), DT_DIR, 2);
}

function iterateDentries(file: F, pos: number, emit: DirEmit): number {
  if (!emitDots(file, pos, emit)) return 0;
  const dir = File.dentry.get(file) as D;
  const inode = File.inode.get(file);
  inodeLock(inode);
  let child = dentryChildFrom(dir, pos);
  while (child !== 0) {
    const at = dentryInode(child) as Ref<"inode">;
    const cookie = Dentry.stamp.get(child);
    if (!emit(dentryName(child), Inode.ino.get(at), modeToType(Inode.mode.peek(at)), cookie + 1)) break;
    child = dentryNextChild(dir, child);
  }
  inodeUnlock(inode);
  return 0;
}

/** lseek of directories: positions that getdents64 gave, or 0. */
export function seekDirectory(file: F, offset: number, whence: number): number {
  const next = whence === SEEK_SET ? offset : whence === SEEK_CUR ? File.pos.racy(file) + offset : -1;
  return next < 0 ? -EINVAL : next;
}

export const dentryDirOps: FileOps = {
  seekable: true,
  iterate: iterateDentries,
  lseek: seekDirectory,
  fsync: () => 0,
};
registerFileOps(FOPS.DIR, dentryDirOps);

const encoder = new TextEncoder();

/**
 * Fills `buffer` with struct linux_dirent64 from the file's position on, and moves the position. Bytes filled; 0 at
 * the end; -EINVAL when not even one entry fits.
 */
export function readDirectory(file: F, buffer: Uint8Array): number {
  const inode = File.inode.get(file);
  const ops = fileOpsOf(File.fops.get(file));
  if (inodeType(inode) !== S_IFDIR || ops.iterate === undefined) return -ENOTDIR;
  if ((Inode.state.peek(inode) & I_DEAD) !== 0) return -ENOENT;
  const view = new DataView(buffer.buffer, buffer.byteOffset, buffer.byteLength);
  let filled = 0;
  let tooSmall = false;
  const held = File.posLock.lock(file);
  let next = File.pos.get(held, file);
  const emit: DirEmit = (name, ino, type, nextPos) => {
    const bytes = typeof name === "string" ? encoder.encode(name) : name;
    const length = (DIRENT.NAME + bytes.length + 1 + 7) & ~7;
    if (filled + length > buffer.length) {
      tooSmall = filled === 0;
      return false;
    }
    view.setUint32(filled, ino >>> 0, true);
    view.setUint32(filled + 4, ino / 4294967296, true);
    view.setUint32(filled + DIRENT.OFF, nextPos >>> 0, true);
    view.setUint32(filled + DIRENT.OFF + 4, nextPos / 4294967296, true);
    view.setUint16(filled + DIRENT.RECLEN, length, true);
    buffer[filled + DIRENT.TYPE] = type;
    buffer.set(bytes, filled + DIRENT.NAME);
    buffer.fill(0, filled + DIRENT.NAME + bytes.length, filled + length);
    filled += length;
    next = nextPos;
    return true;
  };
  const result = ops.iterate(file, next, emit);
  File.pos.set(held, file, next);
  File.posLock.unlock(file);
  if (result < 0) return result;
  touchAtime(file);
  return tooSmall ? -EINVAL : filled;
}
