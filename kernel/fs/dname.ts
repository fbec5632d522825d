/**
 * Names of dentries in the hash: immutable records (parent, name) -> dentry, found without locks (dcache.ts has the
 * idea). A chain grows at its head by compare-and-swap; records leave it under one of a few stripe locks, which are innermost.
 *
 * A record with its cell header is one cache line of 64 bytes, and holds all that a lookup in a tmpfs reads. The first
 * name of a dentry is the beginning of the dentry's own cell; names that rename gives are cells of their own.
 */
import {
  arrayCas,
  arrayGet,
  arrayLoad,
  arraySet,
  atomic,
  fixed,
  free,
  kfreeArrayRcu,
  kfreeRcu,
  owned,
  type Ptr,
  type RcuScope,
  type Ref,
  rcu,
  spinlock,
  struct,
  tryAlloc,
  tryAllocArray,
  words,
} from "../../rcu/index.ts";
import { kernelGlobal, onGlobalsBound } from "../global.ts";
import { frameTotal } from "../mm/frame.ts";
import { nameWords, type Qstr } from "./qstr.ts";

type D = Ref<"dentry">;

/** Names of so many words, up to 31 bytes, live in the record itself. */
const SHORT_WORDS = 8;
/** Names below so many bytes are in two words, which are compared whatever the length is. */
export const TWO_WORDS = 8;
/** Index in the key of the first word of text. */
const TEXT = 1;
/** In the key of a longer name: an array with its words. */
const LONG_TEXT = 3;

export const DName = struct("dname", {
  /**
   * The directory, then the words of the name. The key of a longer name is ~directory, hash, length, array of the words: no
   * short key can be the same. Zeros behind the text tell the length.
   */
  key: words(TEXT + SHORT_WORDS),
  hash: fixed(),
  /** Bytes. */
  length: fixed(),
  /** Next in the hash chain: the stripe's lock for writers. */
  next: rcu("dname"),
  dentry: fixed<Ref<"dentry">>(),
  /** USE_ below: a hint for the eviction hand, written by whoever looks the name up. */
  use: owned(),
});
/** Words of a record. */
export const NAME_RECORD_WORDS = DName.use.offset + 1;
// V8 folds constants of this module that are not exported: for lookups.
const { key: KEY, next: NEXT } = DName;
const { clz32, imul } = Math;

/** The record inside a dentry's cell. */
export const firstName = (dentry: D): Ref<"dname"> => dentry as number as Ref<"dname">;

export function nameParent(name: Ref<"dname">): D {
  const parent = DName.key.get(name, 0);
  return (parent < 0 ? ~parent : parent) as D;
}

/** Not looked up since the eviction hand passed. */
export const USE_NONE = 0;
export const USE_RECENT = 1;
/** Never evicted: while it is hashed its dentry is alive. */
export const USE_PINNED = 2;

const DcacheStripe = struct("dcache_stripe", { lock: spinlock(88) });
export const Dcache = struct("dcache", {
  buckets: fixed<Ref<"array">>(),
  stripes: fixed<Ref<"array">>(),
  shift: fixed(),
  /** Evictable dentries, and how many there may be before some are dropped. */
  limit: fixed(),
  count: atomic(),
  /** Next bucket that the eviction hand looks at. */
  hand: atomic(),
});
/** The one dentry cache of the machine. */
export const dcache = kernelGlobal<Ref<"dcache">>("dentry cache");
const STRIPES = 64;

/** Chains, as a power of two: there is one for two page frames, so that names that fill a machine's memory have chains of a few. */
export const dcacheBits = (frames: number): number =>
  Math.min(19, Math.max(15, 32 - clz32((frames - 1) >>> 1)));

/** Once per machine, at boot: 2^bits chains, at most `limit` cached dentries beyond those in use. */
export function dcacheInit(bits = dcacheBits(frameTotal()), limit = 32768): boolean {
  const cache = tryAlloc(Dcache);
  const table = tryAllocArray(1 << bits);
  const stripes = tryAllocArray(STRIPES);
  if (cache === 0 || table === 0 || stripes === 0) return false;
  for (let n = 0; n < STRIPES; n++) {
    const stripe = tryAlloc(DcacheStripe);
    if (stripe === 0) return false;
    arraySet(stripes, n, stripe);
  }
  Dcache.buckets.init(cache, table);
  Dcache.stripes.init(cache, stripes);
  Dcache.shift.init(cache, 32 - bits);
  Dcache.limit.init(cache, limit);
  dcache.init(cache);
  return true;
}

/**
 * What lookups need of the dentry cache that this thread is bound to, asked for once: the chains (0: not yet), and how far a
 * hash is shifted. In a buffer of its own, which does not move: V8 has its address in the code.
 */
const bound = new Int32Array(new ArrayBuffer(8));
const CHAINS = 0;
const SHIFT = 1;
function bind(): Ref<"array"> {
  const cache = dcache.get();
  bound[SHIFT] = Dcache.shift.get(cache);
  bound[CHAINS] = Dcache.buckets.get(cache);
  return bound[CHAINS] as Ref<"array">;
}
onGlobalsBound(() => {
  bound[CHAINS] = 0;
});
/** The chains of the dentry cache that this thread is bound to. */
const chains = (): Ref<"array"> => {
  const table = bound[CHAINS] as Ptr<"array">;
  return table !== 0 ? table : bind();
};

/** Chain of a name; chains() comes first. */
const bucketOf = (parent: D, hash: number): number =>
  imul(hash ^ imul(parent | 0, 0x9e3779b1), 0x85ebca6b) >>> bound[SHIFT]!;
const stripeOf = (bucket: number): Ref<"dcache_stripe"> =>
  arrayGet(Dcache.stripes.get(dcache.get()), bucket & (STRIPES - 1)) as Ref<"dcache_stripe">;

/** The record of a name below TWO_WORDS in a directory, 0 when there is none. */
export function findShort(scope: RcuScope, parent: D, text: Qstr): Ptr<"dname"> {
  const table = chains();
  return KEY.find(scope, table, bucketOf(parent, text.hash), NEXT, parent, text.word0, text.word1);
}

/** The next one in the same chain: for who can't use what was found. */
export function findNextName(scope: RcuScope, parent: D, text: Qstr, after: Ref<"dname">): Ptr<"dname"> {
  if (text.length >= TWO_WORDS) return findLonger(scope, parent, text, after);
  return KEY.findNext(scope, after, NEXT, parent, text.word0, text.word1);
}

/** The record of a longer name, behind `after` in its chain (0: from its beginning). */
export function findLonger(scope: RcuScope, parent: D, text: Qstr, after: Ptr<"dname">): Ptr<"dname"> {
  const { words, hash, length } = text;
  const count = nameWords(length);
  const long = count > SHORT_WORDS;
  const key0 = long ? ~parent : parent;
  const key1 = long ? hash : text.word0;
  const key2 = long ? length : text.word1;
  let name = after;
  for (;;) {
    name =
      name === 0
        ? KEY.find(scope, chains(), bucketOf(parent, hash), NEXT, key0, key1, key2)
        : KEY.findNext(scope, name, NEXT, key0, key1, key2);
    if (name === 0) return 0;
    if (long) {
      if (sameArray(KEY.get(name, LONG_TEXT) as Ref<"array">, text, count)) return name;
      continue;
    }
    let n = 2;
    while (n < count && KEY.get(name, TEXT + n) === words[n]) n++;
    if (n === count) return name;
  }
}

function sameArray(array: Ref<"array">, { word0, word1, words }: Qstr, count: number): boolean {
  if (arrayGet(array, 0) !== word0 || arrayGet(array, 1) !== word1) return false;
  for (let n = 2; n < count; n++) if (arrayGet(array, n) !== words[n]) return false;
  return true;
}

/** Copies the record's name. */
export function nameQstr(name: Ref<"dname">, to: Qstr): Qstr {
  const length = DName.length.get(name);
  const count = nameWords(length);
  const long = DName.key.get(name, LONG_TEXT) as Ref<"array">;
  const word = (n: number): number =>
    count > SHORT_WORDS ? arrayGet(long, n) : DName.key.get(name, TEXT + n);
  to.length = length;
  to.hash = DName.hash.get(name);
  to.word0 = word(0);
  to.word1 = word(1);
  for (let n = 2; n < count; n++) to.words[n] = word(n);
  return to;
}

/** A record of its own that is in no chain yet; 0 when memory is short. `use`: USE_RECENT or USE_PINNED. */
export function newName(parent: D, dentry: D, text: Qstr, use: number): Ptr<"dname"> {
  const name = tryAlloc(DName);
  if (name === 0 || setName(name, parent, dentry, text, use)) return name;
  free(DName, name);
  return 0;
}

/** Writes a record that nobody sees yet, all zeros so far. False when memory is short. */
export function setName(name: Ref<"dname">, parent: D, dentry: D, text: Qstr, use: number): boolean {
  const { hash, length, word0, word1, words } = text;
  DName.dentry.init(name, dentry);
  DName.use.set(name, use);
  DName.hash.init(name, hash);
  DName.length.init(name, length);
  const count = nameWords(length);
  if (count <= SHORT_WORDS) {
    KEY.set(name, 0, parent);
    KEY.set(name, TEXT, word0);
    KEY.set(name, TEXT + 1, word1);
    for (let n = 2; n < count; n++) KEY.set(name, TEXT + n, words[n]!);
    return true;
  }
  const long = tryAllocArray(count);
  if (long === 0) return false;
  arraySet(long, 0, word0);
  arraySet(long, 1, word1);
  for (let n = 2; n < count; n++) arraySet(long, n, words[n]!);
  KEY.set(name, 0, ~parent);
  KEY.set(name, 1, hash);
  KEY.set(name, 2, length);
  KEY.set(name, LONG_TEXT, long);
  return true;
}

/** Frees a record that is in no chain any more, after a grace period: a dentry's first one with the dentry. */
export function freeName(name: Ref<"dname">): void {
  if (DName.key.get(name, 0) < 0) kfreeArrayRcu(DName.key.get(name, LONG_TEXT) as Ref<"array">);
  if (firstName(DName.dentry.get(name)) !== name) kfreeRcu(DName, name);
}

/** Publishes the record. */
export function hashName(name: Ref<"dname">): void {
  const table = chains();
  const bucket = bucketOf(nameParent(name), DName.hash.get(name));
  let head: Ptr<"dname">;
  do {
    head = arrayGet(table, bucket) as Ptr<"dname">;
    NEXT.init(name, head);
  } while (!arrayCas(table, bucket, head, name));
}

/** Takes the record out of its chain, putting `by` (0: nothing; same key) in its place. */
export function unhash(name: Ref<"dname">, by: Ptr<"dname"> = 0): void {
  const table = chains();
  const bucket = bucketOf(nameParent(name), DName.hash.get(name));
  const stripe = stripeOf(bucket);
  const held = DcacheStripe.lock.lock(stripe);
  const next = NEXT.peek(held, name);
  let follower = next;
  if (by !== 0) {
    NEXT.init(by, next);
    follower = by;
  }
  // It stops to be the head only by another record that comes in front, or under the lock.
  const first = arrayGet(table, bucket) === name && arrayCas(table, bucket, name, follower);
  let at = first ? name : (arrayLoad(table, bucket) as Ptr<"dname">);
  if (!first) {
    while (at !== 0 && NEXT.peek(held, at) !== name) at = NEXT.peek(held, at);
    if (at !== 0) NEXT.assign(held, at, follower);
  }
  DcacheStripe.lock.unlock(stripe);
  if (at === 0) throw new Error(`dentry name ${name} is not in its hash chain`);
}
