/**
 * Page tables: two levels of 1024 words in the shared heap. A page table entry is the frame's byte address with flags
 * in the low bits; 0 means nothing is there. Readers load entries plainly at any time; they are changed with
 * Mm.ptl held, by atomic stores. Tables live as long as their address space and are freed through RCU.
 */
import { kfreeRcu, type Ref, struct, tryAlloc, words } from "../../rcu/index.ts";
import { ACCESS } from "../usermode.ts";
import { heapIsScarce, refuseHolder } from "./heap.ts";

/** Tables of an address space, and entries of a table. */
const TABLES = 1024;
const TABLE_BYTES = TABLES * 4;
export const PageTable = struct("pagetable", { entry: words(TABLES) });

/** Stores are allowed now. The same bit as PAGE_WRITABLE in what `translate` answers. */
export const PTE_WRITE = 1;
export const PTE_READ = 2;
/** The engine may fetch instructions: set at the first fetch, so that it tells pages that were executed. */
export const PTE_EXEC = 4;
/** The frame belongs to this address space privately (or is shared copy-on-write after fork): counted as anonymous. */
export const PTE_ANON = 8;
/** The frame belongs to the page cache or to shared memory. */
export const PTE_FILE = 16;
export const PTE_FLAGS = 4095;

/** Pages and tables: page number = table index * 1024 + entry index. */
export const TABLE_SHIFT = 10;
export const TABLE_MASK = 1023;

/** Bits an entry must have for an access (ACCESS.*). Writable pages are readable, as on riscv64. */
export const pteNeeds = (access: number): number =>
  (access & ACCESS.WRITE) !== 0 ? PTE_WRITE : (access & ACCESS.EXEC) !== 0 ? PTE_EXEC : PTE_READ;

/** Entry of a page; 0 when there is none. */
export function pteGet(pgd: Ref<"pagetable">, page: number): number {
  const table = PageTable.entry.get(pgd, page >>> TABLE_SHIFT);
  return table === 0 ? 0 : PageTable.entry.get(table as Ref<"pagetable">, page & TABLE_MASK);
}

/** Byte address of the frame in an entry. */
export const pteFrame = (pte: number): number => (pte & ~PTE_FLAGS) >>> 0;
/** Entry for a frame. */
export const ptePack = (frame: number, flags: number): number => frame | flags;

/** The table that covers a page, made if missing (ptl held); 0 when the heap is full, or scarce and the address space has many. */
export function pteTable(pgd: Ref<"pagetable">, page: number): Ref<"pagetable"> | 0 {
  const index = page >>> TABLE_SHIFT;
  const table = PageTable.entry.get(pgd, index) as Ref<"pagetable"> | 0;
  if (table !== 0) return table;
  if (heapIsScarce() && refuseHolder(pteTables(pgd) * TABLE_BYTES, TABLE_BYTES)) return 0;
  const fresh = tryAlloc(PageTable);
  if (fresh !== 0) PageTable.entry.store(pgd, index, fresh);
  return fresh;
}

/** Publishes an entry (ptl held). */
export function pteSet(table: Ref<"pagetable">, page: number, pte: number): void {
  PageTable.entry.store(table, page & TABLE_MASK, pte);
}

/**
 * Changes an entry so that it gives less, or one that nobody can reach yet: a plain store, published by the unlocking of
 * ptl and by the TLB requests that follow.
 */
export function pteTake(table: Ref<"pagetable">, page: number, pte: number): void {
  PageTable.entry.set(table, page & TABLE_MASK, pte);
}

/**
 * Calls `visit(table, page, pte)` for every present entry of pages [start, end) (ptl held, or the address space has
 * no other user).
 */
export function pteWalk(
  pgd: Ref<"pagetable">,
  start: number,
  end: number,
  visit: (table: Ref<"pagetable">, page: number, pte: number) => void,
): void {
  // Beyond lies other memory of the heap: whoever asks has not checked what a program gave him.
  if (start < 0 || end > TABLES << TABLE_SHIFT)
    throw new RangeError(`pages ${start} to ${end} have no entries`);
  let page = start;
  while (page < end) {
    const table = PageTable.entry.get(pgd, page >>> TABLE_SHIFT) as Ref<"pagetable"> | 0;
    const stop = Math.min(end, ((page >>> TABLE_SHIFT) + 1) << TABLE_SHIFT);
    if (table !== 0) {
      for (; page < stop; page++) {
        const pte = PageTable.entry.get(table, page & TABLE_MASK);
        if (pte !== 0) visit(table, page, pte);
      }
    }
    page = stop;
  }
}

/** Present entries that are dealt with in about a millisecond. */
const PART_ENTRIES = 8192;

/** Where a part of pages [start, end) ends that has no more present entries than take about a millisecond: above `start`, at most `end`. */
export function ptePart(pgd: Ref<"pagetable">, start: number, end: number): number {
  let left = PART_ENTRIES;
  let page = start;
  while (end - page > left) {
    const table = PageTable.entry.get(pgd, page >>> TABLE_SHIFT) as Ref<"pagetable"> | 0;
    const stop = Math.min(end, ((page >>> TABLE_SHIFT) + 1) << TABLE_SHIFT);
    if (table === 0) page = stop;
    else
      for (; page < stop && left > 0; page++) if (PageTable.entry.get(table, page & TABLE_MASK) !== 0) left--;
    if (left === 0) return page;
  }
  return end;
}

/** How many tables there are, the first one included. In a read scope, or with a count of the address space. */
export function pteTables(pgd: Ref<"pagetable">): number {
  let count = 1;
  for (let index = 0; index < TABLES; index++) if (PageTable.entry.get(pgd, index) !== 0) count++;
  return count;
}

/** Frees all tables after a grace period. */
export function pteFreeTables(pgd: Ref<"pagetable">): void {
  for (let index = 0; index < TABLES; index++) {
    const table = PageTable.entry.get(pgd, index) as Ref<"pagetable"> | 0;
    if (table !== 0) kfreeRcu(PageTable, table);
  }
  kfreeRcu(PageTable, pgd);
}
