/**
 * The mount table: one tree of mounts per machine, read under RCU, changed under one lock.
 *
 * A mount is found by its place, (parent mount, dentry it covers), in an RcuHashMap: from the hash of a place to the newest mount
 * with that hash, which has the others behind it (`next`). So the table grows with its mounts while CPUs look them up. A second map
 * counts the mounts on each dentry, whatever their parents: D_MOUNTED goes with the last. A mount that is taken off stays readable
 * until a grace period is over.
 */

import {
  type Held,
  listAddTail,
  listDelRcu,
  listFirst,
  listNext,
  liveObjects,
  type Ptr,
  RcuHashMap,
  type Ref,
  rcuReadLock,
  rcuReadUnlock,
  tryAlloc,
} from "../../rcu/index.ts";
import { kernelGlobal, onGlobalsBound } from "../global.ts";
import { heapIsLow } from "../mm/heap.ts";
import { thisCpu } from "../sched/current.ts";
import { defineLater, LATER_MOUNT, laterByTask } from "../sched/later.ts";
import { limit } from "../task/limits.ts";
import { EBUSY, EINVAL, ENOENT, ENOMEM, ENOSPC, ENOTDIR } from "../uapi/errno.ts";
import { MNT_DETACH } from "../uapi/mount.ts";
import { S_IFDIR } from "../uapi/stat.ts";
import { D_MOUNTED, Dentry, dentryInode, dgetLive, dput } from "./dcache.ts";
import { inodeType } from "./inode.ts";
import {
  ATTACHED,
  COUNTED,
  DEAD,
  destroy,
  Mount,
  MountTable,
  mntGetLive,
  mntPut,
  mountTable,
  users,
} from "./mount.ts";

type M = Ref<"mount">;
type D = Ref<"dentry">;

const placesRef = kernelGlobal<Ref<"rcu_hash_table">>("mounts by place");
const pointsRef = kernelGlobal<Ref<"rcu_hash_table">>("mountpoints");

/** Buckets that the table of places begins with and keeps: machines have a dozen mounts, and few of them share one. */
const BUCKETS = 256;

/** Hash of a place -> Ref<"mount">. */
let places: RcuHashMap;
/** Dentry -> number of mounts on it; the table's lock for all. */
let points: RcuHashMap;
/** What they belong to: other globals, another machine. */
let bound = false;
onGlobalsBound(() => {
  bound = false;
});

function bind(): void {
  places = new RcuHashMap({ at: placesRef.get() });
  points = new RcuHashMap({ at: pointsRef.get() });
  bound = true;
}

/** Once per machine, at boot. False when the heap is full. */
export function mountInit(): boolean {
  const table = tryAlloc(MountTable);
  const byPlace = RcuHashMap.tryCreate({ buckets: BUCKETS });
  const byDentry = RcuHashMap.tryCreate();
  if (table === 0 || byPlace === null || byDentry === null) return false;
  MountTable.all.init(table);
  MountTable.nextId.init(table, 1);
  placesRef.init(byPlace.ref);
  pointsRef.init(byDentry.ref);
  mountTable.init(table);
  return true;
}

const hashOf = (parent: M, dentry: D): number => Math.imul(parent, 0x85ebca6b) ^ dentry;

/** The mount that covers `dentry` in `parent`, or 0. Without locks; good for the caller's scope. */
export function lookupMount(parent: M, dentry: D): Ptr<"mount"> {
  if (!bound) bind();
  const scope = rcuReadLock();
  let mount = places.lookup(scope, hashOf(parent, dentry)) as Ptr<"mount">;
  while (mount !== 0) {
    if (Mount.mountpoint.deref(scope, mount) === dentry && Mount.parent.deref(scope, mount) === parent) break;
    mount = Mount.next.deref(scope, mount);
  }
  rcuReadUnlock();
  return mount;
}

/** Makes a place known; false when memory is short. The table's lock is held. */
function hash(mount: M, parent: M, dentry: D): boolean {
  if (!bound) bind();
  const key = hashOf(parent, dentry);
  const scope = rcuReadLock();
  Mount.next.init(mount, places.lookup(scope, key) as Ptr<"mount">);
  const on = points.lookup(scope, dentry);
  rcuReadUnlock();
  if (points.tryInsert(dentry, on + 1) === 0) return false;
  if (places.tryInsert(key, mount) !== 0) {
    Dentry.flags.or(dentry, D_MOUNTED);
    return true;
  }
  uncover(dentry);
  return false;
}

function unhash(held: Held, mount: M): void {
  if (!bound) bind();
  const parent = Mount.parent.peek(held, mount) as M;
  const dentry = Mount.mountpoint.peek(held, mount) as D;
  const key = hashOf(parent, dentry);
  const scope = rcuReadLock();
  let at = places.lookup(scope, key) as Ptr<"mount">;
  rcuReadUnlock();
  const next = Mount.next.peek(held, mount);
  if (at === mount) {
    // An update of a key that is there takes no memory: it cannot fail.
    if (next !== 0) places.tryInsert(key, next);
    else places.remove(key);
  } else {
    while (at !== 0 && Mount.next.peek(held, at) !== mount) at = Mount.next.peek(held, at);
    if (at === 0) throw new Error(`mount ${Mount.id.get(mount)} is not in its hash chain`);
    Mount.next.assign(held, at, next);
  }
  uncover(dentry);
}

/** One mount less on the dentry. The table's lock is held. */
function uncover(dentry: D): void {
  const scope = rcuReadLock();
  const left = points.lookup(scope, dentry) - 1;
  rcuReadUnlock();
  if (left > 0) points.tryInsert(dentry, left);
  else {
    points.remove(dentry);
    Dentry.flags.and(dentry, ~D_MOUNTED);
  }
}

/** The mount at the bottom of the tree. */
export const rootMount = (): M => MountTable.root.access(mountTable.get()) as M;

/** Makes `mount` the root of the machine's tree. Once, at boot. */
export function setRootMount(mount: M): void {
  const table = mountTable.get();
  const held = MountTable.lock.lock(table);
  listAddTail(held, MountTable.all.at(table), Mount.all.at(mount));
  Mount.state.store(mount, ATTACHED);
  MountTable.root.assign(held, table, mount);
  MountTable.lock.unlock(table);
}

/** Attaches a mount at (parent, dentry), which the caller looked up. 0 or -errno, -EINVAL if the parent was taken off the tree; the mount's count moves to the tree. */
export function attachMount(mount: M, parent: M, dentry: D): number {
  const rootIsDir = inodeType(dentryInode(Mount.root.get(mount)) as Ref<"inode">) === S_IFDIR;
  const pointIsDir = inodeType(dentryInode(dentry) as Ref<"inode">) === S_IFDIR;
  if (rootIsDir !== pointIsDir) return -ENOTDIR;
  if (!dgetLive(dentry)) return -ENOENT;
  if (!mntGetLive(parent)) {
    dput(dentry);
    return -EINVAL;
  }
  const table = mountTable.get();
  // What the host shows to programs is not for programs to prevent.
  const guest = thisCpu() >= 0;
  if (guest && (liveObjects(Mount) > limit("mountMax") || heapIsLow())) {
    mntPut(parent);
    dput(dentry);
    return -ENOSPC;
  }
  const held = MountTable.lock.lock(table);
  // Off the tree there is nobody who would take the new one off again: umount2 refuses, and whoever stands there counts the parent only.
  if (Mount.state.peek(parent) !== ATTACHED) {
    MountTable.lock.unlock(table);
    mntPut(parent);
    dput(dentry);
    return -EINVAL;
  }
  Mount.parent.init(mount, parent);
  Mount.mountpoint.init(mount, dentry);
  Mount.state.store(mount, ATTACHED);
  const hashed = hash(mount, parent, dentry);
  if (hashed) {
    listAddTail(held, MountTable.all.at(table), Mount.all.at(mount));
    listAddTail(held, Mount.children.at(parent), Mount.sibling.at(mount));
  } else {
    Mount.state.store(mount, COUNTED);
    Mount.parent.init(mount, 0);
    Mount.mountpoint.init(mount, 0);
  }
  MountTable.lock.unlock(table);
  if (hashed) return 0;
  mntPut(parent);
  dput(dentry);
  return -ENOMEM;
}

/** Takes a mount off the tree: -EBUSY while it is in use, unless MNT_DETACH hides it until its last user is gone. */
export function detachMount(mount: M, flags: number): number {
  const table = mountTable.get();
  const held = MountTable.lock.lock(table);
  const parent = Mount.parent.peek(held, mount);
  // The root, or one that MNT_DETACH hid already: only who stands in it can name it.
  if (parent === 0 || Mount.state.peek(mount) !== ATTACHED) {
    MountTable.lock.unlock(table);
    return -EINVAL;
  }
  if ((flags & MNT_DETACH) === 0) {
    Mount.state.store(mount, COUNTED); // [3]
    const busy = users(mount) !== 1;
    Mount.state.store(mount, busy ? ATTACHED : DEAD);
    if (!busy) takeOff(held, mount);
    MountTable.lock.unlock(table);
    if (busy) return -EBUSY;
    destroy(mount);
    return 0;
  }
  // Mounts below it go too: nobody can name them any more.
  const gone: M[] = [mount];
  for (const each of gone) for (const child of childrenOf(each)) gone.push(child);
  for (const each of gone) {
    Mount.state.store(each, COUNTED);
    takeOff(held, each);
  }
  MountTable.lock.unlock(table);
  // Thousands of them take their time. The last one comes first: children before their parents, which they count.
  for (const each of gone) laterByTask(LATER_MOUNT, each);
  return 0;
}

defineLater(LATER_MOUNT, (mount) => {
  mntPut(mount as M);
  return 0;
});

/** The mounts attached to this one. The table's lock is held. */
function childrenOf(parent: M): M[] {
  const found: M[] = [];
  const head = Mount.children.at(parent);
  for (let node = listFirst(head); node !== 0; node = listNext(head, node))
    found.push(Mount.sibling.owner(node));
  return found;
}

function takeOff(held: Held, mount: M): void {
  unhash(held, mount);
  listDelRcu(held, Mount.all.at(mount));
  listDelRcu(held, Mount.sibling.at(mount));
}

/** All attached mounts, oldest first. Walks the list in a read scope: good for the caller's handler. */
export function allMounts(): M[] {
  const found: M[] = [];
  rcuReadLock();
  const head = MountTable.all.at(mountTable.get());
  for (let node = listFirst(head); node !== 0; node = listNext(head, node)) found.push(Mount.all.owner(node));
  rcuReadUnlock();
  return found;
}
