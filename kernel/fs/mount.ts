/**
 * A mount: what it shows, who uses it, when it dies. Where mounts are attached: mount-tree.ts.
 */
import {
  arrayAdd,
  arrayLoad,
  arraySet,
  atomic,
  callRcu,
  defineReclaimer,
  fixed,
  free,
  freeArray,
  freeString,
  listNode,
  type Ptr,
  type Ref,
  rcu,
  spinlock,
  stringText,
  struct,
  tryAlloc,
  tryAllocArray,
  tryAllocString,
} from "../../rcu/index.ts";
import { kernelGlobal } from "../global.ts";
import { thisCpu } from "../sched/current.ts";
import { defineLater, LATER_DEAD_MOUNT, LATER_NAMES, laterByTask } from "../sched/later.ts";
import { ENODEV, ENOENT, ENOMEM } from "../uapi/errno.ts";
import { MNT_FLAGS, MS_RDONLY } from "../uapi/mount.ts";
import { dget, dgetLive, dput } from "./dcache.ts";
import { dcacheShrinkPart, dPrunePart } from "./dumount.ts";
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

  // The table's lock for writers (mount-tree.ts).
  /** Where it is attached: 0 for the root mount. Counted. */
  parent: rcu("mount"),
  mountpoint: rcu("dentry"),
  /** The next whose place has the same hash. */
  next: rcu("mount"),
  /** In the list of all. */
  all: listNode(),
  /** Mounts attached to this one, and the place among those of its parent. */
  children: listNode(),
  sibling: listNode(),
});
type M = Ref<"mount">;
type D = Ref<"dentry">;

/** The one tree of mounts of the machine. */
export const MountTable = struct("mount_table", {
  lock: spinlock(50),
  all: listNode(),
  nextId: atomic(),
  root: rcu("mount"),
});
export const mountTable = kernelGlobal<Ref<"mount_table">>("mount table");

// Counts. Every open(2) on every CPU takes and drops one of the same mount, so each CPU has a counter on a line of its own
// (Linux: mnt_pcp). Their sum says something only when nobody adds: [1] a count is added, [2] then the state is loaded,
// and unless it is ATTACHED the count is taken back and asked for under the lock. Who sums has [3] stored another
// state first, holding the lock: either [2] sees it, or the sum sees [1]. So the sum is never too small.

/** Users find it by its place: counts are added without a look at the sum. */
export const ATTACHED = 0;
/** Not attached (any more), or about to be taken off: it dies with its last count. */
export const COUNTED = 1;
export const DEAD = 2;
/** CPUs beyond so many share counters. */
const COUNTERS = 16;
const LINE = 16;
const counter = (): number => ((thisCpu() + 1) & (COUNTERS - 1)) * LINE;

/** The sum: only with the table's lock held, and another state than ATTACHED, it is exact. */
export function users(mount: M): number {
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
  if (!live && claimUnused(mount)) destroy(mount); // The last user may have seen the count that was added for a moment.
  return live;
}
export function mntPut(mount: M): void {
  if (droppedLast(mount)) destroy(mount);
}

/** Drops a count; true when the mount is the caller's to destroy now. */
function droppedLast(mount: M): boolean {
  arrayAdd(Mount.counts.get(mount), counter(), -1);
  return Mount.state.load(mount) !== ATTACHED && claimUnused(mount);
}

/** Whether the mount has lost its place and its last user: true once, for whoever notices. */
function claimUnused(mount: M): boolean {
  const table = mountTable.get();
  MountTable.lock.lock(table);
  const unused = Mount.state.peek(mount) === COUNTED && users(mount) === 0;
  if (unused) Mount.state.store(mount, DEAD);
  MountTable.lock.unlock(table);
  return unused;
}

/** Whether nothing may be changed through it; false for files without a mount (0). */
export const mountReadOnly = (mount: Ptr<"mount">): boolean =>
  mount !== 0 &&
  ((Mount.flags.peek(mount) & MS_RDONLY) !== 0 ||
    (Superblock.flags.get(Mount.sb.get(mount)) & SB_RDONLY) !== 0);

/** A mount of `root`, not attached, one count; takes over the caller's counts of sb and root. 0 when memory is short. */
function mntAlloc(sb: Ref<"superblock">, root: D, source: string, flags: number): Ptr<"mount"> {
  const name = tryAllocString(source);
  if (name === 0) return 0;
  const mount = tryAlloc(Mount);
  const counts = mount === 0 ? 0 : tryAllocArray(COUNTERS * LINE);
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
  Mount.children.init(mount);
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

const freeMount = defineReclaimer("mount", (arg) => {
  const mount = arg as M;
  freeString(Mount.source.get(mount));
  freeArray(Mount.counts.get(mount));
  free(Mount, mount);
});

/** So many mounts of a chain go in one piece; each is the last user of the one that it is mounted on. */
const CHAIN_PART = 32;

/** Nobody uses the mount any more. */
export function destroy(mount: M): void {
  let next: Ptr<"mount"> = mount;
  for (let n = 0; n < CHAIN_PART && next !== 0; n++) next = destroyOne(next);
  if (next !== 0) laterByTask(LATER_DEAD_MOUNT, next);
}
defineLater(LATER_DEAD_MOUNT, (mount) => {
  destroy(mount as M);
  return 0;
});

/** Gives the mount below it when that is to be destroyed too. */
function destroyOne(mount: M): Ptr<"mount"> {
  const parent = Mount.parent.access(mount);
  const mountpoint = Mount.mountpoint.access(mount);
  const sb = Mount.sb.get(mount);
  dput(Mount.root.get(mount));
  if (Superblock.mounts.decAndTest(sb)) killSuper(sb);
  sbPut(sb);
  if (mountpoint !== 0) dput(mountpoint);
  callRcu(freeMount, mount);
  return parent !== 0 && droppedLast(parent) ? parent : 0;
}

/** The last mount of a file system is gone: drops its names and its root, many names when the call is over. */
function killSuper(sb: Ref<"superblock">): void {
  if (Superblock.root.get(sb) === 0) return;
  sbGet(sb);
  if (dropNames(sb, 0) !== 0) laterByTask(LATER_NAMES, sb);
}

/** A part of that: where the next one begins, 0 when it was the last. Takes over a count then. */
function dropNames(sb: Ref<"superblock">, at: number): number {
  const root = Superblock.root.get(sb) as D;
  const pinned = (Superblock.flags.get(sb) & SB_DCACHE) !== 0;
  const next = pinned ? dPrunePart(root, at) : dcacheShrinkPart(sb, at);
  if (next !== 0) return next;
  Superblock.root.set(sb, 0);
  dput(root);
  sbPut(sb);
  return 0;
}
defineLater(LATER_NAMES, (sb, at) => dropNames(sb as Ref<"superblock">, at));
