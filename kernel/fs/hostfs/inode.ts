/**
 * Inodes of host files: identity is the host's device and inode number, so hard links share their pages. An inode
 * remembers one name (parent inode and text) by which the host finds it, and host descriptors once it needed them.
 */
import type fs from "node:fs";
import nodeFs from "node:fs";
import {
  freeString,
  kfreeStringRcu,
  type Ptr,
  type Ref,
  stringBytes,
  stringEquals,
  stringText,
  tryAllocString,
} from "../../../rcu/index.ts";
import { hashBytes } from "../../../rcu/kernel.ts";
import { Mapping, MOPS, mappingCreate } from "../../mm/mapping.ts";
import { mappingInvalidate } from "../../mm/pagecache.ts";
import { nowNs } from "../../time/clock.ts";
import { ENOENT, ENOMEM, ESTALE } from "../../uapi/errno.ts";
import { S_IFDIR, S_IFMT, S_IFREG } from "../../uapi/stat.ts";
import {
  ATIME,
  BTIME,
  CTIME,
  Inode,
  igrab,
  ilookup,
  inodeNanoseconds,
  inodeSeconds,
  inodeSetTime,
  inodeType,
  insertInode,
  iput,
  MTIME,
  newInode,
  removeInodeHash,
} from "../inode.ts";
import { FOPS, IOPS } from "../ops.ts";
import { Superblock } from "../super.ts";
import {
  BY_DESCRIPTOR,
  closeHost,
  type HostPath,
  hostCall,
  hostLstat,
  joinName,
  openDirectory,
  toGuestGid,
  toGuestUid,
} from "./host.ts";
import { dropKept, keepDescriptor, keptDescriptor, setNeeded } from "./opener.ts";

type I = Ref<"inode">;

/** Inode.priv: the name by which the host finds it. PARENT is a counted inode, 0 for the mount's root. */
const PARENT = 0;
const NAME = 1;
/** Host descriptors (opener.ts): for reading (directories: to stand for the path), for writing. */
export const FD_READ = 2;
export const FD_WRITE = 3;
/** Non-zero: the guest wrote since the attributes were read, so a new mtime does not mean foreign contents. */
export const WROTE = 4;
/** Which of several host devices below one mount. */
const DEVICE = 5;
/** Open files of the guest's. */
export const OPENS = 6;
/** Non-zero: the guest removed the name, so that an open file is found by its descriptor only. */
export const NAMELESS = 7;

/** Superblock.priv: host path of the root. Its device numbers, known so far, are told apart by a hash. */
export const ROOT_PATH = 0;
/** Superblock.priv: non-zero where the host knows when files were made, which tells a file from a later one with its number. */
export const HAS_BIRTH = 1;

/** Without a name in the guest, or the root of a mount: nothing could open it again. */
setNeeded(
  (inode) =>
    Inode.priv.get(inode, PARENT) === 0 ||
    (Inode.priv.get(inode, OPENS) !== 0 && Inode.priv.get(inode, NAMELESS) !== 0),
);

/** How long attributes are believed without asking the host again. */
export const VALIDITY_US = 50_000;

const deviceHash = (st: fs.Stats): number => Math.imul(st.dev, 0x9e3779b1) >>> 21;
const keyOf = (st: fs.Stats): number => (st.ino % 2 ** 42) + deviceHash(st) * 2 ** 42;

/** Whether the host file is the one that the inode stands for. */
export const sameFile = (inode: I, st: fs.Stats): boolean =>
  Inode.ino.get(inode) === keyOf(st) &&
  Inode.priv.get(inode, DEVICE) === (st.dev | 0) &&
  inodeType(inode) === (st.mode & S_IFMT) &&
  (Superblock.priv.get(Inode.sb.get(inode), HAS_BIRTH) === 0 || sameBirth(inode, st.birthtimeMs));

function sameBirth(inode: I, ms: number): boolean {
  const seconds = Math.floor(ms / 1000);
  return inodeSeconds(inode, BTIME) === seconds && inodeNanoseconds(inode, BTIME) === rest(ms, seconds);
}

const rest = (ms: number, seconds: number): number =>
  Math.min(999_999_999, Math.round((ms - seconds * 1000) * 1e6));

function setTime(inode: I, which: number, ms: number): void {
  const seconds = Math.floor(ms / 1000);
  inodeSetTime(inode, which, seconds, rest(ms, seconds));
}

/** Takes over what the host says. Foreign changes of the contents drop the pages. */
export function applyStat(inode: I, st: fs.Stats): void {
  const changed = Inode.size.racy(inode) !== st.size || Inode.privWide.get(inode) !== st.mtimeMs;
  Inode.mode.store(inode, st.mode);
  Inode.uid.store(inode, toGuestUid(st.uid));
  Inode.gid.store(inode, toGuestGid(st.gid));
  Inode.nlink.store(inode, st.nlink);
  Inode.blocks.set(inode, st.blocks);
  setTime(inode, ATIME, st.atimeMs);
  setTime(inode, MTIME, st.mtimeMs);
  setTime(inode, CTIME, st.ctimeMs);
  setTime(inode, BTIME, st.birthtimeMs);
  Inode.checked.set(inode, nowNs());
  if (!changed) return;
  const own = Inode.priv.get(inode, WROTE) !== 0 && Inode.size.racy(inode) === st.size;
  Inode.priv.set(inode, WROTE, 0);
  Inode.privWide.set(inode, st.mtimeMs);
  Inode.size.init(inode, st.size);
  const mapping = Inode.mapping.get(inode);
  if (mapping !== 0 && !own && Mapping.nrPages.peek(mapping) !== 0) mappingInvalidate(mapping);
}

/** The inode of a host file with a count, found again or made; -ENOMEM. `parent` 0: the mount's root. */
export function hostInode(
  sb: Ref<"superblock">,
  parent: Ptr<"inode">,
  name: Uint8Array,
  st: fs.Stats,
): I | number {
  const known = ilookup(sb, keyOf(st));
  if (known !== 0) {
    if (sameFile(known, st)) {
      // Found by another name (hard link, renamed by the host): that one is surely there.
      if (parent !== 0 && !isNamed(known, parent, name)) moveHostInode(known, parent, name);
      applyStat(known, st);
      return known;
    }
    // The host gave the number to another file.
    removeInodeHash(known);
    iput(known);
  }
  const text = tryAllocString(name);
  if (text === 0) return -ENOMEM;
  const type = st.mode & S_IFMT;
  const inode = newInode(
    sb,
    keyOf(st),
    st.mode,
    IOPS.HOSTFS,
    type === S_IFDIR ? FOPS.HOSTFS_DIR : FOPS.HOSTFS,
  );
  if (inode === 0) {
    freeString(text);
    return -ENOMEM;
  }
  if (type === S_IFREG) {
    const mapping = mappingCreate(MOPS.HOSTFS, inode);
    if (mapping === 0) {
      freeString(text);
      iput(inode);
      return -ENOMEM;
    }
    Inode.mapping.init(inode, mapping);
  }
  if (parent !== 0) igrab(parent);
  Inode.priv.set(inode, PARENT, parent);
  Inode.priv.set(inode, NAME, text);
  Inode.priv.set(inode, DEVICE, st.dev | 0);
  Inode.size.init(inode, st.size);
  Inode.privWide.set(inode, st.mtimeMs);
  applyStat(inode, st);
  return insertInode(inode);
}

export const isNamed = (inode: I, parent: I, name: Uint8Array): boolean =>
  Inode.priv.get(inode, PARENT) === parent &&
  stringEquals(Inode.priv.get(inode, NAME) as Ref<"string">, name, hashBytes(name));

/**
 * Evicts: what the host side holds.
 */
export function hostEvict(inode: I): void {
  for (const which of [FD_READ, FD_WRITE]) if (Inode.priv.get(inode, which) !== 0) dropKept(inode, which);
  const name = Inode.priv.get(inode, NAME) as Ref<"string"> | 0;
  if (name !== 0) kfreeStringRcu(name);
  const parent = Inode.priv.get(inode, PARENT) as Ptr<"inode">;
  if (parent !== 0) iput(parent);
}

/** The inode is found under another name from now on (rename). The locks of both directories are held. */
export function moveHostInode(inode: I, parent: I, name: Uint8Array): void {
  const text = tryAllocString(name);
  // Without memory the old name stays: later host calls answer ENOENT or ESTALE.
  if (text === 0) return;
  igrab(parent);
  const oldParent = Inode.priv.get(inode, PARENT) as Ptr<"inode">;
  const oldName = Inode.priv.get(inode, NAME) as Ref<"string">;
  Inode.priv.set(inode, PARENT, parent);
  Inode.priv.set(inode, NAME, text);
  Inode.priv.set(inode, NAMELESS, 0);
  kfreeStringRcu(oldName);
  if (oldParent !== 0) iput(oldParent);
}

/** Host path of the inode, by its name in a directory that is known by identity; -errno. */
export function hostPath(inode: I): HostPath | number {
  const parent = Inode.priv.get(inode, PARENT) as Ptr<"inode">;
  if (parent === 0) return stringText(Superblock.priv.get(Inode.sb.get(inode), ROOT_PATH) as Ref<"string">);
  const directory = directoryPath(parent);
  if (typeof directory === "number") return directory;
  return joinName(directory, stringBytes(Inode.priv.get(inode, NAME) as Ref<"string">));
}

/** A path that means this directory and no other, for one more component; -errno. */
export function directoryPath(dir: I): HostPath | number {
  const open = keptDescriptor(dir, FD_READ);
  if (open >= 0) return `/proc/self/fd/${open}`;
  const path = hostPath(dir);
  if (typeof path === "number") return path;
  if (!BY_DESCRIPTOR) {
    const st = hostLstat(path);
    if (typeof st === "number") return st;
    if (st === null) return -ENOENT;
    return sameFile(dir, st) ? path : -ESTALE;
  }
  const fd = openDirectory(path);
  if (fd < 0) return fd;
  const st = hostCall(() => nodeFs.fstatSync(fd));
  if (typeof st === "number" || !sameFile(dir, st)) {
    closeHost(fd);
    return typeof st === "number" ? st : -ESTALE;
  }
  const kept = keepDescriptor(dir, FD_READ, fd);
  return kept < 0 ? -ENOMEM : `/proc/self/fd/${kept}`;
}

/** A name in a directory as a host path; -errno. */
export function childPath(dir: I, name: Uint8Array): HostPath | number {
  const directory = directoryPath(dir);
  return typeof directory === "number" ? directory : joinName(directory, name);
}
