/** Looks for live cells of an owner (owner.ts), through all pages of the heap: for the end, when no other thread allocates. */
import { arrayCacheHashes } from "./array.ts";
import * as layout from "./layout.ts";
import { i32 } from "./memory.ts";
import { declaredStructs, TYPE } from "./struct.ts";

const { CACHE, CELL_HEADER, CELL_LINK, CELL_LIVE, CELL_STATE, HEADER, PAGE_MAP, PAGE_SHIFT, PAGE_WORDS } =
  layout;

/** Live cells of one owner and kind. */
export interface OwnedCells {
  readonly owner: number;
  /** Name of the struct; "" for arrays and strings, "?" for a struct that this thread has not declared. */
  readonly struct: string;
  count: number;
  bytes: number;
}

/** Cells whose owner is not 0, by owner and kind. Objects that were handed to RCU do not count: they are as good as freed. */
export function ownedCells(): OwnedCells[] {
  const found = new Map<string, OwnedCells>();
  const names = cacheNames();
  const visit = (ref: number, cache: number, words: number): void => {
    const owner = i32[ref + CELL_LINK]!;
    if (owner === 0 || (i32[ref + CELL_STATE]! & 0xff) !== CELL_LIVE) return;
    const name = cache < 0 ? "" : names[cache]!;
    const key = `${owner} ${name}`;
    let entry = found.get(key);
    if (entry === undefined) {
      entry = { owner, struct: name, count: 0, bytes: 0 };
      found.set(key, entry);
    }
    entry.count++;
    entry.bytes += words * 4;
  };
  const first = i32[HEADER.FIRST_PAGE]!;
  for (let page = 0; page < i32[HEADER.PAGES]!; ) {
    const word = i32[PAGE_MAP + page]!;
    const order = (Math.abs(word) & 0xff) - 1;
    const run = first + (page << PAGE_SHIFT);
    const cache = (-word >> 8) - 1;
    if (word < 0 && cache < 0) visit(run + CELL_HEADER, -1, PAGE_WORDS << order);
    else if (word < 0) {
      const cell = i32[CACHE.BASE + cache * CACHE.WORDS + CACHE.CELL_WORDS]!;
      for (let at = 0; at + cell <= PAGE_WORDS << order; at += cell)
        visit(run + at + CELL_HEADER, cache, cell - CELL_HEADER);
    }
    page += 1 << order;
  }
  return [...found.values()];
}

/** Names of the heap's caches, by number. */
function cacheNames(): string[] {
  const byHash = new Map<number, string>();
  for (const [name, type] of declaredStructs) byHash.set(type[TYPE].hash, name);
  for (const hash of arrayCacheHashes()) byHash.set(hash, "");
  return Array.from(
    { length: i32[HEADER.CACHE_COUNT]! },
    (_, id) => byHash.get(i32[CACHE.BASE + id * CACHE.WORDS + CACHE.NAME_HASH]!) ?? "?",
  );
}
