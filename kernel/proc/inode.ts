/**
 * The proc file system, proc(5): inodes made on lookup from nodes (node.ts), files whose text is generated when they are read.
 *
 * Inode.priv: [0] node number, [1] pid or 0, [2] descriptor; Inode.privWide: when the task was made, which tells it
 * from a later one with the same pid. File.priv: the text (a heap string) being read; priv2: ProcNode.changes at that time. Of a
 * sequence, the text is the present piece, behind a head of two numbers (PIECE_HEAD).
 */
import {
  freeString,
  kfreeStringRcu,
  type Ref,
  rcuReadLock,
  rcuReadUnlock,
  stringBytes,
  stringLength,
  tryAllocString,
} from "../../rcu/index.ts";
import { dAllocRoot } from "../fs/dcache.ts";
import { File } from "../fs/file.ts";
import { Inode, inodeType, iput, newInode } from "../fs/inode.ts";
import {
  DEFAULT_POLLMASK,
  type DirEmit,
  FOPS,
  IOPS,
  registerFileOps,
  registerFileSystem,
  registerInodeOps,
  registerSuperOps,
  SOPS,
} from "../fs/ops.ts";
import { emitDots, seekDirectory } from "../fs/readdir.ts";
import { SB_REVALIDATE, Superblock, sbAlloc, sbPut } from "../fs/super.ts";
import type { UserIo } from "../mm/iov.ts";
import { YIELD } from "../sched/block.ts";
import { current } from "../sched/current.ts";
import { fatalPending, mustYield } from "../sched/yield.ts";
import { credOf } from "../task/cred.ts";
import { findTask } from "../task/pid.ts";
import { Cred, Task } from "../task/task.ts";
import {
  EACCES,
  EBADF,
  EFAULT,
  EFBIG,
  EINTR,
  EIO,
  ENAMETOOLONG,
  ENOENT,
  ENOMEM,
  ESRCH,
} from "../uapi/errno.ts";
import { PROC_SUPER_MAGIC } from "../uapi/mount.ts";
import { POLLOUT, POLLWRNORM } from "../uapi/poll.ts";
import { makedev, S_IFCHR, S_IFDIR, S_IFLNK, S_IFMT } from "../uapi/stat.ts";
import {
  type ProcAt,
  type ProcEntry,
  type ProcNode,
  pidDir,
  procNode,
  procRoot,
  ptsRoot,
  sysRoot,
} from "./node.ts";

/** SYSFS_MAGIC of statfs(2). */
const SYSFS_MAGIC = 0x62656572;
const DEVPTS_MAGIC = 0x1cd1;
const PTS_MAJOR = 136;

type I = Ref<"inode">;

const nodeOf = (inode: I): ProcNode => procNode(Inode.priv.get(inode, 0));

function taskByPid(pid: number): Ref<"task"> | 0 {
  const task = findTask(rcuReadLock(), pid);
  rcuReadUnlock();
  return task;
}

/** What the inode stands for; null when its task is gone. */
function atOf(inode: I): ProcAt | null {
  const pid = Inode.priv.get(inode, 1);
  const fd = Inode.priv.get(inode, 2);
  if (pid === 0) return { pid, task: 0 as Ref<"task">, fd };
  const task = taskByPid(pid);
  if (task === 0 || Task.startTime.get(task) !== Inode.privWide.get(inode)) return null;
  return { pid, task, fd };
}

/** The process whose /proc/PID an open file is: -ESRCH when it has ended, -EBADF for every other file. */
export function procTask(file: Ref<"file">): Ref<"task"> | number {
  const inode = File.inode.get(file);
  if (File.fops.get(file) !== FOPS.PROC_DIR || nodeOf(inode) !== pidDir) return -EBADF;
  return atOf(inode)?.task ?? -ESRCH;
}

/** Numbers of directories differ, as those who look for loops expect. */
const inoOf = (node: ProcNode, pid: number, fd: number): number =>
  ((node.id >>> 0) % 0x1000000) + (pid + fd * 40000) * 0x1000000;

const FOPS_BY_TYPE = new Map<number, number>([
  [S_IFDIR, FOPS.PROC_DIR],
  [S_IFLNK, FOPS.NONE],
  [S_IFCHR, FOPS.CHRDEV],
]);

function newProcInode(sb: Ref<"superblock">, node: ProcNode, pid: number, fd: number): I | number {
  const type = node.mode & S_IFMT;
  const fops = FOPS_BY_TYPE.get(type) ?? FOPS.PROC;
  const inode = newInode(sb, inoOf(node, pid, fd) + 1, node.mode, IOPS.PROC, fops);
  if (inode === 0) return -ENOMEM;
  Inode.priv.set(inode, 0, node.id);
  Inode.priv.set(inode, 1, pid);
  Inode.priv.set(inode, 2, fd);
  if (type === S_IFDIR) Inode.nlink.init(inode, 2);
  if (type === S_IFCHR) {
    // A pseudo-terminal belongs to who made it.
    Inode.rdev.init(inode, makedev(PTS_MAJOR, fd));
    const task = current();
    if (task !== 0) Inode.uid.init(inode, Cred.euid.get(credOf(task)));
  }
  if (pid === 0) return inode;
  const task = taskByPid(pid);
  if (task === 0) {
    iput(inode);
    return 0;
  }
  Inode.privWide.set(inode, Task.startTime.get(task));
  Inode.uid.init(inode, Cred.euid.get(credOf(task)));
  Inode.gid.init(inode, Cred.egid.get(credOf(task)));
  return inode;
}

const decoder = new TextDecoder();

function findEntry(dir: I, name: string): ProcEntry | null {
  const at = atOf(dir);
  if (at === null) return null;
  const node = nodeOf(dir);
  const child = node.children.get(name);
  if (child !== undefined) return { name, node: child, pid: at.pid, fd: 0 };
  return node.lookup?.(at, name) ?? null;
}

registerInodeOps(IOPS.PROC, {
  lookup(dir, name) {
    const entry = findEntry(dir, decoder.decode(name));
    return entry === null ? 0 : newProcInode(Inode.sb.get(dir), entry.node, entry.pid, entry.fd);
  },
  revalidate(dir, name, inode) {
    if (inode === 0) return false;
    if (atOf(inode) === null) return false;
    return nodeOf(dir).lookup === undefined || findEntry(dir, decoder.decode(name)) !== null;
  },
  readlink(inode) {
    const at = atOf(inode);
    if (at === null) return -ENOENT;
    const target = nodeOf(inode).target!(at);
    if (target === "") return -ENAMETOOLONG; // dPath
    return typeof target === "string" ? new TextEncoder().encode(target) : target;
  },
  followLink(inode, link) {
    const node = nodeOf(inode);
    if (node.follow === undefined) return 1;
    const at = atOf(inode);
    return at === null ? -ENOENT : node.follow(at, link);
  },
  /** Pseudo-terminals take other owners and modes, nothing else does; a truncation (`echo > FILE`) is heeded by nobody. */
  setattr(inode, attr) {
    if (inodeType(inode) === S_IFCHR) return 0;
    return Object.keys(attr).every((name) => name === "size" || name === "mtime") ? 0 : -EACCES;
  },
});

function iterate(file: Ref<"file">, pos: number, emit: DirEmit): number {
  const dir = File.inode.get(file);
  const at = atOf(dir);
  if (at === null) return -ENOENT;
  const node = nodeOf(dir);
  if (!emitDots(file, pos, emit)) return 0;
  let index = 2;
  for (const [name, child] of node.children) {
    if (index >= pos && !emit(name, inoOf(child, at.pid, 0) + 1, child.mode >> 12, index + 1)) return 0;
    index++;
  }
  if (node.list === undefined) return 0;
  // Entries that come and go have positions by their number, behind the fixed ones.
  const base = node.children.size + 2;
  for (const { key, entry } of node.list(at, Math.max(0, pos - base))) {
    const entryIno = inoOf(entry.node, entry.pid, entry.fd) + 1;
    if (!emit(entry.name, entryIno, entry.node.mode >> 12, base + key + 1)) return 0;
  }
  return 0;
}
registerFileOps(FOPS.PROC_DIR, { seekable: true, iterate, lseek: seekDirectory });

/** The text of an open file, made when the reading starts. */
function makeText(file: Ref<"file">): Uint8Array | number {
  const at = atOf(File.inode.get(file));
  if (at === null) return -ESRCH;
  const node = nodeOf(File.inode.get(file));
  // Before the text is made: a change in between is news for the next poll.
  if (node.changes !== undefined) File.priv2.store(file, node.changes());
  const text = node.generate!(at);
  if (typeof text === "number") return text;
  const bytes = typeof text === "string" ? new TextEncoder().encode(text) : text;
  const kept = tryAllocString(bytes);
  if (kept === 0) return -ENOMEM;
  const previous = File.priv.exchange(file, kept) as Ref<"string"> | 0;
  if (previous !== 0) kfreeStringRcu(previous);
  return bytes;
}

/** Before the text of a piece: its position in the file (float64), and where the next piece begins (int32). */
const PIECE_HEAD = 12;

/** Makes the piece that begins at `from`, which is at byte `start` of the file, the present one: with its head, or -errno. */
function makePiece(file: Ref<"file">, from: number, start: number): Uint8Array | number {
  const at = atOf(File.inode.get(file));
  if (at === null) return -ESRCH;
  const made = nodeOf(File.inode.get(file)).piece!(at, from);
  if (typeof made === "number") return made;
  const { text, next } = made;
  const bytes = new TextEncoder().encode(text);
  const piece = new Uint8Array(PIECE_HEAD + bytes.length);
  const head = new DataView(piece.buffer);
  head.setFloat64(0, start);
  head.setInt32(8, next);
  piece.set(bytes, PIECE_HEAD);
  const kept = tryAllocString(piece);
  if (kept === 0) return -ENOMEM;
  const previous = File.priv.exchange(file, kept) as Ref<"string"> | 0;
  if (previous !== 0) kfreeStringRcu(previous);
  return piece;
}

/** Reads from the piece that `pos` is in. Whoever skips pieces has them made, and makes room after each. */
function readSequence(file: Ref<"file">, io: UserIo, pos: number): number {
  const old = pos === 0 ? 0 : (File.priv.load(file) as Ref<"string"> | 0);
  let piece = old === 0 ? makePiece(file, 0, 0) : stringBytes(old, 0, stringLength(old));
  for (;;) {
    if (typeof piece === "number") return piece;
    const head = new DataView(piece.buffer, piece.byteOffset);
    const [start, next] = [head.getFloat64(0), head.getInt32(8)];
    const end = start + piece.length - PIECE_HEAD;
    if (pos < start) piece = makePiece(file, 0, 0);
    else if (pos < end) {
      const from = PIECE_HEAD + pos - start;
      const count = Math.min(io.remaining, piece.length - from);
      const copied = count === 0 ? 0 : io.copyTo(piece, from, count);
      return copied < 0 ? -EFAULT : copied;
    } else if (next < 0) return 0;
    else piece = makePiece(file, next, end);
    if (mustYield() && pos !== 0) return fatalPending(current()) ? -EINTR : YIELD;
  }
}

function read(file: Ref<"file">, io: UserIo, pos: number): number {
  const { raw, piece } = nodeOf(File.inode.get(file));
  if (piece !== undefined) return readSequence(file, io, pos);
  if (raw !== undefined) {
    const at = atOf(File.inode.get(file));
    return at === null ? 0 : raw.read(at, io, pos);
  }
  const old = File.priv.load(file) as Ref<"string"> | 0;
  let text: Uint8Array | number;
  // Of a long text only what is asked for is copied: it is read in many pieces.
  if (old !== 0 && pos !== 0) {
    const end = Math.min(pos + io.remaining, stringLength(old));
    text = stringBytes(old, Math.min(pos, end), end);
  } else {
    text = makeText(file);
    if (typeof text === "number") return text;
    text = text.subarray(Math.min(pos, text.length));
  }
  const count = Math.min(io.remaining, text.length);
  if (count === 0) return 0;
  const copied = io.copyTo(text, 0, count);
  return copied < 0 ? -EFAULT : copied;
}

const WRITE_MAX = 4096;

registerFileOps(FOPS.PROC, {
  seekable: true,
  read,
  write(file, io, pos) {
    const node = nodeOf(File.inode.get(file));
    if (node.write === undefined && node.raw === undefined) return -EIO;
    const at = atOf(File.inode.get(file));
    if (at === null) return -ESRCH;
    if (node.raw !== undefined) return node.raw.write(at, io, pos);
    if (node.writeMax !== undefined && io.remaining > node.writeMax) return -EFBIG;
    const bytes = new Uint8Array(Math.min(io.remaining, node.writeMax ?? WRITE_MAX));
    if (io.copyFrom(bytes, 0, bytes.length) !== bytes.length) return -EFAULT;
    return node.write!(at, decoder.decode(bytes), pos, bytes.length);
  },
  poll(file) {
    const node = nodeOf(File.inode.get(file));
    if (node.changes === undefined || node.changes() !== File.priv2.load(file)) return DEFAULT_POLLMASK;
    return POLLOUT | POLLWRNORM;
  },
  waitQueues(file, visit) {
    const queue = nodeOf(File.inode.get(file)).waitQueue;
    if (queue !== undefined) visit(queue());
  },
  release(file) {
    const text = File.priv.load(file) as Ref<"string"> | 0;
    if (text !== 0) freeString(text);
  },
});

/** A file system of generated files: its root node and its number. */
function registerNodes(name: string, sops: number, magic: number, node: ProcNode): void {
  registerSuperOps(sops, { name });
  registerFileSystem({
    name,
    nodev: true,
    mount(source) {
      const sb = sbAlloc(sops, SB_REVALIDATE, magic, source);
      if (sb === 0) return -ENOMEM;
      const inode = newProcInode(sb, node, 0, 0);
      const root = inode <= 0 ? 0 : dAllocRoot(sb, inode as I);
      if (root === 0) {
        if (inode > 0) iput(inode as I);
        sbPut(sb);
        return -ENOMEM;
      }
      Superblock.root.set(sb, root);
      return sb;
    },
  });
}
registerNodes("proc", SOPS.PROC, PROC_SUPER_MAGIC, procRoot);
registerNodes("devpts", SOPS.DEVPTS, DEVPTS_MAGIC, ptsRoot);
registerNodes("sysfs", SOPS.SYSFS, SYSFS_MAGIC, sysRoot);
