/**
 * Mappings: the pages of one object (a file's contents, a piece of shared memory), found by page index, shared by
 * everybody who reads, writes or maps it. The page cache (pagecache.ts) is all mappings together.
 *
 * Pages sit in a tree of 64-word nodes; a leaf word is frame number << 2 | flags. Readers descend under RCU with plain
 * loads; changes are made with `lock` held. Whoever takes a page out of the tree drops its frame through RCU, so a
 * reader may use a frame it found until its next safe point without counting it.
 */
import {
  kfreeRcu,
  listAddTail,
  listDelRcu,
  listFirst,
  listNext,
  listNode,
  type Ref,
  spinlock,
  struct,
  tryAlloc,
} from "../../rcu/index.ts";
import { kernelGlobal } from "../global.ts";
import { defineLater, LATER_PAGES, laterByAnyone } from "../sched/later.ts";
import { isShmem } from "./mapping-ops.ts";
import { Mapping, Vma } from "./mm-types.ts";
import { quotaGet, quotaPut } from "./page-quota.ts";
import { dropTree, removePart } from "./pages.ts";

export { isShmem, type MappingOps, MOPS, mappingOps, registerMappingOps } from "./mapping-ops.ts";
export { Mapping } from "./mm-types.ts";

/** All mappings that reclaim may take pages from. */
const MappingList = struct("mapping_list", { lock: spinlock(80), head: listNode() });
const mappingList = kernelGlobal<Ref<"mapping_list">>("mappings");

/** Once per machine, by the booting thread (mmInit). */
export function createMappingList(): void {
  const list = tryAlloc(MappingList);
  if (list === 0) throw new Error("no memory for the list of mappings");
  MappingList.head.init(list);
  mappingList.init(list);
}

/** A mapping without pages, with one count; 0 when the heap is full. `quota`: what its pages count against. */
export function mappingCreate(ops: number, host = 0, quota: Ref<"page_quota"> | 0 = 0): Ref<"mapping"> | 0 {
  const mapping = tryAlloc(Mapping);
  if (mapping === 0) return 0;
  Mapping.ops.init(mapping, ops);
  Mapping.host.init(mapping, host);
  if (quota !== 0) Mapping.quota.init(mapping, quotaGet(quota));
  Mapping.refcount.init(mapping, 1);
  Mapping.vmas.init(mapping);
  Mapping.all.init(mapping);
  if (!isShmem(mapping)) {
    const list = mappingList.get();
    const held = MappingList.lock.lock(list);
    listAddTail(held, MappingList.head.at(list), Mapping.all.at(mapping));
    MappingList.lock.unlock(list);
  }
  return mapping;
}

export function mappingGet(mapping: Ref<"mapping">): void {
  Mapping.refcount.add(mapping, 1);
}

/** Drops a count; the last one frees all pages, without writing dirty ones back (the file system did that before). */
export function mappingPut(mapping: Ref<"mapping">): void {
  if (!Mapping.refcount.decAndTest(mapping)) return;
  if (!isShmem(mapping)) {
    const list = mappingList.get();
    const held = MappingList.lock.lock(list);
    listDelRcu(held, Mapping.all.at(mapping));
    MappingList.lock.unlock(list);
  }
  // Many pages go in parts, later: who drops the last count may do that for others, in the middle of anything.
  if (freePart(mapping, 0) !== 0) laterByAnyone(LATER_PAGES, mapping);
}

/** As mappingPut, by what `host` stands for, which ends with this: MappingOps must not be asked about it any more, but by its areas. */
export function mappingFree(mapping: Ref<"mapping">): void {
  Mapping.orphan.store(mapping, 1);
  mappingPut(mapping);
}

/** A part of the end of a mapping: where the next one begins, 0 when it is gone. */
function freePart(mapping: Ref<"mapping">, from: number): number {
  const next = removePart(mapping, from, Infinity);
  if (next !== Infinity) return next;
  dropTree(mapping);
  const quota = Mapping.quota.get(mapping);
  if (quota !== 0) quotaPut(quota);
  kfreeRcu(Mapping, mapping);
  return 0;
}
defineLater(LATER_PAGES, (mapping, at) => freePart(mapping as Ref<"mapping">, at));

/** Calls `visit` with a count held on each reclaimable mapping in turn, until it answers false. */
export function forEachMapping(visit: (mapping: Ref<"mapping">) => boolean): void {
  const list = mappingList.get();
  const head = MappingList.head.at(list);
  const found: Ref<"mapping">[] = [];
  MappingList.lock.lock(list);
  for (let node = listFirst(head); node !== 0; node = listNext(head, node)) {
    const mapping = Mapping.all.owner(node);
    if (Mapping.nrPages.peek(mapping) !== 0 && Mapping.refcount.incNotZero(mapping)) found.push(mapping);
  }
  MappingList.lock.unlock(list);
  let going = true;
  for (const mapping of found) {
    if (going) going = visit(mapping);
    mappingPut(mapping);
  }
}

/** The VMA maps it from now on. */
export function mappingLinkVma(mapping: Ref<"mapping">, vma: Ref<"vma">): void {
  const held = Mapping.vmaLock.lock(mapping);
  listAddTail(held, Mapping.vmas.at(mapping), Vma.share.at(vma));
  Mapping.vmaLock.unlock(mapping);
}
export function mappingUnlinkVma(mapping: Ref<"mapping">, vma: Ref<"vma">): void {
  const held = Mapping.vmaLock.lock(mapping);
  listDelRcu(held, Vma.share.at(vma));
  Mapping.vmaLock.unlock(mapping);
}
