/** Closing many descriptors, in parts: close_range(2), the end of execve's and of a task's table. */
import { type Ref, rcuReadLock, rcuReadUnlock } from "../../rcu/index.ts";
import { defineLater, LATER_FILES, laterByTask } from "../sched/later.ts";
import { partDone, yieldAlways, yieldWhole } from "../sched/yield.ts";
import {
  bitsAt,
  CLOEXEC,
  fileIn,
  LEAF,
  LEAF_BITS,
  leafAt,
  maxOf,
  setBit,
  TAKEN,
  type Table,
} from "./fd-leaves.ts";
import { closeFd, Files, filesFree, filesMax, NR_OPEN } from "./fdtable.ts";

type Fs = Ref<"files">;

/** Files that are closed between two safe points, where what follows from their last counts is done. */
const CLOSE_PART = 256;
/** Descriptors that are looked at in one part. */
const LOOK_PART = 16384;

/** The first descriptor from `from` on, below `end`, that is open, and marked close-on-exec if only those count; `end` when there is none. */
function nextOpen(files: Fs, from: number, end: number, cloexec: boolean): number {
  const scope = rcuReadLock();
  const fdt = Files.fdt.deref(scope, files) as Table;
  const stop = Math.min(end, maxOf(fdt));
  const kind = cloexec ? CLOEXEC : TAKEN;
  let fd = from;
  for (; fd < stop; fd++) {
    if (leafAt(fdt, fd >>> LEAF_BITS) === 0) {
      fd |= LEAF - 1;
      continue;
    }
    const word = bitsAt(fdt, kind, fd) >>> (fd & 31);
    if (word === 0) fd |= 31;
    else if ((word & 1) !== 0 && fileIn(fdt, fd) !== 0) break;
  }
  rcuReadUnlock();
  return fd < stop ? fd : end;
}

/**
 * Closes a part of the descriptors [from, end), only those that are marked close-on-exec if `cloexec`: where the next part begins, which
 * the caller comes to after a safe point; `end` when it was the last one.
 */
export function closePart(files: Fs, from: number, end: number, cloexec: boolean): number {
  const stop = Math.min(end, from + LOOK_PART);
  let fd = from;
  for (let left = CLOSE_PART; left > 0; left--) {
    fd = nextOpen(files, fd, stop, cloexec);
    if (fd >= stop) break;
    closeFd(files, fd++);
  }
  return fd >= stop && stop >= Math.min(end, filesMax(files)) ? end : fd;
}

/** Marks descriptors close-on-exec: a part, as closePart. */
function markPart(files: Fs, from: number, end: number): number {
  const stop = Math.min(end, from + LOOK_PART);
  const held = Files.lock.lock(files);
  const fdt = Files.fdt.peek(held, files) as Table;
  const most = Math.min(stop, maxOf(fdt));
  for (let fd = from; fd < most; fd++) if (fileIn(fdt, fd) !== 0) setBit(fdt, CLOEXEC, fd, true);
  Files.lock.unlock(files);
  return most < stop ? end : stop;
}

/** close_range(2) without flags or with CLOSE_RANGE_CLOEXEC: 0, or YIELD. Other threads may see it half done. */
export function closeRange(files: Fs, first: number, last: number, cloexecOnly: boolean): number {
  const end = Math.min(last + 1, NR_OPEN);
  let fd = Math.max(first, partDone());
  while (fd < end) {
    fd = cloexecOnly ? markPart(files, fd, end) : closePart(files, fd, end, false);
    if (fd >= end) break;
    const stop = cloexecOnly ? yieldWhole(fd) : yieldAlways(fd);
    if (stop !== 0) return stop;
  }
  return 0;
}

/** Closes a part of a table without users, from `from` on: where to go on, 0 when the table is gone. */
function putPart(files: Fs, from: number): number {
  const next = closePart(files, from, NR_OPEN, false);
  if (next < NR_OPEN) return next;
  filesFree(files);
  return 0;
}
defineLater(LATER_FILES, (files, at) => putPart(files as Fs, at));

/** One user less: the last one closes everything, at once, or in parts when its call is over. */
export function filesPut(files: Fs): void {
  if (Files.users.decAndTest(files) && putPart(files, 0) !== 0) laterByTask(LATER_FILES, files);
}
