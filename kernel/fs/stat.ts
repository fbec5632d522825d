/** stat(2), statx(2), statfs(2): inode attributes in the layouts of riscv64. */
import type { Ref } from "../../rcu/index.ts";
import { Mapping } from "../mm/mapping.ts";
import {
  MS_NOATIME,
  MS_NODEV,
  MS_NODIRATIME,
  MS_NOEXEC,
  MS_NOSUID,
  ST_NOATIME,
  ST_NODEV,
  ST_NODIRATIME,
  ST_NOEXEC,
  ST_NOSUID,
  ST_RDONLY,
  ST_VALID,
} from "../uapi/mount.ts";
import {
  encodeDev,
  major,
  minor,
  S_IFMT,
  S_IFREG,
  STAT,
  STATFS,
  STATX,
  STATX_BASIC_STATS,
  STATX_BTIME,
  STATX_MNT_ID,
} from "../uapi/stat.ts";
import { ATIME, BTIME, CTIME, Inode, inodeNanoseconds, inodeSeconds, MTIME } from "./inode.ts";
import { Mount, mountReadOnly } from "./mount.ts";
import { inodeOpsOf, superOpsOf } from "./ops.ts";
import { Superblock } from "./super.ts";

type I = Ref<"inode">;
const BLKSIZE = 4096;
const buffer = new Uint8Array(STATX.BYTES);
const view = new DataView(buffer.buffer);

function put64(offset: number, value: number): void {
  view.setUint32(offset, value >>> 0, true);
  view.setInt32(offset + 4, Math.floor(value / 4294967296), true);
}

function blocksOf(inode: I): number {
  const known = Inode.blocks.get(inode);
  if (known !== 0) return known;
  if ((Inode.mode.peek(inode) & S_IFMT) !== S_IFREG) return 0;
  const mapping = Inode.mapping.get(inode);
  return mapping === 0 ? 0 : Mapping.nrPages.peek(mapping) * 8;
}

/** Brings the attributes up to date where the file system has them elsewhere: 0 or -errno. */
export const refreshInode = (inode: I): number => inodeOpsOf(Inode.iops.get(inode)).getattr?.(inode) ?? 0;

/** struct stat of the inode, in a buffer of this thread that the next call overwrites; or -errno. */
export function statBytes(inode: I): Uint8Array | number {
  const error = refreshInode(inode);
  if (error < 0) return error;
  buffer.fill(0, 0, STAT.BYTES);
  put64(STAT.DEV, encodeDev(Superblock.dev.get(Inode.sb.get(inode))));
  put64(STAT.INO, Inode.ino.get(inode));
  view.setUint32(STAT.MODE, Inode.mode.peek(inode), true);
  view.setUint32(STAT.NLINK, Inode.nlink.peek(inode), true);
  view.setUint32(STAT.UID, Inode.uid.peek(inode), true);
  view.setUint32(STAT.GID, Inode.gid.peek(inode), true);
  put64(STAT.RDEV, encodeDev(Inode.rdev.get(inode)));
  put64(STAT.SIZE, Inode.size.racy(inode));
  view.setInt32(STAT.BLKSIZE, BLKSIZE, true);
  put64(STAT.BLOCKS, blocksOf(inode));
  put64(STAT.ATIME, inodeSeconds(inode, ATIME));
  view.setUint32(STAT.ATIME + 8, inodeNanoseconds(inode, ATIME), true);
  put64(STAT.MTIME, inodeSeconds(inode, MTIME));
  view.setUint32(STAT.MTIME + 8, inodeNanoseconds(inode, MTIME), true);
  put64(STAT.CTIME, inodeSeconds(inode, CTIME));
  view.setUint32(STAT.CTIME + 8, inodeNanoseconds(inode, CTIME), true);
  return statView;
}
const statView = buffer.subarray(0, STAT.BYTES);

function putTime(offset: number, inode: I, which: number): void {
  put64(offset, inodeSeconds(inode, which));
  view.setUint32(offset + 8, inodeNanoseconds(inode, which), true);
  view.setUint32(offset + 12, 0, true);
}

/** struct statx of the inode, in a buffer of this thread that the next call overwrites; or -errno. */
export function statxBytes(inode: I, mount: Ref<"mount"> | 0): Uint8Array | number {
  const error = refreshInode(inode);
  if (error < 0) return error;
  buffer.fill(0);
  view.setUint32(STATX.MASK, STATX_BASIC_STATS | STATX_BTIME | (mount !== 0 ? STATX_MNT_ID : 0), true);
  view.setUint32(STATX.BLKSIZE, BLKSIZE, true);
  view.setUint32(STATX.NLINK, Inode.nlink.peek(inode), true);
  view.setUint32(STATX.UID, Inode.uid.peek(inode), true);
  view.setUint32(STATX.GID, Inode.gid.peek(inode), true);
  view.setUint16(STATX.MODE, Inode.mode.peek(inode), true);
  put64(STATX.INO, Inode.ino.get(inode));
  put64(STATX.SIZE, Inode.size.racy(inode));
  put64(STATX.BLOCKS, blocksOf(inode));
  putTime(STATX.ATIME, inode, ATIME);
  putTime(STATX.BTIME, inode, BTIME);
  putTime(STATX.CTIME, inode, CTIME);
  putTime(STATX.MTIME, inode, MTIME);
  const rdev = Inode.rdev.get(inode);
  const dev = Superblock.dev.get(Inode.sb.get(inode));
  view.setUint32(STATX.RDEV_MAJOR, major(rdev), true);
  view.setUint32(STATX.RDEV_MINOR, minor(rdev), true);
  view.setUint32(STATX.DEV_MAJOR, major(dev), true);
  view.setUint32(STATX.DEV_MINOR, minor(dev), true);
  if (mount !== 0) put64(STATX.MNT_ID, Mount.id.get(mount));
  return buffer;
}

/** struct statfs of the file system that the inode is in; or -errno. */
export function statfsBytes(inode: I, mount: Ref<"mount"> | 0): Uint8Array | number {
  const sb = Inode.sb.get(inode);
  const info = superOpsOf(Superblock.sops.get(sb)).statfs?.(sb) ?? {
    type: Superblock.magic.get(sb),
    bsize: BLKSIZE,
    blocks: 0,
    bfree: 0,
    bavail: 0,
    files: 0,
    ffree: 0,
    namelen: 255,
  };
  if (typeof info === "number") return info;
  buffer.fill(0, 0, STATFS.BYTES);
  put64(STATFS.TYPE, info.type);
  put64(STATFS.BSIZE, info.bsize);
  put64(STATFS.BLOCKS, info.blocks);
  put64(STATFS.BFREE, info.bfree);
  put64(STATFS.BAVAIL, info.bavail);
  put64(STATFS.FILES, info.files);
  put64(STATFS.FFREE, info.ffree);
  view.setUint32(STATFS.FSID, Superblock.dev.get(sb), true);
  put64(STATFS.NAMELEN, info.namelen);
  put64(STATFS.FRSIZE, info.bsize);
  put64(STATFS.FLAGS, mount === 0 ? ST_VALID : mountStatFlags(mount));
  return buffer.subarray(0, STATFS.BYTES);
}

const ST_FLAGS = [
  [MS_NOSUID, ST_NOSUID],
  [MS_NODEV, ST_NODEV],
  [MS_NOEXEC, ST_NOEXEC],
  [MS_NOATIME, ST_NOATIME],
  [MS_NODIRATIME, ST_NODIRATIME],
] as const;

function mountStatFlags(mount: Ref<"mount">): number {
  let flags = ST_VALID | (mountReadOnly(mount) ? ST_RDONLY : 0);
  for (const [ms, st] of ST_FLAGS) if ((Mount.flags.peek(mount) & ms) !== 0) flags |= st;
  return flags;
}
