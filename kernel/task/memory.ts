/**
 * The kernel's heap when it runs short. A CPU is asked before it takes pages of the last eighth: the task that it works for is told to
 * see to it at its next safe point, and one that has much already is refused the last 32nd, so that others get on.
 */
import { heapPages, type Ref } from "../../rcu/index.ts";
import { setHeapWatch } from "../../rcu/kernel.ts";
import { maxOf } from "../fs/fd-leaves.ts";
import { Files } from "../fs/fdtable.ts";
import { makeHeapRoom } from "../mm/heap.ts";
import { Mm } from "../mm/mm.ts";
import { pteTables } from "../mm/pte.ts";
import { RamState, ramRef } from "../mm/ram.ts";
import { noteRefusal, SHORT_HEAP } from "../mm/shortage.ts";
import { vmaCount } from "../mm/vma.ts";
import { setNeedResched } from "../sched/cpus.ts";
import { current, thisCpu } from "../sched/current.ts";
import { nowNs } from "../time/clock.ts";
import { heapExhausted } from "./oom.ts";
import { GROUP_EXITING, Group, Task, WORK_MEMORY } from "./task.ts";

/** Parts of the heap: below the first room is made, below the second a process is killed, below the third only small ones get more. */
const LOW_SHIFT = 3;
const KILL_SHIFT = 4;
const RESERVE_SHIFT = 5;
/** A process with more areas, descriptors or queued signals than this has much. */
const MUCH = 1024;
/** The same of page tables, which are larger: half a gigabyte's. */
const MANY_TABLES = 128;
/** How long the heap is short before a process is killed for what it has there. */
const PATIENCE_NS = 50e6;

/** On every CPU at its boot. */
export function watchHeap(): void {
  setHeapWatch((left) => {
    const task = current();
    if (task === 0) return true;
    Task.work.or(task, WORK_MEMORY);
    if (left > heapPages().total >> RESERVE_SHIFT) return true;
    if (hasMuch(task)) return false;
    // Perhaps there are no pages at all: then the call waits for some.
    noteRefusal(SHORT_HEAP);
    return true;
  });
}

/** May be called with locks held: looks only. */
function hasMuch(task: Ref<"task">): boolean {
  const group = Task.group.get(task);
  if ((Group.flags.load(group) & GROUP_EXITING) !== 0) return false;
  const mm = Task.mm.access(task);
  const files = Task.files.access(task);
  const vmas = mm === 0 ? 0 : vmaCount(Mm.vmas.access(mm));
  const fdt = files === 0 ? 0 : Files.fdt.access(files);
  if (mm !== 0 && pteTables(Mm.pgd.get(mm)) > MANY_TABLES) return true;
  return vmas > MUCH || (fdt !== 0 && maxOf(fdt) > MUCH) || Group.sigqueued.racy(group) > MUCH;
}

/** WORK_MEMORY: the task is at a safe point, without locks. */
export function seeToHeap(task: Ref<"task">): void {
  const { total, free } = heapPages();
  const { heapShort } = RamState;
  if (free >= total >> KILL_SHIFT) heapShort.set(ramRef, 0);
  if (free >= total >> LOW_SHIFT) return;
  makeHeapRoom();
  if (free >= total >> KILL_SHIFT) return;
  // What has been freed already has time to come back, on other CPUs and from other tasks of this one.
  Task.yielding.set(task, 1);
  setNeedResched(thisCpu());
  const now = nowNs();
  const since = heapShort.get(ramRef);
  if (since === 0) heapShort.set(ramRef, now);
  else if (now - since > PATIENCE_NS) heapExhausted();
}
