/**
 * How descriptor tables are laid out. A table is an array of leaves, one for 64 descriptors, 0 where none of them was ever used; it is
 * replaced whole when it grows, and the leaves stay. So a descriptor with a huge number costs one leaf, and readers of the old array find
 * what writers put into a leaf afterwards. A leaf is 64 file references, 0 when free, then two words each of close-on-exec and of taken
 * bits. A taken slot without a file is reserved: open() has the number and will install the file.
 *
 * Readers hold a read scope; whoever changes something holds Files.lock, or is the only one who has the table.
 */
import {
  arrayCopy,
  arrayGet,
  arrayLength,
  arraySet,
  arrayStore,
  kfreeArrayRcu,
  type Ptr,
  type Ref,
  tryAllocArray,
} from "../../rcu/index.ts";

export type Table = Ref<"array">;
export type Leaf = Ref<"array">;

export const LEAF_BITS = 6;
export const LEAF = 1 << LEAF_BITS;
const MASK = LEAF - 1;
/** Words of a leaf before the bits of each kind. */
export const CLOEXEC = LEAF;
export const TAKEN = LEAF + LEAF / 32;
const LEAF_WORDS = LEAF + 2 * (LEAF / 32);

/** Descriptors that the table has room for. */
export const maxOf = (table: Table): number => arrayLength(table) << LEAF_BITS;
export const leavesOf = (table: Table): number => arrayLength(table);
export const leafAt = (table: Table, at: number): Leaf | 0 => arrayGet(table, at) as Leaf | 0;

/** A table with room for `leaves` leaves, and none; 0 when memory is short. */
export const newTable = (leaves: number): Table | 0 => tryAllocArray(leaves);

/** What the descriptor names; 0 for nothing, also for numbers that the table has no room for. */
export function fileIn(table: Table, fd: number): Ptr<"file"> {
  const at = fd >>> LEAF_BITS;
  if (at >= arrayLength(table)) return 0;
  const leaf = arrayGet(table, at) as Leaf | 0;
  return leaf === 0 ? 0 : (arrayGet(leaf, fd & MASK) as Ptr<"file">);
}

/** The leaf of a descriptor that the table has room for, made if it is missing; 0 when memory is short. */
export function makeLeaf(table: Table, at: number): Leaf | 0 {
  const known = leafAt(table, at);
  if (known !== 0) return known;
  const leaf = tryAllocArray(LEAF_WORDS);
  if (leaf !== 0) arrayStore(table, at, leaf);
  return leaf;
}

/** A larger table with the same leaves; 0 when memory is short. */
export function grownTable(table: Table, leaves: number): Table | 0 {
  let length = leavesOf(table);
  while (length < leaves) length *= 2;
  const grown = newTable(length);
  if (grown !== 0) arrayCopy(table, grown, leavesOf(table));
  return grown;
}

/** Publishes the file under a descriptor whose leaf is there, or takes it away. */
export function setFile(table: Table, fd: number, file: Ptr<"file">): void {
  arrayStore(leafAt(table, fd >>> LEAF_BITS) as Leaf, fd & MASK, file);
}

/** Sets or clears the bit of one kind, of a descriptor whose leaf is there. */
export function setBit(table: Table, kind: number, fd: number, on: boolean): void {
  const leaf = leafAt(table, fd >>> LEAF_BITS) as Leaf;
  const word = kind + ((fd & MASK) >>> 5);
  const bit = 1 << (fd & 31);
  arraySet(leaf, word, on ? arrayGet(leaf, word) | bit : arrayGet(leaf, word) & ~bit);
}

/** The 32 bits of one kind among which the descriptor's is; 0 where there is no leaf. */
export function bitsAt(table: Table, kind: number, fd: number): number {
  const leaf = leafAt(table, fd >>> LEAF_BITS);
  return leaf === 0 ? 0 : arrayGet(leaf, kind + ((fd & MASK) >>> 5));
}

/** First free descriptor from `from` on; may be the table's size. */
export function findFree(table: Table, from: number): number {
  const max = maxOf(table);
  for (let fd = from; fd < max; ) {
    if (leafAt(table, fd >>> LEAF_BITS) === 0) return fd;
    const free = ~bitsAt(table, TAKEN, fd) & (-1 << (fd & 31));
    if (free !== 0) return (fd & ~31) + (31 - Math.clz32(free & -free));
    fd = (fd & ~31) + 32;
  }
  return Math.max(max, from);
}

/** Frees a table and its leaves, which nobody gets at any more, after a grace period: readers may still look. */
export function freeTable(table: Table): void {
  for (let at = 0; at < leavesOf(table); at++) {
    const leaf = leafAt(table, at);
    if (leaf !== 0) kfreeArrayRcu(leaf);
  }
  kfreeArrayRcu(table);
}
