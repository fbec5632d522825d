/**
 * Arrays and strings whose size is known only at run time: cells of a few sizes, larger ones as runs of pages.
 * An array starts with its length; elements are 32-bit words. A string is its length in bytes, its hash, then UTF-8.
 */

import { allocPages, freePages } from "./buddy.ts";
import { CorruptionError } from "./error.ts";
import { isInjected } from "./inject.ts";
import * as layout from "./layout.ts";
import { heapDebug, i32, u8 } from "./memory.ts";
import { allocOwner } from "./owner.ts";
import { hashName, type Ref } from "./ref.ts";
import { allocCell, findCache, freeCell } from "./slab.ts";

const { ARRAY_ELEMENTS, CELL_DYING, CELL_FREE, CELL_LINK, CELL_LIVE, CELL_STATE, PAGE_SHIFT, PAGE_WORDS } =
  layout;

/** Words in the cells of each size class. */
const CLASSES = [4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 1022, 2046];
const caches = new Map<number, { views: unknown; id: number }>();

function classCache(words: number): number {
  let entry = caches.get(words);
  if (entry === undefined || entry.views !== i32) {
    const name = `array-${words}`;
    entry = { views: i32, id: findCache(hashName(name), name, words) };
    caches.set(words, entry);
  }
  return entry.id;
}

/** Hashes of the names that the caches of arrays and strings have. */
export const arrayCacheHashes = (): number[] => CLASSES.map((words) => hashName(`array-${words}`));

function allocWords(words: number): number {
  for (const size of CLASSES) if (words <= size) return allocCell(classCache(size));
  // A run of pages: the first two words stand where a cell has its header.
  let order = 0;
  while (PAGE_WORDS << order < words + 2) order++;
  if (heapDebug && isInjected()) return 0;
  const run = allocPages(order);
  if (run === 0) return 0;
  i32.fill(0, run, run + (1 << (order + PAGE_SHIFT)));
  i32[run + 2 + CELL_STATE] = CELL_LIVE;
  i32[run + 2 + CELL_LINK] = allocOwner;
  return run + 2;
}

function freeWords(words: number, ref: number): void {
  for (const size of CLASSES) {
    if (words > size) continue;
    freeCell(classCache(size), ref);
    return;
  }
  const state = i32[ref + CELL_STATE]! & 0xff;
  if (state !== CELL_LIVE && state !== CELL_DYING)
    throw new CorruptionError("ERR_RCU_DOUBLE_FREE", `double free: array ${ref}`);
  i32[ref + CELL_STATE] = CELL_FREE;
  freePages(ref - 2);
}

/** Array of `length` words, all zero; 0 when the heap is full. Waits for nothing. */
export function tryAllocArray(length: number): Ref<"array"> | 0 {
  const ref = allocWords(ARRAY_ELEMENTS + length);
  if (ref !== 0) i32[ref] = length;
  return ref as Ref<"array"> | 0;
}
/** Frees an array at once: nobody else can reach it. */
export function freeArray(ref: Ref<"array">): void {
  freeWords(ARRAY_ELEMENTS + i32[ref]!, ref);
}
/** Number of elements. */
export const arrayLength = (ref: Ref<"array">): number => i32[ref]!;
/** An index that is none: a number that nobody bounded. */
function outOfBounds(ref: Ref<"array">, index: number): never {
  throw new CorruptionError(
    "ERR_RCU_CORRUPTION",
    `array ${ref}: index ${index} of an array of ${i32[ref]} elements`,
  );
}
/** A write beyond an array would be another object's: the index is compared with the length, which is next to what is written. */
const checkIndex = (ref: Ref<"array">, index: number): void => {
  if (index >>> 0 !== index || index >= i32[ref]!) outOfBounds(ref, index);
};

/** An element, by a plain load. The index is checked in debug heaps only. */
export const arrayGet = (ref: Ref<"array">, index: number): number => {
  if (heapDebug) checkIndex(ref, index);
  return i32[ref + ARRAY_ELEMENTS + index]!;
};
/** Sets an element by a plain store: before the array is published, or by its one owner. */
export const arraySet = (ref: Ref<"array">, index: number, value: number): void => {
  checkIndex(ref, index);
  i32[ref + ARRAY_ELEMENTS + index] = value;
};
/** Atomic load, store, compare-and-swap, add of one element: the store publishes. The load checks its index in debug heaps only. */
export const arrayLoad = (ref: Ref<"array">, index: number): number => {
  if (heapDebug) checkIndex(ref, index);
  return Atomics.load(i32, ref + ARRAY_ELEMENTS + index);
};
/** Publishes an element by an atomic store. */
export const arrayStore = (ref: Ref<"array">, index: number, value: number): void => {
  checkIndex(ref, index);
  Atomics.store(i32, ref + ARRAY_ELEMENTS + index, value);
};
/** Stores `next` when the element is `expected`; says whether it did. */
export const arrayCas = (ref: Ref<"array">, index: number, expected: number, next: number): boolean => {
  checkIndex(ref, index);
  return Atomics.compareExchange(i32, ref + ARRAY_ELEMENTS + index, expected, next) === expected;
};
/** Adds atomically and returns the old value. */
export const arrayAdd = (ref: Ref<"array">, index: number, value: number): number => {
  checkIndex(ref, index);
  return Atomics.add(i32, ref + ARRAY_ELEMENTS + index, value);
};
/** Copies `length` elements, those from `start` on to `target` and on. */
export function arrayCopy(
  from: Ref<"array">,
  to: Ref<"array">,
  length: number,
  start = 0,
  target = start,
): void {
  if (!(length >= 0 && start >= 0 && target >= 0)) outOfBounds(to, Math.min(length, start, target));
  if (start + length > i32[from]!) outOfBounds(from, start + length);
  if (target + length > i32[to]!) outOfBounds(to, target + length);
  const first = from + ARRAY_ELEMENTS + start;
  i32.copyWithin(to + ARRAY_ELEMENTS + target, first, first + length);
}
/** Shifts elements inside one array, as Array.prototype.copyWithin. */
export function arrayMove(ref: Ref<"array">, target: number, start: number, end: number): void {
  if (!(start >= 0 && end >= start && target >= 0 && Math.max(end, target + end - start) <= i32[ref]!))
    outOfBounds(ref, Math.max(end, target + end - start));
  i32.copyWithin(ref + ARRAY_ELEMENTS + target, ref + ARRAY_ELEMENTS + start, ref + ARRAY_ELEMENTS + end);
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const LENGTH = 0;
const HASH = 1;
const TEXT = 2;

/** What FNV-1a begins with. */
export const FNV_BASIS = 0x811c9dc5;
/** Hash of bytes (FNV-1a): as strings in the heap keep it, or another one for each seed. */
export function hashBytes(bytes: Uint8Array, seed = 0): number {
  let hash = FNV_BASIS ^ seed;
  for (let i = 0; i < bytes.length; i++) hash = Math.imul(hash ^ bytes[i]!, 0x01000193);
  return hash | 0;
}

/** Immutable string (or bytes); 0 when the heap is full. Waits for nothing. */
export function tryAllocString(text: string | Uint8Array): Ref<"string"> | 0 {
  const bytes = typeof text === "string" ? encoder.encode(text) : text;
  const ref = allocWords(TEXT + ((bytes.length + 3) >> 2));
  if (ref === 0) return 0;
  i32[ref + LENGTH] = bytes.length;
  i32[ref + HASH] = hashBytes(bytes);
  u8.set(bytes, (ref + TEXT) * 4);
  return ref as Ref<"string">;
}
/** Frees a string at once: nobody else can reach it. */
export function freeString(ref: Ref<"string">): void {
  freeWords(TEXT + ((i32[ref + LENGTH]! + 3) >> 2), ref);
}
/** Length in bytes. */
export const stringLength = (ref: Ref<"string">): number => i32[ref + LENGTH]!;
/** Hash of the bytes, as hashBytes gives it. */
export const stringHash = (ref: Ref<"string">): number => i32[ref + HASH]!;
/** A private copy of the bytes, or of those from `from` to `to`. */
export function stringBytes(ref: Ref<"string">, from = 0, to = i32[ref + LENGTH]!): Uint8Array<ArrayBuffer> {
  const start = (ref + TEXT) * 4;
  return new Uint8Array(u8.subarray(start + from, start + to));
}
/** Decoded as UTF-8 (invalid sequences become U+FFFD). */
export function stringText(ref: Ref<"string">): string {
  const length = i32[ref + LENGTH]!;
  const start = (ref + TEXT) * 4;
  if (length < 64) {
    let text = "";
    for (let i = start; i < start + length; i++) {
      const byte = u8[i]!;
      if (byte >= 0x80) return decoder.decode(stringBytes(ref));
      text += String.fromCharCode(byte);
    }
    return text;
  }
  return decoder.decode(stringBytes(ref));
}
/** Whether the string has these bytes; `hash` is hashBytes of them. */
export function stringEquals(ref: Ref<"string">, bytes: Uint8Array, hash: number): boolean {
  if (i32[ref + HASH] !== hash || i32[ref + LENGTH] !== bytes.length) return false;
  const start = (ref + TEXT) * 4;
  for (let i = 0; i < bytes.length; i++) if (u8[start + i] !== bytes[i]) return false;
  return true;
}
