/** memfd_create(2): a file in memory without a name, on a tmpfs that is mounted nowhere; and its seals. */
import type { Ref } from "../../rcu/index.ts";
import { kernelGlobal } from "../global.ts";
import { Mapping } from "../mm/mapping.ts";
import { EBUSY, EINVAL, ENOMEM, EPERM } from "../uapi/errno.ts";
import {
  F_SEAL_EXEC,
  F_SEAL_FUTURE_WRITE,
  F_SEAL_GROW,
  F_SEAL_SEAL,
  F_SEAL_SHRINK,
  F_SEAL_WRITE,
  O_LARGEFILE,
  O_RDWR,
} from "../uapi/fcntl.ts";
import { S_IFREG } from "../uapi/stat.ts";
import { dAllocDetached, dput } from "./dcache.ts";
import { File, FMODE_LSEEK, FMODE_READ, FMODE_WRITE, newFile } from "./file.ts";
import { Inode, iput } from "./inode.ts";
import { kernMount, Mount, mntGet, mntPut } from "./mount.ts";
import { FOPS } from "./ops.ts";
import { tmpfsInode } from "./tmpfs.ts";

const shmMount = kernelGlobal<Ref<"mount">>("memfd mount");
/** Longest name, without the "memfd:" that is put in front. */
export const MFD_NAME_MAX = 249;
/** What a file that may be executed keeps is its content as well. */
const CONTENT_SEALS = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_FUTURE_WRITE;
const ALL_SEALS = F_SEAL_SEAL | F_SEAL_EXEC | CONTENT_SEALS;

/** Once per machine, at boot. False when memory is short. */
export function memfdInit(): boolean {
  const mount = kernMount("tmpfs", "tmpfs", 0, "size=0,nr_inodes=0");
  if (mount > 0) shmMount.init(mount as Ref<"mount">);
  return mount > 0;
}

/** An open file in memory; `name` is what /proc/PID/fd shows after "memfd:", `seals` its first F_SEAL_*. -ENOMEM. */
export function memfdFile(name: Uint8Array, mode: number, seals: number): Ref<"file"> | number {
  const mount = shmMount.get();
  const sb = Mount.sb.get(mount);
  const inode = tmpfsInode(sb, 0, S_IFREG | mode);
  if (inode < 0) return -ENOMEM;
  Inode.nlink.init(inode as Ref<"inode">, 0);
  Inode.seals.init(inode as Ref<"inode">, seals);
  const text = new Uint8Array(6 + name.length);
  text.set(new TextEncoder().encode("memfd:"));
  text.set(name, 6);
  const dentry = dAllocDetached(sb, inode as Ref<"inode">, text);
  if (dentry === 0) {
    iput(inode as Ref<"inode">);
    return -ENOMEM;
  }
  mntGet(mount);
  const fmode = FMODE_READ | FMODE_WRITE | FMODE_LSEEK;
  const file = newFile(inode as Ref<"inode">, dentry, mount, FOPS.REGULAR, fmode, O_RDWR | O_LARGEFILE);
  if (file < 0) {
    mntPut(mount);
    dput(dentry);
  }
  return file;
}

/** F_GET_SEALS: only files in memory have seals. */
export function getSeals(file: Ref<"file">): number {
  if (File.fops.get(file) !== FOPS.REGULAR) return -EINVAL;
  return Inode.seals.load(File.inode.get(file));
}

/** F_ADD_SEALS. -EBUSY: F_SEAL_WRITE while somebody may write through a shared mapping. */
export function addSeals(file: Ref<"file">, seals: number): number {
  if (File.fops.get(file) !== FOPS.REGULAR || (seals & ~ALL_SEALS) !== 0) return -EINVAL;
  if ((File.mode.get(file) & FMODE_WRITE) === 0) return -EPERM;
  const inode = File.inode.get(file);
  Inode.lock.lock(inode);
  let result = 0;
  const executable = (seals & F_SEAL_EXEC) !== 0 && (Inode.mode.peek(inode) & 0o111) !== 0;
  const added = executable ? seals | CONTENT_SEALS : seals;
  const mapping = Inode.mapping.get(inode);
  if ((Inode.seals.load(inode) & F_SEAL_SEAL) !== 0) result = -EPERM;
  else if ((added & F_SEAL_WRITE) !== 0 && mapping !== 0 && Mapping.writers.load(mapping) !== 0)
    result = -EBUSY;
  else Inode.seals.or(inode, added);
  Inode.lock.unlock(inode);
  return result;
}
