/** From a place back to its path: getcwd(2), /proc/PID/fd, /proc/mounts. */
import { type Ref, rcuReadLock, rcuReadUnlock } from "../../rcu/index.ts";
import { dentryName, dentryParent, dentryUnhashed } from "./dcache.ts";
import { FsInfo, type FsPath, Path } from "./fsinfo.ts";
import { Mount } from "./mount.ts";
import { rootMount } from "./mount-tree.ts";
import { currentFs } from "./namei.ts";

type M = Ref<"mount">;
type D = Ref<"dentry">;
const SLASH = 47;
const decoder = new TextDecoder();

/** No path of more bytes is told by anybody (PATH_MAX, with its NUL); directories may be a hundred thousand deep. */
export const LONGEST_PATH = 4095;

/**
 * Path of (mount, dentry) as seen from a root, bytes; null when it does not lie below that root. Beyond `longest` bytes nobody looks: what
 * is returned then is longer than that, and not the path.
 */
export function pathFrom(
  mount: M,
  dentry: D,
  rootMount: M,
  rootDentry: D,
  longest = Infinity,
): Uint8Array | null {
  const names: Uint8Array[] = [];
  let at = dentry;
  let in_ = mount;
  let length = 0;
  let below = true;
  while ((in_ !== rootMount || at !== rootDentry) && length <= longest) {
    if (at === Mount.root.get(in_)) {
      const parent = Mount.parent.access(in_);
      if (parent === 0) {
        below = false;
        break;
      }
      at = Mount.mountpoint.access(in_) as D;
      in_ = parent;
      continue;
    }
    const name = dentryName(at);
    names.push(name);
    length += name.length + 1;
    const parent = dentryParent(at);
    // A detached dentry (memfd, O_TMPFILE) has no directory.
    if (parent === at) break;
    at = parent;
  }
  if (!below) return null;
  const path = new Uint8Array(Math.max(1, length));
  path[0] = SLASH;
  let pos = 0;
  for (let n = names.length - 1; n >= 0; n--) {
    path[pos++] = SLASH;
    path.set(names[n]!, pos);
    pos += names[n]!.length;
  }
  return path;
}

/** Path as the task with this fsinfo sees it; outside its root, from the machine's root. Longer than LONGEST_PATH: too long to be told. */
export function pathOf(fs: Ref<"fsinfo">, mount: M, dentry: D): Uint8Array {
  const scope = rcuReadLock();
  const root = FsInfo.root.deref(scope, fs) as FsPath;
  const machineRoot = rootMount();
  const path =
    pathFrom(mount, dentry, Path.mount.get(root), Path.dentry.get(root), LONGEST_PATH) ??
    pathFrom(mount, dentry, machineRoot, Mount.root.get(machineRoot), LONGEST_PATH) ??
    Uint8Array.of(SLASH); // A mount that was detached.
  rcuReadUnlock();
  return path;
}

/** Whether the place lies below the root of this fsinfo (getcwd says "(unreachable)" otherwise). */
export function pathReachable(fs: Ref<"fsinfo">, mount: M, dentry: D): boolean {
  const scope = rcuReadLock();
  const root = FsInfo.root.deref(scope, fs) as FsPath;
  const path = pathFrom(mount, dentry, Path.mount.get(root), Path.dentry.get(root), LONGEST_PATH);
  rcuReadUnlock();
  return path !== null;
}

/** Text of the path as the current task sees it, with " (deleted)" when the name is gone: /proc/PID/fd, exe, maps. "" when it is too long. */
export function dPath(mount: M, dentry: D): string {
  const bytes = pathOf(currentFs(), mount, dentry);
  if (bytes.length > LONGEST_PATH) return "";
  const path = decoder.decode(bytes);
  return dentryUnhashed(dentry) && dentry !== Mount.root.get(mount) ? `${path} (deleted)` : path;
}
