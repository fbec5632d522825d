/** What chdir, chroot and umask change: shared by threads (CLONE_FS), copied by fork. */
import {
  atomic,
  callRcu,
  defineReclaimer,
  fixed,
  free,
  kfreeRcu,
  type Ref,
  rcu,
  rcuReadLock,
  rcuReadUnlock,
  struct,
  tryAlloc,
} from "../../rcu/index.ts";
import { ENOENT, ENOMEM } from "../uapi/errno.ts";
import { dgetLive, dput } from "./dcache.ts";
import { Mount, mntGetLive, mntPut } from "./mount.ts";
import { rootMount } from "./mount-tree.ts";

/** A place in the tree: immutable, counts both. Replaced whole, so readers never see half a chdir. */
export type FsPath = Ref<"path">;
export const Path = struct("path", { mount: fixed<Ref<"mount">>(), dentry: fixed<Ref<"dentry">>() });

export const FsInfo = struct("fsinfo", {
  users: atomic(),
  root: rcu("path"),
  cwd: rcu("path"),
  umask: atomic(),
});

type Fs = Ref<"fsinfo">;

/** A Path with counts of its own; 0 when memory is short, or the place is gone. */
function newPath(mount: Ref<"mount">, dentry: Ref<"dentry">): Ref<"path"> | 0 {
  if (!dgetLive(dentry)) return 0;
  if (!mntGetLive(mount)) {
    dput(dentry);
    return 0;
  }
  const path = tryAlloc(Path);
  if (path === 0) {
    dput(dentry);
    mntPut(mount);
    return 0;
  }
  Path.mount.init(path, mount);
  Path.dentry.init(path, dentry);
  return path;
}

const dropDentry = defineReclaimer("path", (arg) => {
  const path = arg as Ref<"path">;
  dput(Path.dentry.get(path));
  free(Path, path);
});

/** The mount is free at once (umount after chdir works), the dentry when no reader can stand on it. */
function dropPath(path: Ref<"path"> | 0): void {
  if (path === 0) return;
  mntPut(Path.mount.get(path));
  callRcu(dropDentry, path);
}

/** One with one user that takes over both paths; 0 when memory is, or was, short. */
function fsWith(root: Ref<"path"> | 0, cwd: Ref<"path"> | 0, umask: number): Fs | 0 {
  const fs = tryAlloc(FsInfo);
  if (fs === 0 || root === 0 || cwd === 0) {
    dropPath(root);
    dropPath(cwd);
    if (fs !== 0) free(FsInfo, fs);
    return 0;
  }
  FsInfo.users.init(fs, 1);
  FsInfo.root.init(fs, root);
  FsInfo.cwd.init(fs, cwd);
  FsInfo.umask.init(fs, umask);
  return fs;
}

/** For the first task: root and cwd are the root mount's root, umask 022. 0 when memory is short. */
export function fsCreate(): Fs | 0 {
  const mount = rootMount();
  const dentry = Mount.root.get(mount);
  return fsWith(newPath(mount, dentry), newPath(mount, dentry), 0o022);
}

/** fork(2): a copy with one user. 0 when memory is short. */
export function fsFork(from: Fs): Fs | 0 {
  const scope = rcuReadLock();
  const fromRoot = FsInfo.root.deref(scope, from) as Ref<"path">;
  const fromCwd = FsInfo.cwd.deref(scope, from) as Ref<"path">;
  const root = newPath(Path.mount.get(fromRoot), Path.dentry.get(fromRoot));
  const cwd = newPath(Path.mount.get(fromCwd), Path.dentry.get(fromCwd));
  rcuReadUnlock();
  return fsWith(root, cwd, FsInfo.umask.load(from));
}

/** clone(CLONE_FS): one more user. */
export function fsGet(fs: Fs): Fs {
  FsInfo.users.add(fs, 1);
  return fs;
}

export function fsPut(fs: Fs): void {
  if (!FsInfo.users.decAndTest(fs)) return;
  dropPath(FsInfo.root.exchange(fs, 0));
  dropPath(FsInfo.cwd.exchange(fs, 0));
  kfreeRcu(FsInfo, fs);
}

/** chdir: 0, -ENOENT when the directory is gone, -ENOMEM. */
export function setCwd(fs: Fs, mount: Ref<"mount">, dentry: Ref<"dentry">): number {
  return replace(FsInfo.cwd, fs, mount, dentry);
}
/** chroot; the working directory stays. */
export function setRoot(fs: Fs, mount: Ref<"mount">, dentry: Ref<"dentry">): number {
  return replace(FsInfo.root, fs, mount, dentry);
}
function replace(field: typeof FsInfo.cwd, fs: Fs, mount: Ref<"mount">, dentry: Ref<"dentry">): number {
  const path = newPath(mount, dentry);
  if (path === 0) return dentryGone(dentry) ? -ENOENT : -ENOMEM;
  dropPath(field.exchange(fs, path));
  return 0;
}
function dentryGone(dentry: Ref<"dentry">): boolean {
  if (!dgetLive(dentry)) return true;
  dput(dentry);
  return false;
}

/** umask(2): sets the mask, returns the old one. */
export const setUmask = (fs: Fs, mask: number): number => FsInfo.umask.exchange(fs, mask & 0o777);
