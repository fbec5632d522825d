/**
 * Segmented callback lists (CBLIST in layout.ts): what is queued moves from `next` through `ready` and `wait` to `done`
 * as grace periods end. A list belongs to one thread, or to the holder of ORPHAN_LOCK.
 */
import { gpSeq, gpStamp, requestGp, seqDone } from "./grace-period.ts";
import * as layout from "./layout.ts";
import { i32 } from "./memory.ts";

const { CBLIST, CELL_LINK, RCU } = layout;

/** In the order in which their callbacks were queued. */
export const SEGMENTS = [CBLIST.DONE, CBLIST.WAIT, CBLIST.READY, CBLIST.NEXT] as const;

export function append(list: number, segment: number, head: number, tail: number): void {
  if (head === 0) return;
  const last = i32[list + segment + 1]!;
  if (last === 0) i32[list + segment] = head;
  else i32[last + CELL_LINK] = head;
  i32[list + segment + 1] = tail;
}

export function move(list: number, from: number, to: number): void {
  append(list, to, i32[list + from]!, i32[list + from + 1]!);
  i32[list + from] = 0;
  i32[list + from + 1] = 0;
}

/** Stamps what is unstamped and asks for the grace period it needs. */
export function accelerate(list: number): void {
  if (i32[list + CBLIST.NEXT] === 0) return;
  const stamp = gpStamp(); // [B] the global sequence, loaded after the unlinking
  if (i32[list + CBLIST.WAIT] === 0) {
    move(list, CBLIST.NEXT, CBLIST.WAIT);
    i32[list + CBLIST.WAIT_STAMP] = stamp;
  } else if (i32[list + CBLIST.READY] === 0) {
    if (i32[list + CBLIST.WAIT_STAMP] === stamp) move(list, CBLIST.NEXT, CBLIST.WAIT);
    else {
      move(list, CBLIST.NEXT, CBLIST.READY);
      i32[list + CBLIST.READY_STAMP] = stamp;
    }
  } else if (i32[list + CBLIST.READY_STAMP] === stamp) move(list, CBLIST.NEXT, CBLIST.READY);
  else return; // Two grace periods are awaited already: stamped when the first is over.
  requestGp(stamp);
}

/** Moves what has had its grace period to the done segment. */
export function advance(list: number): void {
  const seq = gpSeq();
  while (i32[list + CBLIST.WAIT] !== 0 && seqDone(seq, i32[list + CBLIST.WAIT_STAMP]!)) {
    move(list, CBLIST.WAIT, CBLIST.DONE);
    move(list, CBLIST.READY, CBLIST.WAIT);
    i32[list + CBLIST.WAIT_STAMP] = i32[list + CBLIST.READY_STAMP]!;
  }
}

export function pop(list: number): number {
  const cell = i32[list + CBLIST.DONE]!;
  const next = i32[cell + CELL_LINK]!;
  i32[list + CBLIST.DONE] = next;
  if (next === 0) i32[list + CBLIST.DONE + 1] = 0;
  return cell;
}

export function linkedCells(list: number): number {
  let count = 0;
  for (const segment of SEGMENTS)
    for (let cell = i32[list + segment]!; cell !== 0; cell = i32[cell + CELL_LINK]!) count++;
  return count;
}

/**
 * Makes the list of a dead thread whole, which may have died with a change half made: every cell that any segment leads to
 * is in `next`, once. Returns how many there are.
 */
export function mend(list: number): number {
  const cells = new Set<number>();
  for (const segment of SEGMENTS) {
    for (let cell = i32[list + segment]!; cell !== 0 && !cells.has(cell); cell = i32[cell + CELL_LINK]!)
      cells.add(cell);
    i32[list + segment] = 0;
    i32[list + segment + 1] = 0;
  }
  for (const cell of cells) {
    i32[cell + CELL_LINK] = 0;
    append(list, CBLIST.NEXT, cell, cell);
  }
  return cells.size;
}

/** Wakes the barriers that wait for callbacks to have run. */
export function announceRun(): void {
  if (Atomics.load(i32, RCU.BARRIER_WAITERS) === 0) return;
  Atomics.add(i32, RCU.BARRIER_EVENT, 1);
  Atomics.notify(i32, RCU.BARRIER_EVENT);
}
