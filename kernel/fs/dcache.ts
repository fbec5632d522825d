/**
 * The dentry cache: names, positive and negative, found without locks.
 *
 * A dentry (what open files, mounts and working directories hold) is apart from its *name* in the hash (even where the
 * two share a cell): a DName is an immutable record (parent, name) -> dentry. Renaming publishes a new record and drops the old one, so a
 * lookup never sees half a rename and needs no sequence count; where the new name existed before, the new record takes
 * the old one's place in the chain, so a name that is being replaced is never missing (rename(2)).
 *
 * Counts: 0 is "cached, unused", and still alive; DEAD is final. A reader in a scope that wants to keep a dentry calls
 * dgetLive and looks it up again when that fails. A name record counts its parent.
 */
import {
  arrayGet,
  arrayLength,
  atomic,
  fixed,
  free,
  type Held,
  kfreeRcu,
  listAddTail,
  listDelInit,
  listFirst,
  listIsEmpty,
  listNext,
  listNode,
  listUnlinked,
  type Ptr,
  type RcuScope,
  type Ref,
  rcu,
  rcuReadLock,
  rcuReadUnlock,
  struct,
  tryAlloc,
  wide,
  words,
} from "../../rcu/index.ts";
import {
  Dcache,
  DName,
  dcache,
  findLonger,
  findNextName,
  findShort,
  firstName,
  freeName,
  hashName,
  NAME_RECORD_WORDS,
  nameParent,
  nameQstr,
  setName,
  TWO_WORDS,
  USE_NONE,
  USE_PINNED,
  USE_RECENT,
  unhash,
} from "./dname.ts";
import { Inode, iput } from "./inode.ts";
import { Qstr, qstrBytes, qstrOf } from "./qstr.ts";
import { SB_DCACHE, Superblock } from "./super.ts";

const DEAD = -0x4000_0000;

/** Dentry.flags. */
export const D_MOUNTED = 1;
/** Not in the hash: removed, or never had a name. */
export const D_UNHASHED = 2;
/** In its directory's list (SB_DCACHE), never evicted: it lives while it is hashed. */
export const D_PINNED = 8;

/** Two cache lines: the first with the cell header, which is what a lookup reads. */
export const Dentry = struct("dentry", {
  /** Its first name (firstName), after a rename unused. */
  record: words(NAME_RECORD_WORDS),
  sb: fixed<Ref<"superblock">>(),
  /** Its present name. Writers: the locks of both parents' inodes (rename). */
  name: rcu("dname"),
  /** 0: negative. Set once, with the parent's inode lock held. */
  inode: rcu("inode"),
  refcount: atomic(),
  flags: atomic(),

  /**
   * SB_DCACHE: position in the parent for getdents, which grows with every entry made. SB_REVALIDATE: coarse monotonic
   * nanoseconds when the file system last vouched for the dentry.
   */
  stamp: wide(),

  // SB_DCACHE only, the inode lock of the directory: entries in the order they were made, and the place among them.
  children: listNode(),
  sibling: listNode(),
  /** Directories: the last position given out, and the number of entries. */
  lastStamp: wide(),
  entries: wide(),
});

type D = Ref<"dentry">;

// V8 folds constants of this module that are not exported: for lookups.
const { dentry: NAMED, use: USE } = DName;
const { refcount: COUNT } = Dentry;
const PINNED = USE_PINNED;
const SHORT = TWO_WORDS;
const find = findShort;
const enter = rcuReadLock;
const leave = rcuReadUnlock;

/** Finds a name, without locks. The result has no count: it is good for the caller's scope. */
export function dLookup(parent: D, text: Qstr): Ptr<"dentry"> {
  const scope = enter();
  const name = text.length < SHORT ? find(scope, parent, text) : findLonger(scope, parent, text, 0);
  let found: Ptr<"dentry"> = 0;
  if (name !== 0) found = USE.get(name) === PINNED ? NAMED.get(name) : lookupUsed(scope, parent, text, name);
  leave();
  return found;
}

/** From a name that may be evicted on: its dentry, or that of the next one with the same text when this one is dead. */
function lookupUsed(scope: RcuScope, parent: D, text: Qstr, first: Ref<"dname">): Ptr<"dentry"> {
  let name: Ptr<"dname"> = first;
  do {
    const found = NAMED.get(name);
    const use = USE.get(name);
    if (use === PINNED) return found;
    if (COUNT.peek(found) >= 0) {
      if (use === USE_NONE) USE.set(name, USE_RECENT);
      return found;
    }
    name = findNextName(scope, parent, text, name);
  } while (name !== 0);
  return 0;
}

/** Text of a dentry's name, as a private copy. */
export function dentryName(dentry: D): Uint8Array {
  const scope = rcuReadLock();
  const text = qstrBytes(nameQstr(Dentry.name.deref(scope, dentry) as Ref<"dname">, own));
  rcuReadUnlock();
  return text;
}
const own = new Qstr();

/** The directory that the dentry is in, itself for a root. Good for the caller's scope. */
export function dentryParent(dentry: D): D {
  const scope = rcuReadLock();
  const parent = nameParent(Dentry.name.deref(scope, dentry) as Ref<"dname">);
  rcuReadUnlock();
  return parent;
}
/** Inode of a dentry that the caller holds or has looked up in this handler; 0 when negative. */
export const dentryInode = (dentry: D): Ptr<"inode"> => Dentry.inode.access(dentry);
export const dentryUnhashed = (dentry: D): boolean => (Dentry.flags.peek(dentry) & D_UNHASHED) !== 0;

/** Another count for a caller who has one. */
export function dget(dentry: D): void {
  Dentry.refcount.add(dentry, 1);
}
/** A count for a reader in a scope: false when the dentry is dead, look it up again then. */
export const dgetLive = (dentry: D): boolean => Dentry.refcount.incUnlessNegative(dentry);

/** Drops a count. An unused dentry stays cached while it is hashed. */
export function dput(dentry: D): void {
  let at: Ptr<"dentry"> = dentry;
  while (at !== 0) {
    // Nobody finds it any more, and nobody else has it: its last count goes at once.
    if (dentryUnhashed(at) && COUNT.peek(at) === 1 && COUNT.cas(at, 1, DEAD)) {
      at = destroy(at);
      continue;
    }
    const old = COUNT.add(at, -1);
    if (old <= 0) throw new Error(`dentry ${at}: count underflow (was ${old})`);
    if (old > 1 || (Dentry.flags.load(at) & D_UNHASHED) === 0) return;
    at = kill(at);
  }
}

/** Makes an unused dentry dead and frees it; the parent whose count is to be dropped, or 0. */
export const kill = (dentry: D): Ptr<"dentry"> => (COUNT.cas(dentry, 0, DEAD) ? destroy(dentry) : 0);

/** Frees a dentry that is dead since just now. */
function destroy(dentry: D): Ptr<"dentry"> {
  const name = Dentry.name.access(dentry) as Ref<"dname">;
  if (!dentryUnhashed(dentry) && (Dentry.flags.or(dentry, D_UNHASHED) & D_UNHASHED) === 0) unhash(name);
  if ((Dentry.flags.peek(dentry) & D_PINNED) === 0) Dcache.count.add(dcache.get(), -1);
  const parent = nameParent(name);
  const inode = Dentry.inode.access(dentry);
  freeName(name);
  kfreeRcu(Dentry, dentry);
  if (inode !== 0) iput(inode);
  return parent === dentry ? 0 : parent;
}

/** The root dentry of a file system, one count. Takes over the caller's count of the inode, 0 when memory is short. */
export function dAllocRoot(sb: Ref<"superblock">, inode: Ref<"inode">): Ptr<"dentry"> {
  return dAllocDetached(sb, inode, new Uint8Array(0));
}

/** A dentry that is in no directory and in no hash (roots, memfd, O_TMPFILE), one count. Takes over the inode's count. */
export function dAllocDetached(sb: Ref<"superblock">, inode: Ref<"inode">, text: Uint8Array): Ptr<"dentry"> {
  const dentry = tryAlloc(Dentry);
  if (dentry === 0) return 0;
  if (!setName(firstName(dentry), dentry, dentry, qstrOf(text), USE_PINNED)) {
    free(Dentry, dentry);
    return 0;
  }
  dInit(dentry, sb, inode);
  Dentry.refcount.init(dentry, 1);
  Dentry.flags.init(dentry, D_UNHASHED | D_PINNED);
  return dentry;
}

/** What all new dentries have; their name is written already. */
function dInit(dentry: D, sb: Ref<"superblock">, inode: Ptr<"inode">): void {
  Dentry.sb.init(dentry, sb);
  Dentry.name.init(dentry, firstName(dentry));
  Dentry.inode.init(dentry, inode);
  Dentry.children.init(dentry);
  Dentry.sibling.init(dentry);
  Dentry.lastStamp.set(dentry, 2);
}

/**
 * A hashed dentry in `parent`, with a count for the caller. Takes over the caller's count of `inode` (0: negative). The
 * caller holds the directory's inode lock and has seen that the name is not cached. 0 when memory is short
 * or the parent is dead: the inode's count is still the caller's then.
 */
export function dAdd(held: Held, parent: D, inode: Ptr<"inode">, text: Qstr): Ptr<"dentry"> {
  if (!dgetLive(parent)) return 0;
  const dentry = tryAlloc(Dentry);
  const sb = Dentry.sb.get(parent);
  const pinned = (Superblock.flags.get(sb) & SB_DCACHE) !== 0;
  if (dentry === 0 || !setName(firstName(dentry), parent, dentry, text, pinned ? USE_PINNED : USE_RECENT)) {
    if (dentry !== 0) free(Dentry, dentry);
    dput(parent);
    return 0;
  }
  dInit(dentry, sb, inode);
  Dentry.refcount.init(dentry, 1);
  if (pinned) {
    Dentry.flags.init(dentry, D_PINNED);
    linkChild(held, parent, dentry);
  } else {
    const cache = dcache.get();
    if (Dcache.count.add(cache, 1) >= Dcache.limit.get(cache)) dcacheShrink(32);
  }
  hashName(firstName(dentry));
  return dentry;
}

/** Makes a negative dentry positive; takes over the inode's count. The directory's inode lock is held. */
export function dInstantiate(held: Held, dentry: D, inode: Ref<"inode">): void {
  Dentry.inode.assign(held, dentry, inode);
}

/** Puts a dentry at the end of its directory's list of entries. */
export function linkChild(held: Held, parent: D, dentry: D): void {
  const cookie = Dentry.lastStamp.get(parent) + 1;
  Dentry.lastStamp.set(parent, cookie);
  Dentry.stamp.set(dentry, cookie);
  Dentry.entries.set(parent, Dentry.entries.get(parent) + 1);
  listAddTail(held, Dentry.children.at(parent), Dentry.sibling.at(dentry));
}
/** Takes it off again. */
export function unlinkChild(held: Held, parent: D, dentry: D): void {
  if (listUnlinked(Dentry.sibling.at(dentry))) return;
  const inode = Dentry.inode.access(parent);
  if (inode !== 0 && Inode.listed.get(inode) === dentry) Inode.listed.set(inode, 0);
  listDelInit(held, Dentry.sibling.at(dentry));
  Dentry.entries.set(parent, Dentry.entries.get(parent) - 1);
}

/** Removes the name: nobody finds it any more. The directory's inode lock is held; the caller has a count. */
export function dDrop(held: Held, dentry: D): void {
  const flags = Dentry.flags.or(dentry, D_UNHASHED);
  if ((flags & D_UNHASHED) !== 0) return;
  const name = Dentry.name.access(dentry) as Ref<"dname">;
  unhash(name);
  if ((flags & D_PINNED) !== 0) unlinkChild(held, nameParent(name), dentry);
}

/** Drops a cached name that turned out stale. The inode lock of `parent` is held; the caller needs no count. */
export function dInvalidate(parent: D, dentry: D): void {
  const name = Dentry.name.access(dentry) as Ref<"dname">;
  if (nameParent(name) !== parent || !dgetLive(dentry)) return;
  if ((Dentry.flags.or(dentry, D_UNHASHED) & D_UNHASHED) === 0) unhash(name);
  dput(dentry);
}

/** Drops up to `wanted` unused dentries, those not looked up since the hand last passed (second chance). */
export function dcacheShrink(wanted: number): number {
  const cache = dcache.get();
  const table = Dcache.buckets.get(cache);
  const mask = arrayLength(table) - 1;
  let dropped = 0;
  for (let looked = 0; looked <= 2 * mask + 1 && dropped < wanted; looked++) {
    const bucket = Dcache.hand.add(cache, 1) & mask;
    if (arrayGet(table, bucket) === 0) continue;
    const scope = rcuReadLock();
    let name = arrayGet(table, bucket) as Ptr<"dname">;
    while (name !== 0) {
      const dentry = DName.dentry.get(name);
      const looked = name;
      name = DName.next.deref(scope, name);
      if (Dentry.refcount.peek(dentry) !== 0 || DName.use.get(looked) === USE_PINNED) continue;
      if (DName.use.get(looked) === USE_RECENT) {
        DName.use.set(looked, USE_NONE);
        continue;
      }
      const parent = kill(dentry);
      if ((Dentry.flags.peek(dentry) & D_UNHASHED) !== 0) dropped++;
      if (parent !== 0) dput(parent);
    }
    rcuReadUnlock();
  }
  return dropped;
}

/** Whether a pinned directory has no entries; its inode lock is held. */
export const dentryEmpty = (dentry: D): boolean => listIsEmpty(Dentry.children.at(dentry));
/**
 * First child whose cookie is at least `cookie`, or 0. The directory's inode lock is held. A listing in pieces goes on where the last
 * piece began (Inode.listed).
 */
export function dentryChildFrom(dir: D, cookie: number): Ptr<"dentry"> {
  const head = Dentry.children.at(dir);
  const inode = Dentry.inode.access(dir);
  const last = inode === 0 ? 0 : (Inode.listed.get(inode) as Ptr<"dentry">);
  let node = last !== 0 && Dentry.stamp.get(last) <= cookie ? Dentry.sibling.at(last) : listFirst(head);
  while (node !== 0 && Dentry.stamp.get(Dentry.sibling.owner(node)) < cookie) node = listNext(head, node);
  const found = node === 0 ? 0 : Dentry.sibling.owner(node);
  if (inode !== 0 && cookie > FIRST_COOKIE) Inode.listed.set(inode, found);
  return found;
}
/** Below are "." and "..". */
const FIRST_COOKIE = 3;
/** The child after this one, or 0. */
export function dentryNextChild(dir: D, child: D): Ptr<"dentry"> {
  const node = listNext(Dentry.children.at(dir), Dentry.sibling.at(child));
  return node === 0 ? 0 : Dentry.sibling.owner(node);
}

/** Evictable dentries that exist now. */
export const dcacheCount = (): number => Dcache.count.load(dcache.get());
