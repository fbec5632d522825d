/**
 * Futexes: waiting for a word of user memory to change (futex(2), futex(7)).
 *
 * Waiters are in hashed buckets. A private futex is named by address space and address, a shared one by the frame
 * that holds it, which is the same for every process that maps it. The value is compared with the bucket's lock
 * held, and wakers take that lock after the word changed: so a waker finds every waiter that saw the old value.
 *
 * A waiter is what the call in progress keeps (sched/restart.ts); the waker unlinks it, marks it woken and wakes the
 * task, whose call then runs again and sees the mark. Two buckets are locked in the order of their addresses.
 */
import {
  atomicCas,
  atomicLoad,
  free,
  type Held,
  listAddTail,
  listDelRcu,
  listFirst,
  listNext,
  type Ref,
  tryAlloc,
} from "../rcu/index.ts";
import {
  bucketOf,
  FutexBucket,
  FutexWaiter,
  getKey,
  type Key,
  keyA,
  keyB,
  lockTwo,
  presentWord,
  unlockTwo,
  userWord,
} from "./futex-key.ts";
import { ram } from "./mm/ram.ts";
import { BLOCK, BLOCK_EINTR } from "./sched/block.ts";
import { current, nowNs } from "./sched/current.ts";
import {
  blockUntil,
  defineKept,
  KEPT_FUTEX,
  keepForRestart,
  keptForRestart,
  takeKept,
} from "./sched/restart.ts";
import { wakeTask } from "./sched/wake.ts";
import { EAGAIN, EFAULT, EINVAL, ENOMEM, ENOSYS, ETIMEDOUT } from "./uapi/errno.ts";
import { FUTEX_BITSET_MATCH_ANY } from "./uapi/futex.ts";
import { ACCESS } from "./usermode.ts";

export { futexInit } from "./futex-key.ts";

/**
 * FUTEX_WAIT, FUTEX_WAIT_BITSET: sleeps while the word at `address` holds `expected`. `deadline`: monotonic ns, Infinity
 * for none. 0 when woken, -EAGAIN when the value differs, -ETIMEDOUT, or a BLOCK value.
 */
export function futexWait(
  address: number,
  isPrivate: boolean,
  expected: number,
  deadline: number,
  bitset: number,
): number {
  const task = current();
  if (bitset === 0) return -EINVAL;
  const block = deadline === Number.POSITIVE_INFINITY ? BLOCK : BLOCK_EINTR;
  const waiting = keptForRestart(task, KEPT_FUTEX) as Ref<"futex_waiter"> | 0;
  if (waiting !== 0) return continueWait(task, waiting, deadline, block);
  const failed = getKey(keyA, address, isPrivate, ACCESS.READ);
  if (failed < 0) return failed;
  const waiter = tryAlloc(FutexWaiter);
  if (waiter === 0) return -ENOMEM;
  const bucket = bucketOf(keyA);
  for (;;) {
    const word = userWord(address, ACCESS.READ);
    if (word < 0) {
      free(FutexWaiter, waiter);
      return -EFAULT;
    }
    const held = FutexBucket.lock.lock(bucket);
    const now = presentWord(address);
    if (now < 0) {
      // Unmapped or swapped for another page meanwhile: fault it in again.
      FutexBucket.lock.unlock(bucket);
      continue;
    }
    if (atomicLoad(ram.i32, now) !== (expected | 0)) {
      FutexBucket.lock.unlock(bucket);
      free(FutexWaiter, waiter);
      return -EAGAIN;
    }
    FutexWaiter.task.init(waiter, task);
    FutexWaiter.bitset.init(waiter, bitset);
    FutexWaiter.bucket.init(waiter, bucket);
    FutexWaiter.space.set(held, waiter, keyA.space);
    FutexWaiter.address.set(waiter, keyA.address);
    keepForRestart(KEPT_FUTEX, waiter);
    listAddTail(held, FutexBucket.waiters.at(bucket), FutexWaiter.node.at(waiter));
    // Before the unlock: a waker that finds the waiter finds the task in a state that it can end.
    blockUntil(deadline);
    FutexBucket.lock.unlock(bucket);
    return block;
  }
}

/** The call runs again: woken, timed out, or disturbed by something else. */
function continueWait(
  task: Ref<"task">,
  waiter: Ref<"futex_waiter">,
  deadline: number,
  block: number,
): number {
  if (FutexWaiter.woken.load(waiter) === 0) {
    if (deadline > nowNs()) {
      blockUntil(deadline);
      if (FutexWaiter.woken.load(waiter) === 0) return block;
    } else if (!abandonFutex(task)) return -ETIMEDOUT;
    else return 0;
  }
  abandonFutex(task);
  return 0;
}

/** The call in progress waits no more: its waiter goes away. True when a waker had chosen it. */
export function abandonFutex(task: Ref<"task">): boolean {
  return keptForRestart(task, KEPT_FUTEX) !== 0 && dropWaiter(takeKept(task) as Ref<"futex_waiter">);
}
defineKept(KEPT_FUTEX, (_task, waiter) => dropWaiter(waiter as Ref<"futex_waiter">));

function dropWaiter(waiter: Ref<"futex_waiter">): boolean {
  let woken = false;
  for (;;) {
    if (FutexWaiter.woken.load(waiter) !== 0) {
      woken = true;
      break;
    }
    const bucket = FutexWaiter.bucket.load(waiter);
    const held = FutexBucket.lock.lock(bucket);
    const there = FutexWaiter.bucket.load(waiter) === bucket;
    if (there && FutexWaiter.woken.load(waiter) === 0) listDelRcu(held, FutexWaiter.node.at(waiter));
    woken = FutexWaiter.woken.load(waiter) !== 0;
    FutexBucket.lock.unlock(bucket);
    if (there) break;
  }
  free(FutexWaiter, waiter);
  return woken;
}

/** Wakes up to `count` waiters of the key whose bitset meets `bitset`. The bucket's lock is held. */
function wakeLocked(
  held: Held<"lock">,
  bucket: Ref<"futex_bucket">,
  key: Key,
  count: number,
  bitset: number,
): number {
  const head = FutexBucket.waiters.at(bucket);
  let woken = 0;
  let next = 0;
  for (let node = listFirst(head); node !== 0 && woken < count; node = next) {
    next = listNext(head, node);
    const waiter = FutexWaiter.node.owner(node);
    if (!matches(held, waiter, key) || (FutexWaiter.bitset.get(waiter) & bitset) === 0) continue;
    listDelRcu(held, node);
    const task = FutexWaiter.task.get(waiter);
    // The waiter may be freed as soon as this is seen; the task stays allocated for a grace period.
    FutexWaiter.woken.store(waiter, 1);
    wakeTask(task);
    woken++;
  }
  return woken;
}

const matches = (held: Held<"lock">, waiter: Ref<"futex_waiter">, key: Key): boolean =>
  FutexWaiter.space.get(held, waiter) === key.space && FutexWaiter.address.get(waiter) === key.address;

function wakeKey(key: Key, count: number, bitset: number): number {
  const bucket = bucketOf(key);
  const held = FutexBucket.lock.lock(bucket);
  const woken = wakeLocked(held, bucket, key, count, bitset);
  FutexBucket.lock.unlock(bucket);
  return woken;
}

/** FUTEX_WAKE, FUTEX_WAKE_BITSET: the number of tasks woken. */
export function futexWake(address: number, isPrivate: boolean, count: number, bitset: number): number {
  if (bitset === 0) return -EINVAL;
  const failed = getKey(keyA, address, isPrivate, ACCESS.READ);
  return failed < 0 ? failed : wakeKey(keyA, count, bitset);
}

/** CLONE_CHILD_CLEARTID, robust lists: wakes waiters of a word of the current address space, private and shared ones. */
export function futexWakeAddress(address: number, count: number): void {
  if (getKey(keyA, address, false, ACCESS.READ) === 0) wakeKey(keyA, count, FUTEX_BITSET_MATCH_ANY);
}

/**
 * FUTEX_REQUEUE, FUTEX_CMP_REQUEUE (`expected` given): wakes `wake` waiters and moves up to `move` others to the second
 * futex. Returns the number woken, plus those moved when comparing.
 */
export function futexRequeue(
  from: number,
  to: number,
  isPrivate: boolean,
  wake: number,
  move: number,
  expected: number | null,
): number {
  if (wake < 0 || move < 0) return -EINVAL;
  const failed = getKey(keyA, from, isPrivate, ACCESS.READ) || getKey(keyB, to, isPrivate, ACCESS.READ);
  if (failed < 0) return failed;
  const [source, target] = [bucketOf(keyA), bucketOf(keyB)];
  for (;;) {
    if (expected !== null && userWord(from, ACCESS.READ) < 0) return -EFAULT;
    const held = lockTwo(source, target);
    if (expected !== null) {
      const word = presentWord(from);
      const differs = word >= 0 && atomicLoad(ram.i32, word) !== (expected | 0);
      if (word < 0 || differs) {
        unlockTwo(source, target);
        if (differs) return -EAGAIN;
        continue;
      }
    }
    const woken = wakeLocked(held, source, keyA, wake, FUTEX_BITSET_MATCH_ANY);
    const moved = moveLocked(held, source, target, move);
    unlockTwo(source, target);
    return woken + moved;
  }
}

function moveLocked(
  held: Held<"lock">,
  source: Ref<"futex_bucket">,
  target: Ref<"futex_bucket">,
  count: number,
): number {
  const head = FutexBucket.waiters.at(source);
  let moved = 0;
  let next = 0;
  const same = keyA.space === keyB.space && keyA.address === keyB.address;
  for (let node = listFirst(head); node !== 0 && moved < count; node = next) {
    next = listNext(head, node);
    const waiter = FutexWaiter.node.owner(node);
    if (!matches(held, waiter, keyA)) continue;
    moved++;
    if (same) continue;
    listDelRcu(held, node);
    FutexWaiter.space.set(held, waiter, keyB.space);
    FutexWaiter.address.set(waiter, keyB.address);
    FutexWaiter.bucket.store(waiter, target);
    listAddTail(held, FutexBucket.waiters.at(target), node);
  }
  return moved;
}

/**
 * FUTEX_WAKE_OP: changes the word at `second` as `op` says, wakes `wake` waiters of `first`, and `wakeSecond` waiters
 * of `second` if the old value compares. The encoding of `op` is in futex(2).
 */
export function futexWakeOp(
  first: number,
  second: number,
  isPrivate: boolean,
  wake: number,
  wakeSecond: number,
  op: number,
): number {
  const failed = getKey(keyA, first, isPrivate, ACCESS.READ) || getKey(keyB, second, isPrivate, ACCESS.WRITE);
  if (failed < 0) return failed;
  const [a, b] = [bucketOf(keyA), bucketOf(keyB)];
  const word = userWord(second, ACCESS.WRITE);
  if (word < 0) return -EFAULT;
  const held = lockTwo(a, b);
  const old = applyOp(word, op);
  const matches = old !== null && compareOp(old, op);
  let woken = matches === null || old === null ? 0 : wakeLocked(held, a, keyA, wake, FUTEX_BITSET_MATCH_ANY);
  if (matches === true) woken += wakeLocked(held, b, keyB, wakeSecond, FUTEX_BITSET_MATCH_ANY);
  unlockTwo(a, b);
  return matches === null || old === null ? -ENOSYS : woken;
}

function applyOp(word: number, op: number): number | null {
  let operand = (op << 8) >> 20;
  if (((op >>> 28) & 8) !== 0) operand = 1 << (operand & 31);
  for (;;) {
    const old = atomicLoad(ram.i32, word);
    let next: number;
    switch ((op >>> 28) & 7) {
      case 0:
        next = operand;
        break;
      case 1:
        next = (old + operand) | 0;
        break;
      case 2:
        next = old | operand;
        break;
      case 3:
        next = old & ~operand;
        break;
      case 4:
        next = old ^ operand;
        break;
      default:
        return null;
    }
    if (atomicCas(ram.i32, word, old, next)) return old;
  }
}

/** Null for a comparison that does not exist: by then the word has been changed, as in Linux. */
function compareOp(old: number, op: number): boolean | null {
  const operand = (op << 20) >> 20;
  switch ((op >>> 24) & 15) {
    case 0:
      return old === operand;
    case 1:
      return old !== operand;
    case 2:
      return old < operand;
    case 3:
      return old <= operand;
    case 4:
      return old > operand;
    case 5:
      return old >= operand;
    default:
      return null;
  }
}
