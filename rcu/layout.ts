/**
 * Where things are in the heap. All numbers are in 32-bit words. References are word indices, so a heap may
 * have up to 8 GiB; it has at most 2 (heap.ts says why). The order: header, caches (one per struct type), slots (one per thread), magazines
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
  /** Allocations that found the heap full, modulo 2^32: what waits for a grace period is then freed at once after it. */
  PRESSURE: 11,
  /** Texts of struct layouts: where the next one goes, and the end of that page. */
  LAYOUT_AT: 12,
  LAYOUT_END: 13,
  /** Most pages that one cache may take; 0: no limit. */
  CACHE_PAGES: 14,
  /** Non-zero: readers announce themselves (RcuDomain). */
  ANNOUNCING: 15,
  /** Buddy free list heads, one word per order. */
  FREE_AREA: 16,
  /** What hashes are multiplied by (hash-seed.ts). */
  HASH_SEED: 29,
  WORDS_RESERVED: 192,
} as const;

/** RCU's words in the header (rcu/design.md). Lines of 16 words: the first is what every CPU looks at. */
export const RCU = {
  /** Grace-period sequence: counter << 2 | state (0 idle, 1 in progress), as Linux's rcu_state.gp_seq. */
  GP_SEQ: 32,
  /** Orphaned callbacks that have not run: CPUs peek at it at safe points. */
  ORPHANS: 33,
  /** Slots below this number have been attached at some time. */
  SLOT_HIGH: 34,
  /** Highest end of a grace period that somebody waits for. */
  GP_NEEDED: 48,
  /** Threads asleep on GP_SEQ: nobody is notified while it is 0. */
  GP_WAITERS: 49,
  /** Date.now() & 0x7fffffff when the grace period in progress began. */
  GP_STARTED: 50,
  BARRIER_WAITERS: 51,
  BARRIER_EVENT: 52,
  /** Notifications sent to sleepers of synchronize: stays 0 while every reader is quiesced. */
  WAKEUPS: 53,
  /** Calls of rcuExpediteGp without their rcuUnexpediteGp. */
  EXPEDITED: 54,
  /** Threads that run the callbacks of others, what they sleep on, and how often they were told to end (offload.ts). */
  HELPERS: 55,
  HELP_EVENT: 56,
  HELP_END: 57,
  /** Lock of the orphan list, and the thread that now runs orphans. */
  ORPHAN_LOCK: 64,
  ORPHAN_OWNER: 65,
  /** Callbacks of threads that left or went idle, as a CBLIST. */
  ORPHAN_LIST: 66,
  /** Orphaned delayed releases: head, tail (under ORPHAN_LOCK). */
  ORPHAN_RELEASES: 78,
  /** Tasks switched out inside a read scope: lock, first record, how many. */
  PREEMPT_LOCK: 80,
  PREEMPT_HEAD: 81,
  PREEMPT_COUNT: 82,
  /** Tasks RCU: lock and first of the registered tasks, grace periods begun, who waits (asleep or as a callback), what they sleep on. */
  TASKS_LOCK: 96,
  TASKS_HEAD: 97,
  TASKS_SEQ: 98,
  TASKS_WAITERS: 99,
  TASKS_EVENT: 100,
  /** Date.now() & 0x7fffffff when the grace period began that the callbacks of TASKS_LIST wait for. */
  TASKS_STARTED: 101,
  /** The ring of trace events, an array that lives as long as the heap; 0 until tracing was first switched on. */
  TRACE_RING: 104,
  /** Every Srcu of the heap: lock and first. */
  SRCU_LOCK: 112,
  SRCU_HEAD: 113,
  /** Callbacks of Tasks RCU: a CBLIST, see waitlist.ts. */
  TASKS_LIST: 128,
} as const;

/** Sequence counters begin shortly before they wrap, as Linux's do, so that a mistake there shows within seconds. */
export const SEQ_START = -300;
/** gpSeq of a new heap. */
export const GP_SEQ_START = SEQ_START << 2;

/** A segmented callback list: four singly linked segments (head, tail), two stamps, two counters. */
export const CBLIST = {
  /** Grace period over: may run. */
  DONE: 0,
  /** Waits for the end of grace period WAIT_STAMP. */
  WAIT: 2,
  /** Waits for the end of READY_STAMP, a later one. */
  READY: 4,
  /** Not stamped yet. */
  NEXT: 6,
  WAIT_STAMP: 8,
  READY_STAMP: 9,
  /** Callbacks ever queued and ever run (or handed on), modulo 2^32. */
  QUEUED: 10,
  RUN: 11,
  WORDS: 12,
} as const;

/** Callbacks that their thread has put down for others to take (shelf.ts): the newest; how many were put there and taken, modulo 2^32. */
export const SHELF = { HEAD: 0, PUSHED: 1, TAKEN: 2 } as const;

/** RCU's words in a slot, relative to SLOT.BASE + slot * SLOT.WORDS. */
export const SLOT_RCU = {
  /** Non-zero: the owner offloads its callbacks; what it does about closures. */
  OFFLOADS: 7,
  /** Shelves: what helpers are to run, and what is lazy; until when that may lie there (stallClock). */
  OFFLOADED: 8,
  LAZY: 11,
  LAZY_UNTIL: 14,
  /** 1: the owner is a helper. */
  HELPS: 15,
  /** The line that grace periods look at: LINE_IDLE, LINE_ACTIVE, or the gpSeq last reported for. Written by its owner. */
  LINE: 16,
  /** Counters, for statistics. */
  REPORTS: 17,
  GP_STARTS: 18,
  GP_ENDS: 19,
  RELEASES: 20,
  CALLBACKS: 21,
  FLOODS: 22,
  /** Record of the running task while it is on the blocked list (preempt.ts): taken off when the thread dies. */
  PREEMPTED: 23,
  /** Reader-writer locks that the slot holds for reading: their words, 0 where free. */
  READ_HELD: 24,
  READ_HELD_MAX: 8,
  /** CBLIST of this slot: the owner's alone, except the two counters, which barriers read. */
  LIST: 32,
  /** gpSeq when the owner last looked. */
  SEEN: 44,
  /** How often rcuIdleEnter is nested; > 0 means idle. */
  IDLE_DEPTH: 45,
  /** Delayed releases: head, tail. */
  RELEASE_LIST: 46,
} as const;
/** Offline, idle, in a host call: an extended quiescent state. */
export const LINE_IDLE = 0;
/** Running, has reported nothing since it left idle. Values of gpSeq in progress are odd. */
export const LINE_ACTIVE = 2;

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
  /** Hash and text (layout-text.ts) of the layout; 0 for arrays. */
  LAYOUT_HASH: 6,
  LAYOUT_TEXT: 7,
  /** What the cells of a new slab begin with: as often as any cell was freed in a slab that gave its pages back. */
  GENERATION: 8,
  /** Free cells that were left in the depot when somebody looked for slabs in which nothing lives. */
  LOOKED_AT: 9,
  WORDS: 16,
} as const;

/** Threads that may be attached at one time: a lock word names its owner's slot in 8 bits. */
export const MAX_SLOTS = 250;
export const SLOT = {
  BASE: CACHE.BASE + MAX_CACHES * CACHE.WORDS,
  STATE: 0,
  INCARNATION: 1,
  /** worker_threads.threadId of the owner. */
  THREAD: 2,
  /** Non-zero: RCU events of the owner go to the trace ring. Others write it, the owner looks now and then. */
  TRACE: 3,
  /** Who has the slot (liveness.ts). */
  CLAIM: 4,
  /** The owner's number in the operating system, 0 if it has none, and when it started. */
  NATIVE: 5,
  NATIVE_START: 6,
  /** Words 7 to 47 belong to the RCU core: see SLOT_RCU. */
  RCU: 16,
  /** First word that the embedder may use (a wait word, counters). */
  USER: 48,
  WORDS: 64,
} as const;
export const SLOT_FREE = 0;
export const SLOT_ACTIVE = 1;
export const SLOT_DEAD = 2;
/** Its thread is about to end (Heap.abandon): dead to others, and not reaped yet. */
export const SLOT_ABANDONED = 3;

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

/** Word of an array's first element; its length stands before. */
export const ARRAY_ELEMENTS = 1;
