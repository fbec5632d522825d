/** What an insertion into a map or a cache did. */

/** Nothing: the heap is full. */
export const FULL = 0;
/** The key was not there. */
export const INSERTED = 1;
/** The key was there: its value was replaced. */
export const UPDATED = 2;
/** The insertion made room by dropping the oldest entry. */
export const EVICTED = 3;
