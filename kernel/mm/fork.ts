/** fork(2)'s half of memory: a copy of an address space that shares every frame until somebody writes. */
import type { Ref } from "../../rcu/index.ts";
import { arraySet, tryAllocArray } from "../../rcu/index.ts";
import { fileBacking } from "./filemap.ts";
import { getFrame, putFrame } from "./frame.ts";
import { Mm, mmCreate, mmPut } from "./mm.ts";
import { PTE_ANON, PTE_WRITE, pteFrame, pteTable, pteTake, pteWalk } from "./pte.ts";
import { mmuNotify } from "./tlb.ts";
import {
  VM_DONTFORK,
  VM_LOCKED,
  VM_SHARED,
  VM_WIPEONFORK,
  Vma,
  vmaCount,
  vmaFree,
  vmaNew,
  vmaRef,
  vmaSpec,
  vmasHeld,
} from "./vma.ts";
import { countRss } from "./zap.ts";

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
 * CPUs have forgotten that they could write before this returns.
 */
export function mmFork(mm: Ref<"mm">): Ref<"mm"> | 0 {
  const child = mmCreate();
  if (child === 0) return 0;
  for (const field of COPIED) Mm[field].set(child, Mm[field].get(mm));
  Mm.mmapLock.lock(mm);
  const held = Mm.ptl.lock(mm);
  const range = { start: Infinity, end: 0 };
  const done = copyVmas(mm, child, held, range);
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
  Mm.ptl.unlock(mm);
  if (range.start < range.end) mmuNotify(mm, range.start, range.end);
  Mm.mmapLock.unlock(mm);
  if (done) return child;
  mmPut(child);
  return 0;
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
    if ((spec.flags & VM_WIPEONFORK) === 0) done = copyPages(mm, child, held, vma, range);
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
    arraySet(array as Ref<"array">, 3 * n, Vma.start.get(vma));
    arraySet(array as Ref<"array">, 3 * n + 1, Vma.end.get(vma));
    arraySet(array as Ref<"array">, 3 * n + 2, vma);
  });
  Mm.vmas.init(child, array);
  Mm.totalVm.init(child, totalVm);
  Mm.hiwaterVm.init(child, totalVm);
  return done;
}

/** Shares the frames of one area. */
function copyPages(
  mm: Ref<"mm">,
  child: Ref<"mm">,
  held: Held,
  vma: Ref<"vma">,
  range: { start: number; end: number },
): boolean {
  const shared = (Vma.flags.get(vma) & VM_SHARED) !== 0;
  const pgd = Mm.pgd.get(child);
  let target = 0 as Ref<"pagetable"> | 0;
  let targetIndex = -1;
  let short = false;
  let anon = 0;
  let file = 0;
  pteWalk(Mm.pgd.get(mm), Vma.start.get(vma), Vma.end.get(vma), (table, page, pte) => {
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
  return !short;
}
