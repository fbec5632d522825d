/**
 * Address spaces. What tasks share with CLONE_VM; each is made by exec or fork and goes when its last user does.
 *
 * Locks, outermost first: mmapLock (one operation that changes mappings at a time, held while other CPUs drop stale
 * translations), ptl (VMA array and page table entries; short), Mapping.vmaLock. Page faults take only ptl.
 * mmapLock is never taken with another lock held.
 */
import { free, kfreeArrayRcu, kfreeRcu, type Ptr, type Ref, tryAlloc } from "../../rcu/index.ts";
import { LATER_MM, laterByTask } from "../sched/later.ts";
import { fileBacking } from "./filemap.ts";
import { frameTotal, putFrame } from "./frame.ts";
import { Mm, Vma } from "./mm-types.ts";
import { PageTable, pteFrame, pteFreeTables, pteWalk } from "./pte.ts";
import { PAGE_SIZE, PLACES, RamState, ramRef } from "./ram.ts";
import { tlbForget } from "./tlb.ts";
import { vmaCount, vmaFree, vmaRef } from "./vma.ts";

/** One past the last address that a process may use, and the lowest one that mmap gives out. */
export const TASK_SIZE = 0xffff_0000;
export const MMAP_MIN_ADDR = 0x1_0000;
/** The page with the code that returns from signal handlers ("[vdso]"), mapped by exec. */
export const VDSO_BASE = 0xfffe_f000;
/** Initial stacks end here and grow down. */
export const STACK_TOP = 0xfffe_0000;
/** Most VMAs of one address space (/proc/sys/vm/max_map_count). */
export const MAX_MAP_COUNT = 65530;
export const DEFAULT_STACK_LIMIT = 8 << 20;

export { Mm } from "./mm-types.ts";

/** Fraction of RAM by which address spaces are apart: the golden ratio spreads any number of them. */
const SPREAD = 0.6180339887;

/**
 * The lowest place that no living address space has, or -1. Processes that come one after the other get the same place, so
 * they use the same frames, which the host has committed and its caches know.
 */
function claimPlace(): number {
  for (let place = 0; place < PLACES; place++) {
    const bit = 1 << (place & 31);
    for (;;) {
      const taken = RamState.places.load(ramRef, place >> 5);
      if ((taken & bit) !== 0) break;
      if (RamState.places.cas(ramRef, place >> 5, taken, taken | bit)) return place;
    }
  }
  return -1;
}

function releasePlace(place: number): void {
  if (place < 0) return;
  // The bit is set and only its owner clears it: subtracting is clearing.
  RamState.places.add(ramRef, place >> 5, -(1 << (place & 31)));
}

/** A new, empty address space with one user; 0 when the heap is full. */
export function mmCreate(): Ref<"mm"> | 0 {
  const mm = tryAlloc(Mm);
  if (mm === 0) return 0;
  const pgd = tryAlloc(PageTable);
  if (pgd === 0) {
    free(Mm, mm);
    return 0;
  }
  const id = RamState.nextMmId.add(ramRef, 1);
  const place = claimPlace();
  Mm.id.init(mm, id);
  Mm.pgd.init(mm, pgd);
  Mm.place.init(mm, place);
  Mm.frameOffset.init(mm, Math.floor((((place < 0 ? id : place) * SPREAD) % 1) * frameTotal()));
  Mm.users.init(mm, 1);
  Mm.codeSpace.init(mm, RamState.nextSpace.add(ramRef, 1));
  Mm.mmapBase.set(mm, STACK_TOP - 2 * DEFAULT_STACK_LIMIT);
  Mm.stackLimit.set(mm, DEFAULT_STACK_LIMIT);
  Mm.asLimit.set(mm, Number.POSITIVE_INFINITY);
  return mm;
}

/** Another user: the caller holds one already. */
export function mmGet(mm: Ref<"mm">): Ref<"mm"> {
  Mm.users.add(mm, 1);
  return mm;
}
/** Another user, for those who found it in a read scope; false when it is going away. */
export const mmGetNotZero = (mm: Ref<"mm">): boolean => Mm.users.incNotZero(mm);

/** An address space with fewer resident pages, or areas, goes in one piece. */
export const SHED_PAGES = 8192;
const SHED_AREAS = 2048;

/** Drops a user; the last one tears the address space down, a large one in parts when the call is over (reap.ts). */
export function mmPut(mm: Ref<"mm">): void {
  if (!Mm.users.decAndTest(mm)) return;
  tlbForget(mm);
  const large = mmRss(mm) >= SHED_PAGES || vmaCount(Mm.vmas.access(mm)) >= SHED_AREAS;
  if (large) laterByTask(LATER_MM, mm);
  else mmFree(mm);
}

/** Frees an address space without users. */
export function mmFree(mm: Ref<"mm">): void {
  const held = Mm.ptl.lock(mm);
  const vmas = Mm.vmas.peek(held, mm) as Ptr<"array">;
  const pgd = Mm.pgd.get(mm);
  for (let index = 0; index < vmaCount(vmas); index++) {
    const vma = vmaRef(vmas as Ref<"array">, index);
    pteWalk(pgd, Vma.start.get(vma), Vma.end.get(vma), dropFrame);
  }
  Mm.vmas.assign(held, mm, 0);
  Mm.seq.add(mm, 1);
  Mm.ptl.unlock(mm);
  for (let index = 0; index < vmaCount(vmas); index++) vmaFree(vmaRef(vmas as Ref<"array">, index));
  if (vmas !== 0) kfreeArrayRcu(vmas);
  const exe = Mm.exe.exchange(mm, 0);
  if (exe !== 0) fileBacking().exePut(exe);
  pteFreeTables(pgd);
  releasePlace(Mm.place.get(mm));
  kfreeRcu(Mm, mm);
}

function dropFrame(table: Ref<"pagetable">, page: number, pte: number): void {
  PageTable.entry.set(table, page & 1023, 0);
  putFrame(pteFrame(pte));
}

/** Resident pages. Racy. */
export const mmRss = (mm: Ref<"mm">): number => Mm.rssAnon.racy(mm) + Mm.rssFile.racy(mm);

/** The most pages that were ever resident. */
export const mmPeakRss = (mm: Ref<"mm">): number => Math.max(mmRss(mm), Mm.hiwaterRss.racy(mm));

/** Resident size of an address space in bytes, for ps and the out-of-memory report. */
export const mmRssBytes = (mm: Ref<"mm">): number => mmRss(mm) * PAGE_SIZE;
