/** Opening a file in order to run it. */
import type { Ref } from "../../rcu/index.ts";
import { inodeType } from "../fs/inode.ts";
import { Mount } from "../fs/mount.ts";
import { LOOKUP_EMPTY, LOOKUP_FOLLOW, nd, pathLookup } from "../fs/namei.ts";
import { openPlace } from "../fs/open.ts";
import { inodePermission, MAY_EXEC } from "../fs/permission.ts";
import { EACCES, ELOOP, ESTALE } from "../uapi/errno.ts";
import { AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW, O_RDONLY } from "../uapi/fcntl.ts";
import { MS_NOEXEC } from "../uapi/mount.ts";
import { S_IFLNK, S_IFREG } from "../uapi/stat.ts";

/** How often a file that went away between lookup and open is looked up again. */
const RETRIES = 16;

/**
 * A regular file that the task may execute, with one count, or -errno. It need not be readable. `flags`: AT_EMPTY_PATH,
 * AT_SYMLINK_NOFOLLOW.
 */
export function openExec(dirfd: number, path: string | Uint8Array, flags: number): Ref<"file"> | number {
  const lookup =
    ((flags & AT_SYMLINK_NOFOLLOW) === 0 ? LOOKUP_FOLLOW : 0) |
    ((flags & AT_EMPTY_PATH) !== 0 ? LOOKUP_EMPTY : 0);
  for (let attempt = 0; attempt < RETRIES; attempt++) {
    const error = pathLookup(dirfd, path, lookup);
    if (error < 0) return error;
    const { mount, dentry, inode } = nd;
    if (inodeType(inode) === S_IFLNK) return -ELOOP;
    if (inodeType(inode) !== S_IFREG || dentry === 0) return -EACCES;
    if ((Mount.flags.peek(mount) & MS_NOEXEC) !== 0) return -EACCES;
    const denied = inodePermission(inode, MAY_EXEC);
    if (denied < 0) return denied;
    const file = openPlace(mount, dentry, inode, O_RDONLY, true);
    if (file !== -ESTALE) return file;
  }
  return -ESTALE;
}
