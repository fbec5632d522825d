/**
 * The tree of a mapping's pages: nodes of 64 words, as high as the largest index needs. Leaf words are
 * frame number << 2 | flags, 0 for no page.
 */
import { fixed, type Held, kfreeRcu, type Ptr, type Ref, struct, tryAlloc, words } from "../../rcu/index.ts";
import { Mapping } from "./mm-types.ts";

const BITS = 6;
const MASK = 63;
/** Indices below this (files below 4 TiB) need no floating-point arithmetic. */
const SMALL = 2 ** 30;

export const PageNode = struct("pagenode", {
  /** Bits of the index below this node's own six: 0 for a leaf. */
  shift: fixed(),
  slots: words(64),
});

/** Set in a leaf word: differs from what the file system has. */
export const PAGE_DIRTY = 1;

/** Leaf word of a page, 0 when there is none. */
export function treeGet(mapping: Ref<"mapping">, index: number): number {
  let node = Mapping.root.access(mapping) as number;
  if (node === 0) return 0;
  let shift = PageNode.shift.get(node as Ref<"pagenode">);
  if (index < SMALL && shift < 30) {
    if (index >>> shift > MASK) return 0;
    while (shift > 0) {
      node = PageNode.slots.get(node as Ref<"pagenode">, (index >>> shift) & MASK);
      if (node === 0) return 0;
      shift -= BITS;
    }
    return PageNode.slots.get(node as Ref<"pagenode">, index & MASK);
  }
  if (index >= 2 ** (shift + BITS)) return 0;
  while (shift > 0) {
    node = PageNode.slots.get(node as Ref<"pagenode">, Math.floor(index / 2 ** shift) & MASK);
    if (node === 0) return 0;
    shift -= BITS;
  }
  return PageNode.slots.get(node as Ref<"pagenode">, index & MASK);
}

/** The leaf that holds `index`; with `create` made if missing. 0: none, or the heap is full. Mapping.lock is held. */
export function treeLeaf(
  held: Held,
  mapping: Ref<"mapping">,
  index: number,
  create: boolean,
): Ptr<"pagenode"> {
  let root = Mapping.root.peek(held, mapping);
  if (root === 0) {
    if (!create) return 0;
    root = tryAlloc(PageNode);
    if (root === 0) return 0;
    let shift = 0;
    while (index >= 2 ** (shift + BITS)) shift += BITS;
    PageNode.shift.init(root, shift);
    Mapping.root.assign(held, mapping, root);
  }
  while (index >= 2 ** (PageNode.shift.get(root) + BITS)) {
    if (!create) return 0;
    const above = tryAlloc(PageNode);
    if (above === 0) return 0;
    PageNode.shift.init(above, PageNode.shift.get(root) + BITS);
    PageNode.slots.set(above, 0, root);
    Mapping.root.assign(held, mapping, above);
    root = above;
  }
  let node = root;
  for (let shift = PageNode.shift.get(root); shift > 0; shift -= BITS) {
    const slot = Math.floor(index / 2 ** shift) & MASK;
    let next = PageNode.slots.get(node, slot) as Ptr<"pagenode">;
    if (next === 0) {
      if (!create) return 0;
      next = tryAlloc(PageNode);
      if (next === 0) return 0;
      PageNode.shift.init(next, shift - BITS);
      PageNode.slots.store(node, slot, next);
    }
    node = next;
  }
  return node;
}

/** Called for each page: `leaf` and `slot` are where its word is. False ends the walk. */
export type PageVisit = (index: number, word: number, leaf: Ref<"pagenode">, slot: number) => unknown;

/** Visits the pages with index >= `first` in order. Mapping.lock is held if `visit` changes words. */
export function treeWalk(mapping: Ref<"mapping">, first: number, visit: PageVisit): void {
  const root = Mapping.root.access(mapping);
  if (root !== 0) walk(root, 0, first, visit);
}

function walk(node: Ref<"pagenode">, base: number, first: number, visit: PageVisit): boolean {
  const shift = PageNode.shift.get(node);
  const span = 2 ** shift;
  const from = first <= base ? 0 : Math.min(64, Math.floor((first - base) / span));
  for (let slot = from; slot <= MASK; slot++) {
    const word = PageNode.slots.get(node, slot);
    if (word === 0) continue;
    const index = base + slot * span;
    const going =
      shift === 0
        ? visit(index, word, node, slot) !== false
        : walk(word as Ref<"pagenode">, index, first, visit);
    if (!going) return false;
  }
  return true;
}

/**
 * Cuts the pages from `first` on off a tree, whose lock is held: the root of a tree with these, of the same height; 0 when there are none,
 * -1 when memory for its nodes is short. From 0 on it is the whole tree, which the caller has to unpublish. Readers may still be in it.
 */
export function treeCut(root: Ref<"pagenode">, first: number): Ref<"pagenode"> | 0 | -1 {
  if (first === 0) return root;
  // The nodes on the border are the ones that both trees have.
  const border: Ref<"pagenode">[] = [];
  for (let node = root as Ptr<"pagenode">; node !== 0; ) {
    const fresh = tryAlloc(PageNode);
    if (fresh === 0) {
      for (const each of border) kfreeRcu(PageNode, each);
      return -1;
    }
    const shift = PageNode.shift.get(node);
    PageNode.shift.init(fresh, shift);
    border.push(fresh);
    if (shift === 0 || first >= 2 ** (PageNode.shift.get(root) + BITS)) break;
    node = PageNode.slots.get(node, Math.floor(first / 2 ** shift) & MASK) as Ptr<"pagenode">;
  }
  if (first >= 2 ** (PageNode.shift.get(root) + BITS)) return border[0]!;
  let node = root as Ptr<"pagenode">;
  for (const [n, fresh] of border.entries()) {
    const shift = PageNode.shift.get(fresh);
    const slot = Math.floor(first / 2 ** shift) & MASK;
    const from = node as Ref<"pagenode">;
    for (let at = shift === 0 ? slot : slot + 1; at <= MASK; at++) {
      const word = PageNode.slots.get(from, at);
      if (word === 0) continue;
      PageNode.slots.set(fresh, at, word);
      PageNode.slots.store(from, at, 0);
    }
    node = PageNode.slots.get(from, slot) as Ptr<"pagenode">;
    const below = border[n + 1];
    if (below !== undefined) PageNode.slots.set(fresh, slot, below);
  }
  return border[0]!;
}

/** Frees all nodes of a tree whose pages are gone; the root is unpublished already. */
export function treeFree(node: Ref<"pagenode">): void {
  if (PageNode.shift.get(node) > 0)
    for (let slot = 0; slot <= MASK; slot++) {
      const child = PageNode.slots.get(node, slot);
      if (child !== 0) treeFree(child as Ref<"pagenode">);
    }
  kfreeRcu(PageNode, node);
}
