/**
 * Inodes: what a name leads to. Counted by dentries, files and whoever keeps one; the last count evicts it.
 *
 * File systems whose inodes have an identity outside (hostfs) find them again through the inode hash.
 */
import {
  arrayGet,
  arrayLength,
  arraySet,
  arrayStore,
  atomic,
  fixed,
  type Held,
  kfreeRcu,
  lockedWide,
  owned,
  type Ptr,
  type Ref,
  rcu,
  rcuReadLock,
  rcuReadUnlock,
  spinlock,
  struct,
  tryAlloc,
  tryAllocArray,
  wide,
  words,
} from "../../rcu/index.ts";
import { kernelGlobal } from "../global.ts";
import { hashNumber } from "../hash-keys.ts";
import { frameTotal } from "../mm/frame.ts";
import { mappingFree } from "../mm/mapping.ts";
import { realtime, realtimeNanoseconds, realtimeSeconds } from "../time/clock.ts";
import { S_IFMT } from "../uapi/stat.ts";
import { dcacheBits } from "./dname.ts";
import { superOpsOf } from "./ops.ts";
import { Superblock, sbGet, sbPut } from "./super.ts";

/** Inode.state: a removed directory, nothing may be made in it. */
export const I_DEAD = 1;
/** In the inode hash. */
export const I_HASHED = 2;
/** mtime and size changed since the file system was told. */
export const I_DIRTY = 4;

export const Inode = struct("inode", {
  // Constant after publication.
  sb: fixed<Ref<"superblock">>(),
  iops: fixed(),
  fops: fixed(),
  ino: wide(),
  /** major << 20 | minor, for device nodes. */
  rdev: fixed(),
  /** Page cache; 0 for inodes without content. */
  mapping: fixed<Ptr<"mapping">>(),

  // Any CPU, any time.
  refcount: atomic(),
  state: atomic(),
  /** File type and permission bits. */
  mode: atomic(),
  uid: atomic(),
  gid: atomic(),
  nlink: atomic(),
  /** Files open for writing; below 0: this many execve's deny writing (ETXTBSY). */
  writecount: atomic(),
  /** F_SEAL_* of a memfd; 0 for other files with F_SEAL_SEAL implied. */
  seals: atomic(),
  /** File locks (locks.ts), made at the first lock. */
  flctx: rcu("flctx"),
  /** The pipe of a FIFO while it is open (ipc). */
  pipe: atomic(),
  /** First of the watches on it (notify.ts), or 0. */
  watches: atomic(),

  // This lock: content size, and for directories their entries. See README.md for the order.
  lock: spinlock(30),
  size: lockedWide("lock"),

  // Seconds and nanoseconds of atime, mtime, ctime, btime: written as they come, a torn pair harms nobody.
  seconds: words(8),
  nanoseconds: words(4),
  /** 512-byte blocks where the file system knows better than the size. */
  blocks: wide(),

  /** Directories: the entry where the last listing began, while it is one (dcache.ts). */
  listed: owned(),

  // Stripe lock of the inode hash.
  hashNext: rcu("inode"),

  /** The file system's own. */
  priv: words(8),
  privWide: wide(),
  /** Monotonic nanoseconds when the attributes were last read from where they come from. */
  checked: wide(),
});

export const ATIME = 0;
export const MTIME = 1;
export const CTIME = 2;
export const BTIME = 3;

type I = Ref<"inode">;

/** Seconds of one of the four times; may be negative. */
export function inodeSeconds(inode: I, which: number): number {
  return Inode.seconds.get(inode, 2 * which + 1) * 4294967296 + (Inode.seconds.get(inode, 2 * which) >>> 0);
}
export const inodeNanoseconds = (inode: I, which: number): number => Inode.nanoseconds.get(inode, which);
export function inodeSetTime(inode: I, which: number, seconds: number, nanoseconds: number): void {
  Inode.seconds.set(inode, 2 * which, seconds | 0);
  Inode.seconds.set(inode, 2 * which + 1, Math.floor(seconds / 4294967296));
  Inode.nanoseconds.set(inode, which, nanoseconds);
}
/** Stamps the given times (1 << ATIME ...) with now. */
export function inodeTouch(inode: I, mask: number): void {
  realtime();
  for (let which = 0; which < 4; which++)
    if ((mask & (1 << which)) !== 0) inodeSetTime(inode, which, realtimeSeconds, realtimeNanoseconds);
}

export const inodeMode = (inode: I): number => Inode.mode.peek(inode);
export const inodeType = (inode: I): number => Inode.mode.peek(inode) & S_IFMT;
/** Size as it is now; only a hint unless the inode's lock is held. */
export const inodeSize = (inode: I): number => Inode.size.racy(inode);

export const inodeLock = (inode: I): Held<"lock"> => Inode.lock.lock(inode);
/** With the lock of another inode held that comes before: its parent, or by the order of rename.ts. */
export const inodeLockNested = (inode: I): Held<"lock"> => Inode.lock.lockNested(inode);
export const inodeUnlock = (inode: I): void => Inode.lock.unlock(inode);

/** An inode with one count and no links counted yet beyond `nlink`; 0 when memory is short. All times are now. */
export function newInode(
  sb: Ref<"superblock">,
  ino: number,
  mode: number,
  iops: number,
  fops: number,
): I | 0 {
  const inode = tryAlloc(Inode);
  if (inode === 0) return 0;
  sbGet(sb);
  Superblock.inodes.add(sb, 1);
  Inode.sb.init(inode, sb);
  Inode.iops.init(inode, iops);
  Inode.fops.init(inode, fops);
  Inode.ino.set(inode, ino);
  Inode.refcount.init(inode, 1);
  Inode.nlink.init(inode, 1);
  Inode.mode.init(inode, mode);
  inodeTouch(inode, 15);
  return inode;
}

/** Another count for a caller who has one already. */
export function igrab(inode: I): void {
  Inode.refcount.add(inode, 1);
}
/** A count for a reader in a scope; false when the inode is going away. */
export const igrabLive = (inode: I): boolean => Inode.refcount.incNotZero(inode);

/** Drops a count; the last one evicts the inode. Memory goes after a grace period. */
export function iput(inode: I): void {
  if (!Inode.refcount.decAndTest(inode)) return;
  if (Inode.watches.load(inode) !== 0) evictWatches(inode);
  removeInodeHash(inode);
  const sb = Inode.sb.get(inode);
  superOpsOf(Superblock.sops.get(sb)).evict?.(inode);
  const mapping = Inode.mapping.get(inode);
  if (mapping !== 0) mappingFree(mapping);
  const flctx = Inode.flctx.access(inode);
  if (flctx !== 0) freeLockContext(flctx);
  Superblock.inodes.add(sb, -1);
  kfreeRcu(Inode, inode);
  sbPut(sb);
}

/** Ends the watches of an inode that goes; notify.ts installs it, since it imports this module. */
let evictWatches: (inode: I) => void = () => {
  throw new Error("watches without kernel/fs/notify.ts");
};
export function setWatchEviction(fn: (inode: I) => void): void {
  evictWatches = fn;
}

/** Frees a lock context; locks.ts installs it, since it imports this module. */
let freeLockContext: (flctx: Ref<"flctx">) => void = () => {
  throw new Error("lock context without kernel/fs/locks.ts");
};
export function setLockContextFree(fn: (flctx: Ref<"flctx">) => void): void {
  freeLockContext = fn;
}

// The inode hash: chains walked under RCU, changed under one of a few stripe locks.

/** A quarter of the dentry cache's chains, as a power of two: only some file systems find inodes by number. */
const inodeBits = (): number => dcacheBits(frameTotal()) - 2;
const STRIPES = 32;
const IcacheStripe = struct("icache_stripe", { lock: spinlock(88) });
const buckets = kernelGlobal<Ref<"array">>("inode hash");
const stripes = kernelGlobal<Ref<"array">>("inode hash locks");

/** Once per machine, at boot. False when the heap is full. */
export function inodeInit(): boolean {
  const table = tryAllocArray(2 ** inodeBits());
  const locks = tryAllocArray(STRIPES);
  if (table === 0 || locks === 0) return false;
  for (let n = 0; n < STRIPES; n++) {
    const stripe = tryAlloc(IcacheStripe);
    if (stripe === 0) return false;
    arraySet(locks, n, stripe);
  }
  buckets.init(table);
  stripes.init(locks);
  return true;
}

/** The high bits of a sum of products are the good ones. */
const bucketOf = (sb: number, ino: number): number =>
  hashNumber(ino, sb) >>> (Math.clz32(arrayLength(buckets.get())) + 1);
const stripeOf = (bucket: number): Ref<"icache_stripe"> =>
  arrayGet(stripes.get(), bucket & (STRIPES - 1)) as Ref<"icache_stripe">;

/** The cached inode of that number with a count for the caller, or 0. */
export function ilookup(sb: Ref<"superblock">, ino: number): Ptr<"inode"> {
  const bucket = bucketOf(sb, ino);
  const scope = rcuReadLock();
  let inode = arrayGet(buckets.get(), bucket) as Ptr<"inode">;
  while (inode !== 0) {
    if (Inode.ino.get(inode) === ino && Inode.sb.get(inode) === sb && igrabLive(inode)) break;
    inode = Inode.hashNext.deref(scope, inode);
  }
  rcuReadUnlock();
  return inode;
}

/**
 * Publishes a new inode in the hash. If another CPU was faster, returns its inode with a count and drops
 * this one; so the caller goes on with the result.
 */
export function insertInode(inode: I): I {
  const sb = Inode.sb.get(inode);
  const ino = Inode.ino.get(inode);
  const bucket = bucketOf(sb, ino);
  const stripe = stripeOf(bucket);
  const held = IcacheStripe.lock.lock(stripe);
  let other = arrayGet(buckets.get(), bucket) as Ptr<"inode">;
  while (other !== 0) {
    if (Inode.ino.get(other) === ino && Inode.sb.get(other) === sb && igrabLive(other)) break;
    other = Inode.hashNext.peek(held, other);
  }
  if (other === 0) {
    Inode.state.init(inode, Inode.state.peek(inode) | I_HASHED);
    Inode.hashNext.init(inode, arrayGet(buckets.get(), bucket) as Ptr<"inode">);
    arrayStore(buckets.get(), bucket, inode);
  }
  IcacheStripe.lock.unlock(stripe);
  if (other === 0) return inode;
  iput(inode);
  return other;
}

/** Makes the inode unfindable: what has its number now is another file. It lives on for who holds it. */
export function removeInodeHash(inode: I): void {
  if ((Inode.state.and(inode, ~I_HASHED) & I_HASHED) !== 0) unhash(inode);
}

function unhash(inode: I): void {
  const bucket = bucketOf(Inode.sb.get(inode), Inode.ino.get(inode));
  const stripe = stripeOf(bucket);
  const held = IcacheStripe.lock.lock(stripe);
  const next = Inode.hashNext.peek(held, inode);
  let at = arrayGet(buckets.get(), bucket) as Ptr<"inode">;
  if (at === inode) arrayStore(buckets.get(), bucket, next);
  else {
    while (at !== 0 && Inode.hashNext.peek(held, at) !== inode) at = Inode.hashNext.peek(held, at);
    if (at === 0) throw new Error(`inode ${Inode.ino.get(inode)} is not in its hash chain`);
    Inode.hashNext.assign(held, at, next);
  }
  IcacheStripe.lock.unlock(stripe);
}
