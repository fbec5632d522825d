/**
 * How much of each kind the machine has, and a user: the parameters of /proc/sys that say so. Their defaults follow from the size of the
 * kernel's heap, as Linux's follow from memory, so that no kind alone can fill it.
 */
import { atomic, heapPages, type Ref, struct, tryAlloc } from "../../rcu/index.ts";
import { kernelGlobal } from "../global.ts";
import { frameTotal } from "../mm/frame.ts";

export const Limits = struct("limits", {
  /** Tasks of the machine; the host's own spawns may go beyond. */
  threadsMax: atomic(),
  /** Open files of the machine. */
  fileMax: atomic(),
  /** Pids are below this. */
  pidMax: atomic(),
  /** Mounts of the machine; the host's own may go beyond. */
  mountMax: atomic(),
  // Of a user.
  inotifyInstances: atomic(),
  inotifyWatches: atomic(),
  epollWatches: atomic(),
  /** Pages of pipes beyond which a user's new pipes are small. */
  pipePages: atomic(),
  /** Record locks: Linux counts them with the memory of a group of processes, and has no number for it. */
  recordLocks: atomic(),
});
export type LimitName = Exclude<keyof typeof Limits & string, symbol>;

const limits = kernelGlobal<Ref<"limits">>("limits");

/** Bytes of heap for a task with what belongs to it: registers, tables, page tables. */
const TASK_BYTES = 64 << 10;
/** The same for other things, and what part of the heap they may take. */
const FILE_BYTES = 4 << 10;
const MOUNT_BYTES = 8 << 10;
const EPITEM_BYTES = 3 << 10;
const RECORD_LOCK_BYTES = 1 << 10;

/** Once per machine, by the booting thread, after createRam. */
export function limitsInit(): void {
  const ref = tryAlloc(Limits);
  if (ref === 0) throw new Error("no memory for limits");
  const { total, bytes: page } = heapPages();
  const heap = total * page;
  const share = (bytes: number, most: number): number => Math.min(most, Math.floor(heap / bytes));
  Limits.threadsMax.init(ref, share(TASK_BYTES, THREADS_MOST));
  Limits.pidMax.init(ref, PID_MAX);
  Limits.fileMax.init(ref, share(FILE_BYTES, FILES_MOST));
  Limits.mountMax.init(ref, share(MOUNT_BYTES, 100_000));
  Limits.inotifyInstances.init(ref, 128);
  Limits.inotifyWatches.init(ref, share(FILE_BYTES, 1_048_576));
  Limits.epollWatches.init(ref, share(EPITEM_BYTES, 0x7fff_ffff));
  Limits.pipePages.init(ref, Math.min(16384, frameTotal() >> 3));
  Limits.recordLocks.init(ref, share(RECORD_LOCK_BYTES, 0x7fff_ffff));
  limits.init(ref);
}

/** Most pids: the tables have so many places. Linux's own default. */
export const PID_MAX = 32768;

/** Below the number of pids, so that the host can still start a process when a program has made all that it may. */
export const THREADS_MOST = 32000;
const FILES_MOST = 1_048_576;

/** The limit of that name; no limit before limitsInit. */
export function limit(name: LimitName): number {
  const ref = limits.get();
  return ref === 0 ? Infinity : Limits[name].peek(ref);
}

export function setLimitValue(name: LimitName, value: number): void {
  Limits[name].store(limits.get(), value);
}
