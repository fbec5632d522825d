/**
 * Shelves: callbacks that a thread has queued and that others may take, at any time and without its help. A slot has two: what a helper is to
 * run (offload.ts), and what may wait for company (lazy.ts). The owner pushes, without a lock; whoever holds ORPHAN_LOCK takes, onto
 * the list of the orphans, where callbacks are stamped and run by whoever is active.
 *
 * A shelf is a chain of cells, newest first. Only the owner changes its head from one cell to another; only takers change links.
 */
import { accelerate, announceRun } from "./cblist.ts";
import { slotBase } from "./grace-period.ts";
import * as layout from "./layout.ts";
import { lockWord, unlockWord } from "./lock.ts";
import { i32, slot } from "./memory.ts";

const { CBLIST, CELL_LINK, RCU, SHELF, SLOT_RCU } = layout;

const SHELVES = [SLOT_RCU.OFFLOADED, SLOT_RCU.LAZY] as const;
export type ShelfOf = (typeof SHELVES)[number];

/** Puts a callback on a shelf of this thread. Returns whether the shelf was empty. */
export function shelve(shelf: number, cell: number): boolean {
  const words = i32;
  words[shelf + SHELF.PUSHED] = (words[shelf + SHELF.PUSHED]! + 1) | 0;
  for (;;) {
    const head = Atomics.load(words, shelf);
    words[cell + CELL_LINK] = head;
    if (Atomics.compareExchange(words, shelf, head, cell) === head) return head === 0;
  }
}

/** Callbacks that lie on it: a racy look for all but the owner. */
export const shelved = (shelf: number): number =>
  (i32[shelf + SHELF.PUSHED]! - i32[shelf + SHELF.TAKEN]!) | 0;

/** Whether this thread has put something down that nobody has taken. */
export function anyShelved(): boolean {
  return slot >= 0 && SHELVES.some((shelf) => i32[slotBase(slot) + shelf] !== 0);
}

/**
 * Makes orphans of all that was on the shelf at the call. ORPHAN_LOCK is held. The owner may push meanwhile, all the time: what lies under its
 * newest callback is cut off, which the owner does not notice.
 */
function take(shelf: number): number {
  const words = i32;
  let taken = 0;
  for (let tries = 0; tries < 2; tries++) {
    const first = Atomics.load(words, shelf);
    if (first === 0) break;
    taken += cut(first, shelf);
    const orphans = RCU.ORPHAN_LIST;
    const last = words[orphans + CBLIST.NEXT + 1]!;
    // From here to the end of the branch there is no call and no loop, where a thread may be terminated.
    if (Atomics.compareExchange(words, shelf, first, 0) === first) {
      if (last === 0) words[orphans + CBLIST.NEXT] = first;
      else words[last + CELL_LINK] = first;
      words[orphans + CBLIST.NEXT + 1] = first;
      Atomics.store(words, orphans + CBLIST.QUEUED, (words[orphans + CBLIST.QUEUED]! + 1) | 0);
      Atomics.add(words, RCU.ORPHANS, 1);
      words[shelf + SHELF.TAKEN] = (words[shelf + SHELF.TAKEN]! + 1) | 0;
      return taken + 1;
    }
    // There is a newer one. What was the first lies under it now.
  }
  return taken;
}

/** Makes orphans of what lies under `first`. */
function cut(first: number, shelf: number): number {
  const words = i32;
  const rest = words[first + CELL_LINK]!;
  if (rest === 0) return 0;
  let end = rest;
  let count = 1;
  for (let next = words[end + CELL_LINK]!; next !== 0; next = words[end + CELL_LINK]!) {
    end = next;
    count++;
  }
  const orphans = RCU.ORPHAN_LIST;
  const last = words[orphans + CBLIST.NEXT + 1]!;
  // As above: no call and no loop.
  words[first + CELL_LINK] = 0;
  if (last === 0) words[orphans + CBLIST.NEXT] = rest;
  else words[last + CELL_LINK] = rest;
  words[orphans + CBLIST.NEXT + 1] = end;
  Atomics.store(words, orphans + CBLIST.QUEUED, (words[orphans + CBLIST.QUEUED]! + count) | 0);
  Atomics.add(words, RCU.ORPHANS, count);
  words[shelf + SHELF.TAKEN] = (words[shelf + SHELF.TAKEN]! + count) | 0;
  return count;
}

/** Clears the shelves of one slot: its owner leaves, or is dead. ORPHAN_LOCK is held. */
export function clearShelves(of: number): void {
  for (const shelf of SHELVES) take(slotBase(of) + shelf);
}

/** Makes orphans of what lies on the shelves of that kind, or of both, of all slots for which `due` holds. Returns how many. */
export function takeShelves(
  which: readonly ShelfOf[] = SHELVES,
  due: (of: number) => boolean = () => true,
): number {
  const high = Atomics.load(i32, RCU.SLOT_HIGH);
  let taken = 0;
  for (let of = 0; of < high; of++)
    for (const shelf of which) {
      if (Atomics.load(i32, slotBase(of) + shelf) === 0 || !due(of)) continue;
      lockWord(RCU.ORPHAN_LOCK);
      taken += take(slotBase(of) + shelf);
      accelerate(RCU.ORPHAN_LIST); // [B] After it was taken, which was after it was queued.
      unlockWord(RCU.ORPHAN_LOCK);
    }
  if (taken > 0) announceRun();
  return taken;
}

/** The same for a shelf of one slot. */
export const takeShelf = (of: number, shelf: ShelfOf): number => takeShelves([shelf], (slot) => slot === of);
