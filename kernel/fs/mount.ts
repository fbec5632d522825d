/**
 * The mount table: one tree of mounts per machine, read under RCU, changed under one lock.
 *
 * A mount is found by (parent mount, dentry it covers). The hash chains and the list of all mounts are walked without
 * locks; a mount that is taken off stays readable until a grace period is over.
 */
import {
  alloc,
  allocArray,
  allocString,
  arrayAdd,
  arrayGet,
  arrayLoad,
  arraySet,
  arrayStore,
  atomic,
  callRcu,
  defineReclaimer,
  fixed,
  free,
  freeArray,
  freeString,
  type Held,
  listAddTail,
  listDelRcu,
  listFirst,
  listNext,
  listNode,
  type Ptr,
  type Ref,
  rcu,
  rcuReadLock,
  rcuReadUnlock,
  spinlock,
  stringText,
  struct,
} from "../../rcu/index.ts";
import { kernelGlobal } from "../global.ts";
import { thisCpu } from "../sched/current.ts";
import { EBUSY, EINVAL, ENODEV, ENOENT, ENOMEM, ENOTDIR } from "../uapi/errno.ts";
import { MNT_DETACH, MNT_FLAGS, MS_RDONLY } from "../uapi/mount.ts";
import { S_IFDIR } from "../uapi/stat.ts";
import { D_MOUNTED, Dentry, dentryInode, dget, dgetLive, dput } from "./dcache.ts";
import { dcacheShrinkSuper, dPrune } from "./dumount.ts";
import { inodeType } from "./inode.ts";
import { fileSystemType } from "./ops.ts";
import { SB_DCACHE, SB_RDONLY, Superblock, sbGet, sbPut } from "./super.ts";

export const Mount = struct("mount", {
  id: fixed(),
  sb: fixed<Ref<"superblock">>(),
  /** What the mount shows: the file system's root, or a folder or file of it (bind). Counted. */
  root: fixed<Ref<"dentry">>(),
  source: fixed<Ref<"string">>(),
  /** MS_RDONLY | MS_NOSUID ... */
  flags: atomic(),
  /** COUNTED, ATTACHED or DEAD; changed under the table's lock. */
  state: atomic(),
  /** One for being attached, one per user (open file, root, cwd, child mount): see "Counts" below. */
  counts: fixed<Ref<"array">>(),
  /** Where it is attached: 0 for the root mount. Counted. */
  parent: rcu("mount"),
  mountpoint: rcu("dentry"),
  next: rcu("mount"),
  all: listNode(),
});
type M = Ref<"mount">;
type D = Ref<"dentry">;

const BUCKETS = 256;
const MountTable = struct("mount_table", {
  lock: spinlock(),
  buckets: fixed<Ref<"array">>(),
  all: listNode(),
  nextId: atomic(),
  root: rcu("mount"),
});
const mountTable = kernelGlobal<Ref<"mount_table">>("mount table");

/** Once per machine, at boot. False when the heap is full. */
export function mountInit(): boolean {
  const table = alloc(MountTable);
  const buckets = allocArray(BUCKETS);
  if (table === 0 || buckets === 0) return false;
  MountTable.buckets.init(table, buckets);
  MountTable.all.init(table);
  MountTable.nextId.init(table, 1);
  mountTable.init(table);
  return true;
}

const bucketOf = (parent: M, dentry: D): number =>
  Math.imul(parent ^ Math.imul(dentry, 0x9e3779b1), 0x85ebca6b) >>> 24;

/** The mount that covers `dentry` in `parent`, or 0. Without locks; good for the caller's scope. */
export function lookupMount(parent: M, dentry: D): Ptr<"mount"> {
  const scope = rcuReadLock();
  let mount = arrayGet(MountTable.buckets.get(mountTable.get()), bucketOf(parent, dentry)) as Ptr<"mount">;
  while (mount !== 0) {
    if (Mount.parent.deref(scope, mount) === parent && Mount.mountpoint.deref(scope, mount) === dentry) break;
    mount = Mount.next.deref(scope, mount);
  }
  rcuReadUnlock();
  return mount;
}

// Counts. Every open(2) on every CPU takes and drops one of the same mount, so each CPU has a counter on a line of its own
// (Linux: mnt_pcp). Their sum says something only when nobody adds: [1] a count is added, [2] then the state is loaded,
// and unless it is ATTACHED the count is taken back and asked for under the lock. Who sums has [3] stored another
// state first, holding the lock: either [2] sees it, or the sum sees [1]. So the sum is never too small.

/** Users find it by its place: counts are added without a look at the sum. */
const ATTACHED = 0;
/** Not attached (any more), or about to be taken off: it dies with its last count. */
const COUNTED = 1;
const DEAD = 2;
/** CPUs beyond so many share counters. */
const COUNTERS = 16;
const LINE = 16;
const counter = (): number => ((thisCpu() + 1) & (COUNTERS - 1)) * LINE;

function users(mount: M): number {
  const counts = Mount.counts.get(mount);
  let sum = 0;
  for (let n = 0; n < COUNTERS; n++) sum += arrayLoad(counts, n * LINE);
  return sum;
}

/** Another count for a caller who has one. */
export function mntGet(mount: M): void {
  if (!mntGetLive(mount)) throw new Error(`mount ${Mount.id.get(mount)}: another count of a dead mount`);
}
/** A count for a reader in a scope; false when the mount is gone. */
export function mntGetLive(mount: M): boolean {
  const counts = Mount.counts.get(mount);
  arrayAdd(counts, counter(), 1); // [1]
  if (Mount.state.load(mount) === ATTACHED) return true; // [2]
  arrayAdd(counts, counter(), -1);
  const table = mountTable.get();
  MountTable.lock.lock(table);
  const live =
    Mount.state.peek(mount) === ATTACHED || (Mount.state.peek(mount) === COUNTED && users(mount) > 0);
  if (live) arrayAdd(counts, counter(), 1);
  MountTable.lock.unlock(table);
  if (!live) buryUnused(mount); // The last user may have seen the count that was added for a moment.
  return live;
}
export function mntPut(mount: M): void {
  arrayAdd(Mount.counts.get(mount), counter(), -1);
  if (Mount.state.load(mount) !== ATTACHED) buryUnused(mount);
}

/** Destroys a mount that has lost its place and its last user: once, whoever notices. */
function buryUnused(mount: M): void {
  const table = mountTable.get();
  MountTable.lock.lock(table);
  const unused = Mount.state.peek(mount) === COUNTED && users(mount) === 0;
  if (unused) Mount.state.store(mount, DEAD);
  MountTable.lock.unlock(table);
  if (unused) destroy(mount);
}

/** Whether nothing may be changed through it; false for files without a mount (0). */
export const mountReadOnly = (mount: Ptr<"mount">): boolean =>
  mount !== 0 &&
  ((Mount.flags.peek(mount) & MS_RDONLY) !== 0 ||
    (Superblock.flags.get(Mount.sb.get(mount)) & SB_RDONLY) !== 0);

/** The mount at the bottom of the tree. */
export const rootMount = (): M => MountTable.root.access(mountTable.get()) as M;

/** A mount of `root`, not attached, one count; takes over the caller's counts of sb and root. 0 when memory is short. */
function mntAlloc(sb: Ref<"superblock">, root: D, source: string, flags: number): Ptr<"mount"> {
  const name = allocString(source);
  if (name === 0) return 0;
  const mount = alloc(Mount);
  const counts = mount === 0 ? 0 : allocArray(COUNTERS * LINE);
  if (mount === 0 || counts === 0) {
    if (mount !== 0) free(Mount, mount);
    freeString(name);
    return 0;
  }
  Mount.id.init(mount, MountTable.nextId.add(mountTable.get(), 1));
  Mount.sb.init(mount, sb);
  Mount.root.init(mount, root);
  Mount.source.init(mount, name);
  Mount.flags.init(mount, flags & MNT_FLAGS);
  Mount.state.init(mount, COUNTED);
  Mount.counts.init(mount, counts);
  arraySet(counts, counter(), 1);
  Superblock.mounts.add(sb, 1);
  return mount;
}

/** Mounts a file system without attaching it (pipes, memfd): the mount, or -errno. */
export function kernMount(type: string, source: string, flags: number, options: string): M | number {
  const fs = fileSystemType(type);
  if (fs === undefined) return -ENODEV;
  const sb = fs.mount(source, flags, options);
  if (sb < 0) return sb;
  const root = Superblock.root.get(sb as Ref<"superblock">) as D;
  dget(root);
  // What a host folder is called outside is nobody's business inside.
  const shown = fs.hostOnly === true ? fs.name : source;
  const mount = mntAlloc(sb as Ref<"superblock">, root, shown, flags);
  if (mount === 0) {
    dput(root);
    killSuper(sb as Ref<"superblock">);
    sbPut(sb as Ref<"superblock">);
    return -ENOMEM;
  }
  return mount;
}

/** Makes `mount` the root of the machine's tree. Once, at boot. */
export function setRootMount(mount: M): void {
  const table = mountTable.get();
  const held = MountTable.lock.lock(table);
  listAddTail(held, MountTable.all.at(table), Mount.all.at(mount));
  Mount.state.store(mount, ATTACHED);
  MountTable.root.assign(held, table, mount);
  MountTable.lock.unlock(table);
}

/** Attaches a mount at (parent, dentry), which the caller looked up. 0 or -errno; the mount's count moves to the tree. */
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
  const held = MountTable.lock.lock(table);
  Mount.parent.init(mount, parent);
  Mount.mountpoint.init(mount, dentry);
  const buckets = MountTable.buckets.get(table);
  const bucket = bucketOf(parent, dentry);
  Mount.next.init(mount, arrayGet(buckets, bucket) as Ptr<"mount">);
  Mount.state.store(mount, ATTACHED);
  arrayStore(buckets, bucket, mount);
  Dentry.flags.or(dentry, D_MOUNTED);
  listAddTail(held, MountTable.all.at(table), Mount.all.at(mount));
  MountTable.lock.unlock(table);
  return 0;
}

/** A second view of what (mount, dentry) shows: bind mounts. The new mount, not attached, or -errno. */
export function cloneMount(mount: M, dentry: D): M | number {
  if (!dgetLive(dentry)) return -ENOENT;
  const sb = Mount.sb.get(mount);
  sbGet(sb);
  const copy = mntAlloc(sb, dentry, stringText(Mount.source.get(mount)), Mount.flags.peek(mount));
  if (copy !== 0) return copy;
  dput(dentry);
  sbPut(sb);
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
    if (!busy) takeOff(held, table, mount);
    MountTable.lock.unlock(table);
    if (busy) return -EBUSY;
    destroy(mount);
    return 0;
  }
  // Mounts below it go too: nobody can name them any more.
  const gone: M[] = [];
  const collect = (top: M): void => {
    for (const child of mountsBelow(top)) collect(child);
    Mount.state.store(top, COUNTED);
    takeOff(held, table, top);
    gone.push(top);
  };
  collect(mount);
  MountTable.lock.unlock(table);
  for (const each of gone) mntPut(each);
  return 0;
}

function mountsBelow(parent: M): M[] {
  return allMounts().filter((mount) => Mount.parent.access(mount) === parent);
}

function takeOff(held: Held, table: Ref<"mount_table">, mount: M): void {
  const parent = Mount.parent.peek(held, mount) as M;
  const dentry = Mount.mountpoint.peek(held, mount) as D;
  const buckets = MountTable.buckets.get(table);
  const bucket = bucketOf(parent, dentry);
  const next = Mount.next.peek(held, mount);
  let at = arrayGet(buckets, bucket) as Ptr<"mount">;
  if (at === mount) arrayStore(buckets, bucket, next);
  else {
    while (at !== 0 && Mount.next.peek(held, at) !== mount) at = Mount.next.peek(held, at);
    if (at === 0) throw new Error(`mount ${Mount.id.get(mount)} is not in its hash chain`);
    Mount.next.assign(held, at, next);
  }
  listDelRcu(held, Mount.all.at(mount));
  let covered = false;
  for (const other of allMounts()) if (Mount.mountpoint.peek(held, other) === dentry) covered = true;
  if (!covered) Dentry.flags.and(dentry, ~D_MOUNTED);
}

const freeMount = defineReclaimer("mount", (arg) => {
  const mount = arg as M;
  freeString(Mount.source.get(mount));
  freeArray(Mount.counts.get(mount));
  free(Mount, mount);
});

/** Nobody uses the mount any more. */
function destroy(mount: M): void {
  const parent = Mount.parent.access(mount);
  const mountpoint = Mount.mountpoint.access(mount);
  const sb = Mount.sb.get(mount);
  dput(Mount.root.get(mount));
  if (Superblock.mounts.decAndTest(sb)) killSuper(sb);
  sbPut(sb);
  if (mountpoint !== 0) dput(mountpoint);
  if (parent !== 0) mntPut(parent);
  callRcu(freeMount, mount);
}

/** The last mount of a file system is gone: drops its names and its root. */
function killSuper(sb: Ref<"superblock">): void {
  const root = Superblock.root.get(sb);
  if (root === 0) return;
  if ((Superblock.flags.get(sb) & SB_DCACHE) !== 0) dPrune(root);
  else dcacheShrinkSuper(sb);
  Superblock.root.set(sb, 0);
  dput(root);
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
