/** fork(2)'s half of memory: a copy of an address space that shares every frame until somebody writes. */
import { arrayCopy, arraySet, kfreeArrayRcu, type Ref, tryAllocArray } from "../../rcu/index.ts";
import { current } from "../sched/current.ts";
import { giveBack, hasMm, releaseMm, takeMm, WHOLE_AREAS } from "../sched/hold.ts";
import { defineKept, KEPT_FORK, keepForRestart, keptForRestart, takeKept } from "../sched/restart.ts";
import { partAlso, partDone, resetPart, yieldWhole } from "../sched/yield.ts";
import { Task } from "../task/task.ts";
import { ENOMEM } from "../uapi/errno.ts";
import { fileBacking } from "./filemap.ts";
import { getFrame, putFrame } from "./frame.ts";
import { MMAP_MIN_ADDR, Mm, mmCreate, mmPut, mmRss } from "./mm.ts";
import { PTE_ANON, PTE_WRITE, pteFrame, ptePart, pteTable, pteTake, pteWalk } from "./pte.ts";
import { PAGE_SIZE } from "./ram.ts";
import { mmuNotify } from "./tlb.ts";
import {
  VM_DONTFORK,
  VM_LOCKED,
  VM_SHARED,
  VM_WIPEONFORK,
  Vma,
  type VmaSpec,
  vmaCount,
  vmaFree,
  vmaNew,
  vmaRef,
  vmaSearch,
  vmaSpec,
  vmaStartAt,
  vmasHeld,
} from "./vma.ts";
import { countRss, PAGES_END } from "./zap.ts";

const COPIED = [
  "brkStart",
  "brk",
  "mmapBase",
  "stackLimit",
  "asLimit",
  "startStack",
  "startCode",
  "endCode",
  "startData",
  "endData",
  "argStart",
  "argEnd",
  "envStart",
  "envEnd",
  "auxv",
  "auxvBytes",
] as const;

/**
 * A copy-on-write copy of `mm` with one user; 0 when memory is short. Private pages become read-only in both; other
 * CPUs have forgotten that they could write before this returns. A large one is copied in parts: forkMm.
 */
export function mmFork(mm: Ref<"mm">): Ref<"mm"> | 0 {
  const child = mmCreate();
  if (child === 0) return 0;
  Mm.mmapLock.lock(mm);
  beginChild(mm, child);
  const held = Mm.ptl.lock(mm);
  const range = { start: Infinity, end: 0 };
  const done = copyVmas(mm, child, held, range);
  Mm.ptl.unlock(mm);
  if (range.start < range.end) mmuNotify(mm, range.start, range.end);
  Mm.mmapLock.unlock(mm);
  if (done) return child;
  mmPut(child);
  return 0;
}

/** What an address space has besides areas and pages. mmapLock is held. */
function beginChild(mm: Ref<"mm">, child: Ref<"mm">): void {
  for (const field of COPIED) Mm[field].set(child, Mm[field].get(mm));
  const exe = Mm.exe.access(mm);
  if (exe !== 0) {
    fileBacking().exeGet(exe);
    Mm.exe.init(child, exe);
  }
  // Both see the same code until one of them changes it.
  Mm.codeSpace.init(child, Mm.codeSpace.peek(mm));
  Mm.spaceShared.init(child, 1);
  Mm.spaceShared.store(mm, 1);
  Mm.membarrier.init(child, Mm.membarrier.peek(mm));
}

/** Present pages that are copied in one piece. */
const WHOLE_PAGES = 8192;
/** What is copied in parts: first the areas, then their pages. Task.partial is the page to go on with, Task.partialAlso one of these. */
const AREAS = 1;
const PAGES = 2;

/**
 * fork(2) of the current task's address space: the copy, -ENOMEM, or YIELD. A large one is copied in parts, while no other thread of the
 * process runs (sched/hold.ts): what the child finds is what was there at one moment.
 */
export function forkMm(mm: Ref<"mm">): Ref<"mm"> | number {
  const task = current();
  const large = mmRss(mm) > WHOLE_PAGES || vmaCount(Mm.vmas.access(mm)) > WHOLE_AREAS;
  if (task === 0 || !(large || hasMm(mm))) return mmFork(mm) || -ENOMEM;
  let child = keptForRestart(task, KEPT_FORK) as Ref<"mm"> | 0;
  if (child === 0) {
    const taken = takeMm(mm);
    if (taken !== 0) return taken;
    child = mmCreate();
    if (child === 0) {
      releaseMm(mm);
      return -ENOMEM;
    }
    Mm.mmapLock.lock(mm);
    beginChild(mm, child);
    Mm.mmapLock.unlock(mm);
    takeKept(task);
    keepForRestart(KEPT_FORK, child);
  }
  let at = partDone();
  for (let phase = at === 0 ? AREAS : partAlso(); ; ) {
    at = phase === AREAS ? copyAreas(mm, child, at) : copyPart(mm, child, at);
    if (at < 0) {
      releaseMm(mm);
      resetPart();
      mmPut(child);
      return -ENOMEM;
    }
    if (at === END && phase === PAGES) break;
    if (at === END) [at, phase] = [MMAP_MIN_ADDR / PAGE_SIZE, PAGES];
    const stop = yieldWhole(at, phase);
    if (stop !== 0) return stop;
  }
  releaseMm(mm);
  resetPart();
  return child;
}

defineKept(KEPT_FORK, (task, child) => {
  const mm = Task.mm.access(task);
  if (mm !== 0) giveBack(mm, task);
  mmPut(child as Ref<"mm">);
});

/** Behind the last page. */
const END = PAGES_END;
/** Pages that are shared with the child in one part. */
const PART_PAGES = 8192;

/** Gives the child a part of the areas, from page `at` on: the page where the next part begins, END after the last, -1 when memory is short. */
function copyAreas(mm: Ref<"mm">, child: Ref<"mm">, at: number): number {
  const specs: VmaSpec[] = [];
  const held = Mm.ptl.lock(mm);
  const vmas = vmasHeld(held, mm);
  const first = vmaSearch(vmas, at);
  const end = Math.min(vmaCount(vmas), first + WHOLE_AREAS);
  for (let index = first; index < end; index++) specs.push(vmaSpec(vmaRef(vmas as Ref<"array">, index)));
  const next = end < vmaCount(vmas) ? vmaStartAt(vmas as Ref<"array">, end) : END;
  Mm.ptl.unlock(mm);
  const fresh: Ref<"vma">[] = [];
  for (const spec of specs) {
    if ((spec.flags & VM_DONTFORK) !== 0) continue;
    const vma = vmaNew(child, { ...spec, flags: spec.flags & ~VM_LOCKED });
    if (vma === 0) break;
    fresh.push(vma);
  }
  const wanted = specs.filter((spec) => (spec.flags & VM_DONTFORK) === 0).length;
  if (fresh.length === wanted && addAreas(child, fresh)) return next;
  for (const vma of fresh) vmaFree(vma);
  return -1;
}

/** Puts areas behind those that the child has; false when memory is short. They are reachable before their pages come, by whoever truncates a file. */
function addAreas(child: Ref<"mm">, fresh: readonly Ref<"vma">[]): boolean {
  if (fresh.length === 0) return true;
  const held = Mm.ptl.lock(child);
  const old = vmasHeld(held, child);
  const count = vmaCount(old);
  const array = tryAllocArray((count + fresh.length) * 3);
  if (array !== 0) {
    if (old !== 0) arrayCopy(old, array, 3 * count);
    let total = Mm.totalVm.get(held, child);
    for (const [n, vma] of fresh.entries()) {
      setArea(array, count + n, vma);
      total += Vma.end.get(vma) - Vma.start.get(vma);
    }
    Mm.vmas.assign(held, child, array);
    Mm.seq.add(child, 1);
    Mm.totalVm.set(held, child, total);
    Mm.hiwaterVm.set(held, child, total);
  }
  Mm.ptl.unlock(child);
  if (array !== 0 && old !== 0) kfreeArrayRcu(old);
  return array !== 0;
}

function setArea(array: Ref<"array">, index: number, vma: Ref<"vma">): void {
  arraySet(array, 3 * index, Vma.start.get(vma));
  arraySet(array, 3 * index + 1, Vma.end.get(vma));
  arraySet(array, 3 * index + 2, vma);
}

/** Shares a part of the pages, from page `at` on: as copyAreas. */
function copyPart(mm: Ref<"mm">, child: Ref<"mm">, at: number): number {
  const vmas = Mm.vmas.access(child);
  const range = { start: Infinity, end: 0 };
  Mm.mmapLock.lock(mm);
  const held = Mm.ptl.lock(mm);
  let left = PART_PAGES;
  let next = END;
  const first = vmaSearch(vmas, at);
  for (let index = first; index < vmaCount(vmas); index++) {
    const vma = vmaRef(vmas as Ref<"array">, index);
    const from = Math.max(at, Vma.start.get(vma));
    if (left <= 0 || index === first + WHOLE_AREAS) {
      next = from;
      break;
    }
    if ((Vma.flags.get(vma) & VM_WIPEONFORK) !== 0) continue;
    const to = ptePart(Mm.pgd.get(mm), from, Vma.end.get(vma));
    const copied = copyPages(mm, child, held, vma, from, to, range);
    if (copied < 0) {
      next = -1;
      break;
    }
    left -= copied;
    if (to < Vma.end.get(vma)) {
      next = to;
      break;
    }
  }
  Mm.ptl.unlock(mm);
  if (range.start < range.end) mmuNotify(mm, range.start, range.end);
  Mm.mmapLock.unlock(mm);
  return next;
}

type Held = ReturnType<typeof Mm.ptl.lock>;

function copyVmas(
  mm: Ref<"mm">,
  child: Ref<"mm">,
  held: Held,
  range: { start: number; end: number },
): boolean {
  const vmas = vmasHeld(held, mm);
  const fresh: Ref<"vma">[] = [];
  let done = true;
  let totalVm = 0;
  for (let index = 0; done && index < vmaCount(vmas); index++) {
    const spec = vmaSpec(vmaRef(vmas as Ref<"array">, index));
    if ((spec.flags & VM_DONTFORK) !== 0) continue;
    const vma = vmaNew(child, { ...spec, flags: spec.flags & ~VM_LOCKED });
    if (vma === 0) {
      done = false;
      break;
    }
    fresh.push(vma);
    totalVm += spec.end - spec.start;
    if ((spec.flags & VM_WIPEONFORK) === 0)
      done = copyPages(mm, child, held, vma, spec.start, spec.end, range) >= 0;
  }
  const array = fresh.length === 0 ? 0 : tryAllocArray(fresh.length * 3);
  if (array === 0 && fresh.length !== 0) {
    for (const vma of fresh) {
      pteWalk(Mm.pgd.get(child), Vma.start.get(vma), Vma.end.get(vma), (table, page, pte) => {
        pteTake(table, page, 0);
        putFrame(pteFrame(pte));
      });
      vmaFree(vma);
    }
    return false;
  }
  fresh.forEach((vma, n) => {
    setArea(array as Ref<"array">, n, vma);
  });
  Mm.vmas.init(child, array);
  Mm.totalVm.init(child, totalVm);
  Mm.hiwaterVm.init(child, totalVm);
  return done;
}

/** Shares the frames of pages [from, to) of one area: how many, or -1 when memory is short. */
function copyPages(
  mm: Ref<"mm">,
  child: Ref<"mm">,
  held: Held,
  vma: Ref<"vma">,
  from: number,
  to: number,
  range: { start: number; end: number },
): number {
  const shared = (Vma.flags.get(vma) & VM_SHARED) !== 0;
  const pgd = Mm.pgd.get(child);
  let target = 0 as Ref<"pagetable"> | 0;
  let targetIndex = -1;
  let short = false;
  let anon = 0;
  let file = 0;
  pteWalk(Mm.pgd.get(mm), from, to, (table, page, pte) => {
    if (short) return;
    if (page >>> 10 !== targetIndex) {
      targetIndex = page >>> 10;
      target = pteTable(pgd, page);
    }
    if (target === 0) {
      short = true;
      return;
    }
    let copy = pte;
    if (!shared && (pte & PTE_ANON) !== 0) {
      anon++;
      if ((pte & PTE_WRITE) !== 0) {
        copy = pte & ~PTE_WRITE;
        pteTake(table, page, copy);
        if (page < range.start) range.start = page;
        if (page >= range.end) range.end = page + 1;
      }
    } else file++;
    getFrame(pteFrame(pte));
    pteTake(target, page, copy);
  });
  countRss(held, child, anon, file);
  return short ? -1 : anon + file;
}
