/**
 * Which thread has a slot, and whether it still lives.
 *
 * A slot is claimed by one compare-and-swap of its CLAIM word from 0 to the thread's number plus 1, and given back by storing 0 as the
 * very last thing. So the word names the owner from the first moment to the last, and whoever wants to reap a dead owner's slot
 * swaps exactly that number: the swap fails if the slot has become another thread's meanwhile. Thread numbers
 * (platform.ts) are never used twice in a process.
 *
 *   0            free
 *   id + 1       its owner's
 *   ... | GONE   the owner is known to be gone; its locks may be taken over
 *   -(id + 1)    thread `id` reaps it
 *
 * A worker can end without a word (terminate(), out of memory). On Linux the kernel tells: /proc/self/task lists the threads of the
 * process, and a thread's start time tells it from a later one with the same number. Elsewhere the threads that started the worker
 * are told by its 'exit' event, and in a browser all threads by its Web Lock (turn.ts).
 */
import * as layout from "./layout.ts";
import { i32 } from "./memory.ts";
import { nativeIsGone, threadId, whenVisible } from "./platform.ts";

const { MAX_SLOTS, SLOT } = layout;

/** Bit of CLAIM. */
const GONE = 0x4000_0000;
const own = threadId + 1;
const claimWord = (slot: number): number => SLOT.BASE + slot * SLOT.WORDS + SLOT.CLAIM;

/** Claims a free slot of a heap for this thread; -1 when all are taken. */
export function claimSlot(words: Int32Array): number {
  for (let slot = 0; slot < MAX_SLOTS; slot++) {
    const word = claimWord(slot);
    if (Atomics.load(words, word) === 0 && Atomics.compareExchange(words, word, 0, own) === 0) return slot;
  }
  return -1;
}

/** Takes over a slot whose owner is gone, with what lies there: for a thread that has none yet. -1 when all owners live. */
export function claimGoneSlot(words: Int32Array): number {
  for (let slot = 0; slot < MAX_SLOTS; slot++)
    if (noticeGone(slot, words) && claimForReaping(slot, undefined, words)) return slot;
  return -1;
}
/** It is this thread's from here on. */
export function keepClaim(words: Int32Array, slot: number): void {
  Atomics.store(words, claimWord(slot), own);
}

/** The owner, or who reaped it, gives the slot back: the last thing that happens to it. */
export function dropClaim(words: Int32Array, slot: number): void {
  Atomics.store(words, claimWord(slot), 0);
}

/** Whether the slot's owner is known to be gone, or nobody has it. */
export function claimIsDead(slot: number): boolean {
  const claim = Atomics.load(i32, claimWord(slot));
  return claim <= 0 || (claim & GONE) !== 0;
}

/**
 * Makes this thread the one that reaps the slot: true for one thread only. `id`: the thread that must have it; without, whoever has
 * it. A reaper that died is taken over from.
 */
export function claimForReaping(slot: number, id?: number, words: Int32Array = i32): boolean {
  const word = claimWord(slot);
  const claim = Atomics.load(words, word);
  if (claim === 0 || (id !== undefined && (claim & ~GONE) !== id + 1)) return false;
  if (claim < 0 && !threadIsGone(-claim - 1, words)) return false;
  return Atomics.compareExchange(words, word, claim, -own) === claim;
}

/** Remembers which thread of the operating system has the slot, as soon as others can see it end. */
export function signSlot(words: Int32Array, slot: number): void {
  const base = SLOT.BASE + slot * SLOT.WORDS;
  whenVisible((thread, start) => {
    if (Atomics.load(words, claimWord(slot)) !== own) return;
    Atomics.store(words, base + SLOT.NATIVE, thread);
    Atomics.store(words, base + SLOT.NATIVE_START, start);
  });
}
export function unsignSlot(words: Int32Array, slot: number): void {
  Atomics.store(words, SLOT.BASE + slot * SLOT.WORDS + SLOT.NATIVE, 0);
}

/**
 * Whether the slot's owner has ended without giving it back. Marks the slot then, so that its locks can be taken over at once. False
 * where that cannot be seen, and for threads that did not sign.
 */
export function noticeGone(slot: number, words: Int32Array = i32): boolean {
  const base = SLOT.BASE + slot * SLOT.WORDS;
  const claim = Atomics.load(words, base + SLOT.CLAIM);
  if (claim <= 0) return claim < 0 && threadIsGone(-claim - 1, words);
  if ((claim & GONE) !== 0) return true;
  const tid = Atomics.load(words, base + SLOT.NATIVE);
  if (!nativeIsGone(tid, Atomics.load(words, base + SLOT.NATIVE_START))) return false;
  // Fails if the slot has changed hands since: then it was another thread that is gone.
  return Atomics.compareExchange(words, base + SLOT.CLAIM, claim, claim | GONE) === claim;
}

/** Whether a thread, which reaps a slot, is gone: it is if it owned a slot of this heap and that says so. */
function threadIsGone(id: number, words: Int32Array): boolean {
  for (let slot = 0; slot < MAX_SLOTS; slot++) {
    const claim = Atomics.load(words, claimWord(slot));
    if (claim > 0 && (claim & ~GONE) === id + 1) return noticeGone(slot, words);
  }
  return true; // Who reaps is attached: it left by dying.
}

/** The numbers of other threads that have slots and have signed. */
export function signedThreads(words: Int32Array): number[] {
  const ids: number[] = [];
  for (let slot = 0; slot < MAX_SLOTS; slot++) {
    const claim = Atomics.load(words, claimWord(slot));
    const signed = Atomics.load(words, SLOT.BASE + slot * SLOT.WORDS + SLOT.NATIVE) !== 0;
    if (signed && claim > 0 && claim !== own) ids.push((claim & ~GONE) - 1);
  }
  return ids;
}
