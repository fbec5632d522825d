/** Connects memory management to open files (filemap.ts). Every worker that maps files loads it. */
import type { Ptr, Ref } from "../../rcu/index.ts";
import { allowWriteAccess, denyWriteAccess } from "../fs/attr.ts";
import { File, FMODE_PATH, FMODE_READ, FMODE_WRITE, fileGet, fput } from "../fs/file.ts";
import { Inode } from "../fs/inode.ts";
import { Mount } from "../fs/mount.ts";
import { FOPS, fileOpsOf } from "../fs/ops.ts";
import { EACCES, EBADF, ENODEV, EPERM } from "../uapi/errno.ts";
import { F_SEAL_FUTURE_WRITE, F_SEAL_WRITE } from "../uapi/fcntl.ts";
import { PROT_EXEC, PROT_WRITE } from "../uapi/mman.ts";
import { MS_NOEXEC } from "../uapi/mount.ts";
import { bindFileBacking } from "./filemap.ts";

function fileMapping(file: Ref<"file">, prot: number, shared: boolean): Ptr<"mapping"> | number {
  const mode = File.mode.get(file);
  if ((mode & FMODE_PATH) !== 0) return -EBADF;
  if ((mode & FMODE_READ) === 0) return -EACCES;
  if (shared && (prot & PROT_WRITE) !== 0 && (mode & FMODE_WRITE) === 0) return -EACCES;
  const mount = File.mount.get(file);
  if ((prot & PROT_EXEC) !== 0 && mount !== 0 && (Mount.flags.peek(mount) & MS_NOEXEC) !== 0) return -EPERM;
  const inode = File.inode.get(file);
  if (shared && (prot & PROT_WRITE) !== 0 && (sealsOf(inode) & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)) !== 0)
    return -EPERM;
  const fops = File.fops.get(file);
  const mapping = fileOpsOf(fops).mmap?.(file);
  if (mapping !== undefined) return mapping;
  if (fops === FOPS.ZERO) return 0;
  return Inode.mapping.get(inode) || -ENODEV;
}

const sealsOf = (inode: Ref<"inode">): number => Inode.seals.peek(inode);

bindFileBacking({
  get: (file) => {
    fileGet(file);
  },
  put: fput,
  exeGet: (file) => {
    fileGet(file);
    denyWriteAccess(File.inode.get(file));
  },
  exePut: (file) => {
    allowWriteAccess(File.inode.get(file));
    fput(file);
  },
  mapping: fileMapping,
  mayWrite: (file) =>
    (File.mode.get(file) & FMODE_WRITE) !== 0 &&
    (sealsOf(File.inode.get(file)) & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)) === 0,
});
