/**
 * What a heap that fills up does: its owner is told early (setHeapWatch), no struct type takes more than its share (limitCaches), and
 * slabs in which nothing lives give their pages back (shrinkCaches).
 */
import { freePages, setHeapWatch, unclaimPages } from "./buddy.ts";
import { callRcu } from "./callback.ts";
import * as layout from "./layout.ts";
import { i32, slot } from "./memory.ts";
import { defineReclaimer } from "./reclaim.ts";
import { adoptMagazines, takeEmptySlabs } from "./slab.ts";

export { setHeapWatch };

const { HEADER, PAGE_WORDS } = layout;

/** Pages of the current heap, the bytes of one, and how many of them nothing has taken. Racy. */
export const heapPages = (): { readonly total: number; readonly bytes: number; readonly free: number } => ({
  total: i32[HEADER.PAGES]!,
  bytes: PAGE_WORDS * 4,
  free: i32[HEADER.PAGES]! - i32[HEADER.PAGES_USED]!,
});

/** The most pages that the objects of one struct type may take, all threads together; 0: no limit. Allocations fail beyond it. */
export function limitCaches(pages: number): void {
  i32[HEADER.CACHE_PAGES] = pages;
}

/** A stale reader may still look at the cells: their pages change hands after a grace period. */
const slabReclaimer = defineReclaimer("empty slab", (run) => {
  unclaimPages(run);
  freePages(run);
});

/**
 * Takes the slabs in which no object lives from their struct types; after a grace period their pages are anybody's. For a heap that is
 * short of pages: it looks at every free cell. Returns how many pages will come back. What other threads keep for themselves, some
 * free cells of each type, holds its slabs.
 */
export function shrinkCaches(): number {
  adoptMagazines(slot);
  let pages = 0;
  for (let id = 0; id < i32[HEADER.CACHE_COUNT]!; id++)
    pages += takeEmptySlabs(id, (run) => callRcu(slabReclaimer, run));
  return pages;
}
