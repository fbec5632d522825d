/** Taking pages out of mappings: what is removed may still be read until a grace period has passed. */
import {
  arrayGet,
  arrayLength,
  arraySet,
  callRcu,
  defineReclaimer,
  freeArray,
  type Ptr,
  type Ref,
  tryAllocArray,
} from "../../rcu/index.ts";
import { frameCount, putFrame } from "./frame.ts";
import { isShmem } from "./mapping-ops.ts";
import { Mapping } from "./mm-types.ts";
import { PageQuota } from "./page-quota.ts";
import { PAGE_DIRTY, PageNode, treeCut, treeFree, treeWalk } from "./pagetree.ts";
import { PAGE_SIZE, RamState, ramRef } from "./ram.ts";

/** Byte address of the frame in a leaf word of the tree, and back. */
export const wordFrame = (word: number): number => (word >>> 2) * PAGE_SIZE;
export const frameWord = (frame: number): number => (frame / PAGE_SIZE) << 2;

/** Adjusts the counters of cached pages. Those that go are given back to the quota; who adds one has charged it. */
export function countPages(mapping: Ref<"mapping">, pages: number): void {
  const quota = Mapping.quota.get(mapping);
  if (quota !== 0 && pages < 0) PageQuota.used.add(quota, pages);
  Mapping.nrPages.add(mapping, pages);
  RamState.cached.add(ramRef, pages);
  if (isShmem(mapping)) RamState.shmem.add(ramRef, pages);
}

/** Adjusts the counters of dirty pages. */
export function countDirty(mapping: Ref<"mapping">, pages: number): void {
  Mapping.nrDirty.add(mapping, pages);
  RamState.dirty.add(ramRef, pages);
}

/** Pages that are taken out in about a millisecond. */
const PART_PAGES = 4096;

/**
 * Takes pages [first, end) out of the tree, no more than `most` of them; their frames go after a grace period. Where the next part begins,
 * `end` when it was the last one.
 */
export function removePart(mapping: Ref<"mapping">, first: number, end: number, most = PART_PAGES): number {
  const frames: number[] = [];
  let dirty = 0;
  let next = end;
  Mapping.lock.lock(mapping);
  treeWalk(mapping, first, (index, word, leaf, slot) => {
    if (index >= end) return false;
    if (frames.length === most) {
      next = index;
      return false;
    }
    PageNode.slots.store(leaf, slot, 0);
    frames.push(word >>> 2);
    dirty += word & PAGE_DIRTY;
    return true;
  });
  if (frames.length !== 0) countPages(mapping, -frames.length);
  if (dirty !== 0) countDirty(mapping, -dirty);
  Mapping.lock.unlock(mapping);
  putFramesRcu(frames);
  return next;
}

/** Takes all of pages [first, end) out. */
export function removePages(mapping: Ref<"mapping">, first: number, end: number): void {
  for (let at = first; at < end; ) at = removePart(mapping, at, end);
}

/**
 * Moves the pages from `first` on, all at once, to a mapping without pages that has the same quota: true, or false with nothing done when
 * there is no memory for the few nodes that it takes.
 */
export function movePages(from: Ref<"mapping">, to: Ref<"mapping">, first: number): boolean {
  const held = Mapping.lock.lock(from);
  const root = Mapping.root.peek(held, from) as Ptr<"pagenode">;
  const moved = root === 0 ? 0 : treeCut(root, first);
  if (moved > 0) {
    Mapping.root.init(to, moved as Ref<"pagenode">);
    if (first === 0) Mapping.root.assign(held, from, 0);
    const all = first === 0;
    let pages = all ? Mapping.nrPages.load(from) : 0;
    let dirty = all ? Mapping.nrDirty.load(from) : 0;
    if (!all)
      treeWalk(to, 0, (_index, word) => {
        pages++;
        dirty += word & PAGE_DIRTY;
      });
    Mapping.nrPages.add(from, -pages);
    Mapping.nrPages.add(to, pages);
    Mapping.nrDirty.add(from, -dirty);
    Mapping.nrDirty.add(to, dirty);
  }
  Mapping.lock.unlock(from);
  return moved >= 0;
}

/** Drops up to `target` pages that are clean and in nobody's page table; how many. */
export function dropCleanPages(mapping: Ref<"mapping">, target: number): number {
  const frames: number[] = [];
  Mapping.lock.lock(mapping);
  treeWalk(mapping, 0, (_index, word, leaf, slot) => {
    if ((word & PAGE_DIRTY) !== 0 || frameCount(wordFrame(word)) !== 1) return true;
    PageNode.slots.store(leaf, slot, 0);
    frames.push(word >>> 2);
    return frames.length < target;
  });
  if (frames.length !== 0) countPages(mapping, -frames.length);
  Mapping.lock.unlock(mapping);
  putFramesRcu(frames);
  return frames.length;
}

/** The mapping's last count is gone, and so are its pages: frees the tree. */
export function dropTree(mapping: Ref<"mapping">): void {
  const held = Mapping.lock.lock(mapping);
  const root = Mapping.root.peek(held, mapping) as Ptr<"pagenode">;
  Mapping.root.assign(held, mapping, 0);
  Mapping.lock.unlock(mapping);
  if (root !== 0) treeFree(root);
}

const framesReclaimer = defineReclaimer("page frames", (arg) => {
  const array = arg as Ref<"array">;
  for (let n = 0; n < arrayLength(array); n++) putFrame((arrayGet(array, n) >>> 0) * PAGE_SIZE);
  freeArray(array);
});
const frameReclaimer = defineReclaimer("page frame", (arg) => putFrame((arg >>> 0) * PAGE_SIZE));

/** Drops one count of each frame (frame numbers) after a grace period: readers may be copying from them. */
export function putFramesRcu(frames: readonly number[]): void {
  if (frames.length === 0) return;
  const array = frames.length === 1 ? 0 : tryAllocArray(frames.length);
  if (array === 0) {
    for (const frame of frames) callRcu(frameReclaimer, frame);
    return;
  }
  frames.forEach((frame, n) => {
    arraySet(array, n, frame);
  });
  callRcu(framesReclaimer, array);
}
