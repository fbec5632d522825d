/**
 * Open files: what fork() and dup() share.
 *
 * Counted by descriptor tables and whoever keeps one. A handler may use a file that it found with fget() without
 * a count (fdtable.ts): when the last count goes, flush and release run as a delayed release in the closing task, but the
 * inode and the memory go only after a grace period.
 */
import {
  atomic,
  callRcu,
  defineReclaimer,
  defineReleaser,
  fixed,
  free,
  freeString,
  listNode,
  liveObjects,
  lockedWide,
  owned,
  type Ptr,
  queueRelease,
  type Ref,
  spinlock,
  struct,
  tryAlloc,
  tryAllocString,
} from "../../rcu/index.ts";
import { kernelGlobal } from "../global.ts";
import { current } from "../sched/current.ts";
import { defineLater, LATER_RELEASE, laterByAnyone, laterByTask } from "../sched/later.ts";
import { limit } from "../task/limits.ts";
import { Task } from "../task/task.ts";
import { ENFILE, ENOMEM } from "../uapi/errno.ts";
import {
  O_ACCMODE,
  O_APPEND,
  O_CLOEXEC,
  O_CREAT,
  O_EXCL,
  O_NOCTTY,
  O_NONBLOCK,
  O_PATH,
  O_TRUNC,
  RWF_APPEND,
  RWF_NOAPPEND,
  RWF_NOWAIT,
} from "../uapi/fcntl.ts";
import { ANON_INODE_FS_MAGIC } from "../uapi/mount.ts";
import { S_IFIFO, S_IFMT } from "../uapi/stat.ts";
import { dput } from "./dcache.ts";
import { Inode, igrab, iput, newInode } from "./inode.ts";
import { mntPut } from "./mount.ts";
import { FOPS, fileOpsOf, IOPS, registerFileOps, registerSuperOps, SOPS } from "./ops.ts";
import { sbAlloc, sbNextIno } from "./super.ts";

/** File.mode. */
export const FMODE_READ = 1;
export const FMODE_WRITE = 2;
/** Positions work: lseek, pread, pwrite. */
export const FMODE_LSEEK = 4;
/** O_PATH: names a place, nothing else. */
export const FMODE_PATH = 8;
/** Counted in Inode.writecount. */
export const FMODE_WRITER = 16;
export const FMODE_EXEC = 32;

export const File = struct("file", {
  // Constant after open() returned.
  fops: owned(),
  mode: owned(),
  inode: fixed<Ref<"inode">>(),
  /** 0 for files without a name (pipes, epoll): they count their inode instead. */
  dentry: fixed<Ptr<"dentry">>(),
  mount: fixed<Ptr<"mount">>(),
  /** "anon_inode:[eventfd]" and the like, for /proc/PID/fd; 0 for named files. */
  label: fixed<Ptr<"string">>(),

  // Any CPU, any time.
  refcount: atomic(),
  /** O_APPEND | O_NONBLOCK ... and the access mode, as F_GETFL gives them. */
  flags: atomic(),
  /** The driver's object. */
  priv: atomic(),
  priv2: atomic(),
  /** Of the counts, those in flight (ipc/inflight.ts, whose lock guards it); kept for sockets only. */
  inflight: atomic(),
  inflightNode: listNode(),
  /** Which candidate of the last collection it was (ipc/unix-gc.ts), under the same lock. */
  gcNumber: owned(),
  /** Its lock of flock(2), and whose lock guards it: locks.ts. */
  flock: owned(),
  /** First item of the epoll instances that watch this file (ipc/epoll). */
  epoll: atomic(),
  /** F_SETOWN (a process group is negative), F_SETOWN_EX, F_SETSIG. */
  owner: atomic(),
  ownerIsThread: atomic(),
  signal: atomic(),

  // This lock, held across reads and writes that use it.
  posLock: spinlock(7),
  pos: lockedWide("posLock"),
});
type F = Ref<"file">;

/** Counting all open files takes a while: it is done once in so many opens, and at each one while there are too many. */
const LOOK_MASK = 15;
let opened = 0;
let full = false;
/** Descriptors of a process that may open files beyond file-max, and by what part of that: so that others get on beside a bomb. */
const FEW = 256;

/** /proc/sys/fs/file-max. */
function tooManyFiles(): boolean {
  const most = limit("fileMax");
  const files = liveObjects(File);
  full = files >= most;
  if (!full) return false;
  const task = current();
  const table = task === 0 ? 0 : Task.files.access(task);
  return files >= most * 1.25 || (table !== 0 && tableSize(table) > FEW);
}

let tableSize: (files: Ref<"files">) => number = () => 0;
/** Sets what tells how large a descriptor table is (fdtable.ts). */
export function onTableSize(size: typeof tableSize): void {
  tableSize = size;
}

/** Flags of open(2) that do not stay with the file. */
const OPEN_ONLY = O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_CLOEXEC;

/**
 * A file with one count, not yet in any table. Takes over the caller's counts of inode (when dentry is 0), or dentry
 * and mount. `mode` is FMODE_*; `flags` are open flags. -ENOMEM and -ENFILE leave the counts with the caller.
 */
export function newFile(
  inode: Ref<"inode">,
  dentry: Ptr<"dentry">,
  mount: Ptr<"mount">,
  fops: number,
  mode: number,
  flags: number,
): F | number {
  if (((++opened & LOOK_MASK) === 0 || full) && tooManyFiles()) return -ENFILE;
  const file = tryAlloc(File);
  if (file === 0) return -ENOMEM;
  File.fops.set(file, fops);
  File.mode.set(file, mode);
  File.inode.init(file, inode);
  File.dentry.init(file, dentry);
  File.mount.init(file, mount);
  File.refcount.init(file, 1);
  File.flags.init(file, flags & ~OPEN_ONLY);
  return file;
}

/** FMODE_READ | FMODE_WRITE from the access mode in open flags. */
export function flagsToMode(flags: number): number {
  if ((flags & O_PATH) !== 0) return FMODE_PATH;
  switch (flags & O_ACCMODE) {
    case 0:
      return FMODE_READ;
    case 1:
      return FMODE_WRITE;
    case 2:
      return FMODE_READ | FMODE_WRITE;
    default:
      return 0; // Access mode 3: ioctl only.
  }
}

/** A file without a name on an inode of the anonymous file system (0: the shared one). Takes over the inode's count. */
export function allocFile(inode: Ptr<"inode">, fops: number, mode: number, flags: number): F | number {
  const on = inode !== 0 ? inode : sharedAnonInode();
  const file = newFile(on, 0, 0, fops, mode, flags);
  if (file < 0 && inode === 0) iput(on);
  return file;
}

/** eventfd, epoll, timerfd...: `priv` becomes File.priv, `name` as in "[eventfd]" is shown by /proc/PID/fd. */
export function anonInodeFile(fops: number, priv: number, flags: number, name: string): F | number {
  const label = tryAllocString(`anon_inode:${name}`);
  if (label === 0) return -ENOMEM;
  const file = allocFile(0, fops, flagsToMode(flags), flags);
  if (file < 0) {
    freeString(label);
    return file;
  }
  File.label.init(file as F, label);
  File.priv.init(file as F, priv);
  return file;
}

const anonSb = kernelGlobal<Ref<"superblock">>("anonymous superblock");
const anonInode = kernelGlobal<Ref<"inode">>("anonymous inode");

/** Once per machine, at boot. False when the heap is full. */
export function fileInit(): boolean {
  const sb = sbAlloc(SOPS.ANON, 0, ANON_INODE_FS_MAGIC, "anon_inodefs");
  if (sb === 0) return false;
  const inode = newInode(sb, sbNextIno(sb), 0o600, IOPS.ANON, FOPS.NONE);
  if (inode === 0) return false;
  anonSb.init(sb);
  anonInode.init(inode);
  return true;
}

function sharedAnonInode(): Ref<"inode"> {
  const inode = anonInode.get();
  igrab(inode);
  return inode;
}

/** An inode of its own for a pipe or socket (`mode` with S_IFIFO or S_IFSOCK): one count, 0 when memory is short. */
export function newAnonInode(mode: number): Ref<"inode"> | 0 {
  const sb = anonSb.get();
  // Opening a pipe again through /proc/PID/fd is opening a FIFO.
  return newInode(sb, sbNextIno(sb), mode, IOPS.ANON, (mode & S_IFMT) === S_IFIFO ? FOPS.FIFO : FOPS.NONE);
}

/** Another count for a caller who has one. */
export function fileGet(file: F): F {
  File.refcount.add(file, 1);
  return file;
}

/** Frees a file that open() refused: nobody has seen it, nothing is flushed. */
export function fileAbort(file: F): void {
  dropReferences(file);
  freeFile(file);
}

function dropReferences(file: F): void {
  const mount = File.mount.get(file);
  if (mount !== 0) mntPut(mount);
  if ((File.mode.get(file) & FMODE_WRITER) !== 0) Inode.writecount.add(File.inode.get(file), -1);
}

function freeFile(file: F): void {
  const dentry = File.dentry.get(file);
  if (dentry !== 0) dput(dentry);
  else iput(File.inode.get(file));
  const label = File.label.get(file);
  if (label !== 0) freeString(label);
  free(File, file);
}
const fileReclaimer = defineReclaimer("file", (arg) => freeFile(arg as F));

/** Part of what goes before a file does, which may be long: epoll's items (ipc/eventpoll.ts). False when that was not all. */
let leavePart: (file: F) => boolean = () => true;
export function beforeFileRelease(part: typeof leavePart): void {
  leavePart = part;
}
/** What else happens when a file goes away: locks.ts drops its flock. */
const releaseHooks: ((file: F) => void)[] = [];
export function onFileRelease(hook: (file: F) => void): void {
  releaseHooks.push(hook);
}

const fileReleaser = defineReleaser("file", (arg) => {
  const file = arg as F;
  if (leavePart(file)) finishRelease(file);
  else if (current() === 0) laterByAnyone(LATER_RELEASE, file);
  else laterByTask(LATER_RELEASE, file);
});
function finishRelease(file: F): void {
  for (const hook of releaseHooks) hook(file);
  fileOpsOf(File.fops.get(file)).release?.(file);
  dropReferences(file);
  callRcu(fileReclaimer, file);
}
defineLater(LATER_RELEASE, (file) => {
  if (!leavePart(file as F)) return 1;
  finishRelease(file as F);
  return 0;
});

/** Drops a count. The last one queues the release: it runs at the current task's next safe point. */
export function fput(file: F): void {
  if (File.refcount.decAndTest(file)) queueRelease(fileReleaser, file);
  // Still readable, whoever drops the last count now: this handler has not passed a quiescent state.
  else if (File.inflight.peek(file) !== 0) countDropped?.(file);
}
let countDropped: ((file: F) => void) | null = null;
/** ipc/inflight.ts: a file that is in flight has lost another count. */
export function onCountDropped(hook: (file: F) => void): void {
  countDropped = hook;
}

/** Whether a write goes to the end of the file: O_APPEND, unless the call's own RWF_ flags say otherwise. */
export const fileAppends = (file: F, rwf: number): boolean =>
  (rwf & RWF_APPEND) !== 0 || ((rwf & RWF_NOAPPEND) === 0 && (File.flags.peek(file) & O_APPEND) !== 0);

/** Whether a call on the file may wait: neither O_NONBLOCK nor RWF_NOWAIT. */
export const fileMayWait = (file: F, rwf: number): boolean =>
  (rwf & RWF_NOWAIT) === 0 && (File.flags.peek(file) & O_NONBLOCK) === 0;

registerFileOps(FOPS.PATH, {});
registerSuperOps(SOPS.ANON, { name: "anon_inodefs" });
