/**
 * Locks on heap words, owned by threads (CPUs), that survive a dead owner.
 *
 * A lock word is 0 (free) or the owner's id, with bit 31 set when somebody sleeps on it. Owners spin a little
 * (a futex round trip costs 6 to 10 us, a critical section far less), then sleep in `Atomics.wait`, so
 * nothing hangs when threads outnumber cores. Sleepers wake every LOCK_CHECK_MS to see whether the owner's slot has
 * died; then they take the lock over: what it protects may be half-changed, which `brokenLocks` counts.
 */
import { RcuUsageError } from "./error.ts";
import * as layout from "./layout.ts";
import { claimIsDead, noticeGone } from "./liveness.ts";
import { i32, ownerId, slot } from "./memory.ts";
import { park } from "./park.ts";

const { SLOT, SLOT_ACTIVE, SLOT_RCU } = layout;

const WAITERS = 0x8000_0000 | 0;
const OWNER = 0x7fff_ffff;
/**
 * Looks at a taken lock before sleeping: 1.6 us, as long as a critical section of the file system takes. A quarter
 * of that doubled the time of dentry updates on two busy CPUs (`sternix bench tables`).
 */
const SPINS = 240;
const LOCK_CHECK_MS = 50;

/** Locks taken over from dead owners by this thread. */
export let brokenLocks = 0;
/** Locks that this thread holds now: zero wherever it may sleep or switch tasks. */
export let locksHeld = 0;
/**
 * Their words, innermost last (read locks complemented): what releaseLocks gives back. Deeper ones are not remembered.
 */
const DEPTH = 64;
const heldWords = new Int32Array(DEPTH);

/** Word of the n-th lock that this thread holds, outermost first; 0 beyond those that are remembered. */
export function heldWord(n: number): number {
  const word = n < DEPTH ? heldWords[n]! : 0;
  return word < 0 ? ~word : word;
}

const nothing = (): void => {};
let beforeSleep = nothing;
let afterSleep = nothing;
/**
 * What this thread does around each sleep for a lock. The kernel's CPUs say there that nobody need wait for them to
 * drop stale translations (kernel/mm/tlb.ts). `after` runs before the lock is taken and may take other locks.
 */
export function setLockSleepHooks(before: () => void, after: () => void): void {
  beforeSleep = before;
  afterSleep = after;
}

/** How long this thread waits for a lock, in ms. */
let patience = Infinity;
/**
 * Sets how long this thread waits for a lock until it gives up with ERR_RCU_LOCK_TIMEOUT, in ms: for a thread that must come back to
 * its event loop, which alone would tell it that the owner has died. Default: Infinity. Returns what it was.
 */
export function setLockPatience(ms: number): number {
  const before = patience;
  patience = ms;
  return before;
}

/** Throws when the wait that began at `since` has lasted too long. */
function checkPatience(word: number, since: number): void {
  if (performance.now() - since < patience) return;
  const owner = i32[word]! & OWNER;
  throw new RcuUsageError(
    "ERR_RCU_LOCK_TIMEOUT",
    `word ${word}: ${owner === 0 ? "its readers keep it" : `held by slot ${ownerSlot(owner)}`} for more than ${patience} ms`,
  );
}

/** Atomics.wait between the hooks. */
function sleepOn(word: number, value: number): void {
  beforeSleep();
  park(i32, word, value, LOCK_CHECK_MS);
  afterSleep();
}

/** The slot of the thread that wrote this owner id. */
export const ownerSlot = (owner: number): number => (owner & 0xff) - 1;

/** Whether the thread that wrote this owner id is gone. */
export function ownerIsDead(owner: number): boolean {
  const base = SLOT.BASE + ownerSlot(owner) * SLOT.WORDS;
  return (
    Atomics.load(i32, base + SLOT.STATE) !== SLOT_ACTIVE ||
    (Atomics.load(i32, base + SLOT.INCARNATION) & 0x3fffff) !== owner >>> 8 ||
    claimIsDead(ownerSlot(owner))
  );
}

/** What this thread does before it takes a lock of its user's while it holds none; null: nothing. */
let errand: (() => void) | null = null;
/** Has `run` called once, by the next lockFree with no lock held. */
export function beforeNextLock(run: () => void): void {
  errand = run;
}
/** A moment at which this thread may wait and run callbacks, if it holds no lock: an update by its user begins. */
export function lockFree(): void {
  if (errand !== null && locksHeld === 0) runErrand();
}
function runErrand(): void {
  const run = errand!;
  errand = null;
  run();
}

export function lockWord(word: number): void {
  if (Atomics.compareExchange(i32, word, 0, ownerId) !== 0) lockSlow(word);
  heldWords[locksHeld++] = word;
}

/** Whether this thread holds the lock. */
export const holdsWord = (word: number): boolean => (i32[word]! & OWNER) === ownerId;

/** For mutexes, which do not count in locksHeld. Sleeps if it must. */
export function takeWord(word: number): void {
  if (Atomics.compareExchange(i32, word, 0, ownerId) !== 0) lockSlow(word);
}
export function tryTakeWord(word: number): boolean {
  return Atomics.compareExchange(i32, word, 0, ownerId) === 0;
}
/** Takes the word if it is free or its owner is dead: for words that nobody sleeps on. */
export function takeOverWord(word: number): boolean {
  const seen = Atomics.compareExchange(i32, word, 0, ownerId);
  if (seen === 0) return true;
  return ownerIsDead(seen) && Atomics.compareExchange(i32, word, seen, ownerId) === seen;
}
export function dropWord(word: number): void {
  const owner = i32[word]! & OWNER; // Our own store, if we are the owner.
  if (owner !== ownerId)
    throw new RcuUsageError(
      "ERR_RCU_LOCK_PAIRING",
      `unlock of word ${word}: held by ${owner}, not ${ownerId}`,
    );
  if (Atomics.exchange(i32, word, 0) < 0) Atomics.notify(i32, word, 1);
}

export function tryLockWord(word: number): boolean {
  if (Atomics.compareExchange(i32, word, 0, ownerId) !== 0) return false;
  heldWords[locksHeld++] = word;
  return true;
}

export function unlockWord(word: number): void {
  dropWord(word);
  if (heldWords[--locksHeld] !== word) forget(word);
}

/** Not the innermost lock: those above it move down. */
function forget(word: number): void {
  const at = heldWords.lastIndexOf(word, Math.min(locksHeld, DEPTH - 1));
  if (at >= 0) heldWords.copyWithin(at, at + 1, locksHeld + 1);
}

/**
 * Gives back the locks that this thread took since `locksHeld` was `depth`: for who runs code that may not return with a
 * lock held. What they protect may be half-changed. Returns how many there were; negative: code that released too many.
 */
export function releaseLocks(depth: number): number {
  const taken = locksHeld - depth;
  while (locksHeld > depth) {
    const word = heldWords[Math.min(locksHeld, DEPTH) - 1]!;
    const ours = word < 0 ? readHeld(~word) : (i32[word]! & OWNER) === ownerId;
    if (!ours) locksHeld--;
    else if (word < 0) readUnlockWord(~word);
    else unlockWord(word);
  }
  return taken;
}

function lockSlow(word: number): void {
  for (let spin = 0; spin < SPINS; spin++) {
    if (Atomics.load(i32, word) === 0 && Atomics.compareExchange(i32, word, 0, ownerId) === 0) return;
  }
  const since = performance.now();
  for (;;) {
    const seen = Atomics.load(i32, word);
    if (seen === 0) {
      // Keep the waiters bit: others may still sleep behind us.
      if (Atomics.compareExchange(i32, word, 0, ownerId | WAITERS) === 0) return;
      continue;
    }
    if ((seen & OWNER) === ownerId)
      throw new RcuUsageError(
        "ERR_RCU_WAITS_FOR_ITSELF",
        `deadlock: word ${word} is already held by this thread`,
      );
    if (seen > 0 && Atomics.compareExchange(i32, word, seen, seen | WAITERS) !== seen) continue;
    sleepOn(word, seen | WAITERS);
    // Whatever ended the sleep: a look costs far less than that did.
    const owner = seen & OWNER;
    if (!ownerIsDead(owner) && !noticeGone(ownerSlot(owner))) {
      checkPatience(word, since);
      continue;
    }
    if (Atomics.compareExchange(i32, word, seen | WAITERS, ownerId | WAITERS) === (seen | WAITERS)) {
      brokenLocks++;
      return;
    }
  }
}

// A reader-writer lock is two words: [writer lock, reader count]. Writers are preferred: a reader that finds the
// writer word taken waits behind it, so a stream of readers cannot starve an update. Readers note in their slot which
// locks they hold: when a thread dies, reap() takes its counts back.

const heldSlot = (): number => SLOT.BASE + slot * SLOT.WORDS + SLOT_RCU.READ_HELD;

export function readLockWord(word: number): void {
  let note = heldSlot();
  const end = note + SLOT_RCU.READ_HELD_MAX;
  while (i32[note] !== 0)
    if (++note === end)
      throw new RcuUsageError("ERR_RCU_LOCK_HELD", `${SLOT_RCU.READ_HELD_MAX} read locks held already`);
  Atomics.add(i32, word + 1, 1);
  i32[note] = word;
  if (Atomics.load(i32, word) !== 0) {
    i32[note] = 0;
    dropReader(word);
    // Queues behind the writer, and counts itself while the writer's word is its own: readers that only took and gave it
    // back could turn each other away for ever, each taking the other for a writer.
    lockWord(word);
    Atomics.add(i32, word + 1, 1);
    i32[note] = word;
    unlockWord(word);
  }
  heldWords[locksHeld++] = ~word;
}

/** Whether this thread has noted that it holds the read lock. */
function readHeld(word: number): boolean {
  const notes = heldSlot();
  for (let note = notes; note < notes + SLOT_RCU.READ_HELD_MAX; note++) if (i32[note] === word) return true;
  return false;
}

export function readUnlockWord(word: number): void {
  let note = heldSlot();
  const end = note + SLOT_RCU.READ_HELD_MAX;
  while (i32[note] !== word)
    if (++note === end)
      throw new RcuUsageError("ERR_RCU_LOCK_PAIRING", `read unlock of word ${word}: not held`);
  if (heldWords[--locksHeld] !== ~word) forget(~word);
  i32[note] = 0;
  dropReader(word);
}

function dropReader(word: number): void {
  if (Atomics.sub(i32, word + 1, 1) === 1 && Atomics.load(i32, word) !== 0) Atomics.notify(i32, word + 1, 1);
}

/** The thread of slot `of` is dead: its read locks are released. */
export function dropReadLocks(of: number): void {
  const base = SLOT.BASE + of * SLOT.WORDS + SLOT_RCU.READ_HELD;
  for (let note = base; note < base + SLOT_RCU.READ_HELD_MAX; note++) {
    const word = i32[note]!;
    i32[note] = 0;
    if (word !== 0) dropReader(word);
  }
}

export function writeLockWord(word: number): void {
  lockWord(word);
  let since = 0;
  for (;;) {
    const readers = Atomics.load(i32, word + 1);
    if (readers === 0) return;
    if (since === 0) since = performance.now();
    sleepOn(word + 1, readers);
    checkPatience(word, since);
  }
}

export function writeUnlockWord(word: number): void {
  unlockWord(word);
}
