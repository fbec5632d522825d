/**
 * The structs of memory management: address spaces, areas, mappings. They name each other, so they are declared together;
 * what is done with them is in mm.ts, vma.ts and mapping.ts. The locks and their order: README.md.
 */
import {
  atomic,
  fixed,
  listNode,
  locked,
  owned,
  type Ptr,
  type Ref,
  rcu,
  spinlock,
  struct,
  wide,
} from "../../rcu/index.ts";

/** An address space. */
export const Mm = struct("mm", {
  /** Never reused: tells address spaces apart where the reference could name a later one. */
  id: fixed(),
  pgd: fixed<Ref<"pagetable">>(),
  /** Frame index minus page number, modulo all frames: where pages of this address space look for their frame. */
  frameOffset: fixed(),
  /** Its bit in RamState.places, -1 none. */
  place: fixed(),

  /** Tasks and others that keep it alive: take with mmGetNotZero. */
  users: atomic(),
  /** What the engine calls the code that is visible; `spaceShared`: other address spaces use the same number. */
  codeSpace: atomic(),
  spaceShared: atomic(),
  /** Bits of MEMBARRIER_CMD_REGISTER_* calls made. */
  membarrier: atomic(),
  /** Faults in a row that found no memory and were tried again. */
  starved: atomic(),
  /** Counts changes of `vmas`: a fault that sees it unchanged may install what it prepared. */
  seq: atomic(),

  /** The task that has it to itself, or 0 (sched/hold.ts). */
  owner: atomic<Ref<"task"> | 0>(),

  mmapLock: spinlock(5),

  // ptl for writers; `vmas` is read in a read scope (vma.ts).
  ptl: spinlock(75),
  vmas: rcu("array"),
  /** Between this page and mmapBase no gap has `gapPages` pages: the search for one begins here. 0: not known. */
  gapBelow: owned(),
  gapPages: owned(),
  /** Pages, by kind of frame; the largest sum so far; pages mapped (VmSize) and locked. */
  rssAnon: locked("ptl"),
  rssFile: locked("ptl"),
  hiwaterRss: locked("ptl"),
  totalVm: locked("ptl"),
  hiwaterVm: locked("ptl"),
  lockedVm: locked("ptl"),

  // mmapLock for writers; written by exec before publication.
  brkStart: wide(),
  brk: wide(),
  /** mmap looks for free addresses downwards from here. */
  mmapBase: wide(),
  stackLimit: wide(),
  /** RLIMIT_AS in pages. Written by exec, fork and prlimit. */
  asLimit: wide(),
  startStack: wide(),
  startCode: wide(),
  endCode: wide(),
  startData: wide(),
  endData: wide(),
  argStart: wide(),
  argEnd: wide(),
  envStart: wide(),
  envEnd: wide(),
  /** Where the auxiliary vector is, and its size in bytes (/proc/PID/auxv). */
  auxv: wide(),
  auxvBytes: wide(),
  /** VM_LOCKED when mlockall(MCL_FUTURE) is in force. */
  defFlags: atomic(),
  /** The program, counted and not to be written: /proc/PID/exe. */
  exe: rcu("file"),
});

/** A virtual memory area. */
export const Vma = struct("vma", {
  mm: fixed<Ref<"mm">>(),
  /** Page numbers: [start, end). */
  start: fixed(),
  end: fixed(),
  flags: fixed(),
  /** What is mapped: 0 for private anonymous memory. Counted. */
  mapping: fixed<Ptr<"mapping">>(),
  /** The file through which it is mapped, for /proc and permissions. Counted; 0 for anonymous memory. */
  file: fixed<Ptr<"file">>(),
  /** Page of the mapping at `start`. */
  pgoff: fixed(),
  /** In Mapping.vmas; Mapping.vmaLock. */
  share: listNode(),
});

/** The pages of one object. */
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
  /** Its host is gone (mappingFree). */
  orphan: atomic(),
  nrPages: atomic(),
  nrDirty: atomic(),

  /** The tree of pages. */
  lock: spinlock(84),
  root: rcu("pagenode"),

  /** VMAs that map it, for truncation and reclaim. */
  vmaLock: spinlock(82),
  vmas: listNode(),

  /** In the list of all mappings; that list's lock. */
  all: listNode(),
  /** What its pages are counted against, which it counts, or 0. */
  quota: fixed<Ref<"page_quota"> | 0>(),
  /** Of pages that were cut off a mapping (`host`): the index of the first (pagecache.ts). */
  private: wide(),
});
