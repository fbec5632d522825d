/**
 * Singly linked lists without a lock (Linux: llist.h): any thread adds, one takes all there is. A head and a node are one word each,
 * `words(1)` in a struct, and are named by their addresses (Words.at). Nodes are handed over whole, so none is looked at by two threads,
 * and none needs a grace period.
 */
import { i32 } from "./memory.ts";

/** Adds a node at the front; publishes it. Returns whether the list was empty: who sees that tells the one who takes. */
export function llistAdd(head: number, node: number): boolean {
  for (let first = i32[head]!; ; ) {
    i32[node] = first;
    const seen = Atomics.compareExchange(i32, head, first, node);
    if (seen === first) return first === 0;
    first = seen;
  }
}

/** Takes all nodes off; returns the first of them, the last that was added, or 0. They are the caller's. */
export function llistDelAll(head: number): number {
  return Atomics.exchange(i32, head, 0);
}

/** Node behind one that was taken off, or 0. */
export function llistNext(node: number): number {
  return i32[node]!;
}

/** Turns nodes that were taken off round, into the order in which they were added; returns the new first. */
export function llistReverseOrder(first: number): number {
  let reversed = 0;
  for (let at = first; at !== 0; ) {
    const next = i32[at]!;
    i32[at] = reversed;
    reversed = at;
    at = next;
  }
  return reversed;
}

/** Whether nothing is on it; a racy look. */
export function llistEmpty(head: number): boolean {
  return i32[head] === 0;
}
