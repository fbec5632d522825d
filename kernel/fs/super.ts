/** Superblocks: one per mounted file system, alive as long as a mount or an inode uses it. */
import {
  atomic,
  callRcu,
  defineReclaimer,
  fixed,
  free,
  freeString,
  owned,
  type Ptr,
  type Ref,
  struct,
  tryAlloc,
  tryAllocString,
  words,
} from "../../rcu/index.ts";
import { kernelGlobal } from "../global.ts";
import { makedev } from "../uapi/stat.ts";
import { superOpsOf } from "./ops.ts";

/** Superblock.flags: the dentries *are* the directories (tmpfs): they are pinned while linked, a miss is final. */
export const SB_DCACHE = 1;
/** Read-only whatever the mount says. */
export const SB_RDONLY = 2;
/** Dentries are asked InodeOps.revalidate before they are believed. */
export const SB_REVALIDATE = 4;
/** Negative dentries are kept. */
export const SB_NEGATIVE = 8;

export const Superblock = struct("superblock", {
  // Constant after the file system's mount().
  sops: fixed(),
  flags: fixed(),
  /** st_dev: an anonymous device number, major 0. */
  dev: fixed(),
  magic: fixed(),
  /** SB_REVALIDATE: microseconds for which a dentry is believed without asking; 0 asks every time. */
  validity: fixed(),
  /** Counted here until the last mount is gone. */
  root: owned<Ptr<"dentry">>(),
  source: fixed<Ptr<"string">>(),
  // Any CPU, any time.
  refcount: atomic(),
  /** Mounts that show this file system. */
  mounts: atomic(),
  nextIno: atomic(),
  inodes: atomic(),
  /** The file system's own. */
  priv: words(8),
});

const nextDev = kernelGlobal("anonymous device");
/** Counts device numbers: lives in a struct because globals have no read-modify-write. */
const DevCounter = struct("dev_counter", { next: atomic() });

/** Once per machine, at boot. False when the heap is full. */
export function superInit(): boolean {
  const counter = tryAlloc(DevCounter);
  if (counter === 0) return false;
  DevCounter.next.init(counter, 1);
  nextDev.init(counter);
  return true;
}

/** A superblock with one count for the caller; 0 when memory is short. */
export function sbAlloc(sops: number, flags: number, magic: number, source: string): Ref<"superblock"> | 0 {
  const name = tryAllocString(source);
  if (name === 0) return 0;
  const sb = tryAlloc(Superblock);
  if (sb === 0) {
    freeString(name);
    return 0;
  }
  Superblock.sops.init(sb, sops);
  Superblock.flags.init(sb, flags);
  Superblock.magic.init(sb, magic);
  Superblock.source.init(sb, name);
  Superblock.dev.init(sb, makedev(0, DevCounter.next.add(nextDev.get() as Ref<"dev_counter">, 1)));
  Superblock.refcount.init(sb, 1);
  Superblock.nextIno.init(sb, 1);
  return sb;
}

export function sbGet(sb: Ref<"superblock">): void {
  Superblock.refcount.add(sb, 1);
}

const freeSuperblock = defineReclaimer("superblock", (arg) => {
  const sb = arg as Ref<"superblock">;
  const source = Superblock.source.get(sb);
  if (source !== 0) freeString(source);
  free(Superblock, sb);
});

export function sbPut(sb: Ref<"superblock">): void {
  if (!Superblock.refcount.decAndTest(sb)) return;
  superOpsOf(Superblock.sops.get(sb)).kill?.(sb);
  callRcu(freeSuperblock, sb);
}

/** A fresh inode number of this file system. */
export const sbNextIno = (sb: Ref<"superblock">): number => Superblock.nextIno.add(sb, 1) >>> 0;
