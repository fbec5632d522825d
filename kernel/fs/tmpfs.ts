/**
 * tmpfs: files in memory. Its directories are the dentries themselves (SB_DCACHE), its contents the page cache.
 * A file system has half of RAM and as many inodes as half its pages unless its options say otherwise (tmpfs-options.ts), and all of them
 * together leave an eighth of RAM to programs (mm/pagecache.ts): ENOSPC when there is nothing left.
 */

import {
  freeString,
  heapPages,
  kfreeStringRcu,
  liveObjects,
  type Ref,
  stringBytes,
  tryAllocString,
} from "../../rcu/index.ts";
import { frameTotal, freeFrames } from "../mm/frame.ts";
import { heapIsLow } from "../mm/heap.ts";
import { Mapping, MOPS, mappingCreate, registerMappingOps } from "../mm/mapping.ts";
import { newPageQuota, PageQuota, quotaPut } from "../mm/page-quota.ts";
import { noteRefusal, SHORT_HEAP } from "../mm/shortage.ts";
import { CAP_FSETID } from "../task/cred.ts";
import { EINVAL, ENOMEM, ENOSPC } from "../uapi/errno.ts";
import { F_SEAL_SEAL, NAME_MAX } from "../uapi/fcntl.ts";
import { TMPFS_MAGIC } from "../uapi/mount.ts";
import {
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  S_ISGID,
  S_IXGRP,
} from "../uapi/stat.ts";
import { dAllocRoot } from "./dcache.ts";
import { Inode, iput, newInode } from "./inode.ts";
import {
  type FileSystemType,
  FOPS,
  type InodeOps,
  IOPS,
  registerFileSystem,
  registerInodeOps,
  registerSuperOps,
  SOPS,
} from "./ops.ts";
import { fsCapable, fsgid, fsuid, inFsGroup } from "./permission.ts";
import { SB_DCACHE, Superblock, sbAlloc, sbNextIno, sbPut } from "./super.ts";
import { defaultSize, parseTmpfsOptions, type TmpfsOptions } from "./tmpfs-options.ts";

/** Inode.priv: target of a symbolic link. */
const LINK = 0;
/** Superblock.priv: its page quota; the most inodes, 0: no limit. */
const QUOTA = 0;
const INODES = 1;
const quotaOf = (sb: Ref<"superblock">): Ref<"page_quota"> =>
  Superblock.priv.get(sb, QUOTA) as Ref<"page_quota">;

registerMappingOps(MOPS.TMPFS, {
  size: (mapping) => Inode.size.racy(Mapping.host.get(mapping) as Ref<"inode">),
});

/** Kind of open file for a mode. */
export function fopsOfMode(mode: number, regular: number, directory: number): number {
  switch (mode & S_IFMT) {
    case S_IFREG:
      return regular;
    case S_IFDIR:
      return directory;
    case S_IFCHR:
    case S_IFBLK:
      return FOPS.CHRDEV;
    case S_IFIFO:
      return FOPS.FIFO;
    default:
      return FOPS.NONE;
  }
}

/** Sets the owner of a new inode: the caller's ids, or the directory's group where it is set-gid. */
export function inodeInitOwner(inode: Ref<"inode">, dir: Ref<"inode"> | 0): void {
  Inode.uid.init(inode, fsuid());
  Inode.gid.init(inode, fsgid());
  if (dir === 0 || (Inode.mode.peek(dir) & S_ISGID) === 0) return;
  Inode.gid.init(inode, Inode.gid.peek(dir));
  const mode = Inode.mode.peek(inode);
  if ((mode & S_IFMT) === S_IFDIR) Inode.mode.init(inode, mode | S_ISGID);
  // Nobody gets a program that runs as a group that is not theirs.
  else if ((mode & S_IXGRP) !== 0 && !inFsGroup(Inode.gid.peek(inode)) && !fsCapable(CAP_FSETID))
    Inode.mode.init(inode, mode & ~S_ISGID);
}

/** What a file takes of the kernel's heap, about: its inode, its name, its mapping. */
const INODE_BYTES = 1024;

/** Whether it is files that fill the kernel's heap: then no process is killed for it. */
function mostlyFiles(): boolean {
  const { total, free, bytes } = heapPages();
  return liveObjects(Inode) * INODE_BYTES * 2 > (total - free) * bytes;
}

/** Programs fill the heap: the call waits until one of them has been killed for it. */
function refuseRoom(): number {
  noteRefusal(SHORT_HEAP);
  return -ENOMEM;
}

/** An inode of a tmpfs with one count and one link (directories two). -ENOSPC, -ENOMEM when memory is short. */
export function tmpfsInode(
  sb: Ref<"superblock">,
  dir: Ref<"inode"> | 0,
  mode: number,
  rdev = 0,
): Ref<"inode"> | number {
  if (heapIsLow()) return mostlyFiles() ? -ENOSPC : refuseRoom();
  const inode = newInode(sb, sbNextIno(sb), mode, IOPS.TMPFS, fopsOfMode(mode, FOPS.REGULAR, FOPS.DIR));
  if (inode === 0) return -ENOSPC;
  // A mountpoint that is made in front of a host folder belongs to that.
  const own = Superblock.sops.get(sb) === SOPS.TMPFS;
  const most = own ? Superblock.priv.get(sb, INODES) : 0;
  if (most !== 0 && Superblock.inodes.load(sb) > most) {
    iput(inode);
    return -ENOSPC;
  }
  Inode.rdev.init(inode, rdev);
  inodeInitOwner(inode, dir);
  if ((mode & S_IFMT) === S_IFREG) {
    const mapping = mappingCreate(MOPS.TMPFS, inode, own ? quotaOf(sb) : 0);
    if (mapping === 0) {
      iput(inode);
      return -ENOSPC;
    }
    Inode.mapping.init(inode, mapping);
    // Only what memfd_create(2) makes can be sealed.
    Inode.seals.init(inode, F_SEAL_SEAL);
  }
  if ((mode & S_IFMT) === S_IFDIR) Inode.nlink.init(inode, 2);
  return inode;
}

const make = (dir: Ref<"inode">, _name: Uint8Array, mode: number, rdev = 0): Ref<"inode"> | number =>
  tmpfsInode(Inode.sb.get(dir), dir, mode, rdev);

const tmpfsInodeOps: InodeOps = {
  create: make,
  mkdir: make,
  mknod: make,
  symlink(dir, _name, target) {
    const text = tryAllocString(target);
    if (text === 0) return -ENOSPC;
    const inode = tmpfsInode(Inode.sb.get(dir), dir, S_IFLNK | 0o777);
    if (inode < 0) {
      freeString(text);
      return inode;
    }
    Inode.priv.set(inode as Ref<"inode">, LINK, text);
    Inode.size.init(inode as Ref<"inode">, target.length);
    return inode;
  },
  tmpfile: (dir, mode) => make(dir, new Uint8Array(0), mode),
  link: () => 0,
  unlink: () => 0,
  rmdir: () => 0,
  rename: () => 0,
  readlink(inode) {
    const text = Inode.priv.get(inode, LINK) as Ref<"string"> | 0;
    return text === 0 ? -EINVAL : stringBytes(text);
  },
};

registerInodeOps(IOPS.TMPFS, tmpfsInodeOps);
registerSuperOps(SOPS.TMPFS, {
  name: "tmpfs",
  statfs(sb) {
    const { limit, used } = PageQuota;
    const limited = limit.get(quotaOf(sb)) !== Infinity;
    const left = Math.max(0, limit.get(quotaOf(sb)) - used.load(quotaOf(sb)));
    const bfree = Math.min(left, freeFrames());
    const files = Superblock.priv.get(sb, INODES) || 1 << 20;
    return {
      type: TMPFS_MAGIC,
      bsize: 4096,
      blocks: limited ? limit.get(quotaOf(sb)) : frameTotal(),
      bfree,
      bavail: bfree,
      files,
      ffree: Math.max(0, files - Superblock.inodes.load(sb)),
      namelen: NAME_MAX,
    };
  },
  options(sb) {
    const pages = PageQuota.limit.get(quotaOf(sb));
    const inodes = Superblock.priv.get(sb, INODES);
    const usual = defaultSize();
    const size = pages === Infinity || pages === usual ? "" : `size=${pages * 4}k`;
    return [size, inodes === 0 || inodes === usual ? "" : `nr_inodes=${inodes}`]
      .filter((each) => each !== "")
      .join(",");
  },
  remount(sb, options) {
    const parsed = parseTmpfsOptions(options);
    if (parsed === null) return -EINVAL;
    const { pages, inodes } = parsed;
    if (pages !== undefined && pages < PageQuota.used.load(quotaOf(sb))) return -EINVAL;
    if (inodes !== undefined && inodes < Superblock.inodes.load(sb)) return -EINVAL;
    if (pages !== undefined) PageQuota.limit.set(quotaOf(sb), pages);
    if (inodes !== undefined) setMostInodes(sb, inodes);
    return 0;
  },
  kill: (sb) => quotaPut(quotaOf(sb)),
  evict(inode) {
    const text = Inode.priv.get(inode, LINK) as Ref<"string"> | 0;
    if ((Inode.mode.peek(inode) & S_IFMT) === S_IFLNK && text !== 0) kfreeStringRcu(text);
  },
});

function setMostInodes(sb: Ref<"superblock">, most: number): void {
  Superblock.priv.set(sb, INODES, most === Infinity ? 0 : Math.min(most, 0x7fff_ffff));
}

function mountTmpfs(source: string, options: TmpfsOptions): Ref<"superblock"> | number {
  // As for every mount (mount-tree.ts): no process is killed for it, and none is waited for.
  if (heapIsLow()) return -ENOSPC;
  const quota = newPageQuota(options.pages ?? Infinity);
  if (quota === 0) return -ENOMEM;
  const sb = sbAlloc(SOPS.TMPFS, SB_DCACHE, TMPFS_MAGIC, source);
  if (sb === 0) {
    quotaPut(quota);
    return -ENOMEM;
  }
  Superblock.priv.set(sb, QUOTA, quota);
  setMostInodes(sb, options.inodes ?? Infinity);
  const made = tmpfsInode(sb, 0, S_IFDIR | ((options.mode ?? 0o1777) & 0o7777));
  if (made < 0) {
    sbPut(sb);
    return made;
  }
  const inode = made as Ref<"inode">;
  if (options.uid !== undefined) Inode.uid.init(inode, options.uid);
  if (options.gid !== undefined) Inode.gid.init(inode, options.gid);
  const root = dAllocRoot(sb, inode);
  if (root === 0) {
    iput(inode);
    sbPut(sb);
    return -ENOMEM;
  }
  Superblock.root.set(sb, root);
  return sb;
}

export const tmpfs: FileSystemType = {
  name: "tmpfs",
  nodev: true,
  mount(source, _flags, options) {
    const parsed = parseTmpfsOptions(options);
    const usual = { pages: defaultSize(), inodes: defaultSize() };
    return parsed === null ? -EINVAL : mountTmpfs(source, { ...usual, ...parsed });
  },
};
registerFileSystem(tmpfs);
registerFileSystem({ ...tmpfs, name: "devtmpfs" });
// ramfs has no limits, and ignores what it does not know.
registerFileSystem({
  ...tmpfs,
  name: "ramfs",
  mount(source, _flags, options) {
    const mode = /(?:^|,)mode=([0-7]+)/.exec(options)?.[1] ?? "755";
    return mountTmpfs(source, { mode: Number.parseInt(mode, 8) });
  },
});
