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

/** Drops every unused dentry of a file system that is unmounted, in one pass: a directory goes with the last name in it. */
export function dcacheShrinkSuper(sb: Ref<"superblock">): void {
  const table = Dcache.buckets.get(dcache.get());
  for (let bucket = 0; bucket < arrayLength(table); bucket++) {
    const scope = rcuReadLock();
    let name = arrayGet(table, bucket) as Ptr<"dname">;
    while (name !== 0) {
      const dentry = DName.dentry.get(name);
      name = DName.next.deref(scope, name);
      if (Dentry.sb.get(dentry) === sb) killUpwards(dentry);
    }
    rcuReadUnlock();
  }
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

/** Unlinks everything below a pinned directory (SB_DCACHE), when its file system goes away. Each directory is entered and left once. */
export function dPrune(root: D): void {
  const scope = rcuReadLock();
  const held = scope as unknown as Held; // The mount is gone: nobody else reaches this tree by name.
  let at = root;
  for (;;) {
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
}
