/**
 * Files whose content is the page cache itself: tmpfs, memfd. Reads take no lock; writes hold the inode's lock, so
 * appends do not overlap and the size never runs backwards.
 */
import type { Held, Ref } from "../../rcu/index.ts";
import type { UserIo } from "../mm/iov.ts";
import { mappingDirty, mappingFind, mappingPage } from "../mm/pagecache.ts";
import { treeWalk } from "../mm/pagetree.ts";
import { PAGE_SIZE, ram } from "../mm/ram.ts";
import { realtime, realtimeSeconds } from "../time/clock.ts";
import { EINVAL, ENOMEM, ENOSPC, ENXIO, EPERM } from "../uapi/errno.ts";
import {
  F_SEAL_FUTURE_WRITE,
  F_SEAL_GROW,
  F_SEAL_WRITE,
  O_NOATIME,
  SEEK_CUR,
  SEEK_DATA,
  SEEK_END,
  SEEK_HOLE,
  SEEK_SET,
} from "../uapi/fcntl.ts";
import { MS_NOATIME } from "../uapi/mount.ts";
import { dropSetId, MAX_FILE_BYTES, writeLimit } from "./attr.ts";
import { File, fileAppends } from "./file.ts";
import { ATIME, CTIME, Inode, inodeLock, inodeSeconds, inodeTouch, inodeUnlock, MTIME } from "./inode.ts";
import { Mount } from "./mount.ts";
import { type FileOps, FOPS, registerFileOps } from "./ops.ts";

type F = Ref<"file">;
type I = Ref<"inode">;

const zeros = new Uint8Array(PAGE_SIZE);
const DAY = 86400;

/** relatime: the access time moves when it is older than the content, or than a day. */
export function touchAtime(file: F): void {
  if ((File.flags.peek(file) & O_NOATIME) !== 0) return;
  const mount = File.mount.get(file);
  if (mount !== 0 && (Mount.flags.peek(mount) & MS_NOATIME) !== 0) return;
  const inode = File.inode.get(file);
  const atime = inodeSeconds(inode, ATIME);
  if (atime > inodeSeconds(inode, MTIME) && atime > inodeSeconds(inode, CTIME)) {
    realtime();
    if (realtimeSeconds - atime < DAY) return;
  }
  inodeTouch(inode, 1 << ATIME);
}

/** Copies from the page cache: bytes, 0 at the end of the file, or -errno. Pages are read from the file system as needed. */
export function pageCacheRead(file: F, io: UserIo, pos: number): number {
  const inode = File.inode.get(file);
  const mapping = Inode.mapping.get(inode) as Ref<"mapping">;
  const size = Inode.size.racy(inode);
  const wanted = Math.min(io.remaining, size - pos);
  if (wanted <= 0) return 0;
  let done = 0;
  while (done < wanted) {
    const at = pos + done;
    let index = Math.floor(at / PAGE_SIZE);
    const offset = at % PAGE_SIZE;
    const frame = mappingPage(mapping, index, false);
    if (frame < 0) return done === 0 ? frame : done;
    let bytes = PAGE_SIZE - offset;
    // Frames of a file tend to follow each other: copy what is contiguous in one go.
    if (frame !== 0)
      while (done + bytes < wanted && mappingFind(mapping, ++index) === frame + offset + bytes)
        bytes += PAGE_SIZE;
    bytes = Math.min(bytes, wanted - done);
    const copied = frame === 0 ? io.copyTo(zeros, 0, bytes) : io.copyTo(ram.u8, frame + offset, bytes);
    if (copied < 0) return done === 0 ? copied : done;
    done += copied;
    if (copied < bytes) break;
  }
  touchAtime(file);
  return done;
}

/** Where a write goes: the end with O_APPEND or RWF_APPEND. The inode's lock is held. */
export const writePosition = (held: Held<"lock">, file: F, io: UserIo, pos: number): number =>
  fileAppends(file, io.flags) ? Inode.size.get(held, File.inode.get(file)) : pos;

/** Position after the last write of this thread: an appending write moves the file's position there. */
export let writeEnd = 0;
export function setWriteEnd(pos: number): void {
  writeEnd = pos;
}

function regularWrite(file: F, io: UserIo, pos: number): number {
  const inode = File.inode.get(file);
  if (io.remaining === 0) return 0;
  const held = inodeLock(inode);
  const result = writeLocked(held, inode, io, writePosition(held, file, io, pos));
  if (result > 0) {
    dropSetId(inode);
    inodeTouch(inode, (1 << MTIME) | (1 << CTIME));
  }
  inodeUnlock(inode);
  return result;
}

function writeLocked(held: Held<"lock">, inode: I, io: UserIo, pos: number): number {
  const mapping = Inode.mapping.get(inode) as Ref<"mapping">;
  let wanted = writeLimit(pos, io.remaining, io.done > 0);
  if (wanted < 0) return wanted;
  const seals = Inode.seals.peek(inode);
  if ((seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)) !== 0) return -EPERM;
  if ((seals & F_SEAL_GROW) !== 0) {
    wanted = Math.min(wanted, Inode.size.get(held, inode) - pos);
    if (wanted <= 0) return -EPERM;
  }
  let done = 0;
  while (done < wanted) {
    const at = pos + done;
    const index = Math.floor(at / PAGE_SIZE);
    const offset = at % PAGE_SIZE;
    const bytes = Math.min(PAGE_SIZE - offset, wanted - done);
    const frame = mappingPage(mapping, index, true);
    if (frame < 0) {
      if (done === 0) return frame === -ENOMEM ? -ENOSPC : frame;
      break;
    }
    const copied = io.copyFrom(ram.u8, frame + offset, bytes);
    if (copied < 0) {
      if (done === 0) return copied;
      break;
    }
    mappingDirty(mapping, index);
    done += copied;
    if (at + copied > Inode.size.get(held, inode)) Inode.size.set(held, inode, at + copied);
    if (copied < bytes) break;
  }
  writeEnd = pos + done;
  return done;
}

/** lseek(2) of a file with a size: new position or -errno; the caller stores it. `pos` is the present one. */
export function seekSized(size: number, pos: number, offset: number, whence: number): number {
  let base: number;
  switch (whence) {
    case SEEK_SET:
      base = 0;
      break;
    case SEEK_CUR:
      base = pos;
      break;
    case SEEK_END:
      base = size;
      break;
    case SEEK_DATA:
      return offset < 0 || offset >= size ? -ENXIO : offset;
    case SEEK_HOLE:
      return offset < 0 || offset >= size ? -ENXIO : size;
    default:
      return -EINVAL;
  }
  const next = base + offset;
  return next < 0 || next > MAX_FILE_BYTES ? -EINVAL : next;
}

function regularSeek(file: F, offset: number, whence: number): number {
  const inode = File.inode.get(file);
  const size = Inode.size.racy(inode);
  if (whence !== SEEK_DATA && whence !== SEEK_HOLE)
    return seekSized(size, File.pos.racy(file), offset, whence);
  if (offset < 0 || offset >= size) return -ENXIO;
  // Pages that were never written are the holes.
  const mapping = Inode.mapping.get(inode) as Ref<"mapping">;
  const first = Math.floor(offset / PAGE_SIZE);
  const end = Math.ceil(size / PAGE_SIZE);
  if (whence === SEEK_DATA) {
    // From page to page: the hole between them may be terabytes long.
    let data = end;
    treeWalk(mapping, first, (index) => {
      data = index;
      return false;
    });
    return data < end ? Math.max(offset, data * PAGE_SIZE) : -ENXIO;
  }
  let hole = first;
  treeWalk(mapping, first, (index) => index === hole && ++hole < end);
  return hole < end ? Math.max(offset, hole * PAGE_SIZE) : size;
}

/** A write this long is in one piece for everybody else, as appends to a log are meant to be. */
const PART_BYTES = 1 << 21;

export const regularOps: FileOps = {
  seekable: true,
  part: PART_BYTES,
  read: pageCacheRead,
  write: regularWrite,
  lseek: regularSeek,
  fsync: () => 0,
};
registerFileOps(FOPS.REGULAR, regularOps);
