/** inode(7), stat(2), statx(2). */
export const S_IFMT = 0o170000;
export const S_IFSOCK = 0o140000;
export const S_IFLNK = 0o120000;
export const S_IFREG = 0o100000;
export const S_IFBLK = 0o060000;
export const S_IFDIR = 0o040000;
export const S_IFCHR = 0o020000;
export const S_IFIFO = 0o010000;
export const S_ISUID = 0o4000;
export const S_ISGID = 0o2000;
export const S_ISVTX = 0o1000;
export const S_IXGRP = 0o010;

export const UTIME_NOW = 0x3fffffff;
export const UTIME_OMIT = 0x3ffffffe;

/** struct stat of asm-generic (riscv64), byte offsets. */
export const STAT = {
  DEV: 0,
  INO: 8,
  MODE: 16,
  NLINK: 20,
  UID: 24,
  GID: 28,
  RDEV: 32,
  SIZE: 48,
  BLKSIZE: 56,
  BLOCKS: 64,
  ATIME: 72,
  MTIME: 88,
  CTIME: 104,
  BYTES: 128,
} as const;

/** struct statx, byte offsets. */
export const STATX = {
  MASK: 0,
  BLKSIZE: 4,
  ATTRIBUTES: 8,
  NLINK: 16,
  UID: 20,
  GID: 24,
  MODE: 28,
  INO: 32,
  SIZE: 40,
  BLOCKS: 48,
  ATTRIBUTES_MASK: 56,
  ATIME: 64,
  BTIME: 80,
  CTIME: 96,
  MTIME: 112,
  RDEV_MAJOR: 128,
  RDEV_MINOR: 132,
  DEV_MAJOR: 136,
  DEV_MINOR: 140,
  MNT_ID: 144,
  BYTES: 256,
} as const;
export const STATX_BASIC_STATS = 0x7ff;
export const STATX_BTIME = 0x800;
export const STATX_MNT_ID = 0x1000;
export const STATX__RESERVED = 0x80000000;

/** struct statfs of riscv64, byte offsets. */
export const STATFS = {
  TYPE: 0,
  BSIZE: 8,
  BLOCKS: 16,
  BFREE: 24,
  BAVAIL: 32,
  FILES: 40,
  FFREE: 48,
  FSID: 56,
  NAMELEN: 64,
  FRSIZE: 72,
  FLAGS: 80,
  BYTES: 120,
} as const;

/** Device number as the kernel keeps it: major << 20 | minor. */
export const makedev = (major: number, minor: number): number => (major << 20) | minor;
export const major = (dev: number): number => dev >>> 20;
export const minor = (dev: number): number => dev & 0xfffff;
/** The 64-bit encoding that stat and mknod use; below 2^53 for our device numbers. */
export function encodeDev(dev: number): number {
  const ma = major(dev);
  const mi = minor(dev);
  return ((mi & 0xff) | ((ma & 0xfff) << 8)) + (mi >>> 8) * 0x100000;
}
export function decodeDev(dev: number): number {
  const low = dev % 0x100000000;
  return makedev((low >>> 8) & 0xfff, (low & 0xff) | ((low >>> 12) & 0xfff00));
}
