/** Names and attributes of host files: InodeOps of hostfs. Every call goes to the host at once. */
import fs from "node:fs";
import type { Ptr, Ref } from "../../../rcu/index.ts";
import { EINVAL, ENOENT, EOPNOTSUPP, EPERM } from "../../uapi/errno.ts";
import { O_NOFOLLOW, O_PATH } from "../../uapi/fcntl.ts";
import { S_IFLNK } from "../../uapi/stat.ts";
import { Inode, inodeType } from "../inode.ts";
import { type Attr, type InodeOps, IOPS, registerInodeOps } from "../ops.ts";
import { refreshHost, writeDescriptor } from "./descriptor.ts";
import {
  BY_DESCRIPTOR,
  closeHost,
  type HostPath,
  hostCall,
  hostLstat,
  toHostGid,
  toHostUid,
} from "./host.ts";
import { applyStat, childPath, FD_WRITE, hostInode, hostPath, moveHostInode, sameFile } from "./inode.ts";
import { keepDescriptor } from "./opener.ts";

type I = Ref<"inode">;

const ok = (call: () => void): number => {
  const result = hostCall(call);
  return typeof result === "number" && result < 0 ? result : 0;
};

/** Runs `call` on the host path of a name; -errno. */
function onChild(dir: I, name: Uint8Array, call: (path: HostPath) => void): number {
  const path = childPath(dir, name);
  return typeof path === "number" ? path : ok(() => call(path));
}

/** The inode of a name that was just made. */
function made(dir: I, name: Uint8Array): I | number {
  const path = childPath(dir, name);
  if (typeof path === "number") return path;
  const st = hostLstat(path);
  if (typeof st === "number") return st;
  return st === null ? -ENOENT : hostInode(Inode.sb.get(dir), dir, name, st);
}

/** The host's umask does not apply: the guest's has been taken into account. */
const wanted = (mode: number): number => mode & 0o7777;

/** Calls a function of node:fs that follows links on a path that means the inode itself. */
function onSelf(inode: I, call: (path: HostPath) => void): number {
  const path = hostPath(inode);
  if (typeof path === "number") return path;
  if (!BY_DESCRIPTOR) return inodeType(inode) === S_IFLNK ? -EOPNOTSUPP : ok(() => call(path));
  const fd = hostCall(() => fs.openSync(path, O_PATH | O_NOFOLLOW));
  if (fd < 0) return fd;
  const result = ok(() => call(`/proc/self/fd/${fd}`));
  closeHost(fd);
  return result;
}

function changeAttributes(inode: I, attr: Attr): number {
  if (attr.size !== undefined) {
    const fd = writeDescriptor(inode);
    if (fd < 0) return fd;
    const { size } = attr;
    return ok(() => fs.ftruncateSync(fd, size));
  }
  const path = hostPath(inode);
  if (typeof path === "number") return path;
  const uid = attr.uid !== undefined && attr.uid !== Inode.uid.peek(inode) ? toHostUid(attr.uid) : -1;
  const gid = attr.gid !== undefined && attr.gid !== Inode.gid.peek(inode) ? toHostGid(attr.gid) : -1;
  if (uid !== -1 || gid !== -1) {
    const st = hostLstat(path);
    if (typeof st === "number") return st;
    if (st === null) return -ENOENT;
    const error = ok(() => fs.lchownSync(path, uid === -1 ? st.uid : uid, gid === -1 ? st.gid : gid));
    if (error < 0) return error;
  }
  if (attr.mode !== undefined && attr.mode !== Inode.mode.peek(inode)) {
    if (inodeType(inode) === S_IFLNK) return -EOPNOTSUPP;
    const bits = wanted(attr.mode);
    const error = onSelf(inode, (self) => fs.chmodSync(self, bits));
    if (error < 0) return error;
  }
  if (attr.atime === undefined && attr.mtime === undefined) return 0;
  const st = hostLstat(path);
  if (typeof st === "number") return st;
  if (st === null) return -ENOENT;
  const time = (of: { seconds: number; nanoseconds: number } | undefined, now: number): number =>
    of === undefined ? now / 1000 : of.seconds + of.nanoseconds / 1e9;
  return ok(() => fs.lutimesSync(path, time(attr.atime, st.atimeMs), time(attr.mtime, st.mtimeMs)));
}

const hostfsInodeOps: InodeOps = {
  lookup(dir, name) {
    const path = childPath(dir, name);
    if (typeof path === "number") return path;
    const st = hostLstat(path);
    if (typeof st === "number") return st;
    return st === null ? 0 : hostInode(Inode.sb.get(dir), dir, name, st);
  },
  revalidate(dir, name, inode: Ptr<"inode">) {
    // A place that the machine made to mount on (ensureMountpoint): the host knows nothing of it.
    if (inode !== 0 && Inode.iops.get(inode) !== IOPS.HOSTFS) return true;
    const path = childPath(dir, name);
    if (typeof path === "number") return false;
    const st = hostLstat(path);
    if (typeof st === "number") return false;
    if (st === null || inode === 0) return st === null && inode === 0;
    if (!sameFile(inode, st)) return false;
    applyStat(inode, st);
    return true;
  },
  create(dir, name, mode) {
    const path = childPath(dir, name);
    if (typeof path === "number") return path;
    const flags = fs.constants.O_CREAT | fs.constants.O_EXCL | fs.constants.O_RDWR;
    const fd = hostCall(() => fs.openSync(path, flags, wanted(mode)));
    if (fd < 0) return fd;
    const st = hostCall(() => {
      fs.fchmodSync(fd, wanted(mode));
      return fs.fstatSync(fd);
    });
    const inode = typeof st === "number" ? st : hostInode(Inode.sb.get(dir), dir, name, st);
    if (inode < 0) closeHost(fd);
    else keepDescriptor(inode as I, FD_WRITE, fd);
    return inode;
  },
  mkdir(dir, name, mode) {
    const error = onChild(dir, name, (path) => fs.mkdirSync(path, wanted(mode)));
    const inode = error < 0 ? error : made(dir, name);
    if (inode > 0 && Inode.mode.peek(inode as I) !== mode) {
      onSelf(inode as I, (path) => fs.chmodSync(path, wanted(mode)));
      Inode.checked.set(inode as I, 0);
    }
    return inode;
  },
  mknod: () => -EPERM,
  symlink(dir, name, target) {
    const error = onChild(dir, name, (path) => fs.symlinkSync(Buffer.from(target), path));
    return error < 0 ? error : made(dir, name);
  },
  link(dir, name, inode) {
    const from = hostPath(inode);
    if (typeof from === "number") return from;
    return onChild(dir, name, (path) => fs.linkSync(from, path));
  },
  unlink: (dir, name) => onChild(dir, name, (path) => fs.unlinkSync(path)),
  rmdir: (dir, name) => onChild(dir, name, (path) => fs.rmdirSync(path)),
  rename(oldDir, oldName, newDir, newName, inode, _target, flags) {
    if (flags !== 0) return -EINVAL;
    const from = childPath(oldDir, oldName);
    if (typeof from === "number") return from;
    const error = onChild(newDir, newName, (path) => fs.renameSync(from, path));
    if (error === 0) moveHostInode(inode, newDir, newName);
    return error;
  },
  readlink(inode) {
    const path = hostPath(inode);
    if (typeof path === "number") return path;
    return hostCall(() => fs.readlinkSync(path, "buffer")) as Uint8Array | number;
  },
  getattr: refreshHost,
  setattr(inode, attr) {
    const result = changeAttributes(inode, attr);
    if (result === 0 && attr.size === undefined) Inode.checked.set(inode, 0);
    return result;
  },
};
registerInodeOps(IOPS.HOSTFS, hostfsInodeOps);
