/**
 * Cells of one size for one struct type: a depot of free cells behind a lock, and a magazine per slot in front of it.
 *
 * A cell has two header words before the object, [state, link]; the reference points behind them and is even, so
 * that doubles are aligned. Slab pages stay with their type for a grace period at least: a stale reader that raced with
 * a free still sees a cell of the same type (Linux's SLAB_TYPESAFE_BY_RCU), and the state word tells it so. They change hands only when
 * the heap is short of pages (shrink.ts).
 */

import { allocPages, claimPages, overShare, pageCache, pageRunStart } from "./buddy.ts";
import { CorruptionError, DeclarationError } from "./error.ts";
import { isInjected } from "./inject.ts";
import * as layout from "./layout.ts";
import { readLayout, writeLayout } from "./layout-text.ts";
import { lockWord, unlockWord } from "./lock.ts";
import { i32, slot } from "./memory.ts";
import { allocOwner } from "./owner.ts";
import { hashName } from "./ref.ts";

const {
  CACHE,
  CELL_DYING,
  CELL_FREE,
  CELL_HEADER,
  CELL_LINK,
  CELL_LIVE,
  CELL_STATE,
  HEADER,
  MAGAZINE,
  MAX_CACHES,
  MAX_SLOTS,
  PAGE_WORDS,
  POISON,
} = layout;

/** Cells moved at once between magazine and depot. */
const BATCH = 32;
/** Twice what a CPU gathers before it asks for a grace period: cells that come back together stay on their CPU. */
const MAGAZINE_MAX = 4 * BATCH;

const cacheBase = (id: number): number => CACHE.BASE + id * CACHE.WORDS;
const magazine = (of: number, id: number): number => MAGAZINE.BASE + (of * MAX_CACHES + id) * MAGAZINE.WORDS;

/**
 * Finds the cache of that name in the current heap, or makes it. `words` is the size of an object, `layout` the text that all
 * threads must agree on. Throws DeclarationError.
 */
export function findCache(nameHash: number, name: string, words: number, layout = ""): number {
  const layoutHash = hashName(layout);
  const cellWords = (CELL_HEADER + words + 1) & ~1;
  lockWord(HEADER.CACHE_LOCK);
  const count = i32[HEADER.CACHE_COUNT]!;
  for (let id = 0; id < count; id++) {
    const base = cacheBase(id);
    if (i32[base + CACHE.NAME_HASH] !== nameHash) continue;
    unlockWord(HEADER.CACHE_LOCK);
    if (i32[base + CACHE.CELL_WORDS] === cellWords && i32[base + CACHE.LAYOUT_HASH] === layoutHash) return id;
    throw new DeclarationError(
      "ERR_RCU_LAYOUT",
      `struct ${name} is declared in two ways: every thread must load the same version of its module. ` +
        `Here: ${layout}. In the heap: ${readLayout(i32[base + CACHE.LAYOUT_TEXT]!)}`,
    );
  }
  if (count === MAX_CACHES) {
    unlockWord(HEADER.CACHE_LOCK);
    throw new DeclarationError(
      "ERR_RCU_TOO_MANY_STRUCTS",
      `struct ${name}: the heap has ${MAX_CACHES} struct types already`,
    );
  }
  i32[cacheBase(count) + CACHE.NAME_HASH] = nameHash;
  i32[cacheBase(count) + CACHE.CELL_WORDS] = cellWords;
  i32[cacheBase(count) + CACHE.LAYOUT_HASH] = layoutHash;
  i32[cacheBase(count) + CACHE.LAYOUT_TEXT] = layout === "" ? 0 : writeLayout(layout);
  Atomics.store(i32, HEADER.CACHE_COUNT, count + 1);
  unlockWord(HEADER.CACHE_LOCK);
  return count;
}

/** Takes a cell, all fields zero; 0 when the heap is full. */
export function allocCell(id: number): number {
  const debug = i32[HEADER.DEBUG] !== 0;
  if (debug && isInjected()) return 0;
  const mag = magazine(slot, id);
  let ref = i32[mag + MAGAZINE.HEAD]!;
  if (ref === 0) {
    ref = refill(id, mag);
    if (ref === 0) return 0;
  }
  i32[mag + MAGAZINE.HEAD] = i32[ref + CELL_LINK]!;
  i32[mag + MAGAZINE.COUNT] = i32[mag + MAGAZINE.COUNT]! - 1;
  i32[mag + MAGAZINE.LIVE] = i32[mag + MAGAZINE.LIVE]! + 1;
  const state = i32[ref + CELL_STATE]!;
  const end = ref + i32[cacheBase(id) + CACHE.CELL_WORDS]! - CELL_HEADER;
  if ((state & 0xff) !== CELL_FREE)
    throw new CorruptionError(
      "ERR_RCU_CORRUPTION",
      `heap corruption: cell ${ref} on a free list is not free`,
    );
  if (debug) checkPoison(ref, end);
  i32[ref + CELL_STATE] = (state & ~0xff) | CELL_LIVE;
  i32[ref + CELL_LINK] = allocOwner;
  if (end - ref > 32) i32.fill(0, ref, end);
  else for (let word = ref; word < end; word++) i32[word] = 0;
  return ref;
}

/** Gives a cell back at once. The caller knows that nobody can reach it any more. */
export function freeCell(id: number, ref: number): void {
  const state = i32[ref + CELL_STATE]!;
  if ((state & 0xff) !== CELL_LIVE && (state & 0xff) !== CELL_DYING)
    throw new CorruptionError(
      "ERR_RCU_DOUBLE_FREE",
      `double free: cell ${ref} (state ${(state & 0xff).toString(16)})`,
    );
  i32[ref + CELL_STATE] = (((state >>> 8) + 1) << 8) | CELL_FREE;
  if (i32[HEADER.DEBUG] !== 0)
    i32.fill(POISON, ref, ref + i32[cacheBase(id) + CACHE.CELL_WORDS]! - CELL_HEADER);
  const mag = magazine(slot, id);
  i32[ref + CELL_LINK] = i32[mag + MAGAZINE.HEAD]!;
  i32[mag + MAGAZINE.HEAD] = ref;
  const count = i32[mag + MAGAZINE.COUNT]! + 1;
  i32[mag + MAGAZINE.COUNT] = count;
  i32[mag + MAGAZINE.LIVE] = i32[mag + MAGAZINE.LIVE]! - 1;
  if (count > MAGAZINE_MAX) flush(id, mag, BATCH);
}

function checkPoison(ref: number, end: number): void {
  for (let word = ref; word < end; word++)
    if (i32[word] !== POISON)
      throw new CorruptionError(
        "ERR_RCU_CORRUPTION",
        `use after free: word ${word - ref} of cell ${ref} was written after it was freed`,
      );
}

/** Moves up to BATCH cells from the depot to the magazine, growing the depot by a slab when it is empty. */
function refill(id: number, mag: number): number {
  const base = cacheBase(id);
  lockWord(base + CACHE.LOCK);
  if (i32[base + CACHE.FREE] === 0 && !grow(base, id)) {
    unlockWord(base + CACHE.LOCK);
    return 0;
  }
  let last = i32[base + CACHE.FREE]!;
  const first = last;
  let count = 1;
  while (count < BATCH && i32[last + CELL_LINK] !== 0) {
    last = i32[last + CELL_LINK]!;
    count++;
  }
  i32[base + CACHE.FREE] = i32[last + CELL_LINK]!;
  i32[base + CACHE.FREE_COUNT] = i32[base + CACHE.FREE_COUNT]! - count;
  i32[last + CELL_LINK] = 0;
  unlockWord(base + CACHE.LOCK);
  i32[mag + MAGAZINE.HEAD] = first;
  i32[mag + MAGAZINE.COUNT] = count;
  return first;
}

/** Order of the runs of pages that a cache's cells are cut from. */
function slabOrder(base: number): number {
  let order = 0;
  while (PAGE_WORDS << order < i32[base + CACHE.CELL_WORDS]!) order++;
  return order;
}

function grow(base: number, id: number): boolean {
  const cell = i32[base + CACHE.CELL_WORDS]!;
  const order = slabOrder(base);
  const most = i32[HEADER.CACHE_PAGES]!;
  if (most !== 0 && (i32[base + CACHE.SLABS]! + 1) << order > most && overShare()) return false;
  const run = allocPages(order);
  if (run === 0) return false;
  claimPages(run, order, id);
  const debug = i32[HEADER.DEBUG] !== 0;
  const born = (i32[base + CACHE.GENERATION]! << 8) | CELL_FREE;
  const cells = Math.floor((PAGE_WORDS << order) / cell);
  for (let n = cells - 1; n >= 0; n--) {
    const ref = run + n * cell + CELL_HEADER;
    i32[ref + CELL_STATE] = born;
    i32[ref + CELL_LINK] = i32[base + CACHE.FREE]!;
    if (debug) i32.fill(POISON, ref, ref + cell - CELL_HEADER);
    i32[base + CACHE.FREE] = ref;
  }
  i32[base + CACHE.FREE_COUNT] = i32[base + CACHE.FREE_COUNT]! + cells;
  i32[base + CACHE.SLABS] = i32[base + CACHE.SLABS]! + 1;
  return true;
}

/** Takes slabs that are wholly free from the depot: `visit` gets each run of pages, no cell of which can be handed out. Their pages. */
export function takeEmptySlabs(id: number, visit: (run: number) => void): number {
  const base = cacheBase(id);
  const order = slabOrder(base);
  const cells = Math.floor((PAGE_WORDS << order) / i32[base + CACHE.CELL_WORDS]!);
  const before = i32[base + CACHE.FREE_COUNT]!;
  if (before < cells || before === i32[base + CACHE.LOOKED_AT]) return 0;
  const free = new Map<number, number>();
  lockWord(base + CACHE.LOCK);
  for (let ref = i32[base + CACHE.FREE]!; ref !== 0; ref = i32[ref + CELL_LINK]!) {
    const run = pageRunStart(ref);
    free.set(run, (free.get(run) ?? 0) + 1);
  }
  const empty = [...free].filter(([, count]) => count === cells).map(([run]) => run);
  if (empty.length !== 0) {
    let head = 0;
    let next = 0;
    let generation = i32[base + CACHE.GENERATION]!;
    for (let ref = i32[base + CACHE.FREE]!; ref !== 0; ref = next) {
      next = i32[ref + CELL_LINK]!;
      if (free.get(pageRunStart(ref)) === cells) {
        generation = Math.max(generation, cellGeneration(ref));
        continue;
      }
      i32[ref + CELL_LINK] = head;
      head = ref;
    }
    i32[base + CACHE.GENERATION] = generation;
    i32[base + CACHE.FREE] = head;
    i32[base + CACHE.FREE_COUNT] = i32[base + CACHE.FREE_COUNT]! - empty.length * cells;
    i32[base + CACHE.SLABS] = i32[base + CACHE.SLABS]! - empty.length;
  }
  // As many free cells as are left now are looked at in vain, most likely.
  i32[base + CACHE.LOOKED_AT] = i32[base + CACHE.FREE_COUNT]!;
  unlockWord(base + CACHE.LOCK);
  for (const run of empty) visit(run);
  return empty.length << order;
}

function flush(id: number, mag: number, keep: number): void {
  const base = cacheBase(id);
  const count = i32[mag + MAGAZINE.COUNT]! - keep;
  const first = i32[mag + MAGAZINE.HEAD]!;
  let last = first;
  for (let n = 1; n < count; n++) last = i32[last + CELL_LINK]!;
  i32[mag + MAGAZINE.HEAD] = i32[last + CELL_LINK]!;
  i32[mag + MAGAZINE.COUNT] = keep;
  lockWord(base + CACHE.LOCK);
  i32[last + CELL_LINK] = i32[base + CACHE.FREE]!;
  i32[base + CACHE.FREE] = first;
  i32[base + CACHE.FREE_COUNT] = i32[base + CACHE.FREE_COUNT]! + count;
  unlockWord(base + CACHE.LOCK);
}

/** Returns the magazines of a slot that is being given up to the depots. Its owner may have died between list and count. */
export function adoptMagazines(of: number): void {
  for (let id = 0; id < i32[HEADER.CACHE_COUNT]!; id++) {
    const mag = magazine(of, id);
    let count = 0;
    for (let cell = i32[mag + MAGAZINE.HEAD]!; cell !== 0; cell = i32[cell + CELL_LINK]!) count++;
    i32[mag + MAGAZINE.COUNT] = count;
    if (i32[mag + MAGAZINE.COUNT]! > 0) flush(id, mag, 0);
  }
}

/** Objects of this cache that are allocated now (not counting races with running threads). */
export function liveCells(id: number): number {
  let live = 0;
  for (let of = 0; of < MAX_SLOTS; of++) live += i32[magazine(of, id) + MAGAZINE.LIVE]!;
  return live;
}

/** Whether the reference names a live or dying object (not a freed one). */
export function cellIsAlive(ref: number): boolean {
  const state = i32[ref + CELL_STATE]! & 0xff;
  return state === CELL_LIVE || state === CELL_DYING;
}

/** The cell that this word lies in, 0 when it lies in a run of pages of its own. */
export function cellAround(ref: number): number {
  const cache = pageCache(ref);
  if (cache < 0) return 0;
  const start = pageRunStart(ref);
  const words = i32[cacheBase(cache) + CACHE.CELL_WORDS]!;
  return start + Math.floor((ref - start) / words) * words + CELL_HEADER;
}

/** Counts how often the cell was freed: a reader that remembers it can tell a reused cell. */
export function cellGeneration(ref: number): number {
  return i32[ref + CELL_STATE]! >>> 8;
}
