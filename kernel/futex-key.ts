/** Which futex an address means, and the buckets that hold the waiters. */
import {
  arrayGet,
  arraySet,
  atomic,
  fixed,
  type Held,
  listNode,
  locked,
  type Ref,
  spinlock,
  struct,
  tryAlloc,
  tryAllocArray,
  wide,
} from "../rcu/index.ts";
import { kernelGlobal } from "./global.ts";
import { hashNumber } from "./hash-keys.ts";
import { translateUser } from "./mm/fault.ts";
import { Mm } from "./mm/mm.ts";
import { pteFrame, pteGet, pteNeeds } from "./mm/pte.ts";
import { activeMm, activePgd } from "./mm/tlb.ts";
import { findVma, VM_SHARED, Vma } from "./mm/vma.ts";
import { EFAULT, EINVAL } from "./uapi/errno.ts";
import { ACCESS } from "./usermode.ts";

const BUCKETS = 1024;
const BUCKET_SHIFT = 22;

export const FutexBucket = struct("futex_bucket", { lock: spinlock(60), waiters: listNode() });

export const FutexWaiter = struct("futex_waiter", {
  task: fixed<Ref<"task">>(),
  bitset: fixed(),
  /** Changes when the waiter is requeued; read without a lock to find the lock. */
  bucket: atomic<Ref<"futex_bucket">>(),
  /** 1 once a waker took it off its bucket. */
  woken: atomic(),
  // The bucket's lock.
  node: listNode(),
  /** The key: address space number (0: shared) and address. */
  space: locked("lock"),
  address: wide(),
});

const table = kernelGlobal<Ref<"array">>("futex buckets");

export function futexInit(): void {
  const array = tryAllocArray(BUCKETS);
  if (array === 0) throw new Error("no memory for the futex table");
  for (let n = 0; n < BUCKETS; n++) {
    const bucket = tryAlloc(FutexBucket);
    if (bucket === 0) throw new Error("no memory for the futex table");
    FutexBucket.waiters.init(bucket);
    arraySet(array, n, bucket);
  }
  table.init(array);
}

/** Names a futex. Two are kept here for calls that take two, so that nothing is allocated. */
export interface Key {
  space: number;
  address: number;
}
export const keyA: Key = { space: 0, address: 0 };
export const keyB: Key = { space: 0, address: 0 };

export function bucketOf(key: Key): Ref<"futex_bucket"> {
  return arrayGet(table.get(), hashNumber(key.address, key.space) >>> BUCKET_SHIFT) as Ref<"futex_bucket">;
}

/** Fills `key` for a user address; -EINVAL when misaligned, -EFAULT when it cannot be accessed so. */
export function getKey(key: Key, address: number, isPrivate: boolean, access: number): number {
  if ((address & 3) !== 0) return -EINVAL;
  if (address >= 4294967296 || activeMm === 0) return -EFAULT;
  if (!isPrivate) {
    const page = translateUser(address, access);
    if (page < 0) return -EFAULT;
    const vma = findVma(activeMm, address >>> 12);
    if (vma !== 0 && (Vma.flags.get(vma) & VM_SHARED) !== 0) {
      key.space = 0;
      key.address = Math.floor(page / 4096) * 4096 + (address & 4095);
      return 0;
    }
  }
  key.space = Mm.id.get(activeMm);
  key.address = address;
  return 0;
}

/** Index in ram.i32 of a user word, faulted in for `access`; -EFAULT. */
export function userWord(address: number, access: number): number {
  const page = translateUser(address, access);
  return page < 0 ? -EFAULT : (Math.floor(page / 4096) * 4096 + (address & 4095)) / 4;
}

/** The word's index without faulting, for use under a bucket's lock; -1 when the page is not there. */
export function presentWord(address: number): number {
  const pte = pteGet(activePgd, address >>> 12);
  if ((pte & pteNeeds(ACCESS.READ)) === 0) return -1;
  return (pteFrame(pte) + (address & 4095)) / 4;
}

export const lockTwo = (a: Ref<"futex_bucket">, b: Ref<"futex_bucket">): Held<"lock"> =>
  FutexBucket.lock.lockBoth(a, b);
export const unlockTwo = (a: Ref<"futex_bucket">, b: Ref<"futex_bucket">): void =>
  FutexBucket.lock.unlockBoth(a, b);
