/**
 * Names of dentries in the hash: immutable records (parent, name) -> dentry, found without locks (dcache.ts has the
 * idea). Chains are changed under one of a few stripe locks, which are innermost.
 *
 * A record with its cell header is one cache line of 64 bytes, and holds all that a lookup in a tmpfs reads.
 */
import {
  alloc,
  allocArray,
  arrayGet,
  arraySet,
  arrayStore,
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
  words,
} from "../../rcu/index.ts";
import { globalsBound, kernelGlobal } from "../global.ts";
import { KEY, keyWords, type Qstr } from "./qstr.ts";

type D = Ref<"dentry">;

/** Keys of up to so many words, names of up to 31 bytes, live in the record itself. */
const SHORT_KEY = KEY.TEXT + 8;

export const DName = struct("dname", {
  /** As KEY says; behind the length of a longer name is the array with the whole key. */
  key: words(SHORT_KEY),
  /** Next in the hash chain: the stripe's lock for writers. */
  next: rcu("dname"),
  dentry: fixed<Ref<"dentry">>(),
  /** USE_ below: a hint for the eviction hand, written by whoever looks the name up. */
  use: owned(),
});
export const nameParent = (name: Ref<"dname">): D => DName.key.get(name, KEY.PARENT) as D;

/** Not looked up since the eviction hand passed. */
export const USE_NONE = 0;
export const USE_RECENT = 1;
/** Never evicted: while it is hashed its dentry is alive. */
export const USE_PINNED = 2;

const DcacheStripe = struct("dcache_stripe", { lock: spinlock() });
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

/** Once per machine, at boot: 2^bits chains, at most `limit` cached dentries beyond those in use. */
export function dcacheInit(bits = 15, limit = 32768): boolean {
  const cache = alloc(Dcache);
  const table = allocArray(1 << bits);
  const stripes = allocArray(STRIPES);
  if (cache === 0 || table === 0 || stripes === 0) return false;
  for (let n = 0; n < STRIPES; n++) {
    const stripe = alloc(DcacheStripe);
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

/** What lookups need of the dentry cache that this thread is bound to: asked for once. */
let bound = -1;
let buckets = 0 as Ref<"array">;
let shift = 0;
function bind(): void {
  const cache = dcache.get();
  buckets = Dcache.buckets.get(cache);
  shift = Dcache.shift.get(cache);
  bound = globalsBound;
}

/** Chain of a name. */
const bucketOf = (parent: D, hash: number): number =>
  Math.imul(hash ^ Math.imul(parent, 0x9e3779b1), 0x85ebca6b) >>> shift;
const stripeOf = (bucket: number): Ref<"dcache_stripe"> =>
  arrayGet(Dcache.stripes.get(dcache.get()), bucket & (STRIPES - 1)) as Ref<"dcache_stripe">;

/** The record of a name in a directory, from `after` on (0: the beginning of its chain); 0 when there is none. */
export function findName(scope: RcuScope, parent: D, text: Qstr, after: Ptr<"dname">): Ptr<"dname"> {
  if (bound !== globalsBound) bind();
  const { key } = text;
  key[KEY.PARENT] = parent;
  const first =
    after !== 0
      ? DName.next.deref(scope, after)
      : (arrayGet(buckets, bucketOf(parent, key[KEY.HASH]!)) as Ptr<"dname">);
  const count = keyWords(key[KEY.LENGTH]!);
  if (count <= SHORT_KEY) return DName.key.find(scope, first, DName.next, key, count);
  let name = first;
  for (;;) {
    name = DName.key.find(scope, name, DName.next, key, KEY.TEXT);
    if (name === 0 || sameArray(DName.key.get(name, KEY.TEXT) as Ref<"array">, key, count)) return name;
    name = DName.next.deref(scope, name);
  }
}

function sameArray(array: Ref<"array">, key: Int32Array, count: number): boolean {
  for (let n = KEY.TEXT; n < count; n++) if (arrayGet(array, n) !== key[n]) return false;
  return true;
}

/** Copies the record's name. */
export function nameQstr(name: Ref<"dname">, to: Qstr): Qstr {
  const count = keyWords(DName.key.get(name, KEY.LENGTH));
  const long = DName.key.get(name, KEY.TEXT) as Ref<"array">;
  for (let n = 0; n < count; n++) to.key[n] = count > SHORT_KEY ? arrayGet(long, n) : DName.key.get(name, n);
  return to;
}

/** A record that is in no chain yet; 0 when memory is short. `use`: USE_RECENT or USE_PINNED. */
export function newName(parent: D, dentry: D, text: Qstr, use: number): Ptr<"dname"> {
  const name = alloc(DName);
  if (name === 0) return 0;
  const { key } = text;
  key[KEY.PARENT] = parent;
  DName.dentry.init(name, dentry);
  DName.use.set(name, use);
  const count = keyWords(key[KEY.LENGTH]!);
  const here = count <= SHORT_KEY ? count : KEY.TEXT;
  for (let n = 0; n < here; n++) DName.key.set(name, n, key[n]!);
  if (here === count) return name;
  const long = allocArray(count);
  if (long === 0) {
    free(DName, name);
    return 0;
  }
  for (let n = 0; n < count; n++) arraySet(long, n, key[n]!);
  DName.key.set(name, KEY.TEXT, long);
  return name;
}

/** Frees a record that is in no chain any more, after a grace period. */
export function freeName(name: Ref<"dname">): void {
  if (keyWords(DName.key.get(name, KEY.LENGTH)) > SHORT_KEY)
    kfreeArrayRcu(DName.key.get(name, KEY.TEXT) as Ref<"array">);
  kfreeRcu(DName, name);
}

/** Publishes the record. */
export function hashName(name: Ref<"dname">): void {
  if (bound !== globalsBound) bind();
  const bucket = bucketOf(nameParent(name), DName.key.get(name, KEY.HASH));
  const stripe = stripeOf(bucket);
  DcacheStripe.lock.lock(stripe);
  DName.next.init(name, arrayGet(buckets, bucket) as Ptr<"dname">);
  arrayStore(buckets, bucket, name);
  DcacheStripe.lock.unlock(stripe);
}

/** Takes the record out of its chain, putting `by` (0: nothing; same key) in its place. */
export function unhash(name: Ref<"dname">, by: Ptr<"dname"> = 0): void {
  if (bound !== globalsBound) bind();
  const bucket = bucketOf(nameParent(name), DName.key.get(name, KEY.HASH));
  const stripe = stripeOf(bucket);
  const held = DcacheStripe.lock.lock(stripe);
  const next = DName.next.peek(held, name);
  let follower = next;
  if (by !== 0) {
    DName.next.init(by, next);
    follower = by;
  }
  let at = arrayGet(buckets, bucket) as Ptr<"dname">;
  if (at === name) arrayStore(buckets, bucket, follower);
  else {
    while (at !== 0 && DName.next.peek(held, at) !== name) at = DName.next.peek(held, at);
    if (at !== 0) DName.next.assign(held, at, follower);
  }
  DcacheStripe.lock.unlock(stripe);
  if (at === 0) throw new Error(`dentry name ${name} is not in its hash chain`);
}
