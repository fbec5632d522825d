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
import { Dentry, dDrop, dget, dput, kill } from "./dcache.ts";
import { Dcache, DName, dcache } from "./dname.ts";

type D = Ref<"dentry">;

/** Drops every unused dentry of a file system that is unmounted. */
export function dcacheShrinkSuper(sb: Ref<"superblock">): void {
  const table = Dcache.buckets.get(dcache.get());
  for (let again = true; again; ) {
    again = false;
    for (let bucket = 0; bucket < arrayLength(table); bucket++) {
      const scope = rcuReadLock();
      let name = arrayGet(table, bucket) as Ptr<"dname">;
      while (name !== 0) {
        const dentry = DName.dentry.get(name);
        name = DName.next.deref(scope, name);
        if (Dentry.sb.get(dentry) !== sb || Dentry.refcount.peek(dentry) !== 0) continue;
        const parent = kill(dentry);
        if (parent === 0) continue;
        dput(parent);
        again = true; // The parent may be unused now.
      }
      rcuReadUnlock();
    }
  }
}

/** Unlinks everything below a pinned directory (SB_DCACHE), when its file system goes away. */
export function dPrune(root: D): void {
  const scope = rcuReadLock();
  const held = scope as unknown as Held; // The mount is gone: nobody else reaches this tree by name.
  for (;;) {
    let dir = root;
    for (let node = listFirst(Dentry.children.at(dir)); node !== 0; node = listFirst(Dentry.children.at(dir)))
      dir = Dentry.sibling.owner(node);
    if (dir === root) break;
    dget(dir);
    dDrop(held, dir);
    dput(dir);
  }
  rcuReadUnlock();
}
