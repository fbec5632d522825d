/**
 * Virtual memory areas: ranges of pages with one set of permissions and one backing. A VMA is immutable; changing an
 * address space publishes a new sorted array of VMAs, so that readers (page faults, /proc) search it under RCU.
 *
 * The array holds three words for each VMA: first page, end page, reference.
 */
import {
  arrayGet,
  arrayLength,
  type Held,
  kfreeRcu,
  type Ptr,
  type Ref,
  rcuReadLock,
  rcuReadUnlock,
  tryAlloc,
} from "../../rcu/index.ts";
import { fileGet, filePut } from "./filemap.ts";
import { mappingGet, mappingLinkVma, mappingPut, mappingUnlinkVma } from "./mapping.ts";
import { Mapping, Mm, Vma } from "./mm-types.ts";

/** VMA flags. The first three are the PROT_ bits. */
export const VM_READ = 1;
export const VM_WRITE = 2;
export const VM_EXEC = 4;
export const VM_PROT = 7;
export const VM_SHARED = 8;
/** mprotect may grant it: a shared mapping of a file opened read-only may not become writable. */
export const VM_MAYWRITE = 0x10;
/** Grows downwards when the page below is touched. */
export const VM_GROWSDOWN = 0x100;
export const VM_NORESERVE = 0x200;
export const VM_LOCKED = 0x400;
export const VM_DONTFORK = 0x800;
export const VM_WIPEONFORK = 0x1000;
/** The kernel's own page ("[vdso]"): never merged, moved or counted as the program's. */
export const VM_SPECIAL = 0x2000;
/** madvise(MADV_DONTDUMP). */
export const VM_DONTDUMP = 0x4000;

export { Vma } from "./mm-types.ts";

/** A VMA that does not exist yet, or a piece of one. */
export interface VmaSpec {
  start: number;
  end: number;
  flags: number;
  mapping: Ptr<"mapping">;
  file: Ptr<"file">;
  pgoff: number;
}

const WORDS = 3;

/** What an area takes of the kernel's heap, about. */
export const VMA_BYTES = 96;

export const vmaCount = (vmas: Ptr<"array">): number => (vmas === 0 ? 0 : arrayLength(vmas) / WORDS);
export const vmaStartAt = (vmas: Ref<"array">, index: number): number => arrayGet(vmas, index * WORDS);
export const vmaEndAt = (vmas: Ref<"array">, index: number): number => arrayGet(vmas, index * WORDS + 1);
export const vmaRef = (vmas: Ref<"array">, index: number): Ref<"vma"> =>
  arrayGet(vmas, index * WORDS + 2) as Ref<"vma">;

/** Index of the first VMA that ends after `page`; the count when there is none. */
export function vmaSearch(vmas: Ptr<"array">, page: number): number {
  if (vmas === 0) return 0;
  let low = 0;
  let high = vmaCount(vmas);
  while (low < high) {
    const middle = (low + high) >> 1;
    if (vmaEndAt(vmas, middle) > page) high = middle;
    else low = middle + 1;
  }
  return low;
}

/**
 * The first VMA that ends after `page` (it may start above it), or 0. The result stays valid until the next safe point
 * of this CPU, which no handler passes.
 */
export function findVma(mm: Ref<"mm">, page: number): Ptr<"vma"> {
  const vmas = Mm.vmas.deref(rcuReadLock(), mm) as Ptr<"array">;
  const index = vmaSearch(vmas, page);
  const vma = index < vmaCount(vmas) ? vmaRef(vmas as Ref<"array">, index) : 0;
  rcuReadUnlock();
  return vma;
}

/** The VMA that contains `page`, or 0. */
export function vmaAt(mm: Ref<"mm">, page: number): Ptr<"vma"> {
  const vma = findVma(mm, page);
  return vma !== 0 && Vma.start.get(vma) <= page ? vma : 0;
}

/** Calls `visit` for each VMA in order; false from it ends the walk. One consistent view of the address space. */
export function forEachVma(mm: Ref<"mm">, visit: (vma: Ref<"vma">) => unknown, from = 0): void {
  const vmas = Mm.vmas.deref(rcuReadLock(), mm) as Ptr<"array">;
  for (let index = from === 0 ? 0 : vmaSearch(vmas, from); index < vmaCount(vmas); index++)
    if (visit(vmaRef(vmas as Ref<"array">, index)) === false) break;
  rcuReadUnlock();
}

export function vmaSpec(vma: Ref<"vma">): VmaSpec {
  return {
    start: Vma.start.get(vma),
    end: Vma.end.get(vma),
    flags: Vma.flags.get(vma),
    mapping: Vma.mapping.get(vma),
    file: Vma.file.get(vma),
    pgoff: Vma.pgoff.get(vma),
  };
}

/** Stores through it reach the mapping at any time. */
const isWriter = (flags: number): boolean => (flags & (VM_SHARED | VM_WRITE)) === (VM_SHARED | VM_WRITE);

/** Makes a VMA with counts on what it maps; 0 when the heap is full. Not linked to its mapping yet. */
export function vmaNew(mm: Ref<"mm">, spec: VmaSpec): Ref<"vma"> | 0 {
  const vma = tryAlloc(Vma);
  if (vma === 0) return 0;
  Vma.mm.init(vma, mm);
  Vma.start.init(vma, spec.start);
  Vma.end.init(vma, spec.end);
  Vma.flags.init(vma, spec.flags);
  Vma.mapping.init(vma, spec.mapping);
  Vma.file.init(vma, spec.file);
  Vma.pgoff.init(vma, spec.pgoff);
  Vma.share.init(vma);
  if (spec.mapping !== 0) {
    mappingGet(spec.mapping);
    mappingLinkVma(spec.mapping, vma);
    if (isWriter(spec.flags)) Mapping.writers.add(spec.mapping, 1);
  }
  if (spec.file !== 0) fileGet(spec.file);
  return vma;
}

/** Drops a VMA that is in no array any more (or never was). */
export function vmaFree(vma: Ref<"vma">): void {
  const mapping = Vma.mapping.get(vma);
  const file = Vma.file.get(vma);
  if (mapping !== 0) {
    mappingUnlinkVma(mapping, vma);
    if (isWriter(Vma.flags.get(vma))) Mapping.writers.add(mapping, -1);
    mappingPut(mapping);
  }
  kfreeRcu(Vma, vma);
  if (file !== 0) filePut(file);
}

/** Whether two neighbouring pieces are one area. */
export function mayMerge(a: VmaSpec, b: VmaSpec): boolean {
  return (
    a.end === b.start &&
    a.flags === b.flags &&
    a.mapping === b.mapping &&
    a.file === b.file &&
    (a.flags & VM_SPECIAL) === 0 &&
    (a.mapping === 0 || a.pgoff + (a.end - a.start) === b.pgoff)
  );
}

/** The VMA array, for the holder of ptl. */
export const vmasHeld = (held: Held, mm: Ref<"mm">): Ptr<"array"> => Mm.vmas.peek(held, mm) as Ptr<"array">;

/** Where a part of pages [start, end) ends that takes in no more than so many areas. */
export function areasEnd(vmas: Ref<"array"> | 0, start: number, end: number, areas: number): number {
  const last = vmaSearch(vmas, start) + areas;
  return last < vmaCount(vmas) ? Math.min(end, vmaStartAt(vmas as Ref<"array">, last)) : end;
}
