/**
 * Where things are in the heap. All numbers are in 32-bit words. References are word indices, so a heap may
 * have up to 8 GiB. The order: header, caches (one per struct type), slots (one per thread), magazines
 * (slot x cache), page map, pages.
 */

/** "STRX": the first word of every heap. */
export const MAGIC = 0x58525453;
export const VERSION = 1;

export const HEADER = {
  MAGIC: 0,
  VERSION: 1,
  /** Random number that tells heaps apart. */
  IDENTITY: 2,
  WORDS: 3,
  /** Lock of the page allocator. */
  PAGE_LOCK: 4,
  /** Lock of the cache registry. */
  CACHE_LOCK: 5,
  CACHE_COUNT: 6,
  /** Number of pages, and pages now in use. */
  PAGES: 7,
  PAGES_USED: 8,
  FIRST_PAGE: 9,
  /** Non-zero: freed cells are poisoned and checked at allocation. */
  DEBUG: 10,
  /** Lock of the slot table. */
  SLOT_LOCK: 11,
  /** Buddy free list heads, one word per order. */
  FREE_AREA: 16,
  WORDS_RESERVED: 64,
} as const;

export const MAX_CACHES = 256;
export const CACHE = {
  BASE: HEADER.WORDS_RESERVED,
  NAME_HASH: 0,
  CELL_WORDS: 1,
  LOCK: 2,
  /** Depot: list of free cells, linked through the cell header. */
  FREE: 3,
  FREE_COUNT: 4,
  SLABS: 5,
  WORDS: 16,
} as const;

/** Threads that may be attached at one time. */
export const MAX_SLOTS = 64;
export const SLOT = {
  BASE: CACHE.BASE + MAX_CACHES * CACHE.WORDS,
  STATE: 0,
  INCARNATION: 1,
  /** First word that belongs to the RCU core (rcu/grace-period.ts). A cache line (16 words) of its own. */
  RCU: 16,
  /** First word that the embedder may use (a wait word, counters). */
  USER: 48,
  WORDS: 64,
} as const;
export const SLOT_FREE = 0;
export const SLOT_ACTIVE = 1;
export const SLOT_DEAD = 2;

/** A slot's private stock of free cells of one cache. */
export const MAGAZINE = {
  BASE: SLOT.BASE + MAX_SLOTS * SLOT.WORDS,
  HEAD: 0,
  COUNT: 1,
  /** Allocations minus frees made by this slot; the sum over slots is the number of live objects. */
  LIVE: 2,
  WORDS: 4,
} as const;

export const PAGE_MAP = MAGAZINE.BASE + MAX_SLOTS * MAX_CACHES * MAGAZINE.WORDS;

/** Words in a heap page (16 KiB). */
export const PAGE_WORDS = 4096;
export const PAGE_SHIFT = 12;
/** Largest run of pages is 2^MAX_ORDER (64 MiB). */
export const MAX_ORDER = 12;

/** Words of a cell before the object: [state, link]. */
export const CELL_HEADER = 2;
/** Offset of the state word from the reference: generation << 8 | one of the states below. */
export const CELL_STATE = -2;
/** Offset of the link word: free list, or the RCU callback list. */
export const CELL_LINK = -1;
export const CELL_LIVE = 0xa5;
export const CELL_FREE = 0x5a;
/** Handed to kfreeRcu or callRcu, waiting for its grace period. */
export const CELL_DYING = 0x3c;
/** What the fields of a freed cell hold in a debug heap. */
export const POISON = 0x6b6b6b6b;
