/** Emptying the dentry cache of a file system that is unmounted. */
import {
  arrayGet,
  arrayLength,
  type Held,
  listFirst,
  type Ptr,
  type Ref,
  rcuReadLock,
  rcuReadUnlock,
} from "../../rcu/index.ts";
import { Dentry, dDrop, dentryParent, dget, dput, kill } from "./dcache.ts";
import { Dcache, DName, dcache } from "./dname.ts";

type D = Ref<"dentry">;

/** Buckets of the table of names, and names, that are dealt with in one part. */
const PART_BUCKETS = 8192;
const PART_NAMES = 1024;

/**
 * Drops the unused dentries of a file system that is unmounted, a part of the table of names; a directory goes with the last name in it.
 * `from` is 0 at first, then what the last part answered; 0 when all are gone.
 */
export function dcacheShrinkPart(sb: Ref<"superblock">, from: number): number {
  const table = Dcache.buckets.get(dcache.get());
  const length = arrayLength(table);
  const end = Math.min(length, from + PART_BUCKETS);
  let bucket = from;
  for (let left = PART_NAMES; bucket < end && left > 0; bucket++) {
    const scope = rcuReadLock();
    let name = arrayGet(table, bucket) as Ptr<"dname">;
    while (name !== 0) {
      const dentry = DName.dentry.get(name);
      name = DName.next.deref(scope, name);
      left--;
      if (Dentry.sb.get(dentry) === sb) killUpwards(dentry);
    }
    rcuReadUnlock();
  }
  return bucket < length ? bucket : 0;
}

/** Kills an unused dentry, and the directories above that are unused then. */
function killUpwards(dentry: D): void {
  let at = dentry;
  while (Dentry.refcount.peek(at) === 0) {
    const parent = kill(at);
    if (parent === 0) return;
    dput(parent);
    at = parent;
  }
}

/**
 * Unlinks what is below a pinned directory (SB_DCACHE), a part of it, when its file system goes away. Each directory is entered and left
 * once. `from` is 0 at first, then what the last part answered: the directory to go on in; 0 when nothing is left.
 */
export function dPrunePart(root: D, from: number): number {
  const scope = rcuReadLock();
  const held = scope as unknown as Held; // The mount is gone: nobody else reaches this tree by name.
  let at = from === 0 ? root : (from as D);
  let left = PART_NAMES;
  for (; left > 0; left--) {
    const child = listFirst(Dentry.children.at(at));
    if (child !== 0) {
      at = Dentry.sibling.owner(child);
      continue;
    }
    if (at === root) break;
    const parent = dentryParent(at);
    dget(at);
    dDrop(held, at);
    dput(at);
    at = parent;
  }
  rcuReadUnlock();
  return left > 0 ? 0 : at;
}
