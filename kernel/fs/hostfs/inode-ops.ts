/** Names and attributes of host files: InodeOps of hostfs. Every call goes to the host at once. */
import fs from "node:fs";
import type { Ptr, Ref } from "../../../rcu/index.ts";
import { EINVAL, ENOENT, EOPNOTSUPP, EPERM, ESTALE } from "../../uapi/errno.ts";
import { O_NOFOLLOW, O_PATH } from "../../uapi/fcntl.ts";
import { S_IFLNK, S_IFREG } from "../../uapi/stat.ts";
import { Inode, inodeType } from "../inode.ts";
import { type Attr, type InodeOps, IOPS, registerInodeOps } from "../ops.ts";
import { keepNameless, refreshHost, writeDescriptor } from "./descriptor.ts";
import {
  BY_DESCRIPTOR,
  closeHost,
  type HostPath,
  hostCall,
  hostLstat,
  toHostGid,
  toHostUid,
} from "./host.ts";
import {
  applyStat,
  childPath,
  FD_WRITE,
  hostInode,
  hostPath,
  isNamed,
  moveHostInode,
  NAMELESS,
  sameFile,
} from "./inode.ts";
import { holdPassing, keepDescriptor, releasePassing } from "./opener.ts";

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

/**
 * The mode that a host file gets. The host's umask does not apply: the guest's has been taken into account. Set-user-ID and set-group-ID
 * bits are dropped: what a guest makes runs with nobody's rights but the caller's on the host.
 */
const wanted = (mode: number): number => mode & 0o1777;

/**
 * Calls a function of node:fs on a path that means the inode itself, and with its attributes now. Elsewhere than on Linux, `follows` says that
 * the function follows links, which a path cannot prevent there.
 */
function onSelf(inode: I, follows: boolean, call: (path: HostPath, st: fs.Stats) => void): number {
  const path = hostPath(inode);
  if (typeof path === "number") return path;
  if (!BY_DESCRIPTOR) {
    if (follows && inodeType(inode) === S_IFLNK) return -EOPNOTSUPP;
    const st = hostLstat(path);
    if (typeof st === "number") return st;
    if (st === null) return -ENOENT;
    return sameFile(inode, st) ? ok(() => call(path, st)) : -ESTALE;
  }
  const fd = hostCall(() => fs.openSync(path, O_PATH | O_NOFOLLOW));
  if (fd < 0) return fd;
  const st = hostCall(() => fs.fstatSync(fd));
  const result =
    typeof st === "number" ? st : sameFile(inode, st) ? ok(() => call(`/proc/self/fd/${fd}`, st)) : -ESTALE;
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
  const uid = attr.uid !== undefined && attr.uid !== Inode.uid.peek(inode) ? toHostUid(attr.uid) : -1;
  const gid = attr.gid !== undefined && attr.gid !== Inode.gid.peek(inode) ? toHostGid(attr.gid) : -1;
  if (uid !== -1 || gid !== -1) {
    const chown = BY_DESCRIPTOR ? fs.chownSync : fs.lchownSync;
    const error = onSelf(inode, false, (self, st) =>
      chown(self, uid === -1 ? st.uid : uid, gid === -1 ? st.gid : gid),
    );
    if (error < 0) return error;
  }
  if (attr.mode !== undefined && attr.mode !== Inode.mode.peek(inode)) {
    if (inodeType(inode) === S_IFLNK) return -EOPNOTSUPP;
    const bits = wanted(attr.mode);
    const error = onSelf(inode, true, (self) => fs.chmodSync(self, bits));
    if (error < 0) return error;
  }
  if (attr.atime === undefined && attr.mtime === undefined) return 0;
  const time = (of: { seconds: number; nanoseconds: number } | undefined, now: number): number =>
    of === undefined ? now / 1000 : of.seconds + of.nanoseconds / 1e9;
  const utimes = BY_DESCRIPTOR ? fs.utimesSync : fs.lutimesSync;
  return onSelf(inode, false, (self, st) =>
    utimes(self, time(attr.atime, st.atimeMs), time(attr.mtime, st.mtimeMs)),
  );
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
    // Without memory to keep it, whoever uses it opens it again.
    if (inode < 0) closeHost(fd);
    else keepDescriptor(inode as I, FD_WRITE, fd);
    return inode;
  },
  mkdir(dir, name, mode) {
    const error = onChild(dir, name, (path) => fs.mkdirSync(path, wanted(mode)));
    const inode = error < 0 ? error : made(dir, name);
    if (inode > 0 && (Inode.mode.peek(inode as I) & 0o7777) !== wanted(mode)) {
      onSelf(inode as I, true, (path) => fs.chmodSync(path, wanted(mode)));
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
    const held = holdPassing();
    const error = onChild(dir, name, (path) => fs.linkSync(from, path));
    releasePassing(held);
    if (error < 0) return error;
    // Somebody else may have exchanged what the name meant.
    const path = childPath(dir, name);
    const st = typeof path === "number" ? path : hostLstat(path);
    if (st !== null && typeof st !== "number" && sameFile(inode, st)) return 0;
    if (st !== null && typeof st !== "number") ok(() => fs.unlinkSync(path as HostPath));
    return typeof st === "number" ? st : -ESTALE;
  },
  unlink(dir, name, inode) {
    const named = isNamed(inode, dir, name);
    const kept = named ? keepNameless(inode) : 0;
    if (kept < 0) return kept;
    const error = onChild(dir, name, (path) => fs.unlinkSync(path));
    if (error === 0 && named) Inode.priv.set(inode, NAMELESS, 1);
    return error;
  },
  rmdir: (dir, name) => onChild(dir, name, (path) => fs.rmdirSync(path)),
  rename(oldDir, oldName, newDir, newName, inode, target, flags) {
    if (flags !== 0) return -EINVAL;
    const replaced = target !== 0 && inodeType(target) === S_IFREG && isNamed(target, newDir, newName);
    const kept = replaced ? keepNameless(target as I) : 0;
    if (kept < 0) return kept;
    const from = childPath(oldDir, oldName);
    if (typeof from === "number") return from;
    const held = holdPassing();
    const error = onChild(newDir, newName, (path) => fs.renameSync(from, path));
    releasePassing(held);
    if (error === 0 && replaced) Inode.priv.set(target as I, NAMELESS, 1);
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
