/**
 * Mappings: the pages of one object (a file's contents, a piece of shared memory), found by page index, shared by
 * everybody who reads, writes or maps it. The page cache (pagecache.ts) is all mappings together.
 *
 * Pages sit in a tree of 64-word nodes; a leaf word is frame number << 2 | flags. Readers descend under RCU with plain
 * loads; changes are made with `lock` held. Whoever takes a page out of the tree drops its frame through RCU, so a
 * reader may use a frame it found until its next safe point without counting it.
 */
import {
  alloc,
  atomic,
  fixed,
  kfreeRcu,
  listAddTail,
  listDelRcu,
  listFirst,
  listNext,
  listNode,
  type Ptr,
  type Ref,
  rcu,
  spinlock,
  struct,
  wide,
} from "../../rcu/index.ts";
import { kernelGlobal } from "../global.ts";
import { mmGetNotZero, mmPut } from "./mm.ts";
import { dropAllPages } from "./pagecache.ts";
import { Vma } from "./vma.ts";

export const Mapping = struct("mapping", {
  /** Which MappingOps (MOPS.*). */
  ops: fixed(),
  /** What the file system wants to find again: Ref<"inode"> as a rule. */
  host: fixed(),

  /** Counts: the inode's, one for each VMA. */
  refcount: atomic(),
  /** Writable shared VMAs: pages may become dirty at any time. */
  writers: atomic(),
  /** A number for the contents as they are, once they were executed (codespace.ts); 0 none. */
  mark: atomic(),
  nrPages: atomic(),
  nrDirty: atomic(),

  /** The tree of pages. */
  lock: spinlock(),
  root: rcu("pagenode"),

  /** VMAs that map it, for truncation and reclaim. */
  vmaLock: spinlock(),
  vmas: listNode(),

  /** In the list of all mappings; that list's lock. */
  all: listNode(),
  /** For the file system's own use. */
  private: wide(),
});

/** Numbers of mapping operations: part of the heap's format. */
export const MOPS = {
  /** Pages are the content, zero where nothing was written: tmpfs, memfd, MAP_SHARED | MAP_ANONYMOUS. */
  SHMEM: 1,
  HOSTFS: 2,
  /** The kernel's own pages ("[vdso]"). */
  SPECIAL: 3,
  /** As SHMEM, with a size: tmpfs and memfd. */

  /** tmpfs and memfd files: as SHMEM, with the size of an inode. */
  TMPFS: 4,
  /** First number free for modules from outside. */
  MODULE: 8,
} as const;

/** How a file system fills and cleans pages. Calls may block on the host; no lock is held. */
export interface MappingOps {
  /** Fills the frame at byte address `frame` (4096 bytes, contents undefined) with page `index`: 0 or -errno. */
  readPage?(mapping: Ref<"mapping">, index: number, frame: number): number;
  /**
   * Fills `count` contiguous frames with pages index, index + 1...: how many were filled, or -errno. All of
   * each filled page is written, zero beyond the end of the file. Used for reading ahead; optional.
   */
  readPages?(mapping: Ref<"mapping">, index: number, frame: number, count: number): number;
  /** Writes a dirty page back: 0 or -errno. */
  writePage?(mapping: Ref<"mapping">, index: number, frame: number): number;
  /** Size in bytes: accesses to pages beyond it through a VMA get SIGBUS. Infinity when there is no end. */
  size(mapping: Ref<"mapping">): number;
}

const table: (MappingOps | undefined)[] = [];

export function registerMappingOps(id: number, ops: MappingOps): void {
  table[id] = ops;
}

export function mappingOps(mapping: Ref<"mapping">): MappingOps {
  const ops = table[Mapping.ops.get(mapping)];
  if (ops === undefined) throw new Error(`mapping operations ${Mapping.ops.get(mapping)} are not registered`);
  return ops;
}

/** Whether the pages are the content and must not be dropped: shared memory. */
export const isShmem = (mapping: Ref<"mapping">): boolean => mappingOps(mapping).readPage === undefined;

/** All mappings that reclaim may take pages from. */
const MappingList = struct("mapping_list", { lock: spinlock(), head: listNode() });
const mappingList = kernelGlobal<Ref<"mapping_list">>("mappings");

/** Once per machine, by the booting thread (mmInit). */
export function createMappingList(): void {
  const list = alloc(MappingList);
  if (list === 0) throw new Error("no memory for the list of mappings");
  MappingList.head.init(list);
  mappingList.init(list);
}

/** A mapping without pages, with one count; 0 when the heap is full. */
export function mappingCreate(ops: number, host = 0): Ref<"mapping"> | 0 {
  const mapping = alloc(Mapping);
  if (mapping === 0) return 0;
  Mapping.ops.init(mapping, ops);
  Mapping.host.init(mapping, host);
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
  dropAllPages(mapping);
  kfreeRcu(Mapping, mapping);
}

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

/** Pages [first, end) of the mapping as `mm` sees them: what forEachMapper reports. */
export type MapperVisit = (mm: Ref<"mm">, startPage: number, endPage: number) => void;

/** Calls `visit` for every address space range that maps pages [first, end). No lock is held during the calls. */
export function forEachMapper(mapping: Ref<"mapping">, first: number, end: number, visit: MapperVisit): void {
  const head = Mapping.vmas.at(mapping);
  const found: { mm: Ref<"mm">; start: number; end: number }[] = [];
  Mapping.vmaLock.lock(mapping);
  for (let node = listFirst(head); node !== 0; node = listNext(head, node)) {
    const vma = Vma.share.owner(node);
    const base = Vma.start.get(vma) - Vma.pgoff.get(vma);
    const from = Math.max(Vma.start.get(vma), base + first);
    const to = Math.min(Vma.end.get(vma), base + end);
    if (from < to && mmGetNotZero(Vma.mm.get(vma))) found.push({ mm: Vma.mm.get(vma), start: from, end: to });
  }
  Mapping.vmaLock.unlock(mapping);
  for (const at of found) {
    visit(at.mm, at.start, at.end);
    mmPut(at.mm);
  }
}

/** The mapping's root, for those who hold its lock or a read scope. */
export const mappingRoot = (mapping: Ref<"mapping">): Ptr<"pagenode"> => Mapping.root.access(mapping);
