/**
 * Page faults: what an access to a page means, and making it possible.
 *
 * A fault prepares its page without any lock (reading a file may block on the host), then takes ptl, checks that the
 * address space has not changed meanwhile (Mm.seq) and installs the entry; if it has, it starts again.
 */
import type { Ref } from "../../rcu/index.ts";
import { klog } from "../klog.ts";
import { setNeedResched } from "../sched/cpus.ts";
import { current, setFault, thisCpu } from "../sched/current.ts";
import { Task } from "../task/task.ts";
import { ENOMEM } from "../uapi/errno.ts";
import { BUS_ADRERR, SEGV_ACCERR, SEGV_MAPERR, SIGBUS, SIGKILL, SIGSEGV } from "../uapi/signal.ts";
import { ACCESS } from "../usermode.ts";
import { frameCount, frameTotal, getFrame, putFrame } from "./frame.ts";
import { isShmem, mappingOps } from "./mapping.ts";
import { Mm } from "./mm.ts";
import { mappingDirty, mappingFind, mappingPage } from "./pagecache.ts";
import {
  PTE_ANON,
  PTE_EXEC,
  PTE_FILE,
  PTE_READ,
  PTE_WRITE,
  pteFrame,
  pteGet,
  pteNeeds,
  ptePack,
  pteSet,
  pteTable,
} from "./pte.ts";
import { PAGE_SHIFT, PAGE_SIZE, ram } from "./ram.ts";
import { allocPage, allocZeroedPage } from "./reclaim.ts";
import { growStack } from "./stack.ts";
import { activeMm, mmuNotify } from "./tlb.ts";
import { findVma, VM_EXEC, VM_GROWSDOWN, VM_READ, VM_SHARED, VM_WRITE, Vma } from "./vma.ts";
import { countRss } from "./zap.ts";

/** What one try at a fault answers: something was installed, something changed meanwhile, or why it cannot be. */
const DONE = 0;
const RETRY = 1;
export const FAULT_MAPERR = -1;
export const FAULT_ACCERR = -2;
export const FAULT_BUS = -3;
export const FAULT_NOMEM = -4;

/** Pages of the cache that one read fault maps around it, aligned. */
const FAULT_AROUND = 16;
/** Faults of an address space in a row that may find no memory before a process is killed. */
const STARVED_MAX = 64;

/**
 * Makes one page of `mm` accessible: its frame's byte address, plus PAGE_WRITABLE (1) when stores are allowed too, or a
 * FAULT_ number. `va` is a byte address below 2^32.
 */
export function resolvePage(mm: Ref<"mm">, va: number, access: number): number {
  const page = va >>> PAGE_SHIFT;
  const needs = pteNeeds(access);
  for (;;) {
    const pte = pteGet(Mm.pgd.get(mm), page);
    if ((pte & needs) !== 0) return (pte & (~4095 | PTE_WRITE)) >>> 0;
    const result = faultPage(mm, page, access);
    if (result < 0) return result;
  }
}

/** One try: DONE, RETRY or a FAULT_ number. */
function faultPage(mm: Ref<"mm">, page: number, access: number): number {
  const seq = Mm.seq.load(mm);
  const vma = findVma(mm, page);
  if (vma === 0) return FAULT_MAPERR;
  if (Vma.start.get(vma) > page) {
    if ((Vma.flags.get(vma) & VM_GROWSDOWN) === 0) return FAULT_MAPERR;
    return growStack(mm, page) ? RETRY : FAULT_MAPERR;
  }
  const flags = Vma.flags.get(vma);
  if (!allows(flags, access)) return FAULT_ACCERR;
  const mapping = Vma.mapping.get(vma);
  if (mapping === 0) return anonFault(mm, seq, page, flags, access);
  const index = Vma.pgoff.get(vma) + (page - Vma.start.get(vma));
  if (index * PAGE_SIZE >= mappingOps(mapping).size(mapping)) return FAULT_BUS;
  if ((flags & VM_SHARED) !== 0) return sharedFault(mm, seq, page, flags, access, mapping, index);
  return privateFault(mm, seq, vma, page, flags, access, mapping, index);
}

function allows(flags: number, access: number): boolean {
  if ((access & ACCESS.WRITE) !== 0 && (flags & VM_WRITE) === 0) return false;
  if ((access & ACCESS.EXEC) !== 0 && (flags & VM_EXEC) === 0) return false;
  return (access & ACCESS.READ) === 0 || (flags & (VM_READ | VM_WRITE)) !== 0;
}

/** Read and write bits that a VMA's flags give to an entry. PTE_EXEC is added at the first fetch. */
const rights = (flags: number): number =>
  ((flags & (VM_READ | VM_WRITE)) !== 0 ? PTE_READ : 0) | ((flags & VM_WRITE) !== 0 ? PTE_WRITE : 0);

/** Private anonymous memory: zeroed at the first touch, copied when it is shared since a fork. */
function anonFault(mm: Ref<"mm">, seq: number, page: number, flags: number, access: number): number {
  const pte = pteGet(Mm.pgd.get(mm), page);
  if (pte !== 0) return upgrade(mm, seq, page, pte, flags, access);
  const frame = allocZeroedPage(nearFrame(mm, page));
  if (frame === 0) return FAULT_NOMEM;
  return install(mm, seq, page, 0, ptePack(frame, rights(flags) | PTE_ANON | execBit(access)), access);
}

/** A private mapping of a file: cache pages while it is only read, copies once it may be written. */
function privateFault(
  mm: Ref<"mm">,
  seq: number,
  vma: Ref<"vma">,
  page: number,
  flags: number,
  access: number,
  mapping: Ref<"mapping">,
  index: number,
): number {
  const pte = pteGet(Mm.pgd.get(mm), page);
  if (pte !== 0) return upgrade(mm, seq, page, pte, flags, access);
  const source = mappingPage(mapping, index, false);
  if (source < 0) return source === -ENOMEM ? FAULT_NOMEM : FAULT_BUS;
  if (source === 0 || (flags & VM_WRITE) !== 0) {
    // Writable: copied at once, since a later copy would have to reach the TLBs of all threads.
    const frame = allocPage(nearFrame(mm, page));
    if (frame === 0) return FAULT_NOMEM;
    if (source === 0) ram.u8.fill(0, frame, frame + PAGE_SIZE);
    else ram.u8.copyWithin(frame, source, source + PAGE_SIZE);
    return install(mm, seq, page, 0, ptePack(frame, rights(flags) | PTE_ANON | execBit(access)), access);
  }
  getFrame(source);
  const result = install(
    mm,
    seq,
    page,
    0,
    ptePack(source, rights(flags) | PTE_FILE | execBit(access)),
    access,
    mapping,
    index,
  );
  if ((access & ACCESS.EXEC) === 0) mapAround(mm, seq, vma, page, rights(flags) | PTE_FILE, mapping);
  return result;
}

/** A shared mapping: always the cache's own page. Stores make it dirty, so it is writable from the first store on. */
function sharedFault(
  mm: Ref<"mm">,
  seq: number,
  page: number,
  flags: number,
  access: number,
  mapping: Ref<"mapping">,
  index: number,
): number {
  const pte = pteGet(Mm.pgd.get(mm), page);
  const shmem = isShmem(mapping);
  const write = (access & ACCESS.WRITE) !== 0;
  if (write) mappingDirty(mapping, index);
  const bits = shmem || write ? rights(flags) : rights(flags) & ~PTE_WRITE;
  if (pte !== 0) return install(mm, seq, page, pte, pte | bits | execBit(access), access);
  const frame = mappingPage(mapping, index, true);
  if (frame < 0) return frame === -ENOMEM ? FAULT_NOMEM : FAULT_BUS;
  getFrame(frame);
  if (write) mappingDirty(mapping, index);
  return install(mm, seq, page, 0, ptePack(frame, bits | PTE_FILE | execBit(access)), access, mapping, index);
}

const execBit = (access: number): number => ((access & ACCESS.EXEC) !== 0 ? PTE_EXEC : 0);

/** A page is there with fewer rights than the VMA gives: rights come back, or a shared frame is copied. */
function upgrade(
  mm: Ref<"mm">,
  seq: number,
  page: number,
  pte: number,
  flags: number,
  access: number,
): number {
  const old = pteFrame(pte);
  if ((access & ACCESS.WRITE) === 0) {
    // Read or fetch: everything but the right to write, which a shared frame must not have.
    return install(mm, seq, page, pte, pte | (rights(flags) & ~PTE_WRITE) | execBit(access), access);
  }
  if ((pte & PTE_ANON) !== 0 && frameCount(old) === 1)
    return install(mm, seq, page, pte, pte | rights(flags), access);
  const frame = allocPage(nearFrame(mm, page));
  if (frame === 0) return FAULT_NOMEM;
  ram.u8.copyWithin(frame, old, old + PAGE_SIZE);
  const copied = ptePack(frame, rights(flags) | PTE_ANON | (pte & PTE_EXEC));
  const result = install(mm, seq, page, pte, copied, access);
  if (result === DONE) {
    // Other threads may still read the old frame.
    mmuNotify(mm, page, page + 1);
    putFrame(old);
  }
  return result;
}

/**
 * Changes the entry of `page` from `old` to `fresh` if nothing has changed since `seq`. Takes over the count of a fresh
 * frame. `mapping` and `index`: the frame must still be that page of the cache.
 */
function install(
  mm: Ref<"mm">,
  seq: number,
  page: number,
  old: number,
  fresh: number,
  _access: number,
  mapping: Ref<"mapping"> | 0 = 0,
  index = 0,
): number {
  const frame = pteFrame(fresh);
  const moved = frame !== pteFrame(old);
  const held = Mm.ptl.lock(mm);
  const pgd = Mm.pgd.get(mm);
  const valid =
    Mm.seq.peek(mm) === seq &&
    pteGet(pgd, page) === old &&
    (mapping === 0 || mappingFind(mapping, index) === frame);
  const table = valid ? pteTable(pgd, page) : 0;
  if (table !== 0) {
    pteSet(table, page, fresh);
    if (old === 0) countRss(held, mm, (fresh & PTE_ANON) !== 0 ? 1 : 0, (fresh & PTE_ANON) !== 0 ? 0 : 1);
    else if ((old & PTE_ANON) === 0 && (fresh & PTE_ANON) !== 0) countRss(held, mm, 1, -1);
  }
  Mm.ptl.unlock(mm);
  if (table === 0 && moved) putFrame(frame);
  if (table !== 0) {
    const task = current();
    if (task !== 0) Task.minorFaults.set(task, Task.minorFaults.get(task) + 1);
    return DONE;
  }
  return valid ? FAULT_NOMEM : RETRY;
}

/** Maps what is cached around a page that was read: programs touch their text here and there. */
function mapAround(
  mm: Ref<"mm">,
  seq: number,
  vma: Ref<"vma">,
  page: number,
  bits: number,
  mapping: Ref<"mapping">,
): void {
  const first = Math.max(page & -FAULT_AROUND, Vma.start.get(vma));
  const end = Math.min((page & -FAULT_AROUND) + FAULT_AROUND, Vma.end.get(vma));
  const limit = Math.ceil(mappingOps(mapping).size(mapping) / PAGE_SIZE);
  const shift = Vma.pgoff.get(vma) - Vma.start.get(vma);
  const held = Mm.ptl.lock(mm);
  if (Mm.seq.peek(mm) === seq) {
    let count = 0;
    const pgd = Mm.pgd.get(mm);
    for (let at = first; at < end && at + shift < limit; at++) {
      if (pteGet(pgd, at) !== 0) continue;
      const frame = mappingFind(mapping, at + shift);
      const table = frame === 0 ? 0 : pteTable(pgd, at);
      if (table === 0) continue;
      getFrame(frame);
      pteSet(table, at, ptePack(frame, bits));
      count++;
      // Removed from the cache at the same time: unmapMapping may have been here before us.
      if (mappingFind(mapping, at + shift) === frame) continue;
      pteSet(table, at, 0);
      putFrame(frame);
      count--;
    }
    countRss(held, mm, 0, count);
  }
  Mm.ptl.unlock(mm);
}

/** Where the frame of a page should be: at the address space's own distance, else beside its neighbour's frame. */
function nearFrame(mm: Ref<"mm">, page: number): number {
  const ideal = ram.base + ((page + Mm.frameOffset.get(mm)) % frameTotal()) * PAGE_SIZE;
  if (frameCount(ideal) === 0) return ideal;
  const before = pteGet(Mm.pgd.get(mm), page - 1);
  if ((before & PTE_ANON) !== 0) return pteFrame(before) + PAGE_SIZE;
  const after = pteGet(Mm.pgd.get(mm), page + 1);
  if ((after & PTE_ANON) !== 0) return pteFrame(after) - PAGE_SIZE;
  return ideal;
}

/**
 * `UserModeHost.translate` for any address space: the frame's byte address | PAGE_WRITABLE, or -1 after the fault
 * was recorded in the current task (setFault). A recorded signal of 0 means: run the instruction again after a safe
 * point, memory is being reclaimed.
 */
export function handleFault(mm: Ref<"mm">, va: number, access: number): number {
  const result = resolvePage(mm, va, access);
  if (result >= 0) return result;
  switch (result) {
    case FAULT_NOMEM:
      starve(mm, va);
      break;
    case FAULT_BUS:
      setFault(SIGBUS, BUS_ADRERR, va);
      break;
    default:
      setFault(SIGSEGV, result === FAULT_ACCERR ? SEGV_ACCERR : SEGV_MAPERR, va);
  }
  return -1;
}

let oomKiller: () => number = () => 0;
/** Sets what ends a process when memory cannot be had (task/oom.ts): 0 when there is none that it may end. */
export function setOomKiller(kill: typeof oomKiller): void {
  oomKiller = kill;
}

/**
 * Nothing was free: the fault is tried again after a grace period had a chance, and others had the CPU. When that does not help the
 * process with most memory is killed, which may be this one, and its memory waited for.
 */
function starve(mm: Ref<"mm">, va: number): void {
  const times = Mm.starved.add(mm, 1) + 1;
  let waits = true;
  if (times % STARVED_MAX === 0) waits = oomKiller() !== 0;
  const task = current();
  if (waits) {
    Task.yielding.set(task, 1);
    if (thisCpu() >= 0) setNeedResched(thisCpu());
    setFault(0, 0, va);
    return;
  }
  const name = String.fromCharCode(...Task.comm.view(task)).replace(/\0.*/s, "");
  klog(
    `Out of memory, and no process may be killed for it but ${Task.tgid.get(task)} (${name}), which asks for more`,
  );
  setFault(SIGKILL, 0, va);
}

/** `UserModeHost.translate`: a page of the current address space. */
export function translateUser(va: number, access: number): number {
  const mm = activeMm;
  if (mm === 0) {
    setFault(SIGSEGV, SEGV_MAPERR, va);
    return -1;
  }
  const pte = pteGet(Mm.pgd.get(mm), va >>> PAGE_SHIFT);
  if ((pte & pteNeeds(access)) !== 0) return (pte & (~4095 | PTE_WRITE)) >>> 0;
  const result = handleFault(mm, va, access);
  if (result >= 0 && Mm.starved.peek(mm) !== 0) Mm.starved.store(mm, 0);
  return result;
}
