/** Setting the file system up: tables at boot, the root, mounts by path, the files that a bare root needs. */
import type { Ref } from "../../rcu/index.ts";
import { hooks } from "../subsystem/hooks.ts";
import { EBUSY, EEXIST, EINVAL, ENOENT, ENOMEM } from "../uapi/errno.ts";
import { AT_FDCWD, O_CREAT, O_TRUNC, O_WRONLY } from "../uapi/fcntl.ts";
import { MNT_FLAGS, MS_BIND, MS_MOVE, MS_RDONLY, MS_REMOUNT, UMOUNT_NOFOLLOW } from "../uapi/mount.ts";
import { makedev, S_IFCHR, S_IFDIR } from "../uapi/stat.ts";
import { dAdd, dentryInode, dgetLive, dput, linkChild } from "./dcache.ts";
import { makeDirectory, makeNode, makeSymlink } from "./dir.ts";
import { notifyInit } from "./inotify-queue.ts";
import "./inotify.ts";
import { dcacheInit } from "./dname.ts";
import { fileInit, fput } from "./file.ts";
import { fsCreate } from "./fsinfo.ts";
import { hostfsInit } from "./hostfs/opener.ts";
import { Inode, inodeInit, inodeLock, inodeType, inodeUnlock, iput } from "./inode.ts";
import { memfdInit } from "./memfd.ts";
import { cloneMount, kernMount, Mount, mntPut } from "./mount.ts";
import { attachMount, detachMount, mountInit, setRootMount } from "./mount-tree.ts";
import {
  LAST_NORM,
  LOOKUP_DIRECTORY,
  LOOKUP_FOLLOW,
  lastName,
  lookupParent,
  nd,
  pathLookup,
  setBootFs,
} from "./namei.ts";
import { vfsOpen } from "./open.ts";
import { IOPS, superOpsOf } from "./ops.ts";
import { qstrOf } from "./qstr.ts";
import { kernelWrite } from "./read-write.ts";
import { renameInit } from "./rename.ts";
import { Superblock, superInit } from "./super.ts";
import { tmpfsInode } from "./tmpfs.ts";
import "./locks.ts";
import "./readdir.ts";
import "./regular.ts";

/** Makes the tables: once per machine, by the booting thread, after the heap, the globals, RAM and the clock. */
export function vfsInit(): void {
  const ok =
    superInit() &&
    inodeInit() &&
    dcacheInit() &&
    notifyInit() &&
    mountInit() &&
    renameInit() &&
    fileInit() &&
    memfdInit() &&
    hostfsInit();
  if (!ok) throw new Error("the kernel heap is too small for the file system tables");
}

/** Mounts the root of the tree, and lets the booting thread look paths up. 0 or -errno. */
export function mountRoot(type: string, source: string, flags = 0, options = ""): number {
  const mount = kernMount(type, source, flags, options === "" && type === "tmpfs" ? "mode=755" : options);
  if (mount < 0) return mount;
  setRootMount(mount as Ref<"mount">);
  const fs = fsCreate();
  if (fs === 0) throw new Error("no memory for the root directory");
  setBootFs(fs);
  return 0;
}

/** mount(2): `flags` are MS_*. */
export function mountFs(
  type: string,
  source: string,
  target: string | Uint8Array,
  flags = 0,
  options = "",
): number {
  const error = pathLookup(AT_FDCWD, target, LOOKUP_FOLLOW);
  if (error < 0) return error;
  const { mount: at, dentry } = nd;
  if ((flags & MS_REMOUNT) !== 0) {
    if (dentry !== Mount.root.get(at)) return -EINVAL;
    const sb = Mount.sb.get(at);
    const refused = (flags & MS_BIND) === 0 ? superOpsOf(Superblock.sops.get(sb)).remount?.(sb, options) : 0;
    if (refused !== undefined && refused < 0) return refused;
    Mount.flags.store(at, flags & MNT_FLAGS);
    return 0;
  }
  if (!dgetLive(dentry)) return -ENOENT;
  const mount = makeMount(type, source, flags, options);
  if (mount < 0) {
    dput(dentry);
    return mount;
  }
  const result = attachMount(mount as Ref<"mount">, at, dentry);
  dput(dentry);
  if (result < 0) mntPut(mount as Ref<"mount">);
  else hooks.mount?.(type, source, typeof target === "string" ? target : decoder.decode(target), flags);
  return result;
}

const decoder = new TextDecoder();

function makeMount(type: string, source: string, flags: number, options: string): number {
  if ((flags & MS_MOVE) !== 0) return -EINVAL;
  if ((flags & MS_BIND) === 0) return kernMount(type, source, flags, options);
  const error = pathLookup(AT_FDCWD, source, LOOKUP_FOLLOW);
  if (error < 0) return error;
  const copy = cloneMount(nd.mount, nd.dentry);
  if (copy > 0 && (flags & MS_RDONLY) !== 0) Mount.flags.or(copy as Ref<"mount">, MS_RDONLY);
  return copy;
}

/** umount2(2): `flags` are MNT_*. */
export function umountPath(target: string | Uint8Array, flags: number): number {
  const error = pathLookup(AT_FDCWD, target, (flags & UMOUNT_NOFOLLOW) === 0 ? LOOKUP_FOLLOW : 0);
  if (error < 0) return error;
  if (nd.dentry !== Mount.root.get(nd.mount)) return -EINVAL;
  return detachMount(nd.mount, flags);
}

/**
 * Sees to it that something can be mounted at `path`: makes the directory (or file), and where the file system refuses
 * (read-only host folders) puts an empty one in front of it, in the dentry cache only. 0 or -errno.
 */
export function ensureMountpoint(path: string, directory = true): number {
  if (pathLookup(AT_FDCWD, path, LOOKUP_FOLLOW) === 0) return 0;
  const parent = path.replace(/\/+$/, "").replace(/\/[^/]*$/, "");
  if (parent !== "" && pathLookup(AT_FDCWD, parent, LOOKUP_FOLLOW | LOOKUP_DIRECTORY) < 0) {
    const error = ensureMountpoint(parent);
    if (error < 0) return error;
  }
  if (directory) {
    const made = makeDirectory(AT_FDCWD, path, 0o755);
    if (made === 0 || made === -EEXIST) return 0;
  } else {
    const file = vfsOpen(AT_FDCWD, path, O_CREAT | O_WRONLY, 0o644);
    if (file > 0) {
      fput(file as Ref<"file">);
      return 0;
    }
  }
  const error = lookupParent(AT_FDCWD, path);
  if (error < 0) return error;
  if (nd.lastType !== LAST_NORM || inodeType(nd.inode) !== S_IFDIR) return -EINVAL;
  const name = lastName();
  const inode = tmpfsInode(Inode.sb.get(nd.inode), 0, directory ? S_IFDIR | 0o755 : 0o100644);
  if (inode < 0) return inode;
  const held = inodeLock(nd.inode);
  const dentry = dAdd(held, nd.dentry, inode as Ref<"inode">, qstrOf(name));
  // On the directory's list, so that it is seen there; tmpfs keeps that list itself.
  if (dentry !== 0 && Inode.iops.get(nd.inode) !== IOPS.TMPFS) linkChild(held, nd.dentry, dentry);
  inodeUnlock(nd.inode);
  if (dentry === 0) {
    iput(inode as Ref<"inode">);
    return -ENOMEM;
  }
  // Its count is never dropped: the place stays for as long as the machine runs.
  return 0;
}

/** Mounts a host folder, or a single host file, at a guest path that is made if need be. 0 or -errno. */
export function mountHost(host: string, guest: string, writable: boolean): number {
  const flags = writable ? 0 : MS_RDONLY;
  const mount = kernMount("hostfs", host, flags, "");
  if (mount < 0) return mount;
  const root = dentryInode(Mount.root.get(mount as Ref<"mount">)) as Ref<"inode">;
  let error = ensureMountpoint(guest, inodeType(root) === S_IFDIR);
  if (error === 0) error = pathLookup(AT_FDCWD, guest, LOOKUP_FOLLOW);
  if (error === 0) error = attachMount(mount as Ref<"mount">, nd.mount, nd.dentry);
  if (error < 0) mntPut(mount as Ref<"mount">);
  return error;
}

const encoder = new TextEncoder();

/** Writes a small file, for the set-up of a root. 0 or -errno. */
export function writeFile(path: string, text: string, mode = 0o644): number {
  const file = vfsOpen(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
  if (file < 0) return file;
  const bytes = encoder.encode(text);
  const written = kernelWrite(file as Ref<"file">, bytes, 0);
  fput(file as Ref<"file">);
  return Math.min(written, 0);
}

const FOLDERS = [
  "/bin",
  "/dev",
  "/etc",
  "/home",
  "/mnt",
  "/proc",
  "/root",
  "/run",
  "/sys",
  "/tmp",
  "/usr",
  "/var",
];
const FILES: readonly (readonly [string, string])[] = [
  ["/etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n"],
  ["/etc/group", "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n"],
  ["/etc/hosts", "127.0.0.1\tlocalhost\n::1\tlocalhost\n"],
  ["/etc/hostname", "sternix\n"],
  ["/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n"],
  ["/etc/resolv.conf", ""],
];

/** Folders and files that programs expect, in a root that is empty (no --root). 0 or -errno. */
export function populateRoot(): number {
  for (const folder of FOLDERS) {
    const error = makeDirectory(AT_FDCWD, folder, 0o755);
    if (error < 0 && error !== -EEXIST) return error;
  }
  for (const [path, text] of FILES) {
    const error = writeFile(path, text);
    if (error < 0) return error;
  }
  for (const [target, path] of [
    ["/run", "/var/run"],
    ["/tmp", "/var/tmp"],
    ["/proc/self/mounts", "/etc/mtab"],
  ] as const) {
    const error = makeSymlink(encoder.encode(target), AT_FDCWD, path);
    if (error < 0 && error !== -EEXIST) return error;
  }
  return 0;
}

/** Device nodes that every Linux has: name, major, minor, permissions. */
const DEVICES: readonly (readonly [string, number, number, number])[] = [
  ["null", 1, 3, 0o666],
  ["zero", 1, 5, 0o666],
  ["full", 1, 7, 0o666],
  ["random", 1, 8, 0o666],
  ["urandom", 1, 9, 0o666],
  ["tty", 5, 0, 0o666],
  ["console", 5, 1, 0o600],
  ["ptmx", 5, 2, 0o666],
];
const DEV_LINKS: readonly (readonly [string, string])[] = [
  ["fd", "/proc/self/fd"],
  ["stdin", "/proc/self/fd/0"],
  ["stdout", "/proc/self/fd/1"],
  ["stderr", "/proc/self/fd/2"],
];

/** Mounts a memory file system at /dev with the usual nodes, and one at /tmp, /dev/shm and /run. 0 or -errno. */
export function mountStandard(): number {
  for (const [path, type, options] of [
    ["/dev", "devtmpfs", "mode=755"],
    ["/tmp", "tmpfs", "mode=1777"],
    ["/run", "tmpfs", "mode=755"],
  ] as const) {
    let error = ensureMountpoint(path);
    if (error === 0) error = mountFs(type, type, path, 0, options);
    if (error < 0 && error !== -EBUSY) return error;
  }
  for (const [name, major, minor, mode] of DEVICES) {
    const error = makeNode(AT_FDCWD, `/dev/${name}`, S_IFCHR | mode, makedev(major, minor));
    if (error < 0) return error;
    // The umask of the booting thread does not apply to devices.
    if (pathLookup(AT_FDCWD, `/dev/${name}`) === 0) Inode.mode.store(nd.inode, S_IFCHR | mode);
  }
  for (const [name, target] of DEV_LINKS) {
    const error = makeSymlink(encoder.encode(target), AT_FDCWD, `/dev/${name}`);
    if (error < 0) return error;
  }
  for (const folder of ["/dev/pts", "/dev/shm"]) {
    const error = makeDirectory(AT_FDCWD, folder, 0o1777);
    if (error < 0) return error;
  }
  if (pathLookup(AT_FDCWD, "/dev/shm") === 0) Inode.mode.store(nd.inode, S_IFDIR | 0o1777);
  return 0;
}
