/** Names that the dentry cache does not have: the file system is asked, with the directory's inode lock held. */
import type { Held, Ptr, Ref } from "../../rcu/index.ts";
import { nowNs } from "../time/clock.ts";
import { ENOENT, ENOMEM } from "../uapi/errno.ts";
import { Dentry, dAdd, dgetLive, dLookup, dput } from "./dcache.ts";
import { I_DEAD, Inode, inodeLock, inodeUnlock, iput } from "./inode.ts";
import { inodeOpsOf } from "./ops.ts";
import { type Qstr, qstrBytes } from "./qstr.ts";
import { SB_NEGATIVE, Superblock } from "./super.ts";

type D = Ref<"dentry">;
type I = Ref<"inode">;

/** Asks the file system, under the directory's lock, and caches the answer. */
export function lookupSlow(parent: D, dir: I, text: Qstr): Ptr<"dentry"> | number {
  const held = inodeLock(dir);
  const result = lookupLocked(held, parent, dir, text);
  inodeUnlock(dir);
  if (result > 0) dput(result as D); // The handler is a read section: it stays readable.
  return result;
}

/**
 * A child by name with the directory's lock held: a dentry *with a count*, 0 when there is nothing (and negative
 * entries are not kept), or -errno.
 */
export function lookupLocked(held: Held, parent: D, dir: I, text: Qstr): Ptr<"dentry"> | number {
  if ((Inode.state.peek(dir) & I_DEAD) !== 0) return -ENOENT;
  const cached = dLookup(parent, text);
  if (cached !== 0 && dgetLive(cached)) return cached;
  const ops = inodeOpsOf(Inode.iops.get(dir));
  if (ops.lookup === undefined) return 0;
  const inode = ops.lookup(dir, qstrBytes(text));
  if (inode < 0) return inode;
  if (inode === 0 && (Superblock.flags.get(Inode.sb.get(dir)) & SB_NEGATIVE) === 0) return 0;
  const dentry = dAdd(held, parent, inode as Ptr<"inode">, text);
  if (dentry === 0) {
    if (inode !== 0) iput(inode as I);
    return -ENOMEM;
  }
  if (Superblock.validity.get(Inode.sb.get(dir)) !== 0) Dentry.stamp.set(dentry, nowNs());
  return dentry;
}
