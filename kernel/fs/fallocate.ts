/** fallocate(2): reserving, punching and zeroing ranges of files whose content is the page cache, and of host files. */
import type { Ref } from "../../rcu/index.ts";
import { invalidatePart, mappingPage, mappingTruncate } from "../mm/pagecache.ts";
import { PAGE_SIZE, ram } from "../mm/ram.ts";
import { YIELD } from "../sched/block.ts";
import { partAlso, partDone, yieldWhole } from "../sched/yield.ts";
import {
  EBADF,
  EFBIG,
  EINVAL,
  EISDIR,
  ENODEV,
  ENOMEM,
  ENOSPC,
  EOPNOTSUPP,
  EPERM,
  ESPIPE,
} from "../uapi/errno.ts";
import {
  F_SEAL_FUTURE_WRITE,
  F_SEAL_GROW,
  F_SEAL_WRITE,
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE,
  FALLOC_FL_ZERO_RANGE,
} from "../uapi/fcntl.ts";
import { S_IFDIR, S_IFIFO, S_IFREG } from "../uapi/stat.ts";
import { MAX_FILE_BYTES, truncateInode, writeLimit } from "./attr.ts";
import { File, FMODE_WRITE } from "./file.ts";
import { CTIME, Inode, inodeLock, inodeTouch, inodeType, inodeUnlock, MTIME } from "./inode.ts";
import { FOPS } from "./ops.ts";

type I = Ref<"inode">;

const SUPPORTED = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE;

export function fallocateFile(file: Ref<"file">, mode: number, offset: number, length: number): number {
  if (offset < 0 || length <= 0) return -EINVAL;
  if ((mode & ~SUPPORTED) !== 0) return -EOPNOTSUPP;
  if ((File.mode.get(file) & FMODE_WRITE) === 0) return -EBADF;
  const inode = File.inode.get(file);
  const type = inodeType(inode);
  if (type !== S_IFREG) return type === S_IFDIR ? -EISDIR : type === S_IFIFO ? -ESPIPE : -ENODEV;
  const keep = (mode & FALLOC_FL_KEEP_SIZE) !== 0;
  if (offset + length > MAX_FILE_BYTES) return -EFBIG;
  switch (mode & ~FALLOC_FL_KEEP_SIZE) {
    case 0:
      return allocate(file, inode, offset, length, keep);
    case FALLOC_FL_PUNCH_HOLE:
      if (!keep) return -EOPNOTSUPP; // Linux asks for it: a hole has no size of its own.
      return zeroRange(file, inode, offset, length);
    case FALLOC_FL_ZERO_RANGE: {
      // In a later run the range may be empty already, but for what this call has taken.
      const error = partAlso() === ALLOCATES && partDone() !== 0 ? 0 : zeroRange(file, inode, offset, length);
      return error < 0 ? error : allocate(file, inode, offset, length, keep);
    }
    default:
      return -EOPNOTSUPP;
  }
}

/** What partAlso() says while pages are taken, and not while a hole is made. */
const ALLOCATES = 1;

function allocate(file: Ref<"file">, inode: I, offset: number, length: number, keep: boolean): number {
  const seals = Inode.seals.load(inode);
  const grows = offset + length > Inode.size.racy(inode);
  if (grows && (seals & F_SEAL_GROW) !== 0) return -EPERM;
  if (grows && !keep) {
    const limit = writeLimit(offset + length - 1, 1);
    if (limit < 0) return limit;
  }
  // Pages of a file in memory are really taken, so that later writes do not run out.
  if (File.fops.get(file) === FOPS.REGULAR) {
    const mapping = Inode.mapping.get(inode) as Ref<"mapping">;
    const first = Math.floor(offset / PAGE_SIZE);
    const done = partAlso() === ALLOCATES ? partDone() : 0;
    for (let index = first + done; index * PAGE_SIZE < offset + length; index++) {
      const frame = mappingPage(mapping, index, true);
      const stop = frame < 0 ? frame : yieldWhole(index + 1 - first, ALLOCATES);
      if (stop === 0) continue;
      if (stop === YIELD) return stop;
      if (grows) dropBeyondEnd(inode, mapping);
      return stop === -ENOMEM ? -ENOSPC : stop;
    }
  }
  return grows && !keep ? truncateInode(inode, offset + length) : 0;
}

/** The call failed: what it has taken behind the end of the file is given back. */
function dropBeyondEnd(inode: I, mapping: Ref<"mapping">): void {
  const held = inodeLock(inode);
  mappingTruncate(mapping, Inode.size.get(held, inode));
  inodeUnlock(inode);
}

/**
 * Bytes [offset, offset + length) within the file read as zero; whole pages are given back, in parts: who reads or writes there meanwhile
 * comes before or after the part that is his. 0, -errno or YIELD.
 */
function zeroRange(file: Ref<"file">, inode: I, offset: number, length: number): number {
  if (File.fops.get(file) !== FOPS.REGULAR) return -EOPNOTSUPP;
  const mapping = Inode.mapping.get(inode) as Ref<"mapping">;
  const first = Math.ceil(offset / PAGE_SIZE);
  for (let at = first + partDone(); ; ) {
    if ((Inode.seals.load(inode) & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)) !== 0) return -EPERM;
    const held = inodeLock(inode);
    const end = Math.min(offset + length, Math.ceil(Inode.size.get(held, inode) / PAGE_SIZE) * PAGE_SIZE);
    const last = Math.floor(end / PAGE_SIZE);
    if (at < last) at = invalidatePart(mapping, at, last);
    if (at >= last) {
      zeroEnds(mapping, offset, end, first, last);
      inodeTouch(inode, (1 << MTIME) | (1 << CTIME));
    }
    inodeUnlock(inode);
    if (at >= last) return 0;
    const stop = yieldWhole(at - first);
    if (stop !== 0) return stop;
  }
}

/** Of a range of bytes, what lies outside of pages [first, last) reads as zero. */
function zeroEnds(mapping: Ref<"mapping">, offset: number, end: number, first: number, last: number): void {
  const clear = (from: number, to: number): void => {
    if (from >= to) return;
    const frame = mappingPage(mapping, Math.floor(from / PAGE_SIZE), false);
    const at = frame + (from % PAGE_SIZE);
    if (frame > 0) ram.u8.fill(0, at, at + (to - from));
  };
  if (first > last) clear(offset, end);
  else {
    clear(offset, Math.min(end, first * PAGE_SIZE));
    clear(Math.max(offset, last * PAGE_SIZE), end);
  }
}
