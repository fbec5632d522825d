/**
 * Who holds which lock of a heap, by a look at every live object, and what a word belongs to: for a machine or a program that hangs.
 * Takes no lock itself.
 */
import { pageCache, pageRunStart } from "./buddy.ts";
import * as layout from "./layout.ts";
import { ownerSlot } from "./lock.ts";
import { declaredLocks } from "./lock-order.ts";
import { i32 } from "./memory.ts";
import { declaredStructs, TYPE } from "./struct.ts";

const { CACHE, CELL_HEADER, CELL_LIVE, CELL_STATE, HEADER, PAGE_MAP, PAGE_SHIFT, PAGE_WORDS } = layout;

/** A lock that was taken when somebody looked. */
export interface TakenLock {
  /** Struct and field: `pipe.lock`. */
  readonly name: string;
  /** The object that it is in. */
  readonly ref: number;
  /** The slot of the thread that holds it. */
  readonly slot: number;
}

/** The taken locks in objects of structs that this thread has declared: a racy look, which takes about a millisecond for 10 MiB in use. */
export function takenLocks(): TakenLock[] {
  const offsets = new Map<string, { name: string; offset: number }[]>();
  for (const lock of declaredLocks()) offsets.set(lock.struct, [...(offsets.get(lock.struct) ?? []), lock]);
  const byHash = structNames();
  const found: TakenLock[] = [];
  const first = i32[HEADER.FIRST_PAGE]!;
  for (let page = 0; page < i32[HEADER.PAGES]!; ) {
    const word = i32[PAGE_MAP + page]!;
    const order = Math.max(0, (Math.abs(word) & 0xff) - 1);
    const cache = (-word >> 8) - 1;
    const base = CACHE.BASE + cache * CACHE.WORDS;
    const locks =
      word < 0 && cache >= 0 ? offsets.get(byHash.get(i32[base + CACHE.NAME_HASH]!) ?? "") : undefined;
    const cell = locks === undefined ? 0 : i32[base + CACHE.CELL_WORDS]!;
    const run = first + (page << PAGE_SHIFT);
    for (let at = 0; locks !== undefined && at + cell <= PAGE_WORDS << order; at += cell) {
      const ref = run + at + CELL_HEADER;
      if ((i32[ref + CELL_STATE]! & 0xff) !== CELL_LIVE) continue;
      for (const { name, offset } of locks) {
        const owner = Atomics.load(i32, ref + offset) & 0x7fff_ffff;
        if (owner !== 0) found.push({ name, ref, slot: ownerSlot(owner) });
      }
    }
    page += 1 << order;
  }
  return found;
}

/** Names of the structs that this thread has declared, by hash. */
function structNames(): Map<number, string> {
  const byHash = new Map<number, string>();
  for (const [name, type] of declaredStructs) byHash.set(type[TYPE].hash, name);
  return byHash;
}

/** The struct and field that a word of the heap is in: `pipe.readWait`. "" for what is in no struct that this thread has declared. */
export function placeName(word: number): string {
  const page = (word - i32[HEADER.FIRST_PAGE]!) >> PAGE_SHIFT;
  if (page < 0 || page >= i32[HEADER.PAGES]!) return "";
  const cache = pageCache(word);
  if (cache < 0) return "";
  const base = CACHE.BASE + cache * CACHE.WORDS;
  const name = structNames().get(i32[base + CACHE.NAME_HASH]!);
  const type = name === undefined ? undefined : declaredStructs.get(name);
  if (type === undefined) return "";
  const offset = ((word - pageRunStart(word)) % i32[base + CACHE.CELL_WORDS]!) - CELL_HEADER;
  let field = "";
  let nearest = -1;
  for (const [key, accessor] of Object.entries(type)) {
    const { offset: at } = accessor as { offset: number };
    if (at > offset || at <= nearest) continue;
    nearest = at;
    field = key;
  }
  return field === "" ? "" : `${name}.${field}`;
}
