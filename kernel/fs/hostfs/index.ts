/**
 * hostfs: a host folder (or one file) mounted in the guest's tree.
 *
 * Only the machine's set-up mounts it. The guest reaches nothing outside: names are resolved one component at a time in
 * directories known by identity, symbolic links are shown as such and resolved by the guest's own path lookup, and
 * devices, FIFOs and sockets of the host cannot be opened.
 */
import fs from "node:fs";
import { freeString, type Ref, stringText, tryAllocString } from "../../../rcu/index.ts";
import { ENOMEM, EOPNOTSUPP } from "../../uapi/errno.ts";
import { MS_RDONLY, V9FS_MAGIC } from "../../uapi/mount.ts";
import { dAllocRoot } from "../dcache.ts";
import { iput } from "../inode.ts";
import { registerFileSystem, registerSuperOps, SOPS } from "../ops.ts";
import { SB_NEGATIVE, SB_RDONLY, SB_REVALIDATE, Superblock, sbAlloc, sbPut } from "../super.ts";
import { hostCall } from "./host.ts";
import { HAS_BIRTH, hostEvict, hostInode, ROOT_PATH, VALIDITY_US } from "./inode.ts";
import "./file.ts";
import "./inode-ops.ts";

registerSuperOps(SOPS.HOSTFS, {
  name: "hostfs",
  evict: hostEvict,
  statfs(sb) {
    const path = stringText(Superblock.priv.get(sb, ROOT_PATH) as Ref<"string">);
    const info = hostCall(() => fs.statfsSync(path));
    if (typeof info === "number") return info;
    return { ...info, type: V9FS_MAGIC, namelen: 255 };
  },
  kill(sb) {
    const path = Superblock.priv.get(sb, ROOT_PATH) as Ref<"string"> | 0;
    if (path !== 0) freeString(path);
    Superblock.priv.set(sb, ROOT_PATH, 0);
  },
});

registerFileSystem({
  name: "hostfs",
  nodev: true,
  hostOnly: true,
  /** `source` is a host path; with MS_RDONLY in `flags` nothing can ever be written through it. */
  mount(source, flags) {
    const path = hostCall(() => fs.realpathSync(source));
    if (typeof path === "number") return path;
    const st = hostCall(() => fs.lstatSync(path));
    if (typeof st === "number") return st;
    if (!st.isDirectory() && !st.isFile()) return -EOPNOTSUPP;
    const readOnly = (flags & MS_RDONLY) !== 0 ? SB_RDONLY : 0;
    const sb = sbAlloc(SOPS.HOSTFS, SB_REVALIDATE | SB_NEGATIVE | readOnly, V9FS_MAGIC, source);
    const text = sb === 0 ? 0 : tryAllocString(path);
    if (sb === 0 || text === 0) {
      if (sb !== 0) sbPut(sb);
      return -ENOMEM;
    }
    Superblock.validity.init(sb, VALIDITY_US);
    Superblock.priv.set(sb, ROOT_PATH, text);
    // Without statx(2) the time of the last change stands here.
    if (st.birthtimeMs > 0 && st.birthtimeMs !== st.ctimeMs) Superblock.priv.set(sb, HAS_BIRTH, 1);
    const inode = hostInode(sb, 0, new Uint8Array(0), st);
    const root = inode < 0 ? 0 : dAllocRoot(sb, inode as Ref<"inode">);
    if (root === 0) {
      if (inode > 0) iput(inode as Ref<"inode">);
      sbPut(sb);
      return -ENOMEM;
    }
    Superblock.root.set(sb, root);
    return sb;
  },
});
