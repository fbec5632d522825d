/**
 * Lazy callbacks: those that start no grace period by themselves, since nothing but memory waits for them. They lie on a shelf of their thread until
 * there are many, or the first has lain there for long enough, or memory is short, or somebody waits for callbacks or for a grace period, or
 * the thread leaves. Then they are stamped and run as all others. (Linux: CONFIG_RCU_LAZY.)
 */
import { slotBase } from "./grace-period.ts";
import * as layout from "./layout.ts";
import { i32, slot } from "./memory.ts";
import { stallClock } from "./rounds.ts";
import { shelve, shelved, takeShelf, takeShelves } from "./shelf.ts";

const { SLOT_RCU } = layout;

/** So many lazy callbacks of one thread are enough for a grace period. */
export const LAZY_MAX = 1024;
/** Milliseconds that the first one waits at most. */
let delay = 1000;

/**
 * How long lazy callbacks that are queued on this thread wait at most, in milliseconds: 1000 at first. A thread looks whether the time has come when it
 * passes a safe point, and threads of domains do so by themselves. (Linux: jiffies_lazy_flush, 10 s.)
 */
export function setRcuLazyDelay(ms: number): void {
  delay = ms;
}

/** Queues a lazy callback. Returns whether it is the first on its shelf. */
export function queueLazy(cell: number): boolean {
  const base = slotBase(slot);
  const shelf = base + SLOT_RCU.LAZY;
  // For what is on an empty shelf only: a time from before would be too early, and do no harm.
  if (i32[shelf] === 0) i32[base + SLOT_RCU.LAZY_UNTIL] = (stallClock() + delay) & 0x7fff_ffff;
  const first = shelve(shelf, cell);
  if (shelved(shelf) >= LAZY_MAX) flushLazy();
  return first;
}

/** Lazy callbacks of this thread. */
export const lazyHere = (): number => (slot < 0 ? 0 : shelved(slotBase(slot) + SLOT_RCU.LAZY));

/** The lazy callbacks of this thread wait no longer. */
export function flushLazy(): void {
  if (slot >= 0 && i32[slotBase(slot) + SLOT_RCU.LAZY] !== 0) takeShelf(slot, SLOT_RCU.LAZY);
}

/** Those of a slot whose time has come: a plain look. */
function due(of: number): boolean {
  const until = i32[slotBase(of) + SLOT_RCU.LAZY_UNTIL]!;
  return ((stallClock() - until) & 0x7fff_ffff) < 0x4000_0000;
}

/** Whether the time of this thread's lazy callbacks has come, of which there are some. */
export const lazyInTime = (): boolean => due(slot);

/** They wait no longer, when their time has come. */
export function flushLazyInTime(): void {
  if (i32[slotBase(slot) + SLOT_RCU.LAZY] !== 0 && due(slot)) flushLazy();
}

/** The same for all threads. */
export const flushAllInTime = (): void => void takeShelves([SLOT_RCU.LAZY], due);
