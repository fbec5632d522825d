/**
 * What may take long and is left of calls that cannot be run again, or of tasks: done in parts, between which others have the CPU.
 * A task does it before it goes back to user mode (WORK_TIDY), and before it exits (WORK_EXIT).
 */
import type { Ref } from "../../rcu/index.ts";
import { closePart } from "../fs/close-range.ts";
import { Files, NR_OPEN } from "../fs/fdtable.ts";
import { exitRobustList } from "../futex-robust.ts";
import { Mm, mmRss, SHED_PAGES } from "../mm/mm.ts";
import { SHED_END, shedPart } from "../mm/reap.ts";
import { vmaCount } from "../mm/vma.ts";
import { doLater } from "../sched/later.ts";
import { mustYield } from "../sched/yield.ts";
import { dropQueued } from "../signal/pending.ts";
import { Task, WORK_TIDY } from "./task.ts";

/** execve(2): the descriptors that are marked close-on-exec are closed before the new program runs. Its table has no other user. */
export function closeOnExec(task: Ref<"task">): void {
  Task.closingFrom.set(task, 1);
  Task.work.or(task, WORK_TIDY);
}

/** WORK_TIDY, at a safe point: does a part. False when that was not all. */
export function tidy(task: Ref<"task">): boolean {
  if (!doLater(task, mustYield)) return false;
  const from = Task.closingFrom.get(task);
  const files = Task.files.access(task);
  if (from === 0 || files === 0) return true;
  const next = closePart(files, from - 1, NR_OPEN, true);
  Task.closingFrom.set(task, next >= NR_OPEN ? 0 : next + 1);
  return next >= NR_OPEN;
}

/** An address space with fewer areas goes in one piece. */
const SHED_AREAS = 2048;

/**
 * The current task is about to exit, and its call is over. Where it is the last one that uses an address space of many pages, or many
 * descriptors, they go in parts. False: others may have the CPU now, and this is to be called again before doExit, after a safe point.
 */
export function shed(task: Ref<"task">): boolean {
  Task.closingFrom.set(task, 0); // All are closed.
  return tidy(task) && dropQueued(task) && shedMemory(task) && shedFiles(task);
}

/** The memory's part: false when somebody wants the CPU before all of it is gone. */
export function shedMemory(task: Ref<"task">): boolean {
  const mm = Task.mm.access(task);
  if (mm === 0 || Mm.users.load(mm) !== 1) return true;
  let at = Task.partial.get(task);
  if (at === 0 && mmRss(mm) < SHED_PAGES && vmaCount(Mm.vmas.access(mm)) < SHED_AREAS) return true;
  // The list is in these pages; the locks on it may not be.
  if (at === 0) exitRobustList(task);
  while (at < SHED_END) {
    at = shedPart(mm, at);
    Task.partial.set(task, at);
    if (mustYield()) return false;
  }
  return true;
}

/** Descriptors are closed from below: false after each part, since the safe point does what follows from it. */
function shedFiles(task: Ref<"task">): boolean {
  const files = Task.files.access(task);
  if (files === 0 || Files.users.load(files) !== 1) return true;
  const from = Math.max(0, Task.partial.get(task) - SHED_END);
  const next = closePart(files, from, NR_OPEN, false);
  Task.partial.set(task, SHED_END + next);
  return next >= NR_OPEN;
}
