/** /proc/PID/fd and fdinfo: the open files of a process. */
import { defineReleaser, queueRelease, type Ref, rcuReadLock, rcuReadUnlock } from "../../rcu/index.ts";
import { dAllocDetached, dput } from "../fs/dcache.ts";
import { fgetRaw, forEachFd, getCloexec } from "../fs/fdtable.ts";
import { File } from "../fs/file.ts";
import { Inode, igrab, iput } from "../fs/inode.ts";
import { Mount } from "../fs/mount.ts";
import { rootMount } from "../fs/mount-tree.ts";
import { fileOpsOf } from "../fs/ops.ts";
import { Task } from "../task/task.ts";
import { ENOENT, ENOMEM } from "../uapi/errno.ts";
import { O_CLOEXEC } from "../uapi/fcntl.ts";
import { S_IFLNK, S_IFREG } from "../uapi/stat.ts";
import { type ProcAt, type ProcEntry, type ProcNode, procDir, procHidden } from "./node.ts";
import { fileName } from "./path.ts";

function filesOf(task: Ref<"task">): Ref<"files"> | 0 {
  const files = Task.files.deref(rcuReadLock(), task);
  rcuReadUnlock();
  return files;
}

function fileAt({ task, fd }: ProcAt): Ref<"file"> | 0 {
  const files = filesOf(task);
  const file = files === 0 ? -1 : fgetRaw(files, fd);
  return file < 0 ? 0 : (file as Ref<"file">);
}

const encoder = new TextEncoder();

const putLater = defineReleaser("proc fd dentry", (dentry) => dput(dentry as Ref<"dentry">));

const fdLink = procHidden("PID/fd/N", S_IFLNK | 0o700);
fdLink.target = (at) => {
  const file = fileAt(at);
  return file === 0 ? -ENOENT : fileName(file);
};
fdLink.follow = (at, link) => {
  const file = fileAt(at);
  if (file === 0) return -ENOENT;
  const dentry = File.dentry.get(file);
  const mount = File.mount.get(file);
  if (dentry !== 0 && mount !== 0) {
    link.dentry = dentry;
    link.mount = mount;
    return 0;
  }
  // A file without a name (pipe, console) is opened again through a dentry that lives as long as somebody uses it.
  const inode = File.inode.get(file);
  igrab(inode);
  const made = dAllocDetached(Inode.sb.get(inode), inode, encoder.encode(fileName(file)));
  if (made === 0) {
    iput(inode);
    return -ENOMEM;
  }
  queueRelease(putLater, made);
  link.dentry = made;
  link.mount = rootMount();
  return 0;
};

const fdInfo = procHidden("PID/fdinfo/N", S_IFREG | 0o400);
fdInfo.piece = (at, from) => {
  const file = fileAt(at);
  const files = filesOf(at.task);
  if (file === 0 || files === 0) return -ENOENT;
  const told = fileOpsOf(File.fops.get(file)).fdinfo?.(file, from) ?? "";
  const own = typeof told === "string" ? { text: told, next: -1 } : told;
  if (from !== 0) return own;
  const flags = File.flags.load(file) | (getCloexec(files, at.fd) > 0 ? O_CLOEXEC : 0);
  const mount = File.mount.get(file);
  const id = mount === 0 ? 0 : Mount.id.get(mount);
  const head = `pos:\t${File.pos.racy(file)}\nflags:\t0${(flags >>> 0).toString(8)}\nmnt_id:\t${id}\n`;
  const ino = `ino:\t${Inode.ino.get(File.inode.get(file))}\n`;
  return { text: head + ino + own.text, next: own.next };
};

/** Descriptors that one getdents64(2) lists at most. */
const LIST_PART = 1024;

function fdDirectory(path: string, mode: number, node: ProcNode): void {
  const dir = procDir(path, mode);
  const entry = (pid: number, fd: number): ProcEntry => ({ name: String(fd), node, pid, fd });
  dir.lookup = (at, name) => {
    if (!/^(0|[1-9][0-9]{0,6})$/.test(name)) return null;
    const fd = Number(name);
    return fileAt({ ...at, fd }) === 0 ? null : entry(at.pid, fd);
  };
  dir.list = (at, from) => {
    const found: { key: number; entry: ProcEntry }[] = [];
    const files = filesOf(at.task);
    const take = (fd: number): boolean => found.push({ key: fd, entry: entry(at.pid, fd) }) < LIST_PART;
    if (files !== 0) forEachFd(files, take, from);
    return found;
  };
}
fdDirectory("PID/fd", 0o500, fdLink);
fdDirectory("PID/fdinfo", 0o555, fdInfo);
