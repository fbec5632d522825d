/**
 * Operation tables of files, inodes and file systems.
 *
 * Code cannot live in the shared heap, so objects hold small fixed numbers and every worker keeps its own table of
 * code by number. The numbers are part of the heap's format: they are constants here, never handed out at run time.
 */
import type { Ptr, Ref } from "../../rcu/index.ts";
import type { UserIo } from "../mm/iov.ts";

type Inode = Ref<"inode">;
type File = Ref<"file">;

/** Kinds of open files: File.fops. */
export const FOPS = {
  NONE: 0,
  /** Content in the page cache of the inode's mapping (tmpfs, memfd). */
  REGULAR: 1,
  /** Directory whose entries are its dentries (tmpfs). */
  DIR: 2,
  PIPE: 3,
  EVENTFD: 4,
  EPOLL: 5,
  NULL: 6,
  ZERO: 7,
  FULL: 8,
  RANDOM: 9,
  TTY: 10,
  PROC: 11,
  /** Regular file of the host, through the page cache. */
  HOSTFS: 12,
  SOCKET: 13,
  TIMERFD: 14,
  SIGNALFD: 15,
  PIDFD: 16,
  /** Character device node: open() looks the driver up by device number and changes File.fops to the driver's. */
  CHRDEV: 17,
  /** FIFO node: open() attaches the inode's pipe and changes File.fops to PIPE. */
  FIFO: 18,
  HOSTFS_DIR: 19,
  PROC_DIR: 20,
  /** O_PATH files: no operation works. */
  PATH: 21,
  INOTIFY: 22,
  CONSOLE: 23,
  PTMX: 24,
  PTS: 25,
  /** First number free for modules from outside. */
  MODULE: 32,
} as const;

/** Kinds of inodes: Inode.iops. */
export const IOPS = {
  NONE: 0,
  TMPFS: 1,
  HOSTFS: 2,
  PROC: 3,
  /** Inodes of pipes, sockets, epoll instances: no names, no operations. */
  ANON: 4,
  MODULE: 32,
} as const;

/** Kinds of file systems: Superblock.sops. */
export const SOPS = {
  NONE: 0,
  TMPFS: 1,
  HOSTFS: 2,
  PROC: 3,
  ANON: 4,
  SYSFS: 5,
  DEVPTS: 6,
  MODULE: 32,
} as const;

/** Readiness mask that poll returns for files without a poll operation: always readable and writable. */
export const DEFAULT_POLLMASK = 0x0001 | 0x0004 | 0x0040 | 0x0100;

/**
 * Called for each directory entry; false means that the buffer is full and the entry was not taken.
 * `type` is a DT_ constant, `nextPos` the file position that resumes after this entry.
 */
export type DirEmit = (name: string | Uint8Array, ino: number, type: number, nextPos: number) => boolean;

/**
 * What an open file can do. Every call returns a value >= 0 or -errno. A read or write that would have to wait returns
 * -EAGAIN; the caller waits on the file's wait queues and calls again (O_NONBLOCK: hands -EAGAIN to the program).
 */
export interface FileOps {
  /** After allocFile, before the file is published: may change File.fops and File.priv. After -errno nothing is called for the file any
   * more. After BLOCK it stays with the call, which calls this again with it, or `release` when the call is given up.
   */
  open?(inode: Inode, file: File, flags: number): number;
  /** Bytes read. `pos` is the byte offset, 0 for streams. */
  read?(file: File, io: UserIo, pos: number): number;
  write?(file: File, io: UserIo, pos: number): number;
  /** POLL mask that is true now. */
  poll?(file: File): number;
  /** Calls `visit` with the address of every wait queue whose wake-up may change poll()'s answer. */
  waitQueues?(file: File, visit: (wq: number) => void): void;
  /** ioctl(2): `arg` is the raw argument (unsigned). -ENOTTY for commands that it does not know. */
  ioctl?(file: File, cmd: number, arg: number): number;
  /** New position; -ESPIPE for streams. Without it: size from the inode when `seekable`, else -ESPIPE. */
  lseek?(file: File, offset: number, whence: number): number;
  /** Positions have a meaning: pread, lseek and the shared file position work. */
  readonly seekable?: boolean;
  /**
   * Bytes that take about a millisecond: longer transfers are made of several read() and write() calls, between which others get
   * the CPU (read-write.ts). Without it a transfer is one call, however long.
   */
  readonly part?: number;
  /** Directory entries from `pos` on: returns 0 or -errno. Sets no position itself. */
  iterate?(file: File, pos: number, emit: DirEmit): number;
  /** The mapping that mmap shows; without it Inode.mapping, and -ENODEV when there is none. */
  mmap?(file: File): Ptr<"mapping"> | number;
  /** Every close(2) of a descriptor, in the closing task. */
  flush?(file: File, task: Ptr<"task">): number;
  /** Once, when the last count is gone. Memory goes by RCU afterwards. */
  release?(file: File): void;
  fsync?(file: File, dataOnly: boolean): number;
  /** Bytes that a read would give now, for FIONREAD. */
  available?(file: File): number;
  /** Text of /proc/PID/fdinfo beyond pos, flags and mnt_id; where it may be long in pieces, from 0 on: its text, and where the next begins or -1. */
  fdinfo?(file: File, from: number): string | { text: string; next: number };
}

/** What changes in setattr: only the given fields. */
export interface Attr {
  mode?: number;
  uid?: number;
  gid?: number;
  size?: number;
  atime?: { seconds: number; nanoseconds: number };
  mtime?: { seconds: number; nanoseconds: number };
}

/**
 * What an inode can do. Calls that change a directory run with the directory's inode lock held, in `rename` with both
 * directories' locks. Names are bytes without "/" or NUL; they are the caller's scratch, copy what you keep.
 * Lookups and creations return an inode *with a count for the caller*.
 */
export interface InodeOps {
  /** The inode of that name with a count, 0 when there is none, or -errno. Absent: the dentries are all there is. */
  lookup?(dir: Inode, name: Uint8Array): Inode | number;
  /** Whether a cached dentry still tells the truth. `inode` is 0 for a negative one. Called without locks. */
  revalidate?(dir: Inode, name: Uint8Array, inode: Ptr<"inode">): boolean;
  create?(dir: Inode, name: Uint8Array, mode: number): Inode | number;
  mkdir?(dir: Inode, name: Uint8Array, mode: number): Inode | number;
  mknod?(dir: Inode, name: Uint8Array, mode: number, rdev: number): Inode | number;
  symlink?(dir: Inode, name: Uint8Array, target: Uint8Array): Inode | number;
  /** An inode without a name (O_TMPFILE). */
  tmpfile?(dir: Inode, mode: number): Inode | number;
  link?(dir: Inode, name: Uint8Array, inode: Inode): number;
  unlink?(dir: Inode, name: Uint8Array, inode: Inode): number;
  rmdir?(dir: Inode, name: Uint8Array, inode: Inode): number;
  /** `target` is what newName names now, or 0. `flags`: RENAME_EXCHANGE or 0. */
  rename?(
    oldDir: Inode,
    oldName: Uint8Array,
    newDir: Inode,
    newName: Uint8Array,
    inode: Inode,
    target: Ptr<"inode">,
    flags: number,
  ): number;
  /** Target of a symbolic link. */
  readlink?(inode: Inode): Uint8Array | number;
  /** Magic link (procfs): fills `link.mount` and `link.dentry` with live objects, no counts; 0 or -errno. */
  followLink?(inode: Inode, link: { mount: Ref<"mount">; dentry: Ref<"dentry"> }): number;
  /** Brings mode, size, times... of the inode up to date before they are reported. */
  getattr?(inode: Inode): number;
  /**
   * Makes the change in the file system: permissions are checked, the inode's lock is held, the VFS changes the inode
   * afterwards.
   */
  setattr?(inode: Inode, attr: Attr): number;
  /** Extra permission rule; `mask` is MAY_READ | MAY_WRITE | MAY_EXEC. */
  permission?(inode: Inode, mask: number): number;
}

export interface StatFs {
  type: number;
  bsize: number;
  blocks: number;
  bfree: number;
  bavail: number;
  files: number;
  ffree: number;
  namelen: number;
}

export interface SuperOps {
  /** Name in /proc/filesystems and /proc/mounts. */
  readonly name: string;
  statfs?(sb: Ref<"superblock">): StatFs | number;
  /** The last count of an inode is gone and nlink is 0 (or the cache drops it): free what the file system holds for it. */
  evict?(inode: Inode): void;
  sync?(sb: Ref<"superblock">): number;
  /** Extra mount options for /proc/mounts, "" for none. */
  options?(sb: Ref<"superblock">): string;
  /** mount(2) with MS_REMOUNT gave these options: 0 or -errno. */
  remount?(sb: Ref<"superblock">, options: string): number;
  /** The file system is unmounted for good. */
  kill?(sb: Ref<"superblock">): void;
}

/**
 * A file system type by name, for mount(2) and the boot. `mount` returns a superblock with its root dentry set
 * (Superblock.root), or -errno. `source` and `options` are as mount(2) gave them.
 */
export interface FileSystemType {
  readonly name: string;
  /** Not backed by a device: shown as "nodev" in /proc/filesystems. */
  readonly nodev: boolean;
  /** Only the machine's set-up may mount it: its source names something outside the machine. */
  readonly hostOnly?: boolean;
  mount(source: string, flags: number, options: string): Ref<"superblock"> | number;
}

const fileOpsTable: FileOps[] = [];
const inodeOpsTable: InodeOps[] = [];
const superOpsTable: SuperOps[] = [];
const typeTable: FileSystemType[] = [];
/** Character device drivers: major -> minor (or -1 for every minor) -> FOPS number. */
const charDevices = new Map<number, number>();

// What is registered is copied into an object that has every property, in one order: V8 then knows where an operation
// is without looking, whatever kind of file it finds.

/** The same, with the properties that are absent there. */
type Whole<T> = { [K in keyof Required<T>]: T[K] | undefined };

const wholeFileOps = (ops: FileOps): FileOps => {
  const whole: Whole<FileOps> = {
    open: ops.open,
    read: ops.read,
    write: ops.write,
    poll: ops.poll,
    waitQueues: ops.waitQueues,
    ioctl: ops.ioctl,
    lseek: ops.lseek,
    seekable: ops.seekable,
    part: ops.part,
    iterate: ops.iterate,
    mmap: ops.mmap,
    flush: ops.flush,
    release: ops.release,
    fsync: ops.fsync,
    available: ops.available,
    fdinfo: ops.fdinfo,
  };
  return whole as FileOps;
};
const wholeInodeOps = (ops: InodeOps): InodeOps => {
  const whole: Whole<InodeOps> = {
    lookup: ops.lookup,
    revalidate: ops.revalidate,
    create: ops.create,
    mkdir: ops.mkdir,
    mknod: ops.mknod,
    symlink: ops.symlink,
    tmpfile: ops.tmpfile,
    link: ops.link,
    unlink: ops.unlink,
    rmdir: ops.rmdir,
    rename: ops.rename,
    readlink: ops.readlink,
    followLink: ops.followLink,
    getattr: ops.getattr,
    setattr: ops.setattr,
    permission: ops.permission,
  };
  return whole as InodeOps;
};
const wholeSuperOps = (ops: SuperOps): SuperOps => {
  const whole: Whole<SuperOps> = {
    name: ops.name,
    statfs: ops.statfs,
    evict: ops.evict,
    sync: ops.sync,
    options: ops.options,
    remount: ops.remount,
    kill: ops.kill,
  };
  return whole as SuperOps;
};

/** What was registered as what: by number. */
const registered = new Map<number, FileOps>();
for (let id = 0; id < 64; id++) {
  fileOpsTable.push(wholeFileOps({}));
  inodeOpsTable.push(wholeInodeOps({}));
  superOpsTable.push(wholeSuperOps({ name: "none" }));
}

export function registerFileOps(id: number, ops: FileOps): void {
  if ((registered.get(id) ?? ops) !== ops) throw new Error(`file operations ${id} registered twice`);
  registered.set(id, ops);
  fileOpsTable[id] = wholeFileOps(ops);
}
export function registerInodeOps(id: number, ops: InodeOps): void {
  inodeOpsTable[id] = wholeInodeOps(ops);
}
export function registerSuperOps(id: number, ops: SuperOps): void {
  superOpsTable[id] = wholeSuperOps(ops);
}
export const fileOpsOf = (id: number): FileOps => fileOpsTable[id]!;
export const inodeOpsOf = (id: number): InodeOps => inodeOpsTable[id]!;
export const superOpsOf = (id: number): SuperOps => superOpsTable[id]!;

export function registerFileSystem(type: FileSystemType): void {
  if (!typeTable.some((known) => known.name === type.name)) typeTable.push(type);
}
export const fileSystemType = (name: string): FileSystemType | undefined =>
  typeTable.find((t) => t.name === name);
export const fileSystemTypes = (): readonly FileSystemType[] => typeTable;

/** Connects device nodes (major, minor) to file operations; minor -1 serves every minor without its own entry. */
export function registerCharDevice(major: number, minor: number, fops: number): void {
  charDevices.set(major * 0x100000 + minor + 1, fops);
}
/** FOPS number of a device's driver, or 0. */
export function charDeviceFops(major: number, minor: number): number {
  return charDevices.get(major * 0x100000 + minor + 1) ?? charDevices.get(major * 0x100000) ?? 0;
}
