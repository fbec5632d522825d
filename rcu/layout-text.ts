/**
 * Layouts of struct types as text, in the heap: what a thread that loads another version of a struct is told. Texts lie one
 * behind the other in pages that are never given back. The lock of the cache registry is held for writing.
 */
import { allocPages } from "./buddy.ts";
import * as layout from "./layout.ts";
import { i32 } from "./memory.ts";

const { HEADER, PAGE_SHIFT, PAGE_WORDS } = layout;

/** Keeps a text, two UTF-16 units a word behind its length; 0 when the heap is full. */
export function writeLayout(text: string): number {
  const words = 1 + ((text.length + 1) >> 1);
  let at = i32[HEADER.LAYOUT_AT]!;
  if (at + words > i32[HEADER.LAYOUT_END]!) {
    let order = 0;
    while (PAGE_WORDS << order < words) order++;
    at = allocPages(order);
    if (at === 0) return 0;
    i32[HEADER.LAYOUT_END] = at + (1 << (order + PAGE_SHIFT));
  }
  i32[HEADER.LAYOUT_AT] = at + words;
  i32[at] = text.length;
  for (let n = 0; n < text.length; n += 2)
    i32[at + 1 + (n >> 1)] = text.charCodeAt(n) | ((text.charCodeAt(n + 1) || 0) << 16);
  return at;
}

export function readLayout(at: number): string {
  if (at === 0) return "a layout that found no room in the heap";
  let text = "";
  for (let n = 0; n < i32[at]!; n++)
    text += String.fromCharCode((i32[at + 1 + (n >> 1)]! >>> ((n & 1) << 4)) & 0xffff);
  return text;
}
