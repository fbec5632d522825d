/** Host descriptors of inodes, and attributes asked again when they are old. */
import fs from "node:fs";
import type { Ref } from "../../../rcu/index.ts";
import { nowNs } from "../../time/clock.ts";
import { ENFILE } from "../../uapi/errno.ts";
import { Inode } from "../inode.ts";
import { hostCall, hostLstat, openHostFile } from "./host.ts";
import { applyStat, FD_READ, FD_WRITE, hostPath, OPENS, sameFile, VALIDITY_US } from "./inode.ts";
import { keepDescriptor, keptDescriptor } from "./opener.ts";

type I = Ref<"inode">;

const SET_ID = 0o6000;

/** The inode's host descriptor, opened when there is none yet; -errno. */
function descriptor(inode: I, which: number, flags: number, pinned = false): number {
  const open = keptDescriptor(inode, which);
  if (open >= 0) return open;
  const path = hostPath(inode);
  if (typeof path === "number") return path;
  let mode = 0;
  const fd = openHostFile(path, flags, (st) => {
    mode = st.mode;
    return sameFile(inode, st);
  });
  if (fd < 0) return fd;
  // What the guest writes must not run with the rights of the host's owner; a host that is root would keep the bits.
  if (which === FD_WRITE && (mode & SET_ID) !== 0) hostCall(() => fs.fchmodSync(fd, mode & 0o1777));
  const kept = keepDescriptor(inode, which, fd, pinned);
  return kept < 0 ? -ENFILE : kept;
}

/**
 * The guest is about to remove the name of a file: while it is open it is found by a descriptor only, which then stays. 0, or -errno (-ENFILE
 * when too many such files are open).
 */
export function keepNameless(inode: I): number {
  if (Inode.priv.get(inode, OPENS) === 0) return 0;
  const which = Inode.writecount.peek(inode) > 0 ? FD_WRITE : FD_READ;
  const flags = which === FD_WRITE ? fs.constants.O_RDWR : fs.constants.O_RDONLY;
  return Math.min(0, descriptor(inode, which, flags, true));
}

export const writeDescriptor = (inode: I): number => descriptor(inode, FD_WRITE, fs.constants.O_RDWR);

/** For reading; a descriptor for writing serves as well. */
export function readDescriptor(inode: I): number {
  const write = keptDescriptor(inode, FD_WRITE);
  return write >= 0 ? write : descriptor(inode, FD_READ, fs.constants.O_RDONLY);
}

/** Reads the attributes again if they are older than the validity: 0 or -errno. */
export function refreshHost(inode: I): number {
  if (nowNs() - Inode.checked.get(inode) < VALIDITY_US * 1000) return 0;
  const fd = Math.max(keptDescriptor(inode, FD_WRITE), keptDescriptor(inode, FD_READ));
  if (fd >= 0) {
    const st = hostCall(() => fs.fstatSync(fd));
    if (typeof st === "number") return st;
    applyStat(inode, st);
    return 0;
  }
  const path = hostPath(inode);
  if (typeof path === "number") return path;
  const st = hostLstat(path);
  if (typeof st === "number") return st;
  // Gone, or another file by now: whoever holds the inode keeps what was known.
  if (st !== null && sameFile(inode, st)) applyStat(inode, st);
  return 0;
}
