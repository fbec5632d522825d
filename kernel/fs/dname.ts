/**
 * Names of dentries in the hash: immutable records (parent, name) -> dentry, found without locks (dcache.ts has the
 * idea). Chains are changed under one of a few stripe locks, which are innermost.
 */
import {
  alloc,
  allocArray,
  allocString,
  arrayGet,
  arraySet,
  arrayStore,
  atomic,
  bytes,
  fixed,
  free,
  kfreeRcu,
  kfreeStringRcu,
  type Ptr,
  type Ref,
  rcu,
  spinlock,
  stringBytes,
  struct,
} from "../../rcu/index.ts";
import { kernelGlobal } from "../global.ts";

/** Names up to this length live in the record itself. */
const SHORT = 36;

export const DName = struct("dname", {
  parent: fixed<Ref<"dentry">>(),
  dentry: fixed<Ref<"dentry">>(),
  hash: fixed(),
  length: fixed(),
  /** Names longer than SHORT. */
  long: fixed<Ptr<"string">>(),
  /** Next in the hash chain: the stripe's lock for writers. */
  next: rcu("dname"),
  text: bytes(SHORT),
});

type D = Ref<"dentry">;

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

/** Hash of a name: FNV-1a over its bytes. */
export function nameHash(name: Uint8Array, start: number, end: number): number {
  let hash = 0x811c9dc5;
  for (let i = start; i < end; i++) hash = Math.imul(hash ^ name[i]!, 0x01000193);
  return hash | 0;
}

/** Chain of a name. */
export const bucketOf = (cache: Ref<"dcache">, parent: D, hash: number): number =>
  Math.imul(hash ^ Math.imul(parent, 0x9e3779b1), 0x85ebca6b) >>> Dcache.shift.get(cache);
const stripeOf = (cache: Ref<"dcache">, bucket: number): Ref<"dcache_stripe"> =>
  arrayGet(Dcache.stripes.get(cache), bucket & (STRIPES - 1)) as Ref<"dcache_stripe">;

/** Whether the record has the name buf[start..end). */
export function sameName(name: Ref<"dname">, buf: Uint8Array, start: number, end: number): boolean {
  const length = end - start;
  if (DName.length.get(name) !== length) return false;
  if (length > SHORT) {
    const text = stringBytes(DName.long.get(name) as Ref<"string">);
    for (let i = 0; i < length; i++) if (text[i] !== buf[start + i]) return false;
    return true;
  }
  for (let i = 0; i < length; i++) if (DName.text.get(name, i) !== buf[start + i]) return false;
  return true;
}

/** The name as a private copy. */
export function nameBytes(name: Ref<"dname">): Uint8Array {
  const length = DName.length.get(name);
  if (length > SHORT) return stringBytes(DName.long.get(name) as Ref<"string">);
  const text = new Uint8Array(length);
  for (let i = 0; i < length; i++) text[i] = DName.text.get(name, i);
  return text;
}

/** A record that is in no chain yet; 0 when memory is short. */
export function newName(
  parent: D,
  dentry: D,
  hash: number,
  buf: Uint8Array,
  start: number,
  end: number,
): Ptr<"dname"> {
  const name = alloc(DName);
  if (name === 0) return 0;
  const length = end - start;
  DName.parent.init(name, parent);
  DName.dentry.init(name, dentry);
  DName.hash.init(name, hash);
  DName.length.init(name, length);
  if (length <= SHORT) for (let i = 0; i < length; i++) DName.text.set(name, i, buf[start + i]!);
  else {
    const long = allocString(buf.subarray(start, end));
    if (long === 0) {
      free(DName, name);
      return 0;
    }
    DName.long.init(name, long);
  }
  return name;
}

/** Frees a record that is in no chain any more, after a grace period. */
export function freeName(name: Ref<"dname">): void {
  const long = DName.long.get(name);
  if (long !== 0) kfreeStringRcu(long);
  kfreeRcu(DName, name);
}

/** Publishes the record. */
export function hashName(cache: Ref<"dcache">, name: Ref<"dname">): void {
  const table = Dcache.buckets.get(cache);
  const bucket = bucketOf(cache, DName.parent.get(name), DName.hash.get(name));
  const stripe = stripeOf(cache, bucket);
  DcacheStripe.lock.lock(stripe);
  DName.next.init(name, arrayGet(table, bucket) as Ptr<"dname">);
  arrayStore(table, bucket, name);
  DcacheStripe.lock.unlock(stripe);
}

/** Takes the record out of its chain, putting `by` (0: nothing; same key) in its place. */
export function unhash(name: Ref<"dname">, by: Ptr<"dname"> = 0): void {
  const cache = dcache.get();
  const table = Dcache.buckets.get(cache);
  const bucket = bucketOf(cache, DName.parent.get(name), DName.hash.get(name));
  const stripe = stripeOf(cache, bucket);
  const held = DcacheStripe.lock.lock(stripe);
  const next = DName.next.peek(held, name);
  let follower = next;
  if (by !== 0) {
    DName.next.init(by, next);
    follower = by;
  }
  let at = arrayGet(table, bucket) as Ptr<"dname">;
  if (at === name) arrayStore(table, bucket, follower);
  else {
    while (at !== 0 && DName.next.peek(held, at) !== name) at = DName.next.peek(held, at);
    if (at !== 0) DName.next.assign(held, at, follower);
  }
  DcacheStripe.lock.unlock(stripe);
  if (at === 0) throw new Error(`dentry name ${name} is not in its hash chain`);
}
