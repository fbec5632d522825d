/**
 * Runs of heap pages: a buddy allocator over the page map. One lock (HEADER.PAGE_LOCK), held only here.
 * The page map has a word per page: order + 1 at the head of a free run, -(order + 1) at the head of a used one, else 0.
 * In a run that belongs to a slab every page's word is -((cache + 1) << 8 | order + 1): it tells the type of any cell.
 * Free runs of one order form a doubly linked list through the first two words of their first page.
 */
import { CorruptionError } from "./error.ts";
import * as layout from "./layout.ts";
import { lockWord, unlockWord } from "./lock.ts";
import { i32 } from "./memory.ts";

const { HEADER, MAX_ORDER, PAGE_MAP, PAGE_SHIFT } = layout;

const NEXT = 0;
const PREV = 1;

const pageRef = (page: number): number => i32[HEADER.FIRST_PAGE]! + (page << PAGE_SHIFT);
const pageOf = (ref: number): number => (ref - i32[HEADER.FIRST_PAGE]!) >> PAGE_SHIFT;

function link(page: number, order: number): void {
  const ref = pageRef(page);
  const head = i32[HEADER.FREE_AREA + order]!;
  i32[ref + NEXT] = head;
  i32[ref + PREV] = 0;
  if (head !== 0) i32[head + PREV] = ref;
  i32[HEADER.FREE_AREA + order] = ref;
  i32[PAGE_MAP + page] = order + 1;
}

function unlink(page: number, order: number): void {
  const ref = pageRef(page);
  const next = i32[ref + NEXT]!;
  const prev = i32[ref + PREV]!;
  if (prev !== 0) i32[prev + NEXT] = next;
  else i32[HEADER.FREE_AREA + order] = next;
  if (next !== 0) i32[next + PREV] = prev;
  i32[PAGE_MAP + page] = 0;
}

/** Gives all pages to the allocator. Called once, by the creator of the heap. */
export function initPages(pages: number): void {
  i32[HEADER.PAGES] = pages;
  let page = 0;
  while (page < pages) {
    let order = MAX_ORDER;
    while ((page & ((1 << order) - 1)) !== 0 || page + (1 << order) > pages) order--;
    link(page, order);
    page += 1 << order;
  }
}

/** The part of the heap below which a watch is asked: an eighth. */
const WATCH_SHIFT = 3;
let watch: ((left: number) => boolean) | null = null;

/**
 * Has `asked` called on this thread before it takes pages of a heap of which less than an eighth is free, with the pages that would be
 * left: false refuses them, and the allocation answers 0. Locks may be held: it only notes what it sees. null: nobody.
 */
export function setHeapWatch(asked: ((left: number) => boolean) | null): void {
  watch = asked;
}

/** A struct type has its share of the heap: whether it is refused more. */
export const overShare = (): boolean => watch === null || !watch(0);

function refused(order: number): boolean {
  const left = i32[HEADER.PAGES]! - i32[HEADER.PAGES_USED]! - (1 << order);
  return watch !== null && left < i32[HEADER.PAGES]! >> WATCH_SHIFT && !watch(left);
}

/** Takes a run of 2^order pages; 0 when there is none. The contents are whatever was there. */
export function allocPages(order: number): number {
  if (order > MAX_ORDER || refused(order)) return 0;
  lockWord(HEADER.PAGE_LOCK);
  let have = order;
  while (have <= MAX_ORDER && i32[HEADER.FREE_AREA + have] === 0) have++;
  if (have > MAX_ORDER) {
    i32[HEADER.PRESSURE] = (i32[HEADER.PRESSURE]! + 1) | 0;
    unlockWord(HEADER.PAGE_LOCK);
    return 0;
  }
  const ref = i32[HEADER.FREE_AREA + have]!;
  const page = pageOf(ref);
  unlink(page, have);
  while (have > order) {
    have--;
    link(page + (1 << have), have);
  }
  i32[PAGE_MAP + page] = -(order + 1);
  i32[HEADER.PAGES_USED] = i32[HEADER.PAGES_USED]! + (1 << order);
  unlockWord(HEADER.PAGE_LOCK);
  return ref;
}

/** Gives a run to a cache for good. */
export function claimPages(ref: number, order: number, cache: number): void {
  const page = pageOf(ref);
  for (let n = 0; n < 1 << order; n++) i32[PAGE_MAP + page + n] = -(((cache + 1) << 8) | (order + 1));
}

/** A slab becomes a run of pages again, to be freed. */
export function unclaimPages(ref: number): void {
  const page = pageOf(ref);
  const order = (-i32[PAGE_MAP + page]! & 0xff) - 1;
  i32.fill(0, PAGE_MAP + page, PAGE_MAP + page + (1 << order));
  i32[PAGE_MAP + page] = -(order + 1);
}

/** Whether the reference names a page that nobody has taken. A racy look, which goes through the sizes of runs: for checks. */
export function pageIsFree(ref: number): boolean {
  const page = pageOf(ref);
  for (let order = 0; order <= MAX_ORDER; order++) {
    const head = page & -(1 << order);
    const word = i32[PAGE_MAP + head]!;
    if (word !== 0) return word > order;
  }
  return false;
}

/** The cache whose cell this reference names, -1 when it names a run of pages. */
export function pageCache(ref: number): number {
  return (-i32[PAGE_MAP + pageOf(ref)]! >> 8) - 1;
}

/** Where the slab begins that this reference points into. Runs start at a multiple of their size. */
export function pageRunStart(ref: number): number {
  const page = pageOf(ref);
  const order = (-i32[PAGE_MAP + page]! & 0xff) - 1;
  return pageRef(page & -(1 << order));
}

/** Returns a run that `allocPages` gave, merging it with its free buddies. */
export function freePages(ref: number): void {
  lockWord(HEADER.PAGE_LOCK);
  let page = pageOf(ref);
  let order = -i32[PAGE_MAP + page]! - 1;
  if (order < 0 || order > MAX_ORDER) {
    unlockWord(HEADER.PAGE_LOCK);
    throw new CorruptionError("ERR_RCU_DOUBLE_FREE", `freePages: ${ref} is not the start of a used run`);
  }
  i32[HEADER.PAGES_USED] = i32[HEADER.PAGES_USED]! - (1 << order);
  const pages = i32[HEADER.PAGES]!;
  while (order < MAX_ORDER) {
    const buddy = page ^ (1 << order);
    if (buddy + (1 << order) > pages || i32[PAGE_MAP + buddy] !== order + 1) break;
    unlink(buddy, order);
    i32[PAGE_MAP + Math.max(page, buddy)] = 0;
    page = Math.min(page, buddy);
    order++;
  }
  link(page, order);
  unlockWord(HEADER.PAGE_LOCK);
}
