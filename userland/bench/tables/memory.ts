/** Tables of address spaces: VMAs, and the futex buckets. */
import { abandonFutex, futexWait, futexWake } from "../../../kernel/futex.ts";
import { Mm, mmCreate } from "../../../kernel/mm/mm.ts";
import { mmap } from "../../../kernel/mm/mmap.ts";
import { activateMm } from "../../../kernel/mm/tlb.ts";
import { VM_DONTDUMP, VM_READ, Vma, vmaAt } from "../../../kernel/mm/vma.ts";
import { editVmas, freeRemoved, nothingRemoved } from "../../../kernel/mm/vma-edit.ts";
import { current, setCurrent } from "../../../kernel/sched/current.ts";
import { finishWait } from "../../../kernel/sched/waitqueue.ts";
import { Task } from "../../../kernel/task/task.ts";
import { FUTEX_BITSET_MATCH_ANY } from "../../../kernel/uapi/futex.ts";
import { MAP_ANONYMOUS, MAP_FIXED, MAP_PRIVATE, PROT_READ, PROT_WRITE } from "../../../kernel/uapi/mman.ts";
import { type Ref, rcuBarrier, tryAlloc } from "../../../rcu/index.ts";
import { need } from "../world.ts";
import { cellBytes, type TableBench } from "./table.ts";

/** VMA n covers eight pages from here; gaps keep neighbours from merging. */
const FIRST_PAGE = 0x100;
const pageOf = (n: number): number => FIRST_PAGE + n * 16;
const PAGES = 8;

export const vmaTable: TableBench = {
  name: "vma",
  what: "findVma; a write changes one VMA (madvise), which publishes a copy of the array",
  sizes: [64, 4096],
  most: [1 << 14, "each VMA added copies the array of all, so filling more takes minutes"],
  // A write queues the old VMA, and the old array of all: three words for each.
  deferredBytes: (entries) => (cellBytes(Vma) + entries * 12) / 2,
  build(entries) {
    const mm = need(mmCreate());
    for (let n = 0; n < entries; n++) {
      const held = Mm.ptl.lock(mm);
      const page = pageOf(n);
      const spec = {
        start: page,
        end: page + PAGES,
        flags: VM_READ,
        mapping: 0 as const,
        file: 0 as const,
        pgoff: 0,
      };
      need(editVmas(held, mm, page, page + PAGES, null, spec, nothingRemoved()) + 1);
      Mm.ptl.unlock(mm);
      // The old arrays go, or the heap would hold one of each length.
      if (n % 64 === 0) rcuBarrier();
    }
    return [mm];
  },
  open: ([mm]) => ({
    read: (n) => vmaAt(mm as Ref<"mm">, pageOf(n) + 3),
    write: (n) => {
      const removed = nothingRemoved();
      const held = Mm.ptl.lock(mm as Ref<"mm">);
      const page = pageOf(n);
      const toggle = (piece: { flags: number }): boolean => {
        piece.flags ^= VM_DONTDUMP;
        return true;
      };
      const done = editVmas(held, mm as Ref<"mm">, page, page + PAGES, toggle, null, removed);
      Mm.ptl.unlock(mm as Ref<"mm">);
      freeRemoved(removed);
      return need(done + 1);
    },
  }),
};

const FUTEXES = 0x10_0000;
const addressOf = (n: number): number => FUTEXES + n * 4;

export const futexTable: TableBench = {
  name: "futex",
  what: "futex wake of a word that nobody waits for; a write is a wait that is given up",
  sizes: [64, 4096, 65536],
  deferredBytes: 0,
  build(entries) {
    const mm = need(mmCreate());
    activateMm(mm);
    const length = 2 * entries * 4;
    const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
    need(mmap(mm, FUTEXES, length, PROT_READ | PROT_WRITE, flags, 0, 0));
    const self = current();
    // Waiters on the words above those that are woken: the chains have their usual length.
    for (let n = 0; n < entries; n++) {
      const task = need(tryAlloc(Task));
      Task.mm.init(task, mm);
      setCurrent(task);
      futexWait(addressOf(entries + n), true, 0, Number.POSITIVE_INFINITY, FUTEX_BITSET_MATCH_ANY);
    }
    setCurrent(self);
    activateMm(0);
    return [mm];
  },
  open: ([mm]) => {
    const activate = (): void => activateMm(mm as Ref<"mm">);
    activate();
    return {
      read: (n) => futexWake(addressOf(n), true, 1, FUTEX_BITSET_MATCH_ANY),
      write: (n) => {
        futexWait(addressOf(n), true, 0, Number.POSITIVE_INFINITY, FUTEX_BITSET_MATCH_ANY);
        abandonFutex(current());
        finishWait(current());
        return 0;
      },
    };
  },
};
