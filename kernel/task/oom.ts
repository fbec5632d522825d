/**
 * The out-of-memory killer: when memory cannot be had it ends the process that holds most of it, as proc(5) describes for
 * oom_score, and not the one that happened to ask. Counted are the pages that a process has resident, its page tables and what else
 * it has in the kernel's heap, and the files in memory that have no name and that it has open.
 */
import {
  arrayLength,
  heapPages,
  listFirst,
  listNext,
  type Ref,
  rcuReadLock,
  rcuReadUnlock,
} from "../../rcu/index.ts";
import { forEachFd } from "../fs/fdtable.ts";
import { File } from "../fs/file.ts";
import { Inode } from "../fs/inode.ts";
import { eventsOf } from "../fs/inotify.ts";
import { FOPS } from "../fs/ops.ts";
import { pipePages } from "../ipc/pipe.ts";
import { sockPages } from "../ipc/sock.ts";
import { klog } from "../klog.ts";
import { setOomKiller } from "../mm/fault.ts";
import { frameTotal } from "../mm/frame.ts";
import { isShmem, Mapping } from "../mm/mapping.ts";
import { Mm, mmRss } from "../mm/mm.ts";
import { pteTables } from "../mm/pte.ts";
import { PAGE_SIZE, RamState, ramRef } from "../mm/ram.ts";
import { VMA_BYTES, vmaCount } from "../mm/vma.ts";
import { fatalPending } from "../sched/yield.ts";
import { sendGroupSignal } from "../signal/send.ts";
import { nowNs } from "../time/clock.ts";
import { SIGKILL } from "../uapi/signal.ts";
import { credOf } from "./cred.ts";
import { commText } from "./exec.ts";
import { allGroups, findTask, initGroup, lockTaskList, nextPid, unlockTaskList } from "./pid.ts";
import { Cred, Group, Task } from "./task.ts";

/** Least value of oom_score_adj: never killed. */
export const OOM_SCORE_ADJ_MIN = -1000;
export const OOM_SCORE_ADJ_MAX = 1000;
/** What objects of the kernel's heap take about, in bytes: open files with what they stand for, timers, queued signals, events of inotify, supplementary groups. */
const FILE_BYTES = 1024;
const TIMER_BYTES = 192;
const SIGNAL_BYTES = 80;
const EVENT_BYTES = 160;
const GROUP_BYTES = 4;

/** Pages of RAM and of the kernel's heap that the end of the process would bring back, about. To be called in a read scope. */
function pagesOf(task: Ref<"task">, mm: Ref<"mm">): { ram: number; heap: number } {
  const group = Task.group.get(task);
  let bytes = pteTables(Mm.pgd.get(mm)) * PAGE_SIZE + vmaCount(Mm.vmas.deref(rcuReadLock(), mm)) * VMA_BYTES;
  rcuReadUnlock();
  let ram = mmRss(mm);
  const files = Task.files.deref(rcuReadLock(), task);
  rcuReadUnlock();
  if (files !== 0) {
    forEachFd(files, (_fd, file) => {
      bytes += FILE_BYTES + eventsOf(file) * EVENT_BYTES;
      ram += filePages(file);
    });
  }
  const groups = Cred.groups.get(credOf(task));
  if (groups !== 0) bytes += arrayLength(groups) * GROUP_BYTES;
  bytes += Group.sigqueued.racy(group) * SIGNAL_BYTES;
  const head = Group.posixTimers.at(group);
  for (let node = listFirst(head); node !== 0; node = listNext(head, node)) bytes += TIMER_BYTES;
  return { ram, heap: bytes / PAGE_SIZE };
}

/** Pages that go with an open file. */
function filePages(file: Ref<"file">): number {
  const fops = File.fops.get(file);
  if (fops === FOPS.PIPE) return pipePages(file);
  if (fops === FOPS.SOCKET) return sockPages(File.priv.peek(file) as Ref<"sock">);
  if (fops !== FOPS.REGULAR) return 0;
  const inode = File.inode.get(file);
  if (Inode.nlink.load(inode) > 0) return 0;
  const mapping = Inode.mapping.get(inode);
  return mapping !== 0 && isShmem(mapping) ? Mapping.nrPages.load(mapping) : 0;
}

/** Pages, moved by oom_score_adj; -Infinity: not to be killed. To be called in a read scope. */
function badness(task: Ref<"task">, mm: Ref<"mm">): number {
  const group = Task.group.get(task);
  const adjust = Group.oomScoreAdj.load(group);
  if (group === initGroup() || adjust === OOM_SCORE_ADJ_MIN) return -Infinity;
  const { ram, heap } = pagesOf(task, mm);
  return ram + heap + (adjust * frameTotal()) / 1000;
}

/** The same when it is the kernel's heap that is short: RAM is no matter then. */
function heapBadness(task: Ref<"task">, mm: Ref<"mm">): number {
  const group = Task.group.get(task);
  if (group === initGroup() || Group.oomScoreAdj.load(group) === OOM_SCORE_ADJ_MIN) return -Infinity;
  const { heap } = pagesOf(task, mm);
  const { total, bytes } = heapPages();
  return heap * PAGE_SIZE * HEAP_PART < total * bytes ? -Infinity : heap;
}

/** What /proc/PID/oom_score says: 0 to 2000, 667 for a process that takes next to nothing. */
export function oomScore(task: Ref<"task">): number {
  const scope = rcuReadLock();
  const mm = Task.mm.deref(scope, task);
  const points = mm === 0 ? -Infinity : badness(task, mm);
  rcuReadUnlock();
  if (points === -Infinity) return 0;
  return Math.max(0, Math.trunc(((1000 + Math.trunc((points * 1000) / frameTotal())) * 2) / 3));
}

/** What a killed process had may take so long to come back: files are closed, grace periods end. Then another one is killed. */
const RETURN_NS = 250e6;

/** Who has less than this part of the heap is not killed for it: that would not help. */
const HEAP_PART = 256;
/** A process that is dying for so long does not: another one is killed. */
const DYING_NS = 5e9;

/** What was done about memory that could not be had. */
export const OOM_NOBODY = 0;
/** Some process has been killed, or is dying already: its memory comes back. */
export const OOM_WAIT = 1;

/**
 * Kills the process with most memory, and those that share its address space. While one is dying, or its memory may be on its way, no
 * further one is killed. No lock may be held. OOM_NOBODY when there is none that may be killed.
 */
export const outOfMemory = (): number => killWorst(badness);
/** The same of the kernel's heap. */
export const heapExhausted = (): number => killWorst(heapBadness);

function killWorst(points: typeof badness): number {
  let worst: Ref<"task"> | 0 = 0;
  let worstMm: Ref<"mm"> | 0 = 0;
  let most = -Infinity;
  let dying = false;
  const scope = rcuReadLock();
  for (let pid = nextPid(scope, 1); pid !== 0; pid = nextPid(scope, pid + 1)) {
    const task = findTask(scope, pid);
    if (task === 0) continue;
    const mm = Task.mm.deref(scope, task);
    if (mm === 0) continue;
    if (fatalPending(task)) {
      dying = true;
      continue;
    }
    // Threads have one address space: looked at once.
    if (mm === worstMm) continue;
    const own = points(task, mm);
    if (own <= most) continue;
    most = own;
    worst = task;
    worstMm = mm;
  }
  const name = worst === 0 ? "" : commText(worst);
  const pid = worst === 0 ? 0 : Task.tgid.get(worst);
  const kib = worstMm === 0 ? 0 : (mmRss(worstMm) * PAGE_SIZE) / 1024;
  const all = worst === 0 || worstMm === 0 ? { ram: 0, heap: 0 } : pagesOf(worst, worstMm);
  rcuReadUnlock();
  const now = nowNs();
  const since = now - RamState.oomKilled.get(ramRef);
  if (since < RETURN_NS || (dying && since < DYING_NS)) return OOM_WAIT;
  if (worstMm === 0) return dying ? OOM_WAIT : OOM_NOBODY;
  klog(
    `Out of memory: killed process ${pid} (${name}), resident ${kib} kB, ${Math.round(all.ram + all.heap) * 4} kB in all`,
  );
  RamState.oomKilled.set(ramRef, now);
  killUsers(worstMm);
  return OOM_WAIT;
}

/** The address space may be gone meanwhile: then nobody has it. */
function killUsers(mm: Ref<"mm">): void {
  lockTaskList();
  const head = allGroups();
  for (let node = listFirst(head); node !== 0; node = listNext(head, node)) {
    const group = Group.allNode.owner(node);
    if (group === initGroup()) continue;
    let uses = false;
    Group.lock.lock(group);
    const threads = Group.threads.at(group);
    for (let at = listFirst(threads); at !== 0 && !uses; at = listNext(threads, at))
      uses = Task.mm.access(Task.threadNode.owner(at)) === mm;
    Group.lock.unlock(group);
    if (uses) sendGroupSignal(group, SIGKILL);
  }
  unlockTaskList();
}

setOomKiller(outOfMemory);
